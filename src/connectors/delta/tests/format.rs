//! Promises of the bytes that other readers of Delta depend on.

use roaring::RoaringTreemap;
use serde_json::{Value as Json, json};

use super::late::Late;
use super::model::{Dice, Rows, World, row};
use crate::connectors::delta::{log, vectors};
use crate::store::Store;

#[test]
fn a_vector_is_written_by_the_protocol() {
    let rows: RoaringTreemap = [3, 4, 7, 11, 18, 29].into_iter().collect();
    let (file, descriptors) = vectors::encode(&[&rows, &rows], vectors::id(7, 9)).unwrap();
    // Magic, one bitmap, its number 0; in it: cookie, one container, its number 0 and last index 5,
    // its offset, the rows.
    let body = [
        0xd1, 0xd3, 0x39, 0x64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3a, 0x30, 0, 0, 1, 0, 0, 0,
        0, 0, 5, 0, 0x10, 0, 0, 0, 3, 0, 4, 0, 7, 0, 11, 0, 18, 0, 29, 0,
    ];
    assert_eq!(file[..5], [1, 0, 0, 0, 44]);
    assert_eq!(file[5..49], body);
    assert_eq!(file[49..53], crc32fast::hash(&body).to_be_bytes());
    let encoded = z85::encode(body);
    let inline = json!({
        "storageType": "i",
        "pathOrInlineDv": encoded,
        "sizeInBytes": 44,
        "cardinality": 6,
    });

    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().display().to_string()).unwrap();
    assert_eq!(vectors::load(&store, &inline).unwrap(), rows);
    let path = vectors::path(&descriptors[1]).unwrap().unwrap();
    assert_eq!(path, "deletion_vector_00000000-0000-0007-0000-000000000009.bin");
    assert_eq!(vectors::generation(&path), Some(7));
    store.put(&path, &file).unwrap();
    assert_eq!(vectors::load(&store, &descriptors[1]).unwrap(), rows);
    let mut torn = file.clone();
    torn[60] ^= 1;
    store.put(&path, &torn).unwrap();
    assert!(vectors::load(&store, &descriptors[1]).is_err());
}

#[test]
fn a_remove_names_its_vector_and_an_add_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(1);
    let mut run = World::new(folder.path(), |d| d.rewrite_below(0))
        .start(1, &Rows::new(), &mut dice)
        .unwrap();
    let mut actions = Vec::new();
    for n in 1..=4 {
        match n {
            1 => (0..3).for_each(|key| run.insert(key, &row(key, &mut dice))),
            _ => run.remove(n - 2),
        }
        let content = run.stage(n as u64).unwrap();
        run.committer.commit(n as u64, &content).unwrap();
        actions.push(content["actions"].as_array().unwrap().clone());
    }
    let add = |n: usize| &actions[n - 1].iter().find(|a| a.get("add").is_some()).unwrap()["add"];
    let remove =
        |n: usize| &actions[n - 1].iter().find(|a| a.get("remove").is_some()).unwrap()["remove"];
    let stats = |n: usize| serde_json::from_str::<Json>(add(n)["stats"].as_str().unwrap()).unwrap();
    assert_eq!(add(1).get("deletionVector"), None);
    assert_eq!((&stats(1)["numRecords"], &stats(1)["tightBounds"]), (&json!(3), &json!(true)));
    assert_eq!(
        (&stats(1)["minValues"]["ind"], &stats(1)["maxValues"]["ind"]),
        (&json!(0), &json!(2))
    );
    assert_eq!(remove(2).get("deletionVector"), None);
    assert_eq!((&stats(2)["numRecords"], &stats(2)["tightBounds"]), (&json!(3), &json!(false)));
    assert_eq!(add(2)["deletionVector"]["cardinality"], 1);
    assert_eq!(remove(3)["deletionVector"], add(2)["deletionVector"]);
    assert_eq!(add(3)["deletionVector"]["cardinality"], 2);
    assert_eq!(actions[3].len(), 1, "no row is left, so nothing is added");
    assert_eq!(remove(4)["deletionVector"], add(3)["deletionVector"]);
}

/// Returns the versions that have protocol and metadata, with both.
fn declarations(store: &Store) -> Vec<(u64, Json, Json)> {
    let versions = (0..).map_while(|version| Some((version, log::read(store, version).unwrap()?)));
    let action =
        |actions: &[Json], kind: &str| actions.iter().find_map(|action| action.get(kind)).cloned();
    versions
        .filter_map(|(v, actions)| {
            Some((v, action(&actions, "protocol")?, action(&actions, "metaData")?))
        })
        .collect()
}

/// Spark refuses a table whose metadata needs a feature that the protocol does not declare:
/// `nullable: false` needs one of writers.
#[test]
fn a_table_declares_vectors_with_its_first_one_only() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dice, mut rows) = (Dice::new(1), Rows::new());
    let mut world = World::new(folder.path(), |d| d.rewrite_below(0));
    let mut run = world.start(1, &rows, &mut dice).unwrap();
    let first = |world: &World| declarations(&world.store).remove(0);
    for n in 1..=6 {
        match n {
            1 => rows.extend((0..6).map(|key| (key, row(key, &mut dice)))),
            _ => drop(rows.remove(&(n - 2))),
        }
        match n {
            1 => rows.iter().for_each(|(key, row)| run.insert(*key, row)),
            _ => run.remove(n - 2),
        }
        let content = run.stage(n as u64).unwrap();
        world.committed = n as u64;
        // The next run makes the first commit with a vector visible.
        if n != 2 {
            run.committer.commit(n as u64, &content).unwrap();
        }
        world.recorded = Some((n as u64, content));
        if n == 2 || n == 4 {
            assert_eq!(declarations(&world.store).len(), n as usize / 2);
            run = world.start(2, &rows, &mut dice).unwrap();
        }
        assert_eq!(world.read(), rows, "commit {n}");
    }
    let (_, protocol, metadata) = first(&world);
    assert_eq!(protocol, json!({"minReaderVersion": 1, "minWriterVersion": 2}));
    assert!(metadata["schemaString"].as_str().unwrap().contains(r#""nullable":false"#));
    assert_eq!(metadata["configuration"].get("delta.enableDeletionVectors"), None);
    let [_, (version, protocol, mut declared)]: [_; 2] =
        declarations(&world.store).try_into().unwrap();
    let actions = log::read(&world.store, version).unwrap().unwrap();
    assert!(actions.iter().any(|action| action["add"]["deletionVector"].is_object()));
    assert_eq!(
        (&protocol["minReaderVersion"], &protocol["minWriterVersion"]),
        (&json!(3), &json!(7))
    );
    assert_eq!(protocol["readerFeatures"], json!(["deletionVectors"]));
    assert_eq!(protocol["writerFeatures"], json!(["appendOnly", "deletionVectors", "invariants"]));
    let vectors =
        declared["configuration"].as_object_mut().unwrap().remove("delta.enableDeletionVectors");
    assert_eq!(vectors, Some(json!("true")));
    let known = |metadata: &Json, name: &str| metadata[name].clone();
    for name in
        ["id", "name", "format", "schemaString", "partitionColumns", "configuration", "createdTime"]
    {
        assert_eq!(known(&declared, name), known(&metadata, name), "{name}");
    }
}

#[test]
fn a_compaction_that_keeps_dead_rows_declares_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dice, mut rows) = (Dice::new(1), Rows::new());
    let mut world = World::new(folder.path(), |d| d.rewrite_below(0).checkpoint_every(1000));
    let mut run = world.start(1, &rows, &mut dice).unwrap();
    let mut done = None;
    for n in 1..=34 {
        // Each file has one row, so a deleted row removes its file.
        match n {
            34 => {
                rows.remove(&7);
                run.remove(7);
            }
            _ => {
                rows.insert(n, row(n, &mut dice));
                run.insert(n, &rows[&n]);
            }
        }
        let content = run.stage(n as u64).unwrap();
        run.committer.commit(n as u64, &content).unwrap();
        (world.committed, world.recorded) = (n as u64, Some((n as u64, content)));
        if n == 33 {
            done = run.committer.maintain().unwrap().map(|task| task().unwrap());
        }
    }
    assert_eq!(declarations(&world.store).len(), 1);
    run.committer.maintained(done.unwrap()).unwrap();
    assert_eq!(declarations(&world.store)[1].0, 35);
    assert_eq!(world.read(), rows);
    run = world.start(2, &rows, &mut dice).unwrap();
    run.remove(8);
    rows.remove(&8);
    let content = run.stage(35).unwrap();
    run.committer.commit(35, &content).unwrap();
    assert_eq!((world.read(), declarations(&world.store).len()), (rows, 2));
}

#[test]
fn a_small_table_never_needs_deletion_vectors() {
    for seed in 0..4 {
        let (folder, late) = (tempfile::tempdir().unwrap(), Late::default());
        let (mut dice, mut rows) = (Dice::new(seed), Rows::new());
        let mut world =
            World { store: late.store(), ..World::new(folder.path(), |d| d.checkpoint_every(10)) };
        for round in 0..6 {
            let workers = [1, 3, 2, 40, 5, 2][round];
            let mut run = world.start(workers, &rows, &mut dice).unwrap();
            for _ in 0..4 {
                for _ in 0..=dice.below(20) {
                    let key = dice.below(60) as i64;
                    if rows.contains_key(&key) && dice.below(3) == 0 {
                        rows.remove(&key);
                        run.remove(key);
                    } else {
                        rows.insert(key, row(key, &mut dice));
                        run.insert(key, &rows[&key]);
                    }
                }
                let n = world.committed + 1;
                let content = run.stage(n);
                content.iter().for_each(|content| run.committer.commit(n, content).unwrap());
                world.committed = n;
                world.recorded = content.map(|content| (n, content));
                assert_eq!(world.read(), rows, "seed {seed}, commit {n}");
                run.committer.maintain_now().unwrap();
                assert_eq!(world.read(), rows, "seed {seed}, maintenance after {n}");
            }
        }
        assert_eq!(declarations(&world.store).len(), 1, "seed {seed}");
    }
}
