//! Promises of tables in append mode.

use super::model::{Dice, World, row, rows, schema};
use crate::connect::{Mode, Recovered, Sink};
use crate::connectors::delta::Table;

#[test]
fn every_appended_row_is_there_once_after_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dice, mut world) = (Dice::new(1), World::new(folder.path(), |d| d));
    let all: Vec<_> = (0..100).map(|key| row(key, &mut dice)).collect();
    for n in 1..=10 {
        world.generation += 1;
        let (sink, schema, context) = (world.sink(), schema(Mode::Append), world.context(2));
        let mut committer = sink.open(&schema, &context).unwrap();
        let brief = committer.brief().unwrap();
        let mut recovery = sink.writers(&schema, &context, &brief, 0..2).unwrap();
        let (before, new) = all[..n * 10].split_at(n * 10 - 10);
        for (row, writer) in before.iter().zip([0, 1].into_iter().cycle()) {
            recovery[writer].insert(0, row).unwrap();
        }
        let (mut writers, found) = Recovered::of_all(recovery).unwrap();
        assert_eq!(found.rows, before.len() as u64);
        committer.recovered(found).unwrap();
        for (row, writer) in new.iter().zip([0, 1].into_iter().cycle()) {
            writers[writer].insert(0, row).unwrap();
        }
        let parts = writers.iter_mut().filter_map(|w| w.stage().unwrap()).collect();
        let content = committer.stage(n as u64, parts).unwrap().unwrap();
        committer.commit(n as u64, &content).unwrap();
        world.committed = n as u64;
        let table = Table::open(&world.url).unwrap();
        assert_eq!(table.manifest(), Some(n as u64));
        assert!(rows(&table).into_values().eq(all[..n * 10].iter().cloned()));
    }
}
