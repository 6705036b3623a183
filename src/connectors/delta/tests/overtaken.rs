//! Promises for commits and compactions of runs that were taken over, or that arrive late.

use std::any::Any;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::late::Late;
use super::model::{Dice, Rows, Run, World, row, schema};
use crate::connect::{Mode, Sink};
use crate::connectors::delta::log;
use crate::error::ErrorKind;
use crate::store::Store;

/// The result of a task.
type Done = Box<dyn Any + Send>;

/// Changes some rows, adds a new one and removes some.
fn change(run: &mut Run, rows: &mut Rows, dice: &mut Dice) {
    let new = rows.len() as i64 + 1000 * dice.below(1000) as i64;
    for key in rows.keys().copied().chain([new]).collect::<Vec<_>>() {
        match dice.below(4) {
            0 if key != new => {
                rows.remove(&key);
                run.remove(key);
            }
            1 => {
                rows.insert(key, row(key, dice));
                run.insert(key, &rows[&key]);
            }
            _ => {}
        }
    }
}

fn commit(world: &mut World, run: &mut Run, rows: &Rows) {
    let n = world.committed + 1;
    if let Some(content) = run.stage(n) {
        run.committer.commit(n, &content).unwrap();
        world.recorded = Some((n, content));
    }
    world.committed = n;
    assert_eq!(world.read(), *rows, "commit {n}");
}

/// Returns a world with a run whose compaction of many files is written and not applied; some of
/// their rows have died since.
fn compacting(mut world: World, dice: &mut Dice) -> (World, Run, Rows, Done) {
    let (mut rows, mut done) = (Rows::new(), None);
    let mut run = world.start(2, &rows, dice).unwrap();
    for n in 0..40 {
        for key in n * 3..n * 3 + 3 {
            rows.insert(key, row(key, dice));
            run.insert(key, &rows[&key]);
        }
        if n > 20 {
            let key = dice.below(n as u64 * 3) as i64;
            rows.insert(key, row(key, dice));
            run.insert(key, &rows[&key]);
        }
        commit(&mut world, &mut run, &rows);
        if done.is_none() {
            done = run.committer.maintain().unwrap().map(|task| task().unwrap());
        }
    }
    (world, run, rows, done.unwrap())
}

fn options(folder: &Path) -> World {
    World::new(folder, |d| d.rewrite_below(0).checkpoint_every(10_000))
}

/// Returns the number of versions of the table that moved rows.
fn compactions(store: &Store) -> usize {
    let versions = (0..).map_while(|version| log::read(store, version).unwrap());
    versions.filter(|actions| log::moves(actions).is_some()).count()
}

#[test]
fn a_commit_staged_before_a_move_follows_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..6 {
        // Two worlds with one history. In one a commit is staged, in the other rows are moved; then
        // both are merged.
        let stores = [Late::default(), Late::default()];
        let worlds =
            stores.each_ref().map(|late| World { store: late.store(), ..options(folder.path()) });
        let [staged, moved] = worlds.map(|world| compacting(world, &mut Dice::new(seed)));
        let (mut world, mut run, mut rows, _) = staged;
        let mut dice = Dice::new(seed);
        change(&mut run, &mut rows, &mut dice);
        let n = world.committed + 1;
        (world.committed, world.recorded) = (n, run.stage(n).map(|content| (n, content)));
        let (_, mut run, _, done) = moved;
        run.committer.maintained(done).unwrap();
        run.committer.maintain_now().unwrap();
        stores[0].fill(&stores[1]);
        assert!(compactions(&world.store) > 0);

        let mut run = world.start(3, &rows, &mut dice).unwrap();
        assert_eq!(world.read(), rows, "seed {seed}");
        for _ in 0..3 {
            change(&mut run, &mut rows, &mut dice);
            commit(&mut world, &mut run, &rows);
            run.committer.maintain_now().unwrap();
        }
        world.start(1, &rows, &mut dice).unwrap();
    }
}

#[test]
fn a_commit_that_does_not_fit_is_refused_before_it_is_visible() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(1);
    let (mut world, mut run, shown, _) = compacting(options(folder.path()), &mut dice);
    let mut rows = shown.clone();
    change(&mut run, &mut rows, &mut dice);
    let n = world.committed + 1;
    let content = run.stage(n).unwrap();
    world.committed = n;
    let of = |kind: &str, with: bool| {
        let fits = |action: &Json| {
            action[kind].is_object() && action[kind]["deletionVector"].is_object() == with
        };
        format!(
            "/actions/{}/{kind}",
            content["actions"].as_array().unwrap().iter().position(fits).unwrap()
        )
    };
    let changes: [(String, Json, &str); 7] = [
        ("/version".into(), Json::Null, "does not record the version"),
        ("/version".into(), json!(1000), "was staged for version 1000"),
        ("/version".into(), json!(3), "was made since"),
        ("/rows".into(), json!(rows.len() + 1), "makes"),
        (of("remove", false) + "/path", json!("part-1-999-0.parquet"), "which is not as it was"),
        (of("remove", true) + "/deletionVector/offset", json!(7), "which is not as it was"),
        (of("add", false) + "/path", json!("part-1-999-0.parquet"), "which is gone"),
    ];
    for (place, value, why) in changes {
        let mut changed = content.clone();
        *changed.pointer_mut(&place).unwrap() = value;
        world.recorded = Some((n, changed));
        let error = world.start(2, &rows, &mut dice).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Data, "{place}");
        assert!(error.to_string().contains(why), "{place}: {error}");
        assert_eq!(world.read(), shown, "{place}");
    }
    world.recorded = Some((n, content));
    world.start(2, &rows, &mut dice).unwrap();
    assert_eq!(world.read(), rows);
}

#[test]
fn a_superseded_run_moves_no_rows_and_makes_no_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(1);
    let (mut world, mut run, shown, done) = compacting(options(folder.path()), &mut dice);
    let mut rows = shown.clone();
    change(&mut run, &mut rows, &mut dice);
    let (n, content) = (world.committed + 1, run.stage(world.committed + 1).unwrap());
    world.committed = n;
    world.generation += 1;
    let mut newer = world.sink().open(&schema(Mode::Snapshot), &world.context(2)).unwrap();
    let error = run.committer.commit(n, &content).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Superseded, "{error}");
    run.committer.maintained(done).unwrap();
    run.committer.maintain_now().unwrap();
    assert_eq!(world.read(), shown);
    newer.commit(n, &content).unwrap();
    assert_eq!(world.read(), rows);
    run.committer.commit(n, &content).unwrap();
    run.committer.maintain_now().unwrap();
    assert_eq!(compactions(&world.store), 0);
    // A run that was slow to begin can't take the table back.
    world.generation -= 1;
    let error = world.sink().open(&schema(Mode::Snapshot), &world.context(2)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Superseded, "{error}");
}

#[test]
fn maintenance_of_a_superseded_run_comes_to_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(1);
    let (mut world, mut run, rows, _) = compacting(options(folder.path()), &mut dice);
    world.generation += 1;
    let newer = world.sink().open(&schema(Mode::Snapshot), &world.context(2)).unwrap();
    // The run has not read the version of the newer one yet.
    run.committer.maintain_now().unwrap();
    assert_eq!((world.read(), compactions(&world.store)), (rows, 0));
    drop(newer);
}

/// The time at which a compaction with an unknown outcome arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lands {
    BeforeTheNextCommit,
    AfterIt,
    BeforeTheNextRun,
    InTheNextRun,
}

#[test]
fn a_compaction_that_lands_late_does_no_harm() {
    for lands in
        [Lands::BeforeTheNextCommit, Lands::AfterIt, Lands::BeforeTheNextRun, Lands::InTheNextRun]
    {
        let (folder, late, mut dice) =
            (tempfile::tempdir().unwrap(), Late::default(), Dice::new(3));
        let world = World { store: late.store(), ..options(folder.path()) };
        let (mut world, mut run, mut rows, done) = compacting(world, &mut dice);
        let error = late.holding(|| run.committer.maintained(done)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        let land = |when| assert!(lands != when || late.land() == 1);
        land(Lands::BeforeTheNextCommit);
        if lands == Lands::BeforeTheNextCommit || lands == Lands::AfterIt {
            change(&mut run, &mut rows, &mut dice);
            let n = world.committed + 1;
            let content = run.stage(n).unwrap();
            land(Lands::AfterIt);
            run.committer.commit(n, &content).unwrap();
            (world.committed, world.recorded) = (n, Some((n, content)));
            assert_eq!(world.read(), rows, "{lands:?}");
        }
        land(Lands::BeforeTheNextRun);
        run = world.start(3, &rows, &mut dice).unwrap();
        land(Lands::InTheNextRun);
        for _ in 0..2 {
            change(&mut run, &mut rows, &mut dice);
            commit(&mut world, &mut run, &rows);
        }
        let made = matches!(lands, Lands::BeforeTheNextCommit | Lands::BeforeTheNextRun);
        assert_eq!(compactions(&world.store), usize::from(made), "{lands:?}");
        world.start(1, &rows, &mut dice).unwrap();
    }
}
