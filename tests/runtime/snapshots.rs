//! A run continues from a snapshot, and reads only the records behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{Partition, Source};
use watershed::prelude::Materialized;
use watershed::row::Value;
use watershed::runtime::{Config, Streams, Summary};
use watershed::store::Store;
use watershed::{Error, ErrorKind, Result, StreamsBuilder, Timestamp, Topology};

use super::{SOURCES, World, program, row};
use crate::support::broken::Fuse;
use crate::support::{pair, shown, stream, table};

/// A log that has deleted all records before an offset, the same in each partition.
#[derive(Clone)]
pub(super) struct Truncated {
    log: MemoryLog,
    first: Arc<Mutex<u64>>,
}

impl Source for Truncated {
    fn describe(&self) -> String {
        "a log with retention".into()
    }
    fn partitions(&self) -> Result<Vec<u32>> {
        self.log.partitions()
    }
    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let first = *self.first.lock().unwrap();
        match from {
            Some(from) if from < first => Err(Error::data(format!("offset {from} is deleted"))),
            from => self.log.open(partition, from.or(Some(first)), follow),
        }
    }
    fn released(&self, ends: &BTreeMap<u32, u64>, _now: Timestamp) {
        let mut first = self.first.lock().unwrap();
        *first = ends.values().copied().min().unwrap_or_default().max(*first);
    }
}

/// The world's program over logs that delete what is released.
pub(super) struct Retaining {
    pub(super) world: World,
    pub(super) logs: [Truncated; 2],
}

impl Retaining {
    pub(super) fn busy() -> Self {
        let world = World::busy();
        let log = |topic| Truncated { log: world.logs[topic].clone(), first: Arc::default() };
        Retaining { logs: SOURCES.map(log), world }
    }

    pub(super) fn run(&self, workers: usize) -> Result<Summary> {
        let mut streams = Streams::new(program());
        for (topic, log) in SOURCES.iter().zip(&self.logs) {
            streams = streams.source(topic, log.clone());
        }
        for (topic, table) in &self.world.tables {
            streams = streams.sink(topic, table.clone());
        }
        streams.run(self.world.one_commit(workers))
    }

    /// Brings the deleted records back.
    pub(super) fn restore(&self) {
        self.logs.iter().for_each(|log| *log.first.lock().unwrap() = 0);
    }

    /// Brings the deleted records of one log back.
    pub(super) fn restore_log(&self, number: usize) {
        *self.logs[number].first.lock().unwrap() = 0;
    }

    pub(super) fn first(&self) -> [u64; 2] {
        self.logs.each_ref().map(|log| *log.first.lock().unwrap())
    }
}

/// The names of the objects in a folder of the state.
fn objects(world: &World, folder: &str) -> Vec<String> {
    world.state().list(folder).unwrap().into_iter().map(|(name, _)| name).collect()
}

/// The paths of the layers of a snapshot, the oldest first.
fn layers_of(world: &World, snapshot: &str) -> Vec<String> {
    let bytes = world.state().get(&format!("snap/{snapshot}")).unwrap().unwrap();
    let snapshot: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let files = snapshot["layers"].as_array().unwrap().iter();
    files.map(|file| file["path"].as_str().unwrap().to_string()).collect()
}

/// Changes a byte in the middle of an object of the state.
fn damage(world: &World, path: &str) {
    let state = world.state();
    let mut bytes = state.get(path).unwrap().unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    state.put(path, &bytes).unwrap();
}

#[test]
fn a_log_may_delete_the_records_that_are_released() {
    let log = Retaining::busy();
    log.run(2).unwrap();
    assert_eq!(log.first(), [0, 0], "a single snapshot may be damaged");
    for step in 0..24 {
        log.world.more();
        let summary = log.run([1, 3, 2, 4, 64, 1][step % 6]).unwrap();
        assert!(summary.topics.values().all(|topic| topic.balances()), "{summary:?}");
        assert_eq!(log.world.shown(), log.world.fresh_run(), "after step {step}");
    }
    let first = log.first();
    assert!(first[0] > 8, "{first:?}");
    // There is a way back from a damaged layer of the last snapshot.
    let snapshot = objects(&log.world, "snap").pop().unwrap();
    damage(&log.world, &layers_of(&log.world, &snapshot)[0]);
    log.run(2).unwrap();
    assert_eq!(log.world.shown(), log.world.fresh_run());
}

#[test]
fn a_log_that_ends_before_the_last_commit_is_refused() {
    let world = World::busy();
    world.run(1).unwrap();
    let mut other = world.clone();
    other.logs.insert("rows", MemoryLog::default());
    other.append("rows", 0, "a=1 b=2");
    other.append("rows", 1, "g=7");
    let error = other.run(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    world.run(1).unwrap();
}

#[test]
fn a_damaged_snapshot_is_passed_over() {
    let world = World::busy();
    let run = |workers, recovered| {
        let streams = world.bound(program(), &Fuse::sound());
        let summary = streams.run(world.one_commit(workers)).unwrap();
        assert_eq!(summary.recovered, recovered);
        assert_eq!(world.shown(), world.fresh_run());
    };
    run(2, 0);
    world.more();
    run(1, 30);
    // The younger object is damaged, then the younger layer, then all.
    let names = objects(&world, "snap");
    damage(&world, &format!("snap/{}", names[1]));
    run(3, 40);
    world.append("rows", 0, "b= new=1");
    run(2, 40);
    let names = objects(&world, "snap");
    damage(&world, layers_of(&world, &names[names.len() - 1]).last().unwrap());
    run(1, 42);
    for folder in ["layer", "snap"] {
        for name in objects(&world, folder) {
            damage(&world, &format!("{folder}/{name}"));
        }
        run(2, 42);
    }
    world.append("rows", 0, "b=9");
    run(4, 42);
    run(1, 43);
}

#[test]
fn many_runs_leave_few_objects_and_deleted_keys_stay_deleted() {
    let world = World::busy();
    for step in 0..40 {
        world.append("rows", step % 2, &format!("a={step} k{step}=1 k{}=", step.max(3) - 3));
        world.append("events", 0, &format!("k{step}={step}"));
        world.run(1 + step as usize % 3).unwrap();
        assert_eq!(world.shown(), world.fresh_run(), "after step {step}");
    }
    let (layers, snapshots) = (objects(&world, "layer"), objects(&world, "snap"));
    assert!(snapshots.len() <= 3 && layers.len() <= 24, "{layers:?} {snapshots:?}");
}

#[test]
fn a_store_that_is_opened_later_has_all_rows() {
    let world = World::busy();
    let topology = || {
        Topology::new("store", |builder: &StreamsBuilder<'_>| {
            table(builder, "rows").materialize(Materialized::named("rows")).to("kept", pair());
        })
    };
    let streams = || {
        Streams::new(topology())
            .source("rows", world.logs["rows"].clone())
            .sink("kept", world.tables["kept"].clone())
    };
    let rows = |streams: &mut Streams| streams.store::<String, i64>("rows").unwrap();
    streams().run(world.config(2)).unwrap();
    let mut with_store = streams();
    let store = rows(&mut with_store);
    with_store.run(world.config(1)).unwrap();
    assert_eq!(store.view().len(), world.shown()["kept"].len());
    world.append("rows", 0, "b=3 new=1");
    let mut with_store = streams();
    let store = rows(&mut with_store);
    with_store.run(world.config(3)).unwrap();
    assert_eq!((store.get("new"), store.get("b")), (Some(1), Some(3)));
    assert_eq!(store.view().len(), world.shown()["kept"].len());
}

/// A topology whose results depend on where epochs end.
pub(super) fn changes() -> Topology {
    Topology::new("changes", |builder: &StreamsBuilder<'_>| {
        let changes = table(builder, "rows").to_stream().map_values(|v| v.unwrap_or(-1));
        changes.to("all", pair());
        changes.group_by_key().count().to("counts", pair());
        changes.to_table().to("kept", pair());
        changes.merge(&stream(builder, "events")).group_by_key().sum(|v| *v).to("sums", pair());
    })
}

#[test]
fn changes_by_epoch_are_continued_from_the_last_commit() {
    let world = World::new();
    let run = |workers| {
        let mut streams = Streams::new(changes());
        for topic in SOURCES {
            streams = streams.source(topic, world.logs[topic].clone());
        }
        for topic in ["all", "counts", "kept", "sums"] {
            streams = streams.sink(topic, world.tables[topic].clone());
        }
        streams.run(world.config(workers))
    };
    let rows = |topic: &str| -> Vec<String> {
        world.tables[topic].rows().iter().map(|row| shown(row)).collect()
    };
    for (step, records) in ["a=1 b=2", "a=3", "b= a=3", "b=7", "c=1 a="].into_iter().enumerate() {
        world.append("rows", 0, records);
        world.append("events", 0, "a=100");
        run([1, 3, 2, 4, 1][step]).unwrap();
    }
    let sorted = |topic: &str| {
        let mut rows = rows(topic);
        rows.sort();
        rows.join(" ")
    };
    assert_eq!(sorted("all"), "a=-1 a=1 a=3 b=-1 b=2 b=7 c=1");
    assert_eq!(sorted("counts"), "a=3 b=3 c=1");
    assert_eq!(sorted("kept"), "a=-1 b=7 c=1");
    assert_eq!(sorted("sums"), "a=503 b=8 c=1");
    // Without its snapshot the state can't be rebuilt.
    world.forget_snapshots();
    let error = run(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
}

#[test]
fn a_run_that_follows_names_its_snapshot_without_new_records() {
    let world = World::busy();
    let large = "x".repeat(1 << 20);
    for n in 0..24 {
        world.append("rows", n % 2, &format!("{large}{n}={n}"));
    }
    let following = world.follow_every(Duration::from_millis(1));
    following.until(54);
    crate::support::until("a manifest that names a snapshot", || {
        let manifests = objects(&world, "manifest");
        manifests.last().is_some_and(|name| {
            let bytes = world.state().get(&format!("manifest/{name}")).unwrap().unwrap();
            String::from_utf8(bytes).unwrap().contains("\"snapshots\"")
        })
    });
    following.stop.stop();
    following.end().unwrap();
    assert_eq!(world.run(1).unwrap().recovered, 54);
    assert_eq!(world.shown(), world.fresh_run());
}

#[test]
fn an_earlier_run_does_not_delete_the_layers_of_a_later_one() {
    let world = World::busy();
    let first = world.follow();
    first.until(30);
    world.more();
    first.until(40);
    // The second run takes over while the first one is idle.
    world.append("events", 0, "q=1");
    let config = Config { commit_every: Duration::ZERO, ..world.config(2) };
    world.bound(program(), &Fuse::sound()).run(config).unwrap();
    first.stop.stop();
    // Its end may be refused: it has lost the state.
    drop(first.end());
    assert_eq!(world.run(3).unwrap().recovered, 41);
    assert_eq!(world.shown(), world.fresh_run());
}

#[test]
fn a_table_that_is_read_twice_is_saved_once() {
    let topology = Topology::new("twice", |builder: &StreamsBuilder<'_>| {
        let rows = table(builder, "rows");
        rows.join(&rows, |a, b| a + b).to("kept", pair());
        rows.group_by(|_, v| ((v % 3).to_string(), *v)).count().to("counts", pair());
    });
    let world = World::busy();
    let streams = || {
        Streams::new(topology.clone())
            .source("rows", world.logs["rows"].clone())
            .sink("kept", world.tables["kept"].clone())
            .sink("counts", MemoryTable::default())
    };
    streams().run(world.one_commit(2)).unwrap();
    let snapshot = objects(&world, "snap").pop().unwrap();
    let bytes = world.state().get(&format!("snap/{snapshot}")).unwrap().unwrap();
    let snapshot: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let names: Vec<_> =
        snapshot["cuts"].as_array().unwrap().iter().map(|cut| &cut["name"]).collect();
    assert_eq!(names, ["table rows versions", "table rows rows"]);
}

/// Returns the bytes of all layers after runs in which keys come and go.
fn bytes_after_deletions(bind: impl Fn(Streams, MemoryLog) -> Streams) -> u64 {
    let world = World::new();
    let topology = Topology::new("keys", |builder: &StreamsBuilder<'_>| {
        table(builder, "rows").to("kept", pair());
    });
    for step in 0..40_usize {
        let keys = |step: usize| (0..50).map(move |n| format!("key-{step}-{n}="));
        let added: Vec<_> = keys(step).map(|key| key + "1").collect();
        world.append("rows", 0, &added.join(" "));
        let deleted: Vec<_> = step.checked_sub(1).into_iter().flat_map(keys).collect();
        world.append("rows", 0, &deleted.join(" "));
        let streams = bind(Streams::new(topology.clone()), world.logs["rows"].clone());
        let streams = streams.sink("kept", world.tables["kept"].clone());
        streams.run(world.one_commit(1 + step % 2)).unwrap();
    }
    assert_eq!(world.tables["kept"].rows().len(), 50);
    world.state().list("layer").unwrap().iter().map(|(_, size)| size).sum()
}

#[test]
fn snapshots_forget_deleted_keys_if_no_partition_is_ever_added() {
    let any = bytes_after_deletions(|streams, log| streams.source("rows", log));
    let fixed =
        bytes_after_deletions(|streams, log| streams.source("rows", log.with_fixed_partitions()));
    assert!(fixed * 2 < any, "{fixed} beside {any}");
}

#[test]
fn groups_of_one_stream_by_keys_of_different_types_are_restored() {
    let program = |builder: &StreamsBuilder<'_>| {
        let events = stream(builder, "events");
        let by_text = events.group_by(|key, value| Some((key.clone(), *value)));
        by_text.count().to("kept", pair());
        let by_number = events.group_by(|_, value| Some((*value, ())));
        by_number.count().to("numbers", pair());
    };
    let (log, tables) = (MemoryLog::default(), [MemoryTable::default(), MemoryTable::default()]);
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let state = Some(Store::open(folder.path().to_str().unwrap()).unwrap());
        let streams = Streams::new(Topology::new("groups", program)).source("events", log.clone());
        let [kept, numbers] = tables.clone();
        let config = Config { state, workers: 2, ..Config::default() };
        streams.sink("kept", kept).sink("numbers", numbers).run(config).unwrap()
    };
    for key in ["a", "b", "a"] {
        log.append(0, Some(key.as_bytes()), Some(b"7"));
    }
    run();
    log.append(0, Some(b"b"), Some(b"8"));
    assert_eq!(run().recovered, 3);
    assert_eq!(tables[0].rows(), [row("a", 2), row("b", 2)]);
    let numbers = [[Value::Long(7), Value::Long(3)], [Value::Long(8), Value::Long(1)]];
    assert_eq!(tables[1].rows(), numbers);
}
