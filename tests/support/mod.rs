//! What the tests share: trials, which pipe records written as text and show rows as text, a client
//! of HTTP that may misbehave, a network that does, and dice that fall the same in every run.

pub(crate) mod broken;
pub(crate) mod bucket;
pub(crate) mod disk;
pub(crate) mod http;
pub(crate) mod proxy;
pub(crate) mod services;
pub(crate) mod shaky;
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

/// How long is waited for what must happen: only a test that fails waits so long, however busy the
/// machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until `done`.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen in time");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A topic of texts and integers as a table.
pub(crate) fn table<'s>(builder: &StreamsBuilder<'s>, topic: &str) -> KTable<'s, String, i64> {
    builder.table(topic, Consumed::with(Utf8, Json))
}

/// A topic of texts and integers as a stream.
pub(crate) fn stream<'s>(builder: &StreamsBuilder<'s>, topic: &str) -> KStream<'s, String, i64> {
    builder.stream(topic, Consumed::with(Utf8, Json))
}

/// Rows of a text and an integer.
pub(crate) fn pair() -> Produced {
    Produced::columns(["key", "value"])
}

/// A topology under test, run by one worker and by three at once, which must agree on all that is
/// asked.
///
/// Records are written `key=value`, with `@partition:offset` behind where they are not the next of
/// partition 0. Without key or value that one is null. Rows are shown as their columns with `=`
/// between.
pub(crate) struct Trial([TopologyTestDriver; 2]);

impl Trial {
    pub(crate) fn of(
        build: impl for<'a, 's> Fn(&'a StreamsBuilder<'s>) + Send + Sync + 'static,
    ) -> Self {
        let topology = Topology::new("trial", build);
        Trial(
            [1, 3].map(|workers| {
                TopologyTestDriver::with_workers(topology.clone(), workers).unwrap()
            }),
        )
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

    /// Commits; then the rows of a topic.
    pub(crate) fn rows(&mut self, topic: &str) -> String {
        self.agreed(|driver| driver.rows(topic).iter().map(|row| shown(row)).collect())
    }

    /// Pipes records into a topic and commits; then the rows of another.
    pub(crate) fn after(&mut self, topic: &str, records: &str, out: &str) -> String {
        self.pipe(topic, records);
        self.rows(out)
    }

    /// Commits; then what has changed in a topic since this was last asked. A row that is gone is
    /// its key and `gone`.
    pub(crate) fn changes(&mut self, topic: &str) -> String {
        self.agreed(|driver| driver.changes(topic).iter().map(changed).collect())
    }

    /// Commits; then the dead letters as topic, partition, position, reason and payload.
    pub(crate) fn dead(&mut self) -> String {
        self.agreed(|driver| {
            let letters = driver.dead_letters();
            letters.iter().map(|row| shown(&[&row[..4], &row[5..]].concat())).collect()
        })
    }

    /// Ends the run; what became of the records of a topic, with one worker. With three, records of
    /// a key may meet in another order, so that another of them is superseded; what is read, dead
    /// and standing is the same, and all of it balances.
    pub(crate) fn counters(self, topic: &str) -> watershed::runtime::TopicSummary {
        let [one, three] =
            self.0.map(|driver| driver.finish().unwrap().topics.remove(topic).unwrap());
        assert!(one.balances() && three.balances(), "{one:?} {three:?}");
        assert_eq!(
            (one.read, one.bytes, one.rows, one.dead),
            (three.read, three.bytes, three.rows, three.dead)
        );
        one
    }

    /// Ends the run; what its gauges show.
    pub(crate) fn gauges(self) -> BTreeMap<String, u64> {
        let [one, three] = self.0.map(|driver| driver.finish().unwrap().gauges);
        assert_eq!(one, three, "one worker and three disagree");
        one
    }

    fn agreed(&mut self, ask: impl Fn(&mut TopologyTestDriver) -> Vec<String>) -> String {
        let [one, three] = self.0.each_mut().map(|driver| {
            driver.commit().unwrap();
            ask(driver).join(" ")
        });
        assert_eq!(one, three, "one worker and three disagree");
        one
    }
}

/// Key and value of each record, written as a [`Trial`] takes them.
pub(crate) fn parsed(records: &str) -> impl Iterator<Item = (Option<&[u8]>, Option<&[u8]>)> {
    records.split_whitespace().map(|record| {
        let (key, value) = record.split_once('=').unwrap();
        (
            (!key.is_empty()).then_some(key.as_bytes()),
            (!value.is_empty()).then_some(value.as_bytes()),
        )
    })
}

/// A row as text: its columns with `=` between, null as nothing.
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

/// Draws that are the same in every run.
pub(crate) struct Dice(Pcg64Mcg);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(Pcg64Mcg::seed_from_u64(seed))
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }

    /// Brings `items` into another order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}
