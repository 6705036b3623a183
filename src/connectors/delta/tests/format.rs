//! Bytes that other readers go by.

use roaring::RoaringTreemap;
use serde_json::{Value as Json, json};

use super::model::{Dice, Rows, World, row};
use crate::connect::Store;
use crate::connectors::delta::{log, vectors};

#[test]
fn a_vector_is_written_as_the_protocol_says() {
    let rows: RoaringTreemap = [3, 4, 7, 11, 18, 29].into_iter().collect();
    let (file, descriptors) = vectors::encode(&[&rows, &rows], vectors::id(7, 9)).unwrap();
    // Magic, one bitmap, its number 0; in it: cookie, one container, its number 0 and last index 5, its offset, the rows.
    let body = [
        0xd1, 0xd3, 0x39, 0x64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3a, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, 5, 0, 0x10, 0, 0, 0, 3,
        0, 4, 0, 7, 0, 11, 0, 18, 0, 29, 0,
    ];
    assert_eq!(file[..5], [1, 0, 0, 0, 44]);
    assert_eq!(file[5..49], body);
    assert_eq!(file[49..53], crc32fast::hash(&body).to_be_bytes());
    let inline = json!({"storageType": "i", "pathOrInlineDv": z85::encode(body), "sizeInBytes": 44, "cardinality": 6});

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
fn a_remove_names_the_vector_that_is_live_and_an_add_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(1);
    let mut run = World::new(folder.path(), |d| d.rewrite_below(0)).start(1, &Rows::new(), &mut dice).unwrap();
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
    let remove = |n: usize| &actions[n - 1].iter().find(|a| a.get("remove").is_some()).unwrap()["remove"];
    let stats = |n: usize| serde_json::from_str::<Json>(add(n)["stats"].as_str().unwrap()).unwrap();
    assert_eq!(add(1).get("deletionVector"), None);
    assert_eq!((&stats(1)["numRecords"], &stats(1)["tightBounds"]), (&json!(3), &json!(true)));
    assert_eq!((&stats(1)["minValues"]["ind"], &stats(1)["maxValues"]["ind"]), (&json!(0), &json!(2)));
    assert_eq!(remove(2).get("deletionVector"), None);
    assert_eq!((&stats(2)["numRecords"], &stats(2)["tightBounds"]), (&json!(3), &json!(false)));
    assert_eq!(add(2)["deletionVector"]["cardinality"], 1);
    assert_eq!(remove(3)["deletionVector"], add(2)["deletionVector"]);
    assert_eq!(add(3)["deletionVector"]["cardinality"], 2);
    assert_eq!(actions[3].len(), 1, "no row is left, so nothing is added");
    assert_eq!(remove(4)["deletionVector"], add(3)["deletionVector"]);
}

/// Spark reads no table whose metadata needs a feature that the protocol does not name, and `nullable: false` needs one.
#[test]
fn a_table_names_every_feature_that_it_uses() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path(), |d| d);
    world.start(1, &Rows::new(), &mut Dice::new(1)).unwrap();
    let store = Store::open(&world.url).unwrap();
    let created = log::read(&store, 0).unwrap().unwrap();
    let action = |kind: &str| created.iter().find_map(|a| a.get(kind)).unwrap();
    assert!(action("metaData")["schemaString"].as_str().unwrap().contains(r#""nullable":false"#));
    assert_eq!(action("metaData")["configuration"]["delta.enableDeletionVectors"], "true");
    assert_eq!(action("protocol")["readerFeatures"], json!(["deletionVectors"]));
    assert_eq!(action("protocol")["writerFeatures"], json!(["deletionVectors", "invariants"]));
}
