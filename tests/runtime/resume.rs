//! A run continues where another ended.

use std::time::Duration;

use watershed::runtime::Config;
use watershed::store::Store;

use super::{World, program};
use crate::support::broken::Fuse;

#[test]
fn a_run_continues_where_the_last_one_ended() {
    let world = World::busy();
    let first = world.run(1).unwrap();
    assert_eq!(world.shown(), world.fresh_run());
    assert_eq!(
        (first.recovered, first.topics["rows"].read, first.topics["events"].read),
        (0, 17, 13)
    );
    world.more();
    let second = world.run(2).unwrap();
    assert_eq!(world.shown(), world.fresh_run());
    assert_eq!(
        (second.recovered, second.topics["rows"].read, second.topics["events"].read),
        (30, 23, 17)
    );
    assert!(second.committed > first.committed);
    assert!(second.topics.values().all(|topic| topic.balances()), "{second:?}");
}

#[test]
fn nothing_new_is_no_commit() {
    let world = World::busy();
    let first = world.run(2).unwrap();
    let commits = world.commits();
    for workers in [1, 2, 4] {
        assert_eq!(world.run(workers).unwrap().committed, first.committed);
    }
    assert_eq!(world.commits(), commits);
}

#[test]
fn many_short_runs_of_any_number_of_workers_equal_one() {
    let world = World::new();
    for step in 0..8 {
        world.append("rows", step % 3, ["a=1 b=2", "a= c=3", "b=5", "x=no a=2"][step as usize % 4]);
        world.append("events", step % 2, ["a=1 b=1", "c=", "c=4 a=1", "b=2"][step as usize % 4]);
        world.run([1, 3, 2, 4][step as usize % 4]).unwrap();
        assert_eq!(world.shown(), world.fresh_run(), "after step {step}");
    }
}

#[test]
fn a_partition_that_is_new_is_read_from_its_beginning() {
    let world = World::busy();
    world.run(1).unwrap();
    world.append("rows", 7, "a=70 new=71");
    world.append("events", 3, "new=1");
    world.run(1).unwrap();
    assert_eq!(world.shown(), world.fresh_run());
    assert!(world.shown()["kept"].contains(&"new=71".to_string()));
}

#[test]
fn commits_are_numbered_and_write_only_changed_tables() {
    let world = World::busy();
    world.run(1).unwrap();
    let before = world.commits();
    world.append("events", 0, "nobody=1");
    let last = world.run(1).unwrap().committed;
    let after = world.commits();
    assert_eq!(after["all"].last(), Some(&(last, 1)));
    assert!(after["all"].windows(2).all(|pair| pair[0].0 < pair[1].0));
    for topic in ["kept", "counts", "sums", "dead_letters"] {
        assert_eq!(after[topic], before[topic], "{topic}");
    }
}

#[test]
fn a_state_in_a_folder_is_continued() {
    let (world, folder) = (World::busy(), tempfile::tempdir().unwrap());
    let run = || {
        let state = Some(Store::open(folder.path().to_str().unwrap()).unwrap());
        let config =
            Config { workers: 2, state, commit_every: Duration::ZERO, ..Config::default() };
        world.bound(program(), &Fuse::sound()).run(config).unwrap()
    };
    let first = run();
    world.more();
    let second = run();
    assert_eq!((first.recovered, second.recovered), (0, 30));
    assert_eq!(world.shown(), world.fresh_run());
    let manifests = std::fs::read_dir(folder.path().join("manifest")).unwrap().count() as u64;
    assert_eq!(manifests, second.committed);
}

#[test]
fn a_short_run_is_one_commit_by_default() {
    let world = World::busy();
    let config = Config { commit_every: Duration::from_secs(60), ..world.config(2) };
    let summary = world.bound(program(), &Fuse::sound()).run(config).unwrap();
    assert_eq!(summary.committed, 1);
    assert_eq!(world.shown(), world.fresh_run());
}
