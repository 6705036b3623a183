//! A table under test beside a model of it: a map from key to row.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use object_store::memory::InMemory;
use serde_json::Value as Json;

use crate::row::{Column, ColumnType, Value};

use crate::connect::{Committer, Mode, Recovered, Schema, Sink, SinkContext, Writer};

use crate::connectors::delta::{Delta, Table};
use crate::error::Result;
use crate::secret::Secret;
use crate::store::Store;

pub(super) type Row = Vec<Value>;
pub(super) type Rows = BTreeMap<i64, Row>;

/// Small numbers, the same in every run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed)
    }
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

pub(super) fn schema(mode: Mode) -> Schema {
    let column = |name: &str, ty, nullable| Column { name: name.into(), ty, nullable };
    let columns = vec![
        column("ind", ColumnType::Long, false),
        column("title", ColumnType::Text, true),
        column("coordinates", ColumnType::Doubles, true),
        column("timestamp", ColumnType::Timestamp, true),
        column("ratio", ColumnType::Double, true),
        column("payload", ColumnType::Binary, true),
        column("paid", ColumnType::Boolean, true),
    ];
    Schema { topic: "demo.pin".into(), columns, key: 1, mode }
}

pub(super) fn row(key: i64, dice: &mut Dice) -> Row {
    let some = |dice: &mut Dice, value| if dice.below(5) == 0 { Value::Null } else { value };
    let n = dice.below(1 << 30) as i64;
    vec![
        Value::Long(key),
        some(dice, Value::Text(format!("Grüße {n} {}", "x".repeat((n % 50) as usize)))),
        some(dice, Value::Doubles(vec![n as f64 / 7.0; (n % 3) as usize])),
        some(dice, Value::Timestamp(1_598_586_767_000_000 + n)),
        some(dice, Value::Double(n as f64 / 3.0)),
        some(dice, Value::Binary(n.to_le_bytes().to_vec())),
        some(dice, Value::Boolean(n % 3 == 0)),
    ]
}

/// A run of a program that writes the table.
pub(super) struct Run {
    writers: Vec<Box<dyn Writer>>,
    pub(super) committer: Box<dyn Committer>,
    slots: Vec<BTreeMap<i64, u32>>,
}

/// The state that outlives a run: the table and the last manifest.
pub(super) struct World {
    pub(super) url: String,
    /// The store of the table: the folder `url`, unless it is replaced.
    pub(super) store: Store,
    pub(super) generation: u64,
    pub(super) committed: u64,
    /// The commit of this table in the last manifest.
    pub(super) recorded: Option<(u64, Json)>,
    pub(super) clock: Arc<AtomicI64>,
    pub(super) options: fn(Delta) -> Delta,
}

impl World {
    pub(super) fn new(folder: &Path, options: fn(Delta) -> Delta) -> Self {
        let url = folder.join("table").display().to_string();
        // Delta's library uses the real time, which a new folder has.
        let now = std::fs::metadata(folder)
            .unwrap()
            .modified()
            .unwrap()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let clock = Arc::new(AtomicI64::new(now.as_millis() as i64));
        let store = Store::open(&url).unwrap();
        World { url, store, generation: 0, committed: 0, recorded: None, clock, options }
    }

    pub(super) fn context(&self, workers: usize) -> SinkContext {
        let clock = self.clock.clone();
        let clock = Arc::new(move || clock.fetch_add(1, Ordering::Relaxed));
        let (generation, committed, secret) =
            (self.generation, self.committed, Secret::new([7; 16]));
        SinkContext {
            app: "app-1".into(),
            generation,
            committed,
            workers,
            secret,
            staging: None,
            clock,
        }
    }

    pub(super) fn sink(&self) -> Delta {
        (self.options)(Delta::on(self.store.clone()))
    }

    /// Starts a run, which recovers `rows`.
    pub(super) fn start(&mut self, workers: usize, rows: &Rows, dice: &mut Dice) -> Result<Run> {
        self.generation += 1;
        let (sink, schema, context) = (self.sink(), schema(Mode::Snapshot), self.context(workers));
        sink.check(&schema, &context)?;
        let mut committer = sink.open(&schema, &context)?;
        if let Some((n, content)) = &self.recorded {
            committer.commit(*n, content)?;
        }
        let brief = committer.brief()?;
        let mut recovery = sink.writers(&schema, &context, &brief, 0..workers)?;
        let mut slots = vec![BTreeMap::new(); workers];
        let mut keys: Vec<i64> = rows.keys().copied().collect();
        for at in (1..keys.len()).rev() {
            keys.swap(at, dice.below(at as u64 + 1) as usize);
        }
        for key in keys {
            let (worker, slot) = place(&mut slots, key);
            if dice.below(4) == 0 {
                recovery[worker].insert(slot, &row(key, dice))?;
            }
            recovery[worker].insert(slot, &rows[&key])?;
        }
        let (writers, found) = Recovered::of_all(recovery)?;
        committer.recovered(found)?;
        Ok(Run { writers, committer, slots })
    }

    /// Reads the table with the reader of this library.
    pub(super) fn read(&self) -> Rows {
        let table = Table::on(self.store.clone()).unwrap();
        assert_eq!(table.columns(), schema(Mode::Snapshot).columns);
        rows(&table)
    }

    pub(super) fn read_at(&self, n: u64) -> Rows {
        rows(&Table::committed(self.store.clone(), n).unwrap().unwrap())
    }
}

pub(super) fn rows(table: &Table) -> Rows {
    let mut rows = Rows::new();
    let put = |row: &[Value]| {
        let Value::Long(key) = row[0] else { panic!("no key") };
        assert!(rows.insert(key, row.to_vec()).is_none(), "key {key} twice");
        Ok(())
    };
    let mut put = put;
    table.for_each(&mut put).unwrap();
    rows
}

/// Returns an object store in memory.
pub(super) fn remote() -> Store {
    Store::objects(Arc::new(InMemory::new()), "a lake/of/tables").unwrap()
}

/// Returns the number of live rows by the file listing of the `deltalake` crate alone: physical
/// rows less the cardinality of the vectors.
pub(super) fn listed(url: &str) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let table = deltalake::open_table(deltalake::ensure_table_uri(url).unwrap()).await.unwrap();
        let log = table.snapshot().unwrap().log_data();
        log.iter()
            .map(|f| {
                f.num_records().unwrap() as i64
                    - f.deletion_vector_descriptor().map_or(0, |d| d.cardinality)
            })
            .sum()
    })
}

/// Returns the worker and the slot of a key.
fn place(slots: &mut [BTreeMap<i64, u32>], key: i64) -> (usize, u32) {
    let worker = key as usize % slots.len();
    let next = slots[worker].len() as u32;
    (worker, *slots[worker].entry(key).or_insert(next))
}

impl Run {
    pub(super) fn insert(&mut self, key: i64, row: &Row) {
        let (worker, slot) = place(&mut self.slots, key);
        self.writers[worker].insert(slot, row).unwrap();
    }

    pub(super) fn remove(&mut self, key: i64) {
        let worker = key as usize % self.writers.len();
        self.writers[worker].remove(self.slots[worker][&key]);
    }

    pub(super) fn stage(&mut self, n: u64) -> Option<Json> {
        let parts = self.writers.iter_mut().filter_map(|w| w.stage().unwrap()).collect();
        self.committer.stage(n, parts).unwrap()
    }
}
