//! Runs that continue from a snapshot, and need only the records of the topic behind it.

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use watershed::connect::Source;
use watershed::connect::memory::MemoryTable;
use watershed::runtime::{Config, Streams};
use watershed::store::Store;
use watershed::{Error, ErrorKind, Result};

use super::crashes::program;
use super::{Cluster, cluster};
use crate::support::{shown, until};

/// A topic, and all that outlives a run.
struct World {
    cluster: &'static Cluster,
    topic: String,
    all: MemoryTable,
    sums: MemoryTable,
    objects: Arc<InMemory>,
}

impl World {
    fn of(cluster: &'static Cluster, topic: String) -> Self {
        let (all, sums) = (MemoryTable::default(), MemoryTable::default());
        World { cluster, topic, all, sums, objects: Arc::default() }
    }

    /// Appends records in the notation `a=1 b=2`.
    fn append(&self, records: &str) {
        let records: Vec<_> = crate::support::parsed(records).collect();
        self.cluster.append(&self.topic, 0, &records);
    }

    fn run(&self) -> Result<()> {
        let state = Some(Store::objects(self.objects.clone(), "state")?);
        let streams = Streams::new(program()).source("events", self.cluster.open(&self.topic));
        let streams = streams.sink("all", self.all.clone()).sink("sums", self.sums.clone());
        // One commit, at the end: it has a snapshot of its own.
        let commit_every = Duration::from_secs(3600);
        streams.run(Config { workers: 2, state, commit_every, ..Config::default() }).map(|_| ())
    }

    fn sums(&self) -> String {
        let rows: Vec<String> = self.sums.rows().iter().map(|row| shown(row)).collect();
        rows.join(" ")
    }

    fn refused(&self) -> Error {
        let error = self.run().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        error
    }
}

#[test]
fn a_run_needs_only_the_records_behind_its_snapshot() {
    let Some(cluster) = cluster() else { return };
    let world = World::of(cluster, cluster.topic(1));
    world.append("a=1 b=2 a=3 c=4");
    world.run().unwrap();
    for (before, records, sums) in [(2, "b=5", "a=4 b=7 c=4"), (5, "d=6 a=1", "a=5 b=7 c=4 d=6")] {
        cluster.expire(&world.topic, 0, before);
        world.append(records);
        world.run().unwrap();
        assert_eq!(world.sums(), sums);
    }
    world.append("a=1 a=1 a=1");
    cluster.expire(&world.topic, 0, 9);
    let text = world.refused().to_string();
    assert!(text.contains("from offset 7: it begins at 9"), "{text}");
    assert_eq!(world.sums(), "a=5 b=7 c=4 d=6");
}

#[test]
fn a_run_refuses_a_recreated_topic_however_long_it_is() {
    let Some(cluster) = cluster() else { return };
    for (records, expected) in [
        ("a=1 b=2 a=3", "from offset 4: it ends at 3"),
        ("a=9 b=9 c=9 d=9 e=9 f=9", "has another record at offset 3"),
    ] {
        let world = World::of(cluster, cluster.topic(1));
        world.append("a=1 b=2 a=3 c=4");
        world.run().unwrap();
        world.run().unwrap();
        cluster.delete(&world.topic);
        assert!((0..1000).any(|_| cluster.create(&world.topic, 1)));
        world.append(records);
        let text = world.refused().to_string();
        assert!(text.contains(expected), "{text}");
        assert_eq!(world.sums(), "a=4 b=2 c=4");
    }
}

#[test]
fn a_run_continues_on_a_compacted_topic() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.unique();
    let compacted = NewTopic::new(&topic, 1, TopicReplication::Fixed(1))
        .set("cleanup.policy", "compact")
        .set("min.cleanable.dirty.ratio", "0.001")
        .set("segment.ms", "100");
    let (compacted, options) = ([compacted], AdminOptions::new());
    let created = cluster.admin.create_topics(&compacted, &options);
    cluster.runtime.block_on(created).unwrap().remove(0).unwrap();
    cluster.wait_for_partitions(&topic, 1);
    let world = World::of(cluster, topic);
    world.append("a=1 b=2 a=3 a=4");
    world.run().unwrap();
    world.append("a=5 b=6");
    world.run().unwrap();
    // Each record rolls a segment. No two have one key, so the tail stays.
    let mut tail = 0;
    until("the compaction", || {
        world.append(&format!("t{tail}=1"));
        tail += 1;
        let mut opened = Source::open(&cluster.open(&world.topic), 0, None, false).unwrap();
        super::records(&mut *opened).first().is_some_and(|(offset, ..)| *offset > 0)
    });
    world.run().unwrap();
    assert_eq!(world.sums.rows().len(), 2 + tail);
    assert!(world.sums().starts_with("a=13 b=8 t0=1"), "{}", world.sums());
}
