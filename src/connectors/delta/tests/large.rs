//! Promises for rows of a megabyte: few of them are encoded, read and rewritten at a time.

use serde_json::Value as Json;

use super::model::{Dice, Row, Rows, World, row, schema};
use crate::connect::Mode;
use crate::connectors::delta::file::{BATCH_BYTES, OpenFile};
use crate::connectors::delta::rows;
use crate::row::Value;
use crate::store::Store;

fn large(key: i64, dice: &mut Dice) -> Row {
    let mut row = row(key, dice);
    row[1] = Value::Text(format!("{}{key}", "large ".repeat(180_000)));
    row[5] = Value::Binary(vec![key as u8; 50_000]);
    row
}

#[test]
fn pending_bytes_fit_the_capacity_of_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    let columns = schema(Mode::Append).columns;
    let mut file = OpenFile::new(0, "large".into(), &columns).unwrap();
    let mut encoded = 0;
    for key in 0..40 {
        let before = file.size();
        file.push(&large(key, &mut Dice::new(key as u64))).unwrap();
        encoded += u32::from(file.size() > before);
    }
    assert_eq!(encoded, 2);
    let file = file.finish().unwrap();
    store.put_pieces("large", &Vec::from_iter(file.bytes.iter())).unwrap();
    let batches =
        rows::open(&store, "large", &columns, 40, &roaring::RoaringTreemap::new()).unwrap();
    let batches: Vec<usize> = batches.map(|batch| batch.unwrap().num_rows()).collect();
    assert_eq!(batches.iter().sum::<usize>(), 40);
    assert!(batches.iter().all(|rows| rows * 1_080_000 <= BATCH_BYTES), "{batches:?}");
}

#[test]
fn a_table_of_few_large_rows_is_not_rewritten_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dice, mut rows) = (Dice::new(1), Rows::new());
    let mut world = World::new(folder.path(), |d| d.rewrite_below(1024));
    let mut run = world.start(1, &rows, &mut dice).unwrap();
    for n in 1..=5 {
        if n == 4 {
            run = world.start(2, &rows, &mut dice).unwrap();
        }
        // Few rows, then more than are rewritten; from then on only changed rows.
        let keys = [0..2, 2..8, 3..4, 3..4, 3..4][n as usize - 1].clone();
        for key in keys.clone() {
            rows.insert(key, large(key, &mut dice));
            run.insert(key, &rows[&key]);
        }
        let content = run.stage(n).unwrap();
        run.committer.commit(n, &content).unwrap();
        let actions = content["actions"].as_array().unwrap();
        let removed = |path: &str| actions.iter().any(|action| action["remove"]["path"] == path);
        let new = actions
            .iter()
            .map(|action| &action["add"])
            .filter(|add| add["path"].as_str().is_some_and(|path| !removed(path)));
        let stats =
            |add: &Json| serde_json::from_str::<Json>(add["stats"].as_str().unwrap()).unwrap();
        let written: u64 = new.map(|add| stats(add)["numRecords"].as_u64().unwrap()).sum();
        assert_eq!(written, keys.count() as u64, "commit {n}");
        (world.committed, world.recorded) = (n, Some((n, content)));
        assert_eq!(world.read(), rows, "commit {n}");
    }
}
