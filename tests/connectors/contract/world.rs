//! A sink in the hands of successive runs, with the rows that it must show.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tempfile::TempDir;
use watershed::Result;
use watershed::connect::{
    Committer, Mode, Part, Recovered, Recovering, Schema, Sink, SinkContext, Writer,
};
use watershed::row::{Column, ColumnType, Value};
use watershed::store::Store;

pub(super) type Row = Vec<Value>;

/// A place for rows, read back as any reader reads it.
pub(crate) trait Place {
    /// Returns a new sink on the place.
    fn sink(&self) -> Box<dyn Sink>;
    /// All rows, sorted.
    fn rows(&self) -> Vec<Row>;
}

/// The columns of all rows here: one of each type.
pub(crate) fn columns() -> Vec<Column> {
    use ColumnType::{Binary, Boolean, Double, Doubles, Long, Text, Timestamp};
    let types = [
        ("id", Long),
        ("title", Text),
        ("at", Timestamp),
        ("ratio", Double),
        ("place", Doubles),
        ("bytes", Binary),
        ("paid", Boolean),
    ];
    types.map(|(name, ty)| Column { name: name.into(), ty, nullable: name != "id" }).to_vec()
}

/// Everything that outlives a run: the place, the last manifest, the committed rows, and the saved
/// state.
pub(super) struct World<'p> {
    place: &'p dyn Place,
    mode: Mode,
    state: TempDir,
    app: String,
    generation: u64,
    pub(super) committed: u64,
    recorded: Option<(u64, Json)>,
    pub(super) rows: Vec<Row>,
    pub(super) saved: Saved,
}

/// A state that was saved at a commit, and the changes of the commits after it.
#[derive(Default)]
pub(super) struct Saved {
    pub(super) rows: Vec<Row>,
    pub(super) tail: Vec<Change>,
}

/// A change of a row.
pub(super) enum Change {
    Put(Row),
    Remove(i64),
}

/// A run that writes to the place, as if in two processes. The first has the committer and half of
/// the workers, the second the other half. Only plain data passes between them.
pub(super) struct Run {
    sink: Box<dyn Sink>,
    writers: Vec<Box<dyn Writer>>,
    pub(super) committer: Box<dyn Committer>,
    slots: Slots,
    /// The changes since the last decision.
    changes: Vec<Change>,
}

/// A run whose writers recover.
struct Recovery {
    sink: Box<dyn Sink>,
    recovering: Vec<Box<dyn Recovering>>,
    committer: Box<dyn Committer>,
    slots: Slots,
}

/// The slots of the rows, by worker.
struct Slots {
    mode: Mode,
    used: Vec<BTreeMap<Value, u32>>,
    free: Vec<Vec<u32>>,
}

/// The first worker of the second process.
fn second(workers: usize) -> usize {
    workers.div_ceil(2)
}

/// Sends plain data from one process to another.
fn sent<T: Serialize + DeserializeOwned>(data: &T) -> T {
    serde_json::from_slice(&serde_json::to_vec(data).unwrap()).unwrap()
}

impl<'p> World<'p> {
    pub(super) fn new(place: &'p dyn Place, mode: Mode) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (rows, saved) = (Vec::new(), Saved::default());
        let (app, recorded) = ("app".to_string(), None);
        World { place, mode, state, app, generation: 0, committed: 0, recorded, rows, saved }
    }

    /// Resets the state: from here on it belongs to the application `app`. Then empties the place
    /// as a new run, which may be done again.
    pub(super) fn reset(&mut self, app: &str) -> Result<()> {
        let replaced = std::mem::replace(&mut self.app, app.into());
        (self.generation, self.committed) = (self.generation + 1, self.committed + 1);
        (self.recorded, self.rows, self.saved) = (None, Vec::new(), Saved::default());
        self.clear(&replaced)
    }

    pub(super) fn clear(&self, replaced: &str) -> Result<()> {
        let (schema, context) = (self.schema(), self.context(&self.app, 1));
        self.place.sink().check_clear(&schema, &context, replaced)?;
        self.place.sink().clear(&schema, &context, replaced)
    }

    /// Returns the number and the content of the last decision.
    pub(super) fn recorded(&self) -> Option<(u64, Json)> {
        self.recorded.clone()
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

    /// Opens the place as a new run: commits the last manifest's content, and recovers all rows.
    pub(super) fn start(&mut self, workers: usize) -> Result<Run> {
        let mut recovery = self.open(workers)?;
        self.rows.iter().try_for_each(|row| recovery.put(row))?;
        recovery.finish()
    }

    /// Saves the rows of the last commit.
    pub(super) fn save(&mut self) {
        self.saved = Saved { rows: self.rows.clone(), tail: Vec::new() };
    }

    /// Opens the place as a new run, which recovers the saved rows and the changes after them.
    pub(super) fn resume(&mut self, workers: usize) -> Result<Run> {
        let mut recovery = self.open(workers)?;
        let Saved { rows, tail } = &self.saved;
        match self.mode {
            Mode::Append if rows.is_empty() => {}
            // Any worker may be the one that skips them.
            Mode::Append => recovery.recovering[workers / 2].skip(rows.len() as u64)?,
            Mode::Snapshot if recovery.sink.needs_rows() => {
                rows.iter().try_for_each(|row| recovery.put(row))?;
            }
            Mode::Snapshot => rows.iter().try_for_each(|row| recovery.restore(row))?,
        }
        for change in tail {
            match change {
                Change::Put(row) => recovery.put(row)?,
                Change::Remove(id) => {
                    let (worker, slot) = recovery.slots.take(*id);
                    recovery.recovering[worker].remove(slot);
                }
            }
        }
        recovery.finish()
    }

    /// Opens the place as a new run, which recovers nothing yet.
    fn open(&mut self, workers: usize) -> Result<Recovery> {
        self.generation += 1;
        let (schema, context) = (self.schema(), self.context(&self.app, workers));
        self.place.sink().check(&schema, &context)?;
        let mut committer = self.place.sink().open(&schema, &context)?;
        if let Some((n, content)) = &self.recorded {
            committer.commit(*n, content)?;
        }
        let brief = committer.brief()?;
        let sink = self.place.sink();
        let mut recovering =
            self.place.sink().writers(&schema, &context, &brief, 0..second(workers))?;
        recovering.extend(sink.writers(
            &schema,
            &context,
            &sent(&brief),
            second(workers)..workers,
        )?);
        assert_eq!(recovering.len(), workers);
        let (used, free) = (vec![BTreeMap::new(); workers], vec![Vec::new(); workers]);
        let slots = Slots { mode: self.mode, used, free };
        Ok(Recovery { sink, recovering, committer, slots })
    }

    /// Stages the next commit and records it, as a manifest does. Afterwards the rows are `rows`.
    pub(super) fn decide(&mut self, run: &mut Run, rows: Vec<Row>) {
        let n = self.committed + 1;
        let content = run.stage(n);
        // A round trip through the bytes of a manifest.
        self.recorded = content.map(|content| (n, sent(&content)));
        (self.committed, self.rows) = (n, rows);
        self.rows.sort();
        self.saved.tail.append(&mut run.changes);
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

impl Slots {
    /// Returns the worker that owns a key, always the same of equal keys.
    fn owner(&self, key: &Value) -> usize {
        let Value::Long(id) = key else { panic!("{key:?} is no key") };
        id.unsigned_abs() as usize % self.used.len()
    }

    /// Returns the worker and the slot of a row.
    fn of(&mut self, key: &Value) -> (usize, u32) {
        let worker = self.owner(key);
        if self.mode == Mode::Append {
            return (worker, 0);
        }
        let (free, used) = (&mut self.free[worker], &mut self.used[worker]);
        let next = used.len() as u32;
        (worker, *used.entry(key.clone()).or_insert_with(|| free.pop().unwrap_or(next)))
    }

    /// Frees the slot of a row. Returns its worker and the slot.
    fn take(&mut self, id: i64) -> (usize, u32) {
        let worker = self.owner(&Value::Long(id));
        let slot = self.used[worker].remove(&Value::Long(id)).unwrap();
        self.free[worker].push(slot);
        (worker, slot)
    }
}

impl Recovery {
    fn put(&mut self, row: &Row) -> Result<()> {
        let (worker, slot) = self.slots.of(&row[0]);
        self.recovering[worker].insert(slot, row)
    }

    /// Recovers a row by its key.
    fn restore(&mut self, row: &Row) -> Result<()> {
        let (worker, slot) = self.slots.of(&row[0]);
        self.recovering[worker].restore(slot, &row[..1].to_vec())
    }

    fn finish(self) -> Result<Run> {
        let Recovery { sink, recovering, mut committer, slots } = self;
        let (writers, found) = Recovered::of_all(recovering)?;
        committer.recovered(sent(&found))?;
        Ok(Run { sink, writers, committer, slots, changes: Vec::new() })
    }
}

impl Run {
    pub(super) fn put(&mut self, row: &Row) {
        let (worker, slot) = self.slots.of(&row[0]);
        self.writers[worker].insert(slot, row).unwrap();
        self.changes.push(Change::Put(row.clone()));
    }

    pub(super) fn remove(&mut self, id: i64) {
        let (worker, slot) = self.slots.take(id);
        self.writers[worker].remove(slot);
        self.changes.push(Change::Remove(id));
    }

    pub(super) fn stage(&mut self, n: u64) -> Option<Json> {
        let (mut parts, second) = (Vec::new(), second(self.writers.len()));
        for (worker, writer) in self.writers.iter_mut().enumerate() {
            let Some(Part { note, files }) = writer.stage().unwrap() else { continue };
            if worker < second {
                parts.push(Part { note, files });
            } else {
                self.sink.store_files(&files).unwrap();
                parts.push(sent(&Part { note, files: Vec::new() }));
            }
        }
        if parts.is_empty() { None } else { self.committer.stage(n, parts).unwrap() }
    }
}
