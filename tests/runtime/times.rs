//! The greatest timestamp of each partition is recorded with its binding. It depends only on the
//! bound records, not on workers, batches or crashes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::options::Consumed;
use watershed::runtime::{Config, Streams, Summary};
use watershed::serdes::{Json, Utf8};
use watershed::store::Store;
use watershed::{DEAD_LETTERS, ErrorKind, Result, StreamsBuilder, Timestamp, Topology};

use crate::support::broken::{Fuse, Log, Seen, Table};
use crate::support::{Dice, pair};

/// A record of the test.
#[derive(Clone)]
struct TestRecord {
    partition: u32,
    key: String,
    value: Option<String>,
    connector: Option<Timestamp>,
}

/// The timestamps of `rows` are their values; those of `events` come from the connector.
fn program(shift: i64) -> Topology {
    Topology::new("times", move |builder: &StreamsBuilder<'_>| {
        let at =
            move |_: &String, value: &i64| (value % 7 != 0).then_some(Timestamp(*value + shift));
        builder.table("rows", Consumed::with(Utf8, Json).timestamp(at)).to("kept", pair());
        builder.stream("events", Consumed::<String, i64>::with(Utf8, Json)).to("all", pair());
    })
}

/// The expected timestamp of a record; none for a dead letter.
fn timestamp(topic: &str, record: &TestRecord) -> Option<i64> {
    let connector = record.connector.map(|time| time.0);
    let value = record.value.as_ref().map(|value| value.parse::<i64>());
    match (topic, value) {
        ("rows", None) => connector,
        ("rows", Some(Ok(value))) => (value % 7 != 0).then_some(value),
        ("events", Some(Ok(_))) => connector,
        _ => None,
    }
}

/// Everything that outlives a run.
#[derive(Default)]
struct World {
    records: BTreeMap<&'static str, Vec<TestRecord>>,
    logs: BTreeMap<&'static str, MemoryLog>,
    seen: BTreeMap<&'static str, Seen>,
    tables: BTreeMap<&'static str, MemoryTable>,
    objects: Arc<InMemory>,
    commit_every: Duration,
}

impl World {
    /// Fills three partitions a log, with timestamps out of order, tombstones and garbage.
    fn busy(records: usize, seed: u64) -> Self {
        let (mut world, mut dice) = (World::default(), Dice::new(seed));
        for turn in 0..records {
            let topic = ["rows", "events"][turn % 2];
            let value = match dice.below(8) {
                0 => None,
                1 => Some("garbage".to_string()),
                _ => Some((dice.below(1000) as i64 - 200).to_string()),
            };
            let record = TestRecord {
                partition: dice.below(3) as u32,
                key: format!("k{}", dice.below(5)),
                value,
                connector: (dice.below(4) > 0).then(|| Timestamp(dice.below(900) as i64 - 400)),
            };
            world.append(topic, record);
        }
        world
    }

    fn append(&mut self, topic: &'static str, record: TestRecord) {
        let TestRecord { partition, key, value, connector } = &record;
        let value = value.as_ref().map(|value| value.as_bytes());
        let log = self.logs.entry(topic).or_default();
        log.append_at(*partition, *connector, Some(key.as_bytes()), value);
        self.records.entry(topic).or_default().push(record);
    }

    fn run(&mut self, workers: usize, batch: u64, fuse: &Fuse, shift: i64) -> Result<Summary> {
        let mut streams = Streams::new(program(shift));
        for (topic, log) in &self.logs {
            let (log, name) = (log.clone(), format!("log {topic}"));
            let seen = self.seen.entry(topic).or_default().clone();
            streams = streams.source(topic, Log { name, log, batch, seen, fuse: fuse.clone() });
        }
        for topic in ["kept", "all", DEAD_LETTERS] {
            let table = self.tables.entry(topic).or_default().clone();
            let (name, fuse) = (format!("table {topic}"), fuse.clone());
            streams = streams.sink(topic, Table { name, table, fuse });
        }
        let state = Some(self.state());
        streams.run(Config { workers, state, commit_every: self.commit_every, ..Config::default() })
    }

    fn state(&self) -> Store {
        Store::objects(self.objects.clone(), "state").unwrap()
    }

    /// The manifests of all commits, oldest first.
    fn manifests(&self) -> Vec<serde_json::Value> {
        let state = self.state();
        let mut names: Vec<_> = state.list("manifest").unwrap();
        names.sort();
        let read = |(name, _): &(String, u64)| {
            let bytes = state.get(&format!("manifest/{name}")).unwrap().unwrap();
            serde_json::from_slice(&bytes).unwrap()
        };
        names.iter().map(read).collect()
    }

    /// Checks the timestamp of every partition in every manifest, and returns those of the last
    /// manifest.
    fn check(&self) -> Vec<Option<i64>> {
        let mut last = Vec::new();
        for manifest in self.manifests() {
            last.clear();
            for (topic, records) in &self.records {
                let partitions = &manifest["sources"][topic][0]["partitions"];
                for (partition, bound) in partitions.as_object().unwrap() {
                    let offset = |name: &str| bound[name].as_u64().unwrap() as usize;
                    let of = records.iter().filter(|r| r.partition.to_string() == *partition);
                    let bound_records = of.take(offset("to")).skip(offset("from"));
                    let expected = bound_records.filter_map(|r| timestamp(topic, r)).max();
                    let found = bound["partition_time"].as_i64();
                    assert_eq!(found, expected, "{topic}, {partition}, commit {}", manifest["n"]);
                    last.push(found);
                }
            }
        }
        last
    }
}

#[test]
fn each_commit_has_the_greatest_bound_timestamp() {
    let mut seen = Vec::new();
    for (workers, batch) in [(1, 1), (1, 1000), (2, 3), (4, 2)] {
        let mut world = World::busy(300, 7);
        world.run(workers, batch, &Fuse::sound(), 0).unwrap();
        seen.push(world.check());
    }
    assert!(
        seen[0].iter().flatten().count() == 6 && seen.windows(2).all(|pair| pair[0] == pair[1])
    );
}

#[test]
fn a_crash_at_any_call_changes_no_partition_time() {
    for late in [false, true] {
        for call in 1.. {
            let (mut world, fuse) = (World::busy(40, call as u64), Fuse::at(call, late));
            let result = world.run(1 + call as usize % 3, 4, &fuse, 0);
            world.check();
            if !fuse.broken() {
                result.unwrap();
                assert!(call > 20);
                break;
            }
            world.append(
                "events",
                TestRecord {
                    partition: 0,
                    key: "k".into(),
                    value: Some("1".into()),
                    connector: Some(Timestamp(500 + call)),
                },
            );
            world.run(1 + call as usize % 2, 4, &Fuse::sound(), 0).unwrap();
            assert_eq!(world.check()[0], Some(500 + call));
        }
    }
}

#[test]
fn a_state_from_before_partition_times_is_continued_with_them() {
    // One commit only, because a later manifest holds the digest of the one before.
    let mut world = World { commit_every: Duration::from_secs(60), ..World::busy(40, 1) };
    world.run(2, 1000, &Fuse::sound(), 0).unwrap();
    let (state, last) = (world.state(), world.manifests().len());
    assert_eq!(last, 1);
    let path = format!("manifest/{last:020}");
    let mut manifest = world.manifests().remove(0);
    let mut times = 0;
    for sources in manifest["sources"].as_object_mut().unwrap().values_mut() {
        for bound in sources[0]["partitions"].as_object_mut().unwrap().values_mut() {
            times += usize::from(bound.as_object_mut().unwrap().remove("partition_time").is_some());
        }
    }
    assert_eq!(times, 6);
    state.put(&path, manifest.to_string().as_bytes()).unwrap();
    let record = |value: &str| TestRecord {
        partition: 0,
        key: "k".into(),
        value: Some(value.into()),
        connector: None,
    };
    world.append("rows", record("-150"));
    world.run(1, 4, &Fuse::sound(), 0).unwrap();
    let manifests = world.manifests();
    let time = |at: usize| {
        manifests[at]["sources"]["rows"][0]["partitions"]["0"]["partition_time"].as_i64()
    };
    assert!(time(0).is_none() && time(1).is_some_and(|time| time > 0), "{manifests:?}");
}

#[test]
fn a_program_that_takes_other_timestamps_is_refused() {
    let mut world = World::busy(40, 1);
    world.run(2, 1000, &Fuse::sound(), 0).unwrap();
    let (before, state) = (world.manifests(), world.state());
    // With a snapshot these records are not read again.
    for (name, _) in state.list("snap").unwrap() {
        state.delete(&format!("snap/{name}")).unwrap();
    }
    let error = world.run(2, 1000, &Fuse::sound(), 1).unwrap_err();
    let said =
        "can't go on reading log rows, partition 0: its records have other timestamps than before";
    assert!(error.kind() == ErrorKind::Data && error.to_string().starts_with(said), "{error}");
    assert_eq!(world.manifests(), before);
}
