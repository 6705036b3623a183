//! Tables whose keys come and go for ever, against a naive reading of the same records.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use timely::dataflow::InputHandle;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::worker::Worker;

use super::*;
use crate::operators::Seeds;
use crate::operators::{Advance, Owners, join, upserts_to_diffs};
use crate::secret::Secret;

type Key = String;
type Record = Arrived<Key, i64>;

const PARTITIONS: usize = 3;
const EPOCHS: u64 = 80;
/// Records that a partition gets in an epoch, on average.
const PACE: u64 = 6;

/// Numbers without a pattern that matters here.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Some records of a topic, and the earliest position of all that come with them or later.
struct Batch {
    records: Vec<Record>,
    earliest: Order,
}

/// A record of one of the keys around `offset`. Those far behind it are deleted by partition 0.
fn record(order: Order, dice: &mut Dice) -> Record {
    let (key, value) = match (order.partition, dice.below(3)) {
        (0, _) => (order.offset.saturating_sub(16), None),
        (_, 0) => (order.offset.saturating_sub(dice.below(8)), None),
        _ => (order.offset + dice.below(4), Some(dice.below(5) as i64)),
    };
    let digest = value.map_or(0, |value| value as u64 * 2 + 1);
    Arrived { key: format!("key {key}"), order, ordinal: Ordinal::default(), digest, value }
}

/// The records of two topics by epoch. Any key is in any partition, partitions run ahead of one
/// another, and within an epoch there is no order.
fn generate(seed: u64) -> Vec<[Batch; 2]> {
    let mut dice = Dice(seed * 77 + 1);
    let mut next = [[0_u64; PARTITIONS]; 2];
    let mut batch = |epoch: u64, topic: usize| {
        let order = |partition: usize, offset: u64| Order {
            topic: topic as u16,
            source: 0,
            offset,
            partition: partition as u32,
        };
        let ends = next[topic].iter().enumerate();
        let earliest = ends.map(|(partition, end)| order(partition, *end)).min().unwrap();
        let mut records = Vec::new();
        for (partition, end) in next[topic].iter_mut().enumerate() {
            let to = (epoch * PACE + dice.below(4 * PACE)).max(*end);
            records.extend((*end..to).map(|offset| record(order(partition, offset), &mut dice)));
            *end = to;
        }
        for at in (1..records.len()).rev() {
            records.swap(at, dice.below(at as u64 + 1) as usize);
        }
        Batch { records, earliest }
    };
    (0..EPOCHS).map(|epoch| [batch(epoch, 0), batch(epoch, 1)]).collect()
}

/// The rows of both tables and of their join at the close of each epoch, by a naive program.
fn expected(batches: &[[Batch; 2]]) -> Vec<[BTreeMap<Key, i64>; 3]> {
    let mut last: [BTreeMap<Key, (Order, Option<i64>)>; 2] = Default::default();
    let of_epoch = |both: &[Batch; 2]| {
        for (last, batch) in last.iter_mut().zip(both) {
            for Arrived { key, order, value, .. } in &batch.records {
                let stands = last.entry(key.clone()).or_insert((*order, *value));
                *stands = (*stands).max((*order, *value));
            }
        }
        let rows = |last: &BTreeMap<Key, (Order, Option<i64>)>| -> BTreeMap<Key, i64> {
            last.iter().filter_map(|(key, (_, value))| Some((key.clone(), (*value)?))).collect()
        };
        let [left, right] = [rows(&last[0]), rows(&last[1])];
        let both = left.iter().filter_map(|(k, l)| Some((k.clone(), l * 10 + right.get(k)?)));
        let both = both.collect();
        [left, right, both]
    };
    batches.iter().map(of_epoch).collect()
}

/// The result of a run of the operators.
struct Outcome {
    /// By epoch and table, the changes of rows.
    changes: BTreeMap<(Epoch, usize), Vec<((Key, i64), isize)>>,
    /// The numbers that were given out by all workers.
    numbers: usize,
    /// The keys of which the tables keep anything in the end.
    keys: i64,
}

/// Works while `more` is true. A worker with nothing to do sleeps: it would slow the others down.
fn wait(worker: &mut Worker, more: impl Fn() -> bool) {
    while more() {
        worker.step_or_park(Some(Duration::from_millis(20)));
    }
}

fn run(seed: u64, workers: usize, expires: bool) -> Outcome {
    let batches = Arc::new(generate(seed));
    let topics: [(Arc<TopicCounters>, Arc<Earliest>); 2] = Default::default();
    topics
        .iter()
        .filter(|_| expires)
        .for_each(|(_, earliest)| earliest.announce(Advance::InThisRun));
    let found = Arc::new(Mutex::new((BTreeMap::new(), 0)));
    let (shared, results) = (topics.clone(), found.clone());
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let fail = Rc::new(|error| panic!("{error}"));
        let open = Rc::new(Cell::new(0));
        let seeds = Seeds::new(Secret::new([seed as u8; 16]));
        let keys = Keys::<Key>::new(Owners::new(seeds, fail), open.clone());
        let (mut inputs, probes) =
            ([InputHandle::new(), InputHandle::new()], [(); 3].map(|()| ProbeHandle::new()));
        worker.dataflow(|scope| {
            let mut tables = shared.iter().cloned();
            let [left, right] = inputs.each_mut().map(|input| {
                let (counters, earliest) = tables.next().unwrap();
                let stream = scope.input_from(input);
                latest(
                    stream,
                    keys.clone(),
                    "table",
                    counters,
                    Some(earliest),
                    None,
                    Meter::default(),
                )
            });
            let joiner = Rc::new(|_: &Key, l: Option<&i64>, r: Option<&i64>| Some(l? * 10 + r?));
            let both =
                join(left.clone(), right.clone(), keys.clone(), "join", Meter::default(), joiner);
            let [left, right] =
                [left, right].map(|rows| upserts_to_diffs(rows, keys.clone(), "changes"));
            for (table, rows) in [left, right, both].into_iter().enumerate() {
                let results = results.clone();
                let note = move |((key, value), epoch, diff): &((Key, i64), Epoch, isize)| {
                    let changes: &mut (BTreeMap<_, Vec<_>>, usize) = &mut results.lock().unwrap();
                    changes
                        .0
                        .entry((*epoch, table))
                        .or_default()
                        .push(((key.clone(), *value), *diff));
                };
                rows.inner.inspect(note).probe_with(&probes[table]);
            }
        });
        let mut dice = Dice(seed + worker.index() as u64 + 5);
        for (epoch, both) in batches.iter().enumerate() {
            let epoch = epoch as Epoch;
            for ((batch, input), (_, earliest)) in both.iter().zip(&mut inputs).zip(&shared) {
                if worker.index() == 0 && expires && epoch > 0 {
                    earliest.publish(epoch, batch.earliest);
                }
                let (own, all) = (worker.index(), worker.peers());
                for (at, record) in batch.records.iter().enumerate() {
                    // Any worker decodes any record.
                    if (at / 3) % all == own {
                        input.send(record.clone());
                    }
                }
                input.advance_to(epoch + 1);
                (0..dice.below(4)).for_each(|_| _ = worker.step());
            }
            // Some epochs are still open while the next ones come.
            if dice.below(3) > 0 {
                wait(worker, || probes.iter().any(|probe| probe.less_than(&(epoch + 1))));
                open.set(epoch + 1);
            }
        }
        drop(inputs);
        wait(worker, || probes.iter().any(|probe| !probe.done()));
        results.lock().unwrap().1 += keys.open().len();
    });
    drop(guards.unwrap().join());
    let (changes, numbers) = std::mem::take(&mut *found.lock().unwrap());
    let keys = topics.iter().map(|(counters, _)| counters.keys.load(Ordering::Relaxed)).sum();
    Outcome { changes, numbers, keys }
}

#[test]
fn tables_with_ever_new_keys_do_not_grow() {
    for (seed, workers) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)] {
        let rows = expected(&generate(seed));
        let outcomes = [true, false].map(|expires| run(seed, workers, expires));
        for Outcome { changes, .. } in &outcomes {
            let mut found: [BTreeMap<Key, BTreeMap<i64, isize>>; 3] = Default::default();
            for (epoch, expected) in rows.iter().enumerate() {
                for (table, found) in found.iter_mut().enumerate() {
                    let changes = changes.get(&(epoch as Epoch, table)).into_iter().flatten();
                    for ((key, value), diff) in changes {
                        let values = found.entry(key.clone()).or_default();
                        *values.entry(*value).or_default() += diff;
                        values.retain(|_, count| *count != 0);
                    }
                    found.retain(|_, values| !values.is_empty());
                    let one = |(key, value): (&Key, &i64)| (key.clone(), [(*value, 1)].into());
                    let expected: BTreeMap<_, _> = expected[table].iter().map(one).collect();
                    assert_eq!(*found, expected, "seed {seed}, epoch {epoch}, table {table}");
                }
            }
        }
        let all = EPOCHS * PACE;
        let [few, many] = outcomes;
        assert!(
            many.numbers as u64 > all * 9 / 10 && many.keys as u64 > all * 9 / 5,
            "no order is forgotten"
        );
        assert!((few.numbers as u64) < all / 4 * workers as u64, "{} numbers", few.numbers);
        assert!((few.keys as u64) < all / 4, "{} keys", few.keys);
    }
}
