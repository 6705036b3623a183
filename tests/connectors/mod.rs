//! The contract of connectors ([`contract`]), run against memory, the archive and Delta tables: in
//! a folder, an object store and a real bucket. The console keeps a part of it.

mod console;
mod contract;
mod copy;
mod handoff;
mod handoff_runs;
#[cfg(feature = "kafka")]
pub(crate) mod kafka;
#[cfg(feature = "kinesis")]
pub(crate) mod kinesis;
mod layouts;
mod retention;
mod store;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use object_store::memory::InMemory;
use serde_json::Value as Json;
use tempfile::TempDir;
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{Mode, Poll, Sink, Source};
use watershed::connectors::archive::{Archive, ArchiveTopic};
use watershed::connectors::delta::{Delta, Table};
use watershed::row::{ColumnType, Value};
use watershed::store::Store;

use crate::support::bucket::bucket;
use contract::{
    Held, Place, a_table_is_refused, a_wrong_number_of_skipped_rows_is_refused, append_contract,
    at_most_once_contract, clear_contract, owner_contract, snapshot_contract, source_contract,
};

#[test]
fn memory_keeps_the_contract_of_sources() {
    source_contract(|| Box::new(MemoryLog::default()));
}

#[test]
fn the_archive_keeps_the_contract_of_sources() {
    source_contract(|| Box::new(Topic::new(Spot::folder())));
    source_contract(|| Box::new(Topic::new(Spot::memory())));
}

#[test]
fn the_archive_keeps_the_contract_of_sources_on_s3() {
    let Some(url) = bucket(the_archive_keeps_the_contract_of_sources_on_s3) else { return };
    source_contract(|| Box::new(Topic::new(Spot::within(&url))));
}

#[test]
fn memory_keeps_the_contract_of_sinks() {
    snapshot_contract(|| Box::new(MemoryTable::default()));
    append_contract(|| Box::new(MemoryTable::default()));
    clear_contract(|| Box::new(MemoryTable::default()), Mode::Snapshot);
    clear_contract(|| Box::new(MemoryTable::default()), Mode::Append);
}

#[test]
fn a_delta_table_is_emptied_by_a_reset() {
    for rewrite_below in [0, 1 << 20] {
        let places = [Spot::folder, Spot::memory];
        for place in places {
            let lake = || Box::new(Lake { spot: place(), rewrite_below }) as Box<dyn Place>;
            clear_contract(lake, Mode::Snapshot);
            clear_contract(lake, Mode::Append);
        }
    }
}

#[test]
fn the_archive_keeps_the_contract_of_sinks_that_append() {
    append_contract(|| Box::new(Topic::new(Spot::folder())));
    append_contract(|| Box::new(Topic::new(Spot::memory())));
    a_wrong_number_of_skipped_rows_is_refused(&Topic::new(Spot::folder()));
    owner_contract(&Topic::new(Spot::folder()), false);
    a_table_is_refused(&Topic::new(Spot::folder()));
}

#[test]
fn the_archive_keeps_the_contract_of_sinks_on_s3() {
    let Some(url) = bucket(the_archive_keeps_the_contract_of_sinks_on_s3) else { return };
    append_contract(|| Box::new(Topic::new(Spot::within(&url))));
    owner_contract(&Topic::new(Spot::within(&url)), false);
}

#[test]
fn delta_keeps_the_contract_of_sinks_with_rewritten_files() {
    snapshot_contract(|| Box::new(Lake { spot: Spot::folder(), rewrite_below: 1 << 20 }));
}

#[test]
fn delta_keeps_the_contract_of_sinks_with_deletion_vectors() {
    snapshot_contract(|| Box::new(Lake { spot: Spot::folder(), rewrite_below: 0 }));
    snapshot_contract(|| Box::new(Lake { spot: Spot::memory(), rewrite_below: 0 }));
}

#[test]
fn delta_keeps_the_contract_of_sinks_that_append() {
    append_contract(|| Box::new(Lake { spot: Spot::folder(), rewrite_below: 0 }));
    owner_contract(&Lake { spot: Spot::folder(), rewrite_below: 0 }, false);
    owner_contract(&Lake { spot: Spot::folder(), rewrite_below: 0 }, true);
}

#[test]
fn delta_keeps_the_contract_of_sinks_on_s3() {
    let Some(url) = bucket(delta_keeps_the_contract_of_sinks_on_s3) else { return };
    snapshot_contract(|| Box::new(Lake { spot: Spot::within(&url), rewrite_below: 0 }));
    append_contract(|| Box::new(Lake { spot: Spot::within(&url), rewrite_below: 0 }));
    owner_contract(&Lake { spot: Spot::within(&url), rewrite_below: 0 }, true);
}

/// An empty place for an archive or a table.
struct Spot {
    store: Store,
    _folder: Option<TempDir>,
}

impl Spot {
    fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Spot {
            store: Store::open(folder.path().join("spot").to_str().unwrap()).unwrap(),
            _folder: Some(folder),
        }
    }

    fn memory() -> Self {
        Spot { store: Store::objects(Arc::new(InMemory::new()), "deep/er").unwrap(), _folder: None }
    }

    /// Returns a new place below `url`.
    fn within(url: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Spot { store: Store::open(&format!("{url}/{number}")).unwrap(), _folder: None }
    }
}

#[test]
fn the_console_keeps_the_contract_of_at_most_once_sinks() {
    at_most_once_contract(|| Box::new(console::Screen::default()));
}

impl Held for MemoryLog {
    fn append(&self, partition: u32, values: &[&[u8]]) {
        for value in values {
            MemoryLog::append(self, partition, None, Some(value));
        }
    }
    fn source(&self) -> Box<dyn Source> {
        Box::new(self.clone())
    }
}

impl Place for MemoryTable {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }
    fn rows(&self) -> Vec<Vec<Value>> {
        MemoryTable::rows(self)
    }
}

/// A topic of an archive. Either the sink writes its objects, or [`Held::append`], which records
/// the end of each partition.
struct Topic(Spot, Mutex<BTreeMap<u32, u64>>);

impl Topic {
    fn new(spot: Spot) -> Self {
        Topic(spot, Mutex::default())
    }

    fn topic(&self) -> ArchiveTopic {
        Archive::on(self.0.store.clone()).topic("topic")
    }

    /// The records of all partitions.
    fn lines(&self) -> Vec<Vec<u8>> {
        let topic = self.topic();
        let mut lines = Vec::new();
        for partition in Source::partitions(&topic).unwrap() {
            let mut partition = Source::open(&topic, partition, None, false).unwrap();
            while let Poll::Batch(batch) = partition.poll().unwrap() {
                lines.extend(batch.iter(0).map(|record| record.value.unwrap().to_vec()));
            }
        }
        lines
    }
}

impl Held for Topic {
    fn append(&self, partition: u32, values: &[&[u8]]) {
        let mut ends = self.1.lock().unwrap();
        let end = ends.entry(partition).or_insert(0);
        let text = [values.join(&b'\n'), vec![b'\n']].concat();
        self.0
            .store
            .put(
                &format!("topics/topic/partition={partition}/topic+{partition}+{end:010}.json"),
                &text,
            )
            .unwrap();
        *end += values.len() as u64;
    }
    fn lose(&self, partition: u32, before: u64) -> bool {
        let folder = format!("topics/topic/partition={partition}");
        for (name, _) in self.0.store.list(&folder).unwrap() {
            let (_, first) = name.strip_suffix(".json").unwrap().rsplit_once('+').unwrap();
            if first.parse::<u64>().unwrap() < before {
                self.0.store.delete(&format!("{folder}/{name}")).unwrap();
            }
        }
        true
    }
    fn source(&self) -> Box<dyn Source> {
        Box::new(self.topic())
    }
}

impl Place for Topic {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.topic())
    }

    fn rows(&self) -> Vec<Vec<Value>> {
        let row = |line: &Vec<u8>| -> Vec<Value> {
            let object: Json = serde_json::from_slice(line).unwrap();
            let columns = contract::columns();
            assert_eq!(object.as_object().unwrap().len(), columns.len());
            columns.iter().map(|column| value(&object[&column.name], column.ty)).collect()
        };
        let mut rows: Vec<_> = self.lines().iter().map(row).collect();
        rows.sort();
        rows
    }
}

/// Parses a field of the archive's JSON.
fn value(json: &Json, ty: ColumnType) -> Value {
    if json.is_null() {
        return Value::Null;
    }
    match ty {
        ColumnType::Long => Value::Long(json.as_i64().unwrap()),
        ColumnType::Double => Value::Double(json.as_f64().unwrap()),
        ColumnType::Boolean => Value::Boolean(json.as_bool().unwrap()),
        ColumnType::Text => Value::Text(json.as_str().unwrap().into()),
        ColumnType::Timestamp => {
            let time = chrono::DateTime::parse_from_rfc3339(json.as_str().unwrap()).unwrap();
            Value::Timestamp(time.timestamp_micros())
        }
        ColumnType::Doubles => {
            Value::Doubles(json.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect())
        }
        ColumnType::Binary => Value::Binary(STANDARD.decode(json.as_str().unwrap()).unwrap()),
    }
}

/// A Delta table.
struct Lake {
    spot: Spot,
    rewrite_below: u64,
}

impl Place for Lake {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(
            Delta::on(self.spot.store.clone())
                .rewrite_below(self.rewrite_below)
                .checkpoint_every(5),
        )
    }

    fn rows(&self) -> Vec<Vec<Value>> {
        let mut rows = Vec::new();
        let table = Table::on(self.spot.store.clone()).unwrap();
        assert_eq!(table.columns(), contract::columns());
        table
            .for_each(&mut |row| {
                rows.push(row.to_vec());
                Ok(())
            })
            .unwrap();
        rows.sort();
        rows
    }
}
