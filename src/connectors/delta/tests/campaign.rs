//! Random changes, commits, kills and restarts; after each the table is what a map says.

use std::collections::BTreeMap;

use super::model::{Dice, Rows, Run, World, row};
use crate::connectors::delta::Delta;

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
    let (mut dice, mut world, mut rows) = (Dice::new(seed), World::new(folder.path(), options), Rows::new());
    let mut history = BTreeMap::from([(0, Rows::new())]);
    let mut run = world.start(1, &rows, &mut dice).unwrap();
    for n in 1..=steps {
        change(&mut run, &mut rows, keys, &mut dice);
        if dice.below(30) == 0 {
            for key in std::mem::take(&mut rows).into_keys() {
                run.remove(key);
            }
        }
        world.recorded = run.stage(n).map(|content| (n, content));
        world.committed = n;
        history.insert(n, rows.clone());
        let killed = dice.below(8) == 0;
        if let Some((n, content)) = world.recorded.as_ref().filter(|_| !killed) {
            for _ in 0..=dice.below(2) {
                run.committer.commit(*n, content).unwrap();
            }
            assert_eq!(world.read(), rows, "seed {seed}, commit {n}");
            assert_eq!(content["rows"], rows.len());
        }
        if killed || dice.below(8) == 0 {
            run = world.start(1 + dice.below(3) as usize, &rows, &mut dice).unwrap();
            assert_eq!(world.read(), rows, "seed {seed}, restart after {n}");
        } else if dice.below(3) == 0 {
            run.committer.maintain().unwrap();
            assert_eq!(world.read(), rows, "seed {seed}, upkeep after {n}");
        }
    }
    for (n, rows) in history {
        assert_eq!(world.read_at(n), rows, "seed {seed}, as of {n}");
    }
}

#[test]
fn every_commit_of_a_large_table_is_what_was_put() {
    for seed in 0..2 {
        campaign(seed, 300, 60, |d| d.rewrite_below(0).checkpoint_every(7));
    }
}

#[test]
fn every_commit_of_a_small_table_is_what_was_put() {
    for seed in 10..12 {
        campaign(seed, 60, 30, |d| d.rewrite_below(1000).checkpoint_every(7));
    }
}

#[test]
fn every_commit_of_a_table_that_outgrows_rewriting_is_what_was_put() {
    for seed in 20..22 {
        campaign(seed, 400, 30, |d| d.rewrite_below(80));
    }
}

#[test]
fn every_commit_of_a_compacted_table_is_what_was_put() {
    for seed in 30..32 {
        campaign(seed, 300, 60, |d| d.rewrite_below(0).target_file_size(24_000));
    }
}
