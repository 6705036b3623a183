//! An inspection of a state names the reads of a restart and each damaged object.

use std::time::Duration;

use watershed::runtime::{Consequence, Depth, Finding, StateReport, inspect};

use super::{World, program};
use crate::support::broken::Fuse;

/// Paths of all objects of the state in the folders.
fn paths(world: &World, folders: &[&str]) -> Vec<String> {
    let names = |folder: &&str| {
        let names = world.state().list(folder).unwrap().into_iter();
        names.map(|(name, _)| format!("{folder}/{name}")).collect::<Vec<_>>()
    };
    folders.iter().flat_map(names).collect()
}

/// Runs the program to the end of the logs, in one commit with a snapshot. Returns its number.
fn run(world: &World, workers: usize) -> u64 {
    world.bound(program(), &Fuse::sound()).run(world.one_commit(workers)).unwrap().committed
}

/// A world with three commits and two snapshots.
fn with_snapshots() -> World {
    let world = World::busy();
    run(&world, 2);
    world.more();
    run(&world, 1);
    let following = world.follow_every(Duration::ZERO);
    world.append("rows", 0, "tail=1");
    following.until(41);
    following.stop.stop();
    following.end().unwrap();
    world
}

fn verify(world: &World) -> StateReport {
    inspect(&world.state(), Depth::Checksums).unwrap()
}

#[test]
fn a_report_names_the_reads_of_a_restart() {
    let world = World::busy();
    let first = run(&world, 2);
    world.more();
    let second = run(&world, 1);
    let report = inspect(&world.state(), Depth::Listing).unwrap();
    let manifests = report.manifests.clone().unwrap();
    assert_eq!((report.generation, manifests.first, manifests.last), (2, 1, second));
    assert!(manifests.stored_at.is_some());
    let commits: Vec<_> = report.snapshots.iter().map(|snapshot| snapshot.commit).collect();
    assert_eq!(commits, [second, first]);
    assert_eq!(report.restart.snapshot, Some(second));
    assert!(report.restart.topics.values().all(|tail| tail.records == 0), "{report:?}");
    assert!(report.snapshots[0].cuts.iter().all(|cut| cut.rows > 0 && cut.bytes > 0));
    assert_eq!(report.unneeded, []);
    // Without the younger snapshot, the records of the second run are read again.
    world.state().delete(&report.snapshots[0].path).unwrap();
    let report = inspect(&world.state(), Depth::Listing).unwrap();
    let tails: Vec<_> = report.restart.topics.values().map(|tail| tail.records).collect();
    assert_eq!((report.restart.snapshot, tails), (Some(first), vec![4, 6]));
    assert!(report.restart.topics.values().all(|tail| tail.bytes > Some(0)), "{report:?}");
    assert_eq!(report.consequence(), Consequence::LongerTail);
}

#[test]
fn an_inspection_names_each_damaged_object() {
    let world = with_snapshots();
    assert_eq!(verify(&world).damage, []);
    let verified = verify(&world).verified.unwrap();
    assert!(
        verified.manifests >= 3 && verified.snapshots == 2 && verified.blocks > 0,
        "{verified:?}"
    );
    let manifests = paths(&world, &["manifest"]);
    let (last, earlier) = manifests.split_last().unwrap();
    let mut others = [earlier, &paths(&world, &["layer", "snap"])].concat();
    // The end of a run may come before it deletes old objects.
    let unneeded = verify(&world).unneeded;
    others.retain(|path| unneeded.iter().all(|object| object.path != *path));
    for path in &others {
        let bytes = world.state().get(path).unwrap().unwrap();
        // Each of ten bytes of the object, and the whole object.
        for at in (0..bytes.len()).step_by(bytes.len().div_ceil(10)) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            world.state().put(path, &damaged).unwrap();
            let damage = verify(&world).damage;
            assert!(damage.iter().all(|damage| damage.path == *path), "{at}: {damage:?}");
            assert_eq!(damage[0].finding, Finding::Changed, "{path} at {at}");
        }
        world.state().delete(path).unwrap();
        let damage = verify(&world).damage;
        assert_eq!((&damage[0].path, damage[0].finding), (path, Finding::Missing));
        world.state().put(path, &bytes).unwrap();
    }
    // Only the form of the last manifest is known.
    let bytes = world.state().get(last).unwrap().unwrap();
    world.state().put(last, &bytes[1..]).unwrap();
    assert_eq!(verify(&world).consequence(), Consequence::NoRun);
    world.state().put(last, &bytes).unwrap();
    assert_eq!(verify(&world).damage, []);
    world.run(1).unwrap();
}

#[test]
fn the_consequence_of_a_damage_is_that_of_a_run() {
    for (folder, both) in [("snap", false), ("layer", false), ("snap", true)] {
        let world = with_snapshots();
        let mut objects = paths(&world, &[folder]);
        let youngest = objects.pop().unwrap();
        for path in std::iter::once(&youngest).chain(objects.iter().filter(|_| both)) {
            world.state().put(path, b"").unwrap();
        }
        let report = inspect(&world.state(), Depth::Listing).unwrap();
        let wanted = if both { Consequence::AllRecords } else { Consequence::LongerTail };
        assert_eq!(report.consequence(), wanted, "{report:?}");
        assert_eq!(report.restart.snapshot.is_none(), both);
        world.run(2).unwrap();
        assert_eq!(world.shown(), world.fresh_run());
    }
}

#[test]
fn an_inspection_beside_a_run_finds_no_damage() {
    let world = World::busy();
    let following = world.follow();
    let mut records = 30;
    for step in 0..30 {
        world.append("rows", step % 2, &format!("k{step}=1"));
        records += 1;
        let report = inspect(&world.state(), Depth::Checksums);
        // Before the first generation there is no state.
        assert!(report.is_err() && step == 0 || report.unwrap().damage.is_empty());
        following.until(records);
    }
    following.stop.stop();
    following.end().unwrap();
    assert_eq!(verify(&world).damage, []);
}

#[test]
fn a_place_without_a_state_is_an_error() {
    let error = inspect(&World::new().state(), Depth::Listing).unwrap_err();
    assert!(error.to_string().starts_with("there is no state in "), "{error}");
}
