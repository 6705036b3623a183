//! Runs that follow: how they end, and that only one of two commits.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value as Json;
use watershed::connect::memory::MemoryTable;
use watershed::connect::{Committer, Recovering, Schema, Sink, SinkContext};
use watershed::runtime::{Config, Milestone, Stop, Streams};
use watershed::store::Store;
use watershed::{Error, ErrorKind, Result, StreamsBuilder, Topology};
use xxhash_rust::xxh3::xxh3_128;

use super::{World, program};
use crate::support::broken::Fuse;
use crate::support::{pair, table};

#[test]
fn a_following_run_shows_new_records_until_it_is_stopped() {
    let world = World::busy();
    let run = world.follow();
    run.until(30);
    assert_eq!(world.shown(), world.fresh_run());
    world.more();
    run.until(40);
    assert_eq!(world.shown(), world.fresh_run());
    run.stop.stop();
    run.stop.stop();
    let summary = run.end().unwrap();
    assert_eq!(summary.topics["rows"].read + summary.topics["events"].read, 40);
    world.append("rows", 0, "late=1");
    assert_eq!(world.run(1).unwrap().recovered, 40);
    assert_eq!(world.shown(), world.fresh_run());
}

#[test]
fn a_stopping_run_commits_everything_it_read() {
    for early in 0..6 {
        let world = World::busy();
        let run = world.follow();
        run.wait(|milestone| match milestone {
            Milestone::Answered(n) | Milestone::Committed(n) => n >= early * 4,
        });
        run.stop.stop();
        let summary = run.end().unwrap();
        let read = summary.topics["rows"].read + summary.topics["events"].read;
        assert_eq!(world.run(2).unwrap().recovered, read, "what was read and what was committed");
        assert_eq!(world.shown(), world.fresh_run());
    }
}

#[test]
fn a_run_that_is_stopped_before_it_begins_changes_nothing() {
    let world = World::busy();
    let stop = Stop::default();
    stop.stop();
    let summary =
        world.bound(program(), &Fuse::sound()).run(Config { stop, ..world.config(2) }).unwrap();
    assert_eq!(summary.committed, 0);
    assert!(world.commits().values().all(Vec::is_empty));
    world.run(1).unwrap();
    assert_eq!(world.shown(), world.fresh_run());
}

#[test]
fn a_partition_that_comes_while_following_is_read() {
    let world = World::busy();
    let run = world.follow();
    run.until(30);
    world.append("rows", 5, "a=50 fresh=51");
    run.until(32);
    assert_eq!(world.shown(), world.fresh_run());
    run.stop.stop();
    run.end().unwrap();
}

#[test]
fn a_newer_run_takes_over_and_the_older_commits_nothing_more() {
    let world = World::busy();
    let older = world.follow();
    older.until(30);
    let newer = world.run(2).unwrap();
    assert_eq!(newer.recovered, 30);
    let commits = world.commits();
    world.more();
    let error = older.end().unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Superseded, 76), "{error}");
    assert_eq!(world.commits(), commits, "what it staged is not shown");
    world.run(1).unwrap();
    assert_eq!(world.shown(), world.fresh_run());
}

/// A run that was paused for long finds that its log no longer has the next record. Its exit code
/// must not lead anybody to delete the state.
#[test]
fn a_superseded_run_with_a_failing_source_is_superseded() {
    let (world, fuse) = (World::busy(), Fuse::sound());
    let sources = |topic: &str| if topic == "rows" { fuse.clone() } else { Fuse::sound() };
    let older = world.follow_by(world.bound_by(program(), sources), Duration::ZERO);
    older.until(30);
    world.run(2).unwrap();
    fuse.blow();
    let error = older.end().unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Superseded, 76), "{error}");
    assert!(format!("{error:#}").contains("broke"), "the cause is kept: {error:#}");
}

#[test]
fn the_newer_of_two_following_runs_continues() {
    let world = World::busy();
    let older = world.follow();
    older.until(30);
    let newer = world.follow();
    newer.wait(|milestone| milestone == Milestone::Answered(30));
    world.more();
    newer.until(40);
    assert_eq!(older.end().unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(world.shown(), world.fresh_run());
    newer.stop.stop();
    newer.end().unwrap();
}

/// A table that is opened while the previous run makes its last commit.
struct Overlapping {
    table: MemoryTable,
    state: Store,
    opened: AtomicUsize,
}

impl Overlapping {
    /// Makes the commit after the last one, of the same ranges and without changes.
    fn commit(&self) {
        let last = self.state.list("manifest").unwrap().into_iter().map(|(name, _)| name).max();
        let bytes = self.state.get(&format!("manifest/{}", last.unwrap())).unwrap().unwrap();
        let mut manifest: Json = serde_json::from_slice(&bytes).unwrap();
        let n = manifest["n"].as_u64().unwrap() + 1;
        (manifest["n"], manifest["previous"]) =
            (n.into(), format!("{:032x}", xxh3_128(&bytes)).into());
        for sink in manifest["sinks"].as_object_mut().unwrap().values_mut() {
            sink["content"] = Json::Null;
        }
        self.state.put(&format!("manifest/{n:020}"), manifest.to_string().as_bytes()).unwrap();
    }
}

impl Sink for Overlapping {
    fn describe(&self) -> String {
        self.table.describe()
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        if self.opened.fetch_add(1, Ordering::SeqCst) == 0 {
            self.commit();
            return Err(Error::data("the table is at a later commit than the state"));
        }
        self.table.open(schema, context)
    }

    fn writers(
        &self,
        schema: &Schema,
        context: &SinkContext,
        brief: &Json,
        workers: Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>> {
        self.table.writers(schema, context, brief, workers)
    }
}

#[test]
fn sinks_open_again_after_a_last_commit_of_the_previous_run() {
    let world = World::busy();
    let kept = |builder: &StreamsBuilder<'_>| table(builder, "rows").to("kept", pair());
    let streams =
        || Streams::new(Topology::new("kept", kept)).source("rows", world.logs["rows"].clone());
    let rows = &world.tables["kept"];
    let first = streams().sink("kept", rows.clone()).run(world.config(2)).unwrap();
    world.more();
    let table = Overlapping { table: rows.clone(), state: world.state(), opened: 0.into() };
    let second = streams().sink("kept", table).run(world.config(2)).unwrap();
    assert_eq!(second.recovered, first.topics["rows"].read);
    let fresh = MemoryTable::default();
    streams().sink("kept", fresh.clone()).run(Config::default()).unwrap();
    assert_eq!(rows.rows(), fresh.rows());
    assert_eq!(world.state().list("gen").unwrap().len(), 3, "the run has begun twice");
}
