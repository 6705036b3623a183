//! Suppression with a time limit and a full buffer, against a model of the buffer. Its results
//! depend on the ends of epochs; with the same epochs they are the same for any workers and
//! processes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use watershed::prelude::{Value::Long, *};

use super::seeds;
use crate::support::Dice;

const LIMIT_SECONDS: i64 = 12;
const MAX_RECORDS: usize = 3;
/// Four rows, of 31 bytes each.
const MAX_BYTES: usize = 130;
const SECOND: i64 = 1_000_000;

/// A changed row, or a deleted one.
#[derive(Clone, Copy, Debug)]
struct Change {
    second: i64,
    key: i64,
    value: Option<i64>,
}

impl Change {
    /// The bytes of key and value, which are below 64, and of times and position.
    fn bytes(&self) -> usize {
        28 + 2 + usize::from(self.value.is_some())
    }
}

/// A buffer of changes, and the table behind it.
struct Buffer {
    max_records: usize,
    max_bytes: usize,
    /// The keys of the table before it.
    keys: BTreeSet<i64>,
    /// By key, the change that waits, and since when.
    waits: BTreeMap<i64, (i64, Change)>,
    table: BTreeMap<i64, i64>,
    now: i64,
}

impl Buffer {
    fn new(max_records: usize, max_bytes: usize) -> Self {
        let (keys, waits, table) = Default::default();
        Buffer { max_records, max_bytes, keys, waits, table, now: i64::MIN }
    }

    fn oldest(&self) -> Option<(i64, i64)> {
        self.waits.iter().map(|(key, (since, _))| (*since, *key)).min()
    }

    fn emit(&mut self, key: i64) {
        if let Some((_, change)) = self.waits.remove(&key) {
            match change.value {
                Some(value) => self.table.insert(key, value),
                None => self.table.remove(&key),
            };
        }
    }

    fn emit_due(&mut self) {
        while let Some((since, key)) = self.oldest()
            && since + LIMIT_SECONDS <= self.now
        {
            self.emit(key);
        }
    }

    /// Takes the changes of an epoch. The last one of each key counts, unless it deletes a row that
    /// has not been there.
    fn take(&mut self, epoch: &[Change]) {
        let is_last = |n: usize| epoch[n + 1..].iter().all(|later| later.key != epoch[n].key);
        for change in (0..epoch.len()).filter(|n| is_last(*n)).map(|n| epoch[n]) {
            let was_there = match change.value {
                Some(_) => !self.keys.insert(change.key),
                None => self.keys.remove(&change.key),
            };
            if change.value.is_none() && !was_there {
                continue;
            }
            let since = self.waits.get(&change.key).map_or(change.second, |(since, _)| *since);
            self.waits.insert(change.key, (since, change));
            self.emit_due();
            let bytes = |it: &Buffer| it.waits.values().map(|(_, it)| it.bytes()).sum::<usize>();
            while self.waits.len() > self.max_records || bytes(self) > self.max_bytes {
                let Some((_, key)) = self.oldest() else { break };
                self.emit(key);
            }
        }
        self.now = epoch.iter().map(|change| change.second).fold(self.now, i64::max);
        self.emit_due();
    }

    fn rows(&self) -> Vec<Vec<Value>> {
        self.table.iter().map(|(key, value)| vec![Long(*key), Long(*value)]).collect()
    }
}

fn program(builder: &StreamsBuilder<'_>) {
    let rows = builder.table("in", Consumed::with(Int64, Int64));
    let limit = Suppressed::until_time_limit(Duration::from_secs(LIMIT_SECONDS as u64));
    let columns = || Produced::columns(["key", "n"]);
    rows.to("rows", columns());
    rows.suppress(limit).to("time", columns());
    rows.suppress(limit.max_records(MAX_RECORDS).emit_early()).to("records", columns());
    rows.suppress(limit.max_bytes(MAX_BYTES).emit_early()).to("bytes", columns());
    let both = limit.max_records(MAX_RECORDS + 1).max_bytes(MAX_BYTES / 2);
    rows.suppress(both.emit_early()).to("both", columns());
}

/// Returns the models of the limited buffers, by topic.
fn buffers() -> [(&'static str, Buffer); 4] {
    let none = usize::MAX;
    [
        ("time", Buffer::new(none, none)),
        ("records", Buffer::new(MAX_RECORDS, none)),
        ("bytes", Buffer::new(none, MAX_BYTES)),
        ("both", Buffer::new(MAX_RECORDS + 1, MAX_BYTES / 2)),
    ]
}

fn drivers() -> [TopologyTestDriver; 4] {
    let topology = || Topology::new("limits", program);
    [
        TopologyTestDriver::new(topology()),
        TopologyTestDriver::with_workers(topology(), 4),
        TopologyTestDriver::serialised(topology(), 2),
        TopologyTestDriver::with_processes(topology(), 2, 2),
    ]
    .map(Result::unwrap)
}

/// Draws epochs of up to so many changes.
fn epochs(most: u64, dice: &mut Dice) -> Vec<Vec<Change>> {
    let (mut epochs, mut n) = (Vec::new(), 0);
    while n < 60 {
        let mut epoch = Vec::new();
        for _ in 0..=dice.below(most) {
            // All values differ, so each record is a change.
            let value = (dice.below(5) > 0).then_some(n);
            let second = n + dice.below(6) as i64;
            epoch.push(Change { second, key: dice.below(9) as i64, value });
            n += 1;
        }
        epochs.push(epoch);
    }
    epochs
}

/// Pipes the changes of an epoch and commits them.
fn commit(driver: &mut TopologyTestDriver, epoch: &[Change]) {
    let input = driver.input("in", Int64, Int64);
    for Change { second, key, value } in epoch {
        let at = Timestamp(second * SECOND);
        match value {
            Some(value) => input.pipe_at(driver, key, value, at),
            None => input.delete_at(driver, key, at),
        }
    }
    driver.commit().unwrap();
}

#[test]
fn a_limited_buffer_equals_its_model() {
    for seed in seeds(1_100, 2) {
        let (mut drivers, mut buffers) = (drivers(), buffers());
        for epoch in epochs(1, &mut Dice::new(seed)) {
            buffers.iter_mut().for_each(|(_, buffer)| buffer.take(&epoch));
            for driver in &mut drivers {
                commit(driver, &epoch);
                for (topic, buffer) in &buffers {
                    assert_eq!(driver.rows(topic), buffer.rows(), "{topic}, seed {seed} {epoch:?}");
                }
            }
        }
        assert!(buffers.iter().all(|(_, buffer)| !buffer.table.is_empty()));
        drivers.into_iter().for_each(|driver| _ = driver.finish().unwrap());
    }
}

/// Returns the changes that have not been emitted to a topic.
fn waiting(driver: &TopologyTestDriver, topic: &str) -> Vec<Change> {
    let rows = |topic| driver.rows(topic).into_iter().collect::<BTreeSet<_>>();
    let (before, after) = (rows("rows"), rows(topic));
    let pair = |row: &Vec<Value>| match row[..] {
        [Long(key), Long(value)] => (key, value),
        _ => panic!("{row:?}"),
    };
    let mut waits: BTreeMap<i64, Option<i64>> = BTreeMap::new();
    after.difference(&before).map(pair).for_each(|(key, _)| _ = waits.insert(key, None));
    let new = before.difference(&after).map(pair);
    new.for_each(|(key, value)| _ = waits.insert(key, Some(value)));
    waits.into_iter().map(|(key, value)| Change { second: 0, key, value }).collect()
}

#[test]
fn buffers_keep_their_limits_on_any_workers() {
    for seed in seeds(1_200, 2) {
        let (mut drivers, mut buffers) = (drivers(), buffers());
        for epoch in epochs(6, &mut Dice::new(seed)) {
            buffers.iter_mut().for_each(|(_, buffer)| buffer.take(&epoch));
            drivers.iter_mut().for_each(|driver| commit(driver, &epoch));
            let [first, others @ ..] = &drivers;
            for (topic, buffer) in &buffers {
                let rows = first.rows(topic);
                assert!(others.iter().all(|it| it.rows(topic) == rows), "{topic}, seed {seed}");
                // The order of the changes of an epoch decides which ones leave a full buffer.
                if *topic == "time" {
                    assert_eq!(rows, buffer.rows(), "seed {seed}, {epoch:?}");
                }
                let waits = waiting(first, topic);
                let bytes: usize = waits.iter().map(Change::bytes).sum();
                let fits = waits.len() <= buffer.max_records && bytes <= buffer.max_bytes;
                assert!(fits, "{topic}, seed {seed}, {waits:?}");
            }
        }
        let last = Change { second: 1_000, key: 63, value: Some(1) };
        for driver in &mut drivers {
            commit(driver, &[last]);
            for (topic, _) in &buffers {
                let waits = waiting(driver, topic).iter().map(|it| it.key).collect::<Vec<_>>();
                assert_eq!(waits, [last.key], "{topic}, seed {seed}");
            }
        }
        drivers.into_iter().for_each(|driver| _ = driver.finish().unwrap());
    }
}
