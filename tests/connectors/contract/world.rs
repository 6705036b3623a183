//! A sink as runs drive it, one after the other, beside the rows that it must show.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;
use tempfile::TempDir;
use watershed::Result;
use watershed::connect::{Committer, Mode, Schema, Sink, SinkContext, Writer};
use watershed::row::{Column, ColumnType, Value};
use watershed::store::Store;

pub(super) type Row = Vec<Value>;

/// Where rows are put, and read back as anyone reads them.
pub(crate) trait Place {
    /// A new sink on it.
    fn sink(&self) -> Box<dyn Sink>;
    /// All rows, sorted.
    fn rows(&self) -> Vec<Row>;
}

/// The columns of all rows here: one of each type.
pub(crate) fn columns() -> Vec<Column> {
    use ColumnType::{Binary, Double, Doubles, Long, Text, Timestamp};
    let types = [
        ("id", Long),
        ("title", Text),
        ("at", Timestamp),
        ("ratio", Double),
        ("place", Doubles),
        ("bytes", Binary),
    ];
    types.map(|(name, ty)| Column { name: name.into(), ty, nullable: name != "id" }).to_vec()
}

/// What outlives a run: the place, what its last manifest says, and the rows that were committed.
pub(super) struct World<'p> {
    place: &'p dyn Place,
    mode: Mode,
    state: TempDir,
    generation: u64,
    pub(super) committed: u64,
    recorded: Option<(u64, Json)>,
    pub(super) rows: Vec<Row>,
}

/// A run that writes to the place.
pub(super) struct Run {
    writers: Vec<Box<dyn Writer>>,
    pub(super) committer: Box<dyn Committer>,
    slots: Vec<BTreeMap<Value, u32>>,
    free: Vec<Vec<u32>>,
    mode: Mode,
}

impl<'p> World<'p> {
    pub(super) fn new(place: &'p dyn Place, mode: Mode) -> Self {
        let state = tempfile::tempdir().unwrap();
        World { place, mode, state, generation: 0, committed: 0, recorded: None, rows: Vec::new() }
    }

    pub(super) fn schema(&self) -> Schema {
        let key = if self.mode == Mode::Snapshot { 1 } else { 0 };
        Schema { topic: "topic".into(), columns: columns(), key, mode: self.mode }
    }

    pub(super) fn context(&self, app: &str, workers: usize) -> SinkContext {
        let (generation, committed) = (self.generation, self.committed);
        let staging = Some(Store::open(self.state.path().to_str().unwrap()).unwrap());
        let (secret, clock) = (watershed::Secret::new([7; 16]), Arc::new(|| 1_700_000_000_000));
        SinkContext { app: app.into(), generation, committed, workers, secret, staging, clock }
    }

    /// Opens it as a new run, which shows what the last manifest says and finds all rows again.
    pub(super) fn start(&mut self, workers: usize) -> Result<Run> {
        self.generation += 1;
        self.place.sink().check(&self.schema(), &self.context("app", workers))?;
        let opened = self.place.sink().open(&self.schema(), &self.context("app", workers))?;
        assert_eq!(opened.writers.len(), workers);
        let (slots, free) = (vec![BTreeMap::new(); workers], vec![Vec::new(); workers]);
        let mut run = Run {
            writers: opened.writers,
            committer: opened.committer,
            slots,
            free,
            mode: self.mode,
        };
        if let Some((n, content)) = &self.recorded {
            run.committer.commit(*n, content)?;
        }
        for row in &self.rows {
            run.put(row);
        }
        let mut found = 0;
        for writer in &mut run.writers {
            found += writer.recovered()?;
        }
        run.committer.recovered(found)?;
        Ok(run)
    }

    /// Stages the next commit and records it, as a manifest does; what it makes of the rows is
    /// `rows`.
    pub(super) fn decide(&mut self, run: &mut Run, rows: Vec<Row>) {
        let n = self.committed + 1;
        let content = run.stage(n);
        // As it comes back from a manifest's bytes.
        self.recorded = content.map(|content| {
            (n, serde_json::from_slice(&serde_json::to_vec(&content).unwrap()).unwrap())
        });
        (self.committed, self.rows) = (n, rows);
        self.rows.sort();
    }

    /// Makes the last decision visible.
    pub(super) fn show(&self, run: &mut Run) {
        if let Some((n, content)) = &self.recorded {
            run.committer.commit(*n, content).unwrap();
        }
    }

    pub(super) fn commit(&mut self, run: &mut Run, rows: Vec<Row>) {
        self.decide(run, rows);
        self.show(run);
        self.check();
    }

    #[track_caller]
    pub(super) fn check(&self) {
        assert_eq!(self.place.rows(), self.rows, "after commit {}", self.committed);
    }
}

impl Run {
    /// The worker that owns a row, always the same of equal keys.
    fn owner(&self, key: &Value) -> usize {
        let Value::Long(id) = key else { panic!("{key:?} is no key") };
        id.unsigned_abs() as usize % self.writers.len()
    }

    pub(super) fn put(&mut self, row: &Row) {
        let worker = self.owner(&row[0]);
        let slot = match self.mode {
            Mode::Append => 0,
            Mode::Snapshot => {
                let next = self.slots[worker].len() as u32;
                let free = &mut self.free[worker];
                *self.slots[worker]
                    .entry(row[0].clone())
                    .or_insert_with(|| free.pop().unwrap_or(next))
            }
        };
        self.writers[worker].insert(slot, row).unwrap();
    }

    pub(super) fn remove(&mut self, id: i64) {
        let worker = self.owner(&Value::Long(id));
        let slot = self.slots[worker].remove(&Value::Long(id)).unwrap();
        self.free[worker].push(slot);
        self.writers[worker].remove(slot);
    }

    pub(super) fn stage(&mut self, n: u64) -> Option<Json> {
        let parts: Vec<Box<dyn Any + Send>> =
            self.writers.iter_mut().filter_map(|writer| writer.stage().unwrap()).collect();
        if parts.is_empty() { None } else { self.committer.stage(n, parts).unwrap() }
    }
}
