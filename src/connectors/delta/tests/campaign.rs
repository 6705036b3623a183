//! Random changes, commits, kills and restarts; after each the table is what a map says.

use std::collections::BTreeMap;

use super::model::{Dice, Rows, Run, World, listed, remote, row};
use crate::connectors::delta::Delta;

/// How many campaigns of each kind.
const SEEDS: u64 = 1;

fn change(run: &mut Run, rows: &mut Rows, keys: u64, dice: &mut Dice) {
    for _ in 0..dice.below(keys / 2 + 2) {
        let key = dice.below(keys) as i64;
        if rows.contains_key(&key) && dice.below(3) == 0 {
            rows.remove(&key);
            run.remove(key);
        } else {
            let row = row(key, dice);
            run.insert(key, &row);
            rows.insert(key, row);
        }
    }
}

fn campaign(seed: u64, keys: u64, steps: u64, options: fn(Delta) -> Delta) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path(), options);
    let url = world.url.clone();
    let rows = rounds(world, seed, keys, steps);
    assert_eq!(listed(&url), rows.len() as i64);
}

fn rounds(mut world: World, seed: u64, keys: u64, steps: u64) -> Rows {
    let (mut dice, mut rows) = (Dice::new(seed), Rows::new());
    let mut history = BTreeMap::from([(0, Rows::new())]);
    let mut run = world.start(1, &rows, &mut dice).unwrap();
    // A chore that was given out, and is taken back some commits later.
    let mut chore = None;
    for n in 1..=steps {
        let before = rows.clone();
        change(&mut run, &mut rows, keys, &mut dice);
        if dice.below(30) == 0 {
            for key in std::mem::take(&mut rows).into_keys() {
                run.remove(key);
            }
        }
        if chore.is_none() && dice.below(4) == 0 {
            run.committer.maintain_now().unwrap();
        }
        let content = run.stage(n);
        let end = dice.below(12);
        if end == 0 {
            // Killed before the manifest was written: nothing of it has happened.
            rows = before;
        } else {
            world.recorded = content.map(|content| (n, content));
            world.committed = n;
            // Killed after that: it has happened, though the table does not show it.
            if let Some((n, content)) = world.recorded.as_ref().filter(|_| end > 1) {
                for _ in 0..=dice.below(2) {
                    run.committer.commit(*n, content).unwrap();
                }
                assert_eq!(world.read(), rows, "seed {seed}, commit {n}");
                assert_eq!(content["rows"], rows.len());
            }
        }
        history.insert(n, rows.clone());
        if end < 3 {
            chore = None;
            run = world.start(1 + dice.below(3) as usize, &rows, &mut dice).unwrap();
            assert_eq!(world.read(), rows, "seed {seed}, restart after {n}");
        }
        chore = match (dice.below(3), chore) {
            (0, None) => run.committer.maintain().unwrap().map(|chore| chore().unwrap()),
            (0, Some(done)) => {
                run.committer.maintained(done).unwrap();
                run.committer.maintain_now().unwrap();
                assert_eq!(world.read(), rows, "seed {seed}, upkeep after {n}");
                None
            }
            (_, chore) => chore,
        };
    }
    for (n, rows) in history {
        assert_eq!(world.read_at(n), rows, "seed {seed}, as of {n}");
    }
    rows
}

#[test]
fn every_commit_to_an_object_store_is_what_was_put() {
    let folder = tempfile::tempdir().unwrap();
    let world = |options| World { store: remote(), ..World::new(folder.path(), options) };
    rounds(world(|d| d.rewrite_below(0).checkpoint_every(7).target_file_size(24_000)), 500, 300, 30);
    rounds(world(|d| d.rewrite_below(80).checkpoint_every(7)), 600, 400, 15);
}

#[test]
fn every_commit_of_a_large_table_is_what_was_put() {
    seeds(0, |seed| campaign(seed, 300, 40, |d| d.rewrite_below(0).checkpoint_every(7)));
}

#[test]
fn every_commit_of_a_small_table_is_what_was_put() {
    seeds(100, |seed| campaign(seed, 60, 25, |d| d.rewrite_below(1000).checkpoint_every(7)));
}

#[test]
fn every_commit_of_a_table_that_outgrows_rewriting_is_what_was_put() {
    seeds(200, |seed| campaign(seed, 400, 20, |d| d.rewrite_below(80)));
}

#[test]
fn every_commit_of_a_compacted_table_is_what_was_put() {
    seeds(300, |seed| campaign(seed, 300, 40, |d| d.rewrite_below(0).target_file_size(24_000)));
    seeds(400, |seed| campaign(seed, 60, 20, |d| d.rewrite_below(1000).target_file_size(8_000)));
}

fn seeds(from: u64, test: impl Fn(u64)) {
    (from..from + SEEDS).for_each(test);
}
