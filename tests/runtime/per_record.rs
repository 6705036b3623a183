//! The mode `per_record`: each record is an epoch of its own, in the order of arrival.

use std::sync::Arc;

use object_store::memory::InMemory;
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::prelude::*;
use watershed::store::Store;

use crate::support::{pair, shown, stream, table};

/// The changes of a table, those of a count and of a join of both, and of a table of two topics.
fn program() -> Topology {
    Topology::new("each", |builder: &StreamsBuilder<'_>| {
        let (rows, events) = (table(builder, "rows"), stream(builder, "events"));
        let changes = |table: &KTable<'_, String, i64>, topic| table.to_stream().to(topic, pair());
        let counts = events.group_by_key().count();
        changes(&rows, "changes");
        changes(&counts, "counts");
        changes(&rows.join(&counts, |row, count| row * count), "joined");
        let other = stream(builder, "others");
        changes(&events.merge(&other).to_table(), "last");
    })
}

const TOPICS: [&str; 4] = ["changes", "counts", "joined", "last"];

/// Pipes records such as `rows a=1`, and returns the changes of a topic.
fn changes(mut driver: TopologyTestDriver, records: &[&str], topic: &str) -> Vec<String> {
    for record in records {
        let (topic, record) = record.split_once(' ').unwrap();
        let (key, value) = record.split_once('=').unwrap();
        let value = (!value.is_empty()).then_some(value.as_bytes());
        driver.pipe(topic, 0, Some(key.as_bytes()), value);
    }
    driver.commit().unwrap();
    driver.changes(topic).into_iter().map(|(_, row)| shown(&row.unwrap())).collect()
}

fn per_record(records: &[&str], topic: &str) -> Vec<String> {
    changes(TopologyTestDriver::per_record(program()).unwrap(), records, topic)
}

#[test]
fn each_update_is_an_answer_also_without_a_change() {
    let rows = ["rows a=1", "rows a=1", "rows b=", "rows a=", "rows a=2"];
    assert_eq!(per_record(&rows, "changes"), ["a=1", "a=1", "b=", "a=", "a=2"]);
    let consistent = TopologyTestDriver::new(program()).unwrap();
    assert_eq!(changes(consistent, &rows, "changes"), ["a=2"]);
    let both = ["rows a=5", "events a=1", "events a=1", "rows a=5", "rows a="];
    assert_eq!(per_record(&both, "joined"), ["a=5", "a=10", "a=10", "a="]);
    assert_eq!(per_record(&both, "counts"), ["a=1", "a=2"]);
}

#[test]
fn arrival_decides_between_topics_and_partitions() {
    let records = ["others a=1", "events a=2", "others a=3"];
    assert_eq!(per_record(&records, "last"), ["a=1", "a=2", "a=3"]);
    let mut driver = TopologyTestDriver::per_record(program()).unwrap();
    driver.pipe_at("rows", 0, 9, Some(b"a"), Some(b"1"));
    driver.pipe_at("rows", 1, 4, Some(b"a"), Some(b"2"));
    driver.commit().unwrap();
    let last = driver.changes("changes").pop().unwrap().1.unwrap();
    assert_eq!(shown(&last), "a=2");
}

/// The logs, tables and the state of several runs.
#[derive(Default)]
struct World {
    logs: [MemoryLog; 3],
    tables: [MemoryTable; 4],
    objects: Arc<InMemory>,
}

impl World {
    fn append(&self, records: &str) {
        for record in records.split(' ') {
            let (key, value) = record.split_once('=').unwrap();
            self.logs[0].append(0, Some(key.as_bytes()), Some(value.as_bytes()));
        }
    }

    fn run(&self, mode: ProcessingMode, workers: usize) -> Result<()> {
        let mut streams = Streams::new(program());
        for (topic, log) in ["rows", "events", "others"].into_iter().zip(&self.logs) {
            streams = streams.source(topic, log.clone());
        }
        for (topic, table) in TOPICS.into_iter().zip(&self.tables) {
            streams = streams.sink(topic, table.clone());
        }
        let state = Some(Store::objects(self.objects.clone(), "state")?);
        streams.run(Config { workers, mode, state, ..Config::default() }).map(drop)
    }

    fn changes(&self) -> Vec<String> {
        self.tables[0].rows().iter().map(|row| shown(row)).collect()
    }
}

#[test]
fn a_run_per_record_continues_its_state() {
    for workers in [1, 2] {
        let world = World::default();
        world.append("a=1 a=2 b=1 a=2");
        world.run(ProcessingMode::PerRecord, workers).unwrap();
        assert_eq!(world.changes(), ["a=1", "a=2", "a=2", "b=1"], "{workers} workers");
        world.append("a=2 a=3");
        world.run(ProcessingMode::PerRecord, 3 - workers).unwrap();
        let all = ["a=1", "a=2", "a=2", "a=2", "a=3", "b=1"];
        assert_eq!(world.changes(), all, "{workers} workers, then others");
    }
}

#[test]
fn a_state_of_the_other_mode_is_refused() {
    let modes = [ProcessingMode::Consistent, ProcessingMode::PerRecord];
    for (first, then) in [(modes[0], modes[1]), (modes[1], modes[0])] {
        let world = World::default();
        world.append("a=1");
        world.run(first, 1).unwrap();
        let error = world.run(then, 1).unwrap_err();
        assert!(error.to_string().contains("setting mode = per_record"), "{error}");
        world.run(first, 1).unwrap();
    }
}
