//! A run may crash at any call. The next run ends with the same rows as one that never crashed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use watershed::connect::{Partition, Poll, Source};

use watershed::runtime::{Config, Streams};
use watershed::store::Store;
use watershed::{ErrorKind, StreamsBuilder, Topology};

use super::{SINKS, World, program};
use crate::support::broken::Fuse;
use crate::support::bucket::bucket;
use crate::support::lossy::shaky;
use crate::support::{pair, table};

/// Crashes at call 1, 2, 3 … of a world's sources and sinks until a run succeeds. `after` checks
/// the world after each crash.
fn campaign(late: bool, world: impl Fn() -> World, after: impl Fn(&World, i64)) -> i64 {
    for call in 1..1000 {
        let (world, fuse) = (world(), Fuse::at(call, late));
        let result = world.bound(program(), &fuse).run(world.config(1 + call as usize % 3));
        if !fuse.broken() {
            result.unwrap();
            assert_eq!(world.shown(), world.fresh_run());
            return call;
        }
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "call {call}: {error}");
        assert!(error.to_string().contains(" broke"), "{error}");
        after(&world, call);
    }
    panic!("the run is never through")
}

/// The next run recovers, even with another number of workers and with more records.
fn recovers(world: &World, call: i64) {
    if call % 2 == 0 {
        world.more();
    }
    let summary = world.run(1 + call as usize % 2).unwrap();
    assert_eq!(world.shown(), world.fresh_run(), "after a death at call {call}");
    assert!(summary.topics.values().all(|topic| topic.balances()));
}

#[test]
fn the_next_run_recovers_from_a_crash_before_any_call() {
    assert!(campaign(false, World::busy, recovers) > 20);
}

#[test]
fn the_next_run_recovers_from_a_crash_after_any_call() {
    assert!(campaign(true, World::busy, recovers) > 20);
}

#[test]
fn the_next_run_recovers_from_a_crash_of_a_continued_run() {
    let continued = || {
        let world = World::busy();
        world.run(1).unwrap();
        world.more();
        world
    };
    assert!(campaign(true, continued, recovers) > 20);
}

#[test]
fn the_next_run_recovers_from_a_state_on_s3_after_any_crash() {
    let Some(url) = bucket(the_next_run_recovers_from_a_state_on_s3_after_any_crash) else {
        return;
    };
    let count = AtomicU64::new(0);
    let world = || {
        let state = format!("{url}/{}", count.fetch_add(1, Ordering::Relaxed));
        World { state: Some(Store::open(&state).unwrap()), ..World::busy() }
    };
    assert!(campaign(true, world, recovers) > 20);
}

#[test]
fn a_run_recovers_from_many_crashes_in_a_row() {
    let world = World::busy();
    for late in [false, true] {
        campaign(late, || world.clone(), |_, _| {});
        world.more();
    }
    world.run(2).unwrap();
    assert_eq!(world.shown(), world.fresh_run());
}

#[test]
fn a_failed_request_of_the_state_loses_and_repeats_nothing() {
    for late in [false, true] {
        for call in 1.. {
            let (world, fuse) = (World::busy(), Fuse::at(call, late));
            let mut config = world.config(1);
            config.state = Some(shaky(&world.objects, fuse.clone()));
            let result = world.bound(program(), &Fuse::sound()).run(config);
            if !fuse.broken() {
                result.unwrap();
                break;
            }
            // A run goes on without a snapshot that it could not make.
            assert!(result.err().is_none_or(|error| error.kind() == ErrorKind::Connect));
            recovers(&world, call);
        }
    }
}

#[test]
fn the_next_run_shows_a_decided_commit_without_new_records() {
    for topic in SINKS {
        let world = World::busy();
        // The calls of a sink: open, brief, writers, recovered, stage, commit. It fails at the
        // sixth.
        let dies = |other: &str| if other == topic { Fuse::at(6, false) } else { Fuse::sound() };
        let streams = world.bound_by(program(), dies);
        let config = Config { commit_every: Duration::from_secs(60), ..world.config(2) };
        assert_eq!(streams.run(config).unwrap_err().to_string(), "commit broke");
        let fresh_run = world.fresh_run();
        assert!(world.shown().iter().all(|(t, rows)| if *t == topic {
            rows.is_empty()
        } else {
            *rows == fresh_run[t]
        }));
        assert_eq!(world.run(1).unwrap().committed, 1);
        assert_eq!(world.shown(), fresh_run);
        assert!(world.commits().values().all(|commits| commits.len() == 1 && commits[0].0 == 1));
    }
}

/// A log whose reader panics.
struct Panics;

impl Source for Panics {
    fn describe(&self) -> String {
        "a log that panics".into()
    }
    fn partitions(&self) -> watershed::Result<Vec<u32>> {
        Ok(vec![0])
    }
    fn open(&self, _: u32, _: Option<u64>, _: bool) -> watershed::Result<Box<dyn Partition>> {
        Ok(Box::new(Panics))
    }
}

impl Partition for Panics {
    fn poll(&mut self) -> watershed::Result<Poll> {
        panic!("no such reading")
    }
}

#[test]
fn a_source_that_panics_ends_the_run() {
    let world = World::busy();
    let rows = Topology::new("rows", |builder: &StreamsBuilder<'_>| {
        table(builder, "rows").to("kept", pair())
    });
    let streams =
        Streams::new(rows).source("rows", Panics).sink("kept", world.tables["kept"].clone());
    let error = streams.run(world.config(2)).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Internal && error.to_string().starts_with("a reader panicked"),
        "{error}"
    );
}

#[test]
fn a_closure_that_panics_ends_the_run_and_nothing_is_committed() {
    for workers in [1, 3] {
        let world = World::busy();
        let panics = Topology::new("panics", |builder: &StreamsBuilder<'_>| {
            let refuse = |v: &i64| if *v == 9 { panic!("9 is too much") } else { *v };
            table(builder, "rows").map_values(refuse).to("kept", pair());
        });
        let out = world.tables["kept"].clone();
        let streams = Streams::new(panics)
            .source("rows", world.logs["rows"].clone())
            .sink("kept", out.clone());
        // The records before the 9 could be a commit of their own; a long interval makes one
        // commit.
        let config = Config { commit_every: Duration::from_secs(60), ..world.config(workers) };
        let error = streams.run(config).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Internal, 70), "{error}");
        assert!(out.commits().is_empty());
    }
}
