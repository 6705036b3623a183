//! Promises of deletions by place: a row is found, however often it was moved since it was written.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::model::Dice;
use crate::connectors::delta::files::{File, Files, Moved};
use crate::connectors::delta::index::Place;

/// Files, and a model of them: the value in each of their rows.
#[derive(Default)]
struct Model {
    files: Files,
    contents: BTreeMap<u32, Vec<u64>>,
    /// The places at which the writer wrote the live values.
    places: BTreeMap<u64, Place>,
    next: u32,
}

impl Model {
    fn file(&mut self, contents: Vec<u64>) -> (u32, File) {
        self.next += 1;
        let rows = contents.len() as u32;
        self.contents.insert(self.next, contents);
        let (path, dead) = (format!("{}", self.next), RoaringTreemap::new());
        (self.next, File { path, size: 1, rows, dead, vector: None, stats: serde_json::Map::new() })
    }

    fn write(&mut self, values: std::ops::Range<u64>) {
        let (id, file) = self.file(values.clone().collect());
        self.files.insert(id, file);
        self.places.extend((0..).zip(values).map(|(row, value)| (value, Place { file: id, row })));
    }

    fn kill(&mut self, value: u64) {
        let place = self.places.remove(&value).unwrap();
        let at = self.files.delete(place).unwrap();
        if self.files.files[&at].live_rows() == 0 {
            self.files.remove(at);
        }
    }

    /// Compacts the `chosen` files while the `dying` values die.
    fn compact(&mut self, chosen: &[u32], dying: &[u64]) {
        let (mut contents, mut moves) = (Vec::new(), Vec::new());
        let file = self.next + 1;
        for id in chosen {
            let dead = self.files.files[id].dead.clone();
            let first = contents.len() as u32;
            let living = self.contents[id].iter().zip(0..).filter(|(_, row)| !dead.contains(*row));
            contents.extend(living.map(|(value, _)| *value));
            moves.push((*id, Moved { file, first, dead, rows: contents.len() as u32 - first }));
        }
        dying.iter().for_each(|value| self.kill(*value));
        let gone: Vec<u64> = contents
            .iter()
            .zip(0..)
            .filter(|(value, _)| !self.places.contains_key(value))
            .map(|(_, row)| row)
            .collect();
        let (id, mut file) = self.file(contents);
        file.dead.extend(gone);
        if file.live_rows() > 0 {
            self.files.merge(id, file, moves);
        }
    }

    fn living(&self) -> Vec<u64> {
        let living = |(id, file): (&u32, &File)| {
            let dead = file.dead.clone();
            self.contents[id]
                .iter()
                .zip(0..)
                .filter(move |(_, row)| !dead.contains(*row))
                .map(|(value, _)| *value)
        };
        let mut living: Vec<u64> = self.files.files.iter().flat_map(living).collect();
        living.sort_unstable();
        living
    }
}

#[test]
fn compactions_keep_every_row_findable_and_drop_deleted_ones() {
    for seed in 0..10 {
        let (mut model, mut dice, mut written) = (Model::default(), Dice::new(seed), 0);
        for round in 0..400 {
            let more = 1 + dice.below(6);
            model.write(written..written + more);
            written += more;
            let some = |model: &Model, dice: &mut Dice| {
                let living: Vec<u64> = model.places.keys().copied().collect();
                // The very first row lives for ever.
                living.into_iter().skip(1).filter(|_| dice.below(6) == 0).collect::<Vec<_>>()
            };
            some(&model, &mut dice).into_iter().for_each(|value| model.kill(value));
            if dice.below(3) == 0 {
                let ids: Vec<u32> = model.files.files.keys().copied().collect();
                let chosen: Vec<u32> = ids.into_iter().filter(|_| dice.below(3) > 0).collect();
                let dying = some(&model, &mut dice);
                if !chosen.is_empty() {
                    model.compact(&chosen, &dying);
                }
            }
            assert_eq!(
                model.living(),
                model.places.keys().copied().collect::<Vec<_>>(),
                "seed {seed}, round {round}"
            );
            let rows: u64 = model.files.files.values().map(|file| u64::from(file.rows)).sum();
            assert!(
                model.files.moved.len() as u64 <= rows,
                "{} moves for {rows} rows",
                model.files.moved.len()
            );
        }
        for value in model.places.keys().copied().collect::<Vec<_>>() {
            model.kill(value);
        }
        assert_eq!((model.files.rows(), model.files.moved.len()), (0, 0), "seed {seed}");
    }
}

#[test]
fn all_rows_of_a_moved_file_are_deleted() {
    let mut model = Model::default();
    for from in [0, 10, 20] {
        model.write(from..from + 10);
    }
    model.compact(&[1, 2], &[0, 9]);
    model.compact(&[3, 4], &[5]);
    assert_eq!(model.files.empty(2).unwrap(), 5);
    assert_eq!(model.living(), [vec![1, 2, 3, 4, 6, 7, 8], (20..30).collect()].concat());
    assert!(model.files.empty(4).is_err());
}
