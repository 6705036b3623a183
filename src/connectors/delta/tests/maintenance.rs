//! Promises of the deletion of old files.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::model::{Dice, Rows, World, remote, row};
use crate::connectors::delta::{Table, log, snapshot, vectors};
use crate::store::Store;

fn files(store: &Store, folder: &str, end: &str) -> usize {
    store.list(folder).unwrap().iter().filter(|(name, _)| name.ends_with(end)).count()
}

/// Makes commits 1 to 20 of a table of 50 rows, with a checkpoint of the last. The clock shows the
/// first of `times`, from commit 11 on the second, and in the end the third. All are relative to
/// the machine's time, which Delta's library and the disk use.
fn world(folder: &Path, store: Store, times: [i64; 3]) -> (World, Rows) {
    let [from, middle, to] = times;
    let (mut dice, mut rows) = (Dice::new(1), Rows::new());
    let mut world =
        World { store, ..World::new(folder, |d| d.rewrite_below(0).checkpoint_every(20)) };
    let now = world.clock.fetch_add(from, Ordering::Relaxed);
    let mut run = world.start(1, &rows, &mut dice).unwrap();
    for n in 1..=20 {
        if n == 11 {
            world.clock.store(now + middle, Ordering::Relaxed);
        }
        for _ in 0..10 {
            let key = dice.below(50) as i64;
            rows.insert(key, row(key, &mut dice));
            run.insert(key, &rows[&key]);
        }
        let content = run.stage(n).unwrap();
        run.committer.commit(n, &content).unwrap();
        world.committed = n;
        world.recorded = Some((n, content));
        if n == 20 {
            world.clock.store(now + to, Ordering::Relaxed);
        }
        run.committer.maintain_now().unwrap();
    }
    (world, rows)
}

const DAY_MILLIS: i64 = 24 * 3600 * 1000;

/// Runs a check in a folder and in an object store.
fn everywhere(times: [i64; 3], check: impl Fn(World, Rows)) {
    let folder = tempfile::tempdir().unwrap();
    for store in [Store::open(folder.path().join("table").to_str().unwrap()).unwrap(), remote()] {
        let (world, rows) = world(folder.path(), store, times);
        check(world, rows);
    }
}

#[test]
fn a_version_stays_readable_for_a_week() {
    for from in [0, -9000 * DAY_MILLIS, 9000 * DAY_MILLIS] {
        everywhere([from, from, from + 6 * DAY_MILLIS], |world, rows| {
            assert_eq!(files(&world.store, "_delta_log", ".checkpoint.parquet"), 1);
            assert_eq!(files(&world.store, "_delta_log", ".json"), 21);
            for n in 1..=20 {
                assert!(world.read_at(n).len() <= rows.len());
            }
            assert_eq!(world.read(), rows);
        });
    }
}

#[test]
fn files_that_no_recent_version_needs_are_deleted() {
    for from in [0, -9000 * DAY_MILLIS, 9000 * DAY_MILLIS] {
        everywhere([from, from, from + 8 * DAY_MILLIS], |mut world, rows| {
            assert_eq!(files(&world.store, "_delta_log", ".json"), 1);
            let last = snapshot::load(&world.store, None, None).unwrap().files;
            assert_eq!(files(&world.store, "", ".parquet"), last.len());
            let vectors: BTreeSet<_> = last
                .iter()
                .map(|f| &f["add"]["deletionVector"])
                .filter_map(|v| vectors::path(v).ok())
                .collect();
            assert_eq!(files(&world.store, "", ".bin"), vectors.len());
            assert_eq!(world.read(), rows);
            assert_eq!(world.read_at(20), rows);
            assert!(Table::committed(world.store.clone(), 3).is_err());
            world.start(2, &rows, &mut Dice::new(2)).unwrap();
        });
    }
}

#[test]
fn only_files_that_a_recent_version_needs_are_kept() {
    for from in [0, -9000 * DAY_MILLIS, 9000 * DAY_MILLIS] {
        everywhere([from, from + 7 * DAY_MILLIS, from + 10 * DAY_MILLIS], |world, _| {
            let actions = |version| log::read(&world.store, version).unwrap().unwrap();
            let mut needed: BTreeSet<String> = BTreeSet::new();
            let living = snapshot::load(&world.store, None, None).unwrap().files;
            needed
                .extend(living.iter().map(|file| file["add"]["path"].as_str().unwrap().to_owned()));
            let removes = (11..=20).flat_map(actions);
            needed.extend(
                removes.filter_map(|action| Some(action["remove"]["path"].as_str()?.to_owned())),
            );
            let there = world.store.list("").unwrap().into_iter().map(|(name, _)| name);
            let there: BTreeSet<String> = there.filter(|name| name.ends_with(".parquet")).collect();
            assert_eq!(there, needed);
            (10..=20).for_each(|n| drop(world.read_at(n)));
        });
    }
}

#[test]
fn rows_are_deleted_at_the_places_of_a_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dice, mut rows) = (Dice::new(1), Rows::new());
    let mut world = World::new(folder.path(), |d| d.rewrite_below(42).target_file_size(20_000));
    let mut run = world.start(1, &rows, &mut dice).unwrap();
    for n in 1..=5 {
        if n == 2 {
            run = world.start(3, &rows, &mut dice).unwrap();
        }
        // First all rows, more than are copied; then the rows of one of three workers, which
        // rewrites its third.
        for key in (0..120).chain((120..150).step_by(3)).filter(|key| n == 1 || key % 3 == 1) {
            rows.insert(key, row(key, &mut dice));
            run.insert(key, &rows[&key]);
        }
        let content = run.stage(n).unwrap();
        run.committer.commit(n, &content).unwrap();
        (world.committed, world.recorded) = (n, Some((n, content)));
        assert_eq!(world.read(), rows, "commit {n}");
        run.committer.maintain_now().unwrap();
        assert_eq!(world.read(), rows, "maintenance after {n}");
    }
    let log = Store::open(&format!("{}/_delta_log", world.url)).unwrap();
    let versions = log
        .list("")
        .unwrap()
        .into_iter()
        .map(|(name, _)| String::from_utf8(log.get(&name).unwrap().unwrap()).unwrap());
    assert!(versions.filter(|version| version.contains("OPTIMIZE")).count() > 0);
}
