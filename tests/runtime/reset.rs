//! A run resets a state: it begins from nothing, and ends like a run without a state.

use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{Committer, Recovering, Schema, Sink, SinkContext};
use watershed::connectors::delta::{Delta, Table as DeltaTable};
use watershed::options::Produced;
use watershed::runtime::{Config, Streams, Summary, TopologyChange};
use watershed::{DEAD_LETTERS, Error, ErrorKind, Result, StreamsBuilder, Topology};

use super::snapshots::Retaining;
use super::{SOURCES, Shown, World, program};
use crate::support::broken::{Fuse, Table};
use crate::support::lossy::shaky;
use crate::support::{pair, stream, table};

/// The program with other steps for the same sinks.
fn changed() -> Topology {
    Topology::new("program", |builder: &StreamsBuilder<'_>| {
        let (rows, events) = (table(builder, "rows"), stream(builder, "events"));
        let small = rows.filter(|_, v| *v < 7);
        small.to("kept", pair());
        small.group_by(|k, v| (k.clone(), *v)).count().to("counts", pair());
        events.filter(|_, v| *v != 2).to("all", pair());
        events.join(&small, |e, r| e + r).group_by_key().sum(|v| *v).to("sums", pair());
    })
}

fn reset(world: &World, topology: Topology, fuse: &Fuse, workers: usize) -> Result<Summary> {
    let config = Config { topology_change: TopologyChange::Reset, ..world.config(workers) };
    world.bound(topology, fuse).run(config)
}

fn run(world: &World, topology: Topology) -> Result<Summary> {
    world.bound(topology, &Fuse::sound()).run(world.config(2))
}

/// The rows of a run of [`changed`] without a state.
fn fresh_changed(world: &World) -> Shown {
    let fresh = World { logs: world.logs.clone(), ..World::new() };
    fresh.bound(changed(), &Fuse::sound()).run(fresh.config(1)).unwrap();
    fresh.shown()
}

/// Returns a world with a state of [`program`].
fn with_state() -> World {
    let world = World::busy();
    world.run(2).unwrap();
    world.more();
    world.run(1).unwrap();
    world
}

fn manifest(world: &World) -> serde_json::Value {
    let all = world.recorded();
    serde_json::from_slice(&all.last().unwrap().1).unwrap()
}

#[test]
fn a_reset_state_ends_like_a_run_from_nothing() {
    for workers in [1, 3] {
        let world = with_state();
        let before = manifest(&world);
        let error = run(&world, changed()).unwrap_err().to_string();
        assert!(error.contains("adopt the topology") && error.contains("reset the state"));
        let summary = reset(&world, changed(), &Fuse::sound(), workers).unwrap();
        assert_eq!(world.shown(), fresh_changed(&world));
        assert_eq!(summary.recovered, 0);
        let read: u64 = summary.topics.values().map(|topic| topic.read).sum();
        assert_eq!(read, 40, "all records are read again");
        let after = manifest(&world);
        assert_ne!((&before["app"], &before["secret"]), (&after["app"], &after["secret"]));
        // From now on it is an ordinary state.
        world.append("rows", 0, "new=1 a=");
        let summary = run(&world, changed()).unwrap();
        assert_eq!(summary.recovered, 40);
        assert_eq!(world.shown(), fresh_changed(&world));
    }
}

#[test]
fn a_state_of_the_same_topology_is_reset_on_request_only() {
    let world = with_state();
    let app = manifest(&world)["app"].clone();
    run(&world, program()).unwrap();
    assert_eq!(manifest(&world)["app"], app);
    for _ in 0..2 {
        reset(&world, program(), &Fuse::sound(), 2).unwrap();
        assert_eq!(world.shown(), world.fresh_run());
    }
    assert_ne!(manifest(&world)["app"], app);
}

#[test]
fn a_reset_without_a_state_is_an_ordinary_run() {
    let world = World::busy();
    let summary = reset(&world, program(), &Fuse::sound(), 2).unwrap();
    assert_eq!(world.shown(), world.fresh_run());
    assert!(world.commits().values().flatten().all(|(n, _)| *n <= summary.committed));
    let first: serde_json::Value = serde_json::from_slice(&world.recorded()[1].1).unwrap();
    assert!(first["reset"].is_null() && first["n"] == 1, "{first}");
}

/// Checks a world after a reset that died: a run of either topology continues.
fn completes(world: &World, call: i64) -> bool {
    let is_decided = world.recorded().iter().any(|(_, bytes)| {
        let object: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        !object["reset"].is_null()
    });
    match (is_decided, call % 3) {
        (false, 0) => {
            // Nothing was changed.
            world.run(1).unwrap();
            assert_eq!(world.shown(), world.fresh_run(), "after a death at call {call}");
            reset(world, changed(), &Fuse::sound(), 1).map(drop).unwrap();
        }
        (true, 0 | 1) => run(world, changed()).map(drop).unwrap(),
        _ => reset(world, changed(), &Fuse::sound(), 3).map(drop).unwrap(),
    }
    assert_eq!(world.shown(), fresh_changed(world), "after a death at call {call}");
    world.append("rows", 1, "z=5 a=6");
    run(world, changed()).unwrap();
    assert_eq!(world.shown(), fresh_changed(world), "after a death at call {call}");
    is_decided
}

#[test]
fn a_reset_that_dies_at_any_call_is_completed_by_a_later_run() {
    let mut decided = [0, 0];
    for call in 1.. {
        let (world, fuse) = (with_state(), Fuse::at(call, call % 2 == 0));
        let died = reset(&world, changed(), &fuse, 1 + call as usize % 3).is_err();
        decided[usize::from(completes(&world, call))] += 1;
        if !died {
            break;
        }
    }
    assert!(decided[0] > 10 && decided[1] > 20, "{decided:?}");
}

#[test]
fn a_reset_that_fails_at_any_request_is_completed_later() {
    let mut decided = [0, 0];
    for call in 1.. {
        let (world, fuse) = (with_state(), Fuse::at(call, call % 2 == 0));
        let state = Some(shaky(&world.objects, fuse.clone()));
        let change = TopologyChange::Reset;
        let config = Config { state, topology_change: change, ..world.config(2) };
        let result = world.bound(changed(), &Fuse::sound()).run(config);
        assert!(result.is_ok() || fuse.broken());
        decided[usize::from(completes(&world, call))] += 1;
        if !fuse.broken() {
            break;
        }
    }
    assert!(decided[0] > 3 && decided[1] > 5, "{decided:?}");
}

#[test]
fn a_pending_reset_is_continued_by_any_topology() {
    let world = with_state();
    // The first sink fails when it is emptied, after the decision.
    let fuse = |topic: &str| if topic == "all" { Fuse::at(2, false) } else { Fuse::sound() };
    let config = Config { topology_change: TopologyChange::Reset, ..world.config(1) };
    let error = world.bound_by(changed(), fuse).run(config).unwrap_err();
    assert_eq!(error.to_string(), "clear broke");
    assert!(world.shown()["kept"].len() > 2, "not emptied yet");
    let config = Config { topology_change: TopologyChange::Adopt, ..world.config(1) };
    let streams = world.bound(program(), &Fuse::sound());
    assert_eq!(streams.adoption(&world.state()).unwrap(), None);
    streams.run(config).unwrap();
    assert_eq!(world.shown(), world.fresh_run());
}

#[test]
fn a_state_without_a_commit_is_reset_too() {
    let (log, folder) = (MemoryLog::default(), tempfile::tempdir().unwrap());
    log.append(0, Some(b"a"), Some(b"1"));
    let url = folder.path().join("table").to_str().unwrap().to_string();
    let (world, other) = (World::new(), MemoryTable::default());
    let run = |column: &'static str, fuse: Fuse, topology_change| {
        let topology = Topology::new("program", move |builder: &StreamsBuilder<'_>| {
            let rows = table(builder, "rows");
            rows.to("kept", Produced::columns(["key", column]));
            rows.to("other", pair());
        });
        let other = other.clone();
        let streams = Streams::new(topology).source("rows", log.clone());
        let streams = streams.sink("kept", Delta::table(&url).unwrap());
        let name = "table other".to_string();
        let streams = streams.sink("other", Table { name, table: other, fuse });
        streams.run(Config { topology_change, ..world.config(1) })
    };
    // It makes the table, and dies before its first commit.
    let error = run("old", Fuse::at(1, false), TopologyChange::Refuse).unwrap_err();
    assert_eq!(error.to_string(), "open broke");
    let error = run("new", Fuse::sound(), TopologyChange::Refuse).unwrap_err();
    assert!(error.to_string().contains("other columns"), "{error}");
    run("new", Fuse::sound(), TopologyChange::Reset).unwrap();
    let kept = DeltaTable::open(&url).unwrap();
    assert_eq!(kept.columns()[1].name, "new");
    run("new", Fuse::sound(), TopologyChange::Refuse).unwrap();
}

#[test]
fn a_run_that_a_reset_overtakes_adds_no_row() {
    let world = World::busy();
    let older = world.follow();
    older.until(30);
    reset(&world, changed(), &Fuse::sound(), 2).unwrap();
    let (shown, commits) = (world.shown(), world.commits());
    assert_eq!(shown, fresh_changed(&world));
    world.more();
    let error = older.end().unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Superseded, 76), "{error}");
    assert_eq!((world.shown(), world.commits()), (shown, commits));
    run(&world, changed()).unwrap();
    assert_eq!(world.shown(), fresh_changed(&world));
}

/// Resets a world, which must be refused and change nothing.
fn refused(world: &World, streams: Streams, kind: ErrorKind) -> Error {
    let before = (world.shown(), world.commits(), world.recorded());
    let config = Config { topology_change: TopologyChange::Reset, ..world.config(2) };
    let error = streams.run(config).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains("can't reset the state"), "{error}");
    assert_eq!((world.shown(), world.commits(), world.recorded()), before, "{error}");
    error
}

#[test]
fn a_source_without_its_first_records_refuses_a_reset() {
    let log = Retaining::busy();
    let streams = || {
        let streams = SOURCES.iter().zip(&log.logs).fold(Streams::new(changed()), |all, it| {
            let (topic, log) = it;
            all.source(topic, log.clone())
        });
        log.world.tables.iter().fold(streams, |all, (topic, held)| all.sink(topic, held.clone()))
    };
    for _ in 0..30 {
        log.run(2).unwrap();
        log.world.more();
    }
    assert!(log.first()[0] > 0, "no record is released");
    let error = refused(&log.world, streams(), ErrorKind::Data).to_string();
    for part in ["topic rows lacks its first records", "offset 0 is deleted", "another state"] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    log.run(1).unwrap();
    log.restore();
    let config = Config { topology_change: TopologyChange::Reset, ..log.world.config(2) };
    streams().run(config).unwrap();
    assert_eq!(log.world.shown(), fresh_changed(&log.world));
}

#[test]
fn a_source_that_has_lost_all_records_refuses_a_reset() {
    let world = with_state();
    let mut empty = world.clone();
    empty.logs.insert("events", MemoryLog::default());
    let streams = empty.bound(changed(), &Fuse::sound());
    let error = refused(&world, streams, ErrorKind::Data).to_string();
    assert!(error.contains("partition 0 of log events has no records from offset 0 on"), "{error}");
}

/// A table that can't be emptied.
struct Kept(MemoryTable);

impl Sink for Kept {
    fn describe(&self) -> String {
        "a pile of paper".into()
    }
    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        self.0.open(schema, context)
    }
    fn writers(
        &self,
        schema: &Schema,
        context: &SinkContext,
        brief: &serde_json::Value,
        workers: std::ops::Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>> {
        self.0.writers(schema, context, brief, workers)
    }
}

#[test]
fn a_sink_that_can_not_be_emptied_refuses_a_reset() {
    let world = with_state();
    let streams = world.logs.iter().fold(Streams::new(changed()), |all, (topic, held)| {
        let (name, log, fuse) = (format!("log {topic}"), held.clone(), Fuse::sound());
        let seen = Default::default();
        all.source(topic, crate::support::broken::Log { name, log, batch: 4, seen, fuse })
    });
    let streams = world.tables.iter().fold(streams, |all, (topic, held)| match *topic {
        DEAD_LETTERS => all.sink(topic, Kept(held.clone())),
        _ => all.sink(topic, held.clone()),
    });
    let error = refused(&world, streams, ErrorKind::Config).to_string();
    assert!(error.contains("a pile of paper can't be emptied"), "{error}");
}
