//! Random changes, commits, crashes and restarts; after each the table equals a map.

use std::any::Any;
use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::late::Late;
use super::model::{Dice, Rows, Run, World, listed, row};
use crate::connectors::delta::Delta;

/// The number of campaigns of each kind.
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
    let rows = rounds(world, None, seed, keys, steps);
    assert_eq!(listed(&url), rows.len() as i64);
}

/// A run that was taken over and continues, with the task whose result it has not applied, and its
/// last commit.
struct StaleRun {
    run: Run,
    task: Option<Box<dyn Any + Send>>,
    recorded: Option<(u64, Json)>,
}

impl StaleRun {
    /// Performs a random action of such a run. None of them changes the table.
    fn act(&mut self, dice: &mut Dice) {
        match (dice.below(3), self.task.take()) {
            (0, _) => drop(self.run.committer.maintain_now()),
            (1, _) => {
                let commit = |(n, content): &(u64, Json)| self.run.committer.commit(*n, content);
                drop(self.recorded.as_ref().map(commit));
            }
            (_, Some(done)) => drop(self.run.committer.maintained(done)),
            (_, None) => {
                let task = self.run.committer.maintain().ok().flatten();
                self.task = task.and_then(|task| task().ok());
            }
        }
    }
}

fn rounds(mut world: World, late: Option<&Late>, seed: u64, keys: u64, steps: u64) -> Rows {
    let (mut dice, mut rows) = (Dice::new(seed), Rows::new());
    let mut history = BTreeMap::from([(0, Rows::new())]);
    let mut run = world.start(1, &rows, &mut dice).unwrap();
    // The result of a task, which is applied some commits later.
    let mut task = None;
    let mut stale_runs: Vec<StaleRun> = Vec::new();
    for n in 1..=steps {
        let before = rows.clone();
        change(&mut run, &mut rows, keys, &mut dice);
        if dice.below(30) == 0 {
            for key in std::mem::take(&mut rows).into_keys() {
                run.remove(key);
            }
        }
        if task.is_none() && dice.below(4) == 0 {
            run.committer.maintain_now().unwrap();
        }
        let content = run.stage(n);
        let end = dice.below(12);
        if end == 0 {
            // Crashed before the manifest was written: the commit has not happened.
            rows = before;
        } else {
            world.recorded = content.map(|content| (n, content));
            world.committed = n;
            // Crashed after that: the commit has happened, though the table does not show it.
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
            let newer = world.start(1 + dice.below(3) as usize, &rows, &mut dice).unwrap();
            let recorded = world.recorded.clone();
            stale_runs.push(StaleRun {
                run: std::mem::replace(&mut run, newer),
                task: task.take(),
                recorded,
            });
            assert_eq!(world.read(), rows, "seed {seed}, restart after {n}");
        }
        if let Some(stale) = stale_runs.iter_mut().rev().take(2).find(|_| dice.below(2) == 0) {
            stale.act(&mut dice);
            assert_eq!(world.read(), rows, "seed {seed}, a run that was taken over after {n}");
        }
        task = match (dice.below(3), task) {
            (0, None) => run.committer.maintain().unwrap().map(|task| task().unwrap()),
            (1, Some(done)) if late.is_some() => {
                // The outcome of a compaction is unknown until the next commit.
                let _ = late.unwrap().holding(|| run.committer.maintained(done));
                None
            }
            (0, Some(done)) => {
                run.committer.maintained(done).unwrap();
                run.committer.maintain_now().unwrap();
                assert_eq!(world.read(), rows, "seed {seed}, maintenance after {n}");
                None
            }
            (_, task) => task,
        };
        if dice.below(2) == 0 {
            late.map(Late::land);
            assert_eq!(world.read(), rows, "seed {seed}, late versions after {n}");
        }
    }
    for (n, rows) in history {
        assert_eq!(world.read_at(n), rows, "seed {seed}, as of {n}");
    }
    rows
}

#[test]
fn every_commit_to_an_object_store_has_the_put_rows() {
    let folder = tempfile::tempdir().unwrap();
    let late = [Late::default(), Late::default()];
    let world =
        |late: &Late, options| World { store: late.store(), ..World::new(folder.path(), options) };
    let first =
        world(&late[0], |d| d.rewrite_below(0).checkpoint_every(7).target_file_size(24_000));
    rounds(first, Some(&late[0]), 500, 300, 40);
    rounds(
        world(&late[1], |d| d.rewrite_below(80).checkpoint_every(7)),
        Some(&late[1]),
        600,
        400,
        15,
    );
}

#[test]
fn every_commit_of_a_large_table_has_the_put_rows() {
    seeds(0, |seed| campaign(seed, 300, 40, |d| d.rewrite_below(0).checkpoint_every(7)));
}

#[test]
fn every_commit_of_a_small_table_has_the_put_rows() {
    seeds(100, |seed| campaign(seed, 60, 25, |d| d.rewrite_below(1000).checkpoint_every(7)));
}

#[test]
fn every_commit_is_right_while_a_table_outgrows_rewriting() {
    seeds(200, |seed| campaign(seed, 400, 20, |d| d.rewrite_below(80)));
}

#[test]
fn every_commit_of_a_compacted_table_has_the_put_rows() {
    seeds(300, |seed| campaign(seed, 300, 40, |d| d.rewrite_below(0).target_file_size(24_000)));
    seeds(400, |seed| campaign(seed, 60, 20, |d| d.rewrite_below(1000).target_file_size(8_000)));
}

fn seeds(from: u64, test: impl Fn(u64)) {
    (from..from + SEEDS).for_each(test);
}
