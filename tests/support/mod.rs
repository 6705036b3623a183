//! Shared parts of the tests: trials, which pipe records written as text and show rows as text; an
//! HTTP client and a network that misbehave on request; clients of real servers; and seeded random
//! numbers.

pub(crate) mod broken;
#[cfg(feature = "kafka")]
pub(crate) mod broker;
pub(crate) mod bucket;
pub(crate) mod disk;
pub(crate) mod http;
#[cfg(feature = "delta")]
pub(crate) mod lake;
pub(crate) mod lossy;
pub(crate) mod processes;
pub(crate) mod proxy;
pub(crate) mod services;
#[cfg(feature = "kinesis")]
pub(crate) mod shards;
pub(crate) mod twins;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;
use watershed::connect::memory::Change;
use watershed::options::{Consumed, Produced};
use watershed::row::Value;
use watershed::serdes::{Json, Utf8};
use watershed::testing::TopologyTestDriver;
use watershed::{KStream, KTable, StreamsBuilder, Topology};

/// The longest wait for an expected event, generous for a busy machine. Only a failing test waits
/// so long.
pub(crate) const EVENT_TIMEOUT: Duration = Duration::from_secs(180);

/// Polls until `done` returns true.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < EVENT_TIMEOUT, "{what} did not happen in time");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Reads a topic of texts and integers as a table.
pub(crate) fn table<'s>(builder: &StreamsBuilder<'s>, topic: &str) -> KTable<'s, String, i64> {
    builder.table(topic, Consumed::with(Utf8, Json))
}

/// Reads a topic of texts and integers as a stream.
pub(crate) fn stream<'s>(builder: &StreamsBuilder<'s>, topic: &str) -> KStream<'s, String, i64> {
    builder.stream(topic, Consumed::with(Utf8, Json))
}

/// Rows of a text and an integer.
pub(crate) fn pair() -> Produced {
    Produced::columns(["key", "value"])
}

/// A topology under test. It runs with one worker, with three, and with two processes of two, all
/// at once. All must always agree.
///
/// A record is written `key=value`. `@partition:offset` may follow; the default is the next offset
/// of partition 0. An empty key or value is null. A row is shown as its columns joined by `=`.
pub(crate) struct Trial([TopologyTestDriver; 3]);

impl Trial {
    pub(crate) fn of(
        build: impl for<'a, 's> Fn(&'a StreamsBuilder<'s>) + Send + Sync + 'static,
    ) -> Self {
        let topology = Topology::new("trial", build);
        let of_workers =
            |workers| TopologyTestDriver::with_workers(topology.clone(), workers).unwrap();
        let processes = TopologyTestDriver::with_processes(topology.clone(), 2, 2).unwrap();
        Trial([of_workers(1), of_workers(3), processes])
    }

    /// Pipes records into a topic.
    pub(crate) fn pipe(&mut self, topic: &str, records: &str) {
        for record in records.split_whitespace() {
            let (record, place) = record
                .split_once('@')
                .map_or((record, None), |(record, place)| (record, place.split_once(':')));
            let (key, value) = parsed(record).next().unwrap();
            for driver in &mut self.0 {
                match place {
                    Some((partition, offset)) => {
                        driver.pipe_at(
                            topic,
                            partition.parse().unwrap(),
                            offset.parse().unwrap(),
                            key,
                            value,
                        );
                    }
                    None => driver.pipe(topic, 0, key, value),
                }
            }
        }
    }

    /// Commits, and returns the rows of a topic.
    pub(crate) fn rows(&mut self, topic: &str) -> String {
        self.agreed(|driver| driver.rows(topic).iter().map(|row| shown(row)).collect())
    }

    /// Pipes records into a topic, commits, and returns the rows of another topic.
    pub(crate) fn after(&mut self, topic: &str, records: &str, out: &str) -> String {
        self.pipe(topic, records);
        self.rows(out)
    }

    /// Commits, and returns the changes of a topic since the last call. A deleted row is its key
    /// and `gone`.
    pub(crate) fn changes(&mut self, topic: &str) -> String {
        self.agreed(|driver| driver.changes(topic).iter().map(changed).collect())
    }

    /// Commits, and returns the dead letters: topic, partition, position, reason, payload.
    pub(crate) fn dead(&mut self) -> String {
        self.agreed(|driver| {
            let letters = driver.dead_letters();
            letters.iter().map(|row| shown(&[&row[..4], &row[5..]].concat())).collect()
        })
    }

    /// Ends the run and returns the counters of a topic with one worker. Several workers may
    /// process the records of a key in another order, so that other records are superseded. All
    /// other counters are equal, and the sums balance.
    pub(crate) fn counters(self, topic: &str) -> watershed::runtime::TopicSummary {
        let [one, three, processes] =
            self.0.map(|driver| driver.finish().unwrap().topics.remove(topic).unwrap());
        for several in [three, processes] {
            assert!(one.balances() && several.balances(), "{one:?} {several:?}");
            assert_eq!(
                (one.read, one.bytes, one.rows, one.dead),
                (several.read, several.bytes, several.rows, several.dead)
            );
        }
        one
    }

    /// Ends the run and returns its gauges.
    pub(crate) fn gauges(self) -> BTreeMap<String, u64> {
        let [one, three, processes] = self.0.map(|driver| driver.finish().unwrap().gauges);
        assert_eq!(one, three, "one worker and three disagree");
        assert_eq!(one, processes, "one process and two disagree");
        one
    }

    fn agreed(&mut self, ask: impl Fn(&mut TopologyTestDriver) -> Vec<String>) -> String {
        let [one, three, processes] = self.0.each_mut().map(|driver| {
            driver.commit().unwrap();
            ask(driver).join(" ")
        });
        assert_eq!(one, three, "one worker and three disagree");
        assert_eq!(one, processes, "one process and two disagree");
        one
    }
}

/// Parses records in the notation of [`Trial`] into key and value.
pub(crate) fn parsed(records: &str) -> impl Iterator<Item = (Option<&[u8]>, Option<&[u8]>)> {
    records.split_whitespace().map(|record| {
        let (key, value) = record.split_once('=').unwrap();
        (
            (!key.is_empty()).then_some(key.as_bytes()),
            (!value.is_empty()).then_some(value.as_bytes()),
        )
    })
}

/// Returns a row as text: its columns joined by `=`; null is empty.
pub(crate) fn shown(row: &[Value]) -> String {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::Long(n) => n.to_string(),
        Value::Text(text) => text.clone(),
        Value::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    };
    row.iter().map(text).collect::<Vec<_>>().join("=")
}

fn changed((key, row): &Change) -> String {
    row.as_ref().map_or_else(|| format!("{}:gone", shown(key)), |row| shown(row))
}

/// A seeded generator of random numbers.
pub(crate) struct Dice(Pcg64Mcg);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(Pcg64Mcg::seed_from_u64(seed))
    }

    /// Draws a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }

    /// Shuffles `items`.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}
