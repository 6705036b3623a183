//! Promises of tables whose rows are recovered by their keys alone.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use roaring::RoaringTreemap;
use serde::Deserialize;
use serde_json::Value as Json;

use super::model::{Dice, Row, Rows, World, listed, row, schema};
use crate::connect::{Committer, FoundRows, Mode, Recovered, Recovering, Sink, Writer};
use crate::connectors::delta::Delta;
use crate::connectors::delta::index::{Index, LiveFile};
use crate::connectors::delta::log;
use crate::error::{ErrorKind, Result};
use crate::row::Value;

/// The later changes of a saved state: the new row of each key, or `None` if it was removed.
type Changes = BTreeMap<i64, Option<Row>>;

/// Opens the table for a run of `workers`, with a brief for its writers.
fn open(world: &mut World, workers: usize) -> (Box<dyn Committer>, Json) {
    world.generation += 1;
    let mut committer =
        world.sink().open(&schema(Mode::Snapshot), &world.context(workers)).unwrap();
    if let Some((n, content)) = &world.recorded {
        committer.commit(*n, content).unwrap();
    }
    let brief = committer.brief().unwrap();
    (committer, brief)
}

fn writers(world: &World, brief: &Json, workers: usize) -> Vec<Box<dyn Recovering>> {
    let (schema, context) = (schema(Mode::Snapshot), world.context(workers));
    world.sink().writers(&schema, &context, brief, 0..workers).unwrap()
}

/// The worker and the slot of a key.
fn place(key: i64, workers: usize) -> (usize, u32) {
    let (key, workers) = (key as usize, workers);
    (key % workers, (key / workers) as u32)
}

/// Recovers from the keys of `saved` rows and the `tail` of later changes.
fn restore(
    mut recovering: Vec<Box<dyn Recovering>>,
    saved: &Rows,
    tail: &Changes,
) -> Result<(Vec<Box<dyn Writer>>, FoundRows)> {
    let workers = recovering.len();
    for key in saved.keys() {
        let (worker, slot) = place(*key, workers);
        recovering[worker].restore(slot, &vec![Value::Long(*key)])?;
    }
    for (key, row) in tail {
        let (worker, slot) = place(*key, workers);
        match row {
            Some(row) => recovering[worker].insert(slot, row)?,
            None => recovering[worker].remove(slot),
        }
    }
    Recovered::of_all(recovering)
}

/// Commits `changes` through `writers`.
fn commit(
    world: &mut World,
    committer: &mut dyn Committer,
    writers: &mut [Box<dyn Writer>],
    changes: &Changes,
) {
    for (key, row) in changes {
        let (worker, slot) = place(*key, writers.len());
        match row {
            Some(row) => writers[worker].insert(slot, row).unwrap(),
            None => writers[worker].remove(slot),
        }
    }
    let parts = writers.iter_mut().filter_map(|w| w.stage().unwrap()).collect();
    world.committed += 1;
    let content = committer.stage(world.committed, parts).unwrap().unwrap();
    committer.commit(world.committed, &content).unwrap();
    world.recorded = Some((world.committed, content));
}

fn apply(rows: &mut Rows, changes: &Changes) {
    for (key, row) in changes {
        match row {
            Some(row) => drop(rows.insert(*key, row.clone())),
            None => drop(rows.remove(key)),
        }
    }
}

/// A table of two commits by three workers: its world, its rows at the first, and the changes of
/// the second, which replaces, removes and adds rows. Texts are longer by `weight`.
fn table(
    folder: &std::path::Path,
    options: fn(Delta) -> Delta,
    weight: usize,
) -> (World, Rows, Changes) {
    let mut dice = Dice::new(7);
    let mut new = |key| {
        let mut row = row(key, &mut dice);
        if weight > 0 {
            row[1] = Value::Text(format!("{key}").repeat(weight));
        }
        row
    };
    let saved: Rows = (0..40).map(|key| (key, new(key))).collect();
    let mut tail: Changes = [3, 5, 17, 40, 41].map(|key| (key, Some(new(key)))).into();
    tail.extend([0, 8, 39].map(|key| (key, None)));
    let mut world = World::new(folder, options);
    let (mut committer, brief) = open(&mut world, 3);
    let (mut all, _) = Recovered::of_all(writers(&world, &brief, 3)).unwrap();
    let first = saved.iter().map(|(key, row)| (*key, Some(row.clone()))).collect();
    commit(&mut world, &mut *committer, &mut all, &first);
    commit(&mut world, &mut *committer, &mut all, &tail);
    (world, saved, tail)
}

#[test]
fn a_recovery_by_keys_equals_one_by_whole_rows() {
    let kinds: [(fn(Delta) -> Delta, usize); 3] =
        [(|d| d, 0), (|d| d.rewrite_below(0), 0), (|d| d, 200_000)];
    for ((options, weight), workers) in
        kinds.into_iter().flat_map(|kind| [1, 2, 3, 4].map(|workers| (kind, workers)))
    {
        let folder = tempfile::tempdir().unwrap();
        let (mut world, saved, tail) = table(folder.path(), options, weight);
        let mut rows = saved.clone();
        apply(&mut rows, &tail);
        let (mut committer, brief) = open(&mut world, workers);
        let mut whole = writers(&world, &brief, workers);
        for (key, row) in &rows {
            let (worker, slot) = place(*key, workers);
            whole[worker].insert(slot, row).unwrap();
        }
        let (mut whole, found) = Recovered::of_all(whole).unwrap();
        let (mut restored, same) =
            restore(writers(&world, &brief, workers), &saved, &tail).unwrap();
        assert_eq!((found, found.rows), (same, rows.len() as u64));
        committer.recovered(same).unwrap();
        let changes: Changes =
            [(2, Some(rows[&3].clone())), (4, None), (8, Some(rows[&5].clone()))].into();
        for (key, row) in &changes {
            let (worker, slot) = place(*key, workers);
            for writer in [&mut whole[worker], &mut restored[worker]] {
                match row {
                    Some(row) => writer.insert(slot, row).unwrap(),
                    None => writer.remove(slot),
                }
            }
        }
        let stage = |writers: &mut Vec<Box<dyn Writer>>| -> Vec<_> {
            let parts = writers.iter_mut().map(|w| w.stage().unwrap());
            let plain = |part: crate::connect::Part| {
                let files = part.files.into_iter().map(|file| (file.name, file.bytes));
                (String::from_utf8_lossy(&part.note).into_owned(), files.collect::<Vec<_>>())
            };
            parts.map(|part| part.map(plain)).collect()
        };
        let (whole, restored) = (stage(&mut whole), stage(&mut restored));
        assert!(whole.iter().any(Option::is_some));
        assert!(whole == restored, "{workers} workers, weight {weight}");
    }
}

#[test]
fn a_small_table_restored_by_keys_needs_no_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let (mut world, saved, mut tail) = table(folder.path(), |d| d, 0);
    let (mut rows, mut dice) = (saved.clone(), Dice::new(3));
    apply(&mut rows, &tail);
    for (step, workers) in [2, 1, 4, 4, 3].into_iter().enumerate() {
        let (mut committer, brief) = open(&mut world, workers);
        let (mut all, found) = restore(writers(&world, &brief, workers), &saved, &tail).unwrap();
        committer.recovered(found).unwrap();
        for key in [step as i64 + 20, 50 + step as i64] {
            let changes = [(key, Some(row(key, &mut dice))), (key - 10, None)].into();
            commit(&mut world, &mut *committer, &mut all, &changes);
            apply(&mut rows, &changes);
            tail.extend(changes);
            assert_eq!(world.read(), rows, "{workers} workers, key {key}");
            assert_eq!(listed(&world.url), rows.len() as i64);
        }
    }
    for version in (0..).map_while(|version| log::read(&world.store, version).unwrap()) {
        let vector = |action: &Json| action.to_string().contains("deletionVector");
        assert!(!version.iter().any(vector), "{version:?}");
    }
}

#[test]
fn a_key_without_a_row_is_refused_unless_removed_later() {
    for options in [|d: Delta| d, |d: Delta| d.rewrite_below(0)] {
        let folder = tempfile::tempdir().unwrap();
        let (mut world, mut saved, mut tail) = table(folder.path(), options, 0);
        let (mut committer, brief) = open(&mut world, 2);
        saved.insert(99, vec![Value::Long(99)]);
        let error = restore(writers(&world, &brief, 2), &saved, &tail).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        tail.insert(99, None);
        let (_, found) = restore(writers(&world, &brief, 2), &saved, &tail).unwrap();
        committer.recovered(found).unwrap();
        saved.remove(&20);
        let (_, found) = restore(writers(&world, &brief, 2), &saved, &tail).unwrap();
        assert_eq!(committer.recovered(found).unwrap_err().kind(), ErrorKind::Data);
    }
}

#[test]
fn values_are_read_from_files_with_wanted_rows_only() {
    let folder = tempfile::tempdir().unwrap();
    let (mut world, saved, tail) = table(folder.path(), |d| d.rewrite_below(0), 0);
    let mut rows = saved;
    apply(&mut rows, &tail);
    let (_, brief) = open(&mut world, 1);
    let mut files = Vec::<LiveFile>::deserialize(&brief).unwrap();
    let index = |files| {
        let (schema, secret) = (schema(Mode::Snapshot), world.context(1).secret);
        Index::new(world.store.clone(), &schema.columns[..1], secret, files)
    };
    let (mut places, hasher) = (Vec::new(), &mut index(files.clone()).hasher());
    let all = index(files.clone()).places().unwrap();
    for key in rows.keys().filter(|key| *key % 3 == 0) {
        places.push((*key as u32, all.get(hasher.of(1, &vec![Value::Long(*key)])).unwrap()));
    }
    let (path, dead) = ("gone.parquet".into(), RoaringTreemap::new());
    files.push(LiveFile { id: 1000, path, rows: 1, dead });
    let (mut read, columns) = (Rows::new(), schema(Mode::Snapshot).columns);
    let mut put = |slot, row: &Row| {
        read.insert(i64::from(slot), row.clone());
        ControlFlow::Continue(())
    };
    index(files).read(&columns, places, &mut put).unwrap();
    rows.retain(|key, _| key % 3 == 0);
    assert_eq!(read, rows);
}
