//! What housekeeping may delete, and what it may not.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::Ordering;

use super::model::{Dice, Rows, World, row};
use crate::connect::Store;
use crate::connectors::delta::{Table, snapshot, vectors};

fn files(folder: &str, end: &str) -> usize {
    fs::read_dir(folder).unwrap().filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().ends_with(end)).count()
}

/// Commits 1 to 20 of a table of 50 rows, with a checkpoint at every tenth version; the clock shows `from`, in the end `to`.
fn world(folder: &std::path::Path, from: i64, to: i64) -> (World, Rows) {
    let (mut dice, mut rows) = (Dice::new(1), Rows::new());
    let mut world = World::new(folder, |d| d.rewrite_below(0).checkpoint_every(20));
    let now = world.clock.fetch_add(from, Ordering::Relaxed);
    let mut run = world.start(1, &rows, &mut dice).unwrap();
    for n in 1..=20 {
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

const DAY: i64 = 24 * 3600 * 1000;

#[test]
fn a_version_stays_readable_for_a_week() {
    let folder = tempfile::tempdir().unwrap();
    let (world, rows) = world(folder.path(), 0, 6 * DAY);
    assert_eq!(files(&format!("{}/_delta_log", world.url), ".checkpoint.parquet"), 1);
    assert_eq!(files(&format!("{}/_delta_log", world.url), ".json"), 21);
    for n in 1..=20 {
        assert!(world.read_at(n).len() <= rows.len());
    }
    assert_eq!(world.read(), rows);
}

#[test]
fn what_no_version_of_the_last_week_needs_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut world, rows) = world(folder.path(), -30 * DAY, 8 * DAY);
    assert_eq!(files(&format!("{}/_delta_log", world.url), ".json"), 1);
    let last = snapshot::load(&Store::open(&world.url).unwrap(), None, None).unwrap().files;
    assert_eq!(files(&world.url, ".parquet"), last.len());
    let vectors: BTreeSet<_> = last.iter().map(|f| &f["add"]["deletionVector"]).filter_map(|v| vectors::path(v).ok()).collect();
    assert_eq!(files(&world.url, ".bin"), vectors.len());
    assert_eq!(world.read(), rows);
    assert_eq!(world.read_at(20), rows);
    assert!(Table::as_of(&world.url, 3).is_err());
    world.start(2, &rows, &mut Dice::new(2)).unwrap();
}

#[test]
fn rows_are_taken_away_from_where_compaction_put_them() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dice, mut rows) = (Dice::new(1), Rows::new());
    let mut world = World::new(folder.path(), |d| d.target_file_size(20_000));
    let mut run = world.start(1, &rows, &mut dice).unwrap();
    for n in 1..=5 {
        if n == 2 {
            run = world.start(3, &rows, &mut dice).unwrap();
        }
        // First all rows; then those of one of three workers, who writes its third anew.
        for key in (0..120).filter(|key| n == 1 || key % 3 == 1) {
            rows.insert(key, row(key, &mut dice));
            run.insert(key, &rows[&key]);
        }
        let content = run.stage(n).unwrap();
        run.committer.commit(n, &content).unwrap();
        (world.committed, world.recorded) = (n, Some((n, content)));
        assert_eq!(world.read(), rows, "commit {n}");
        run.committer.maintain_now().unwrap();
        assert_eq!(world.read(), rows, "upkeep after {n}");
    }
    let log = Store::open(&format!("{}/_delta_log", world.url)).unwrap();
    let versions =
        log.list("").unwrap().into_iter().map(|(name, _)| String::from_utf8(log.get(&name).unwrap().unwrap()).unwrap());
    assert!(versions.filter(|version| version.contains("OPTIMIZE")).count() > 0);
}
