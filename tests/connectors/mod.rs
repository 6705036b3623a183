//! The contract of connectors ([`contract`]) and who keeps it: memory, the archive and Delta tables; and the part that a console can keep.

mod console;
mod contract;
#[cfg(feature = "kafka")]
mod kafka;

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use tempfile::TempDir;
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{ColumnType, Poll, Sink, Source, Value};
use watershed::connectors::archive::Archive;
use watershed::connectors::delta::{Delta, Table};

use contract::{Held, Place, append_contract, at_most_once_contract, owner_contract, snapshot_contract, source_contract};

#[test]
fn memory_keeps_the_contract_of_sources() {
    source_contract(|| Box::new(MemoryLog::default()));
}

#[test]
fn the_archive_keeps_the_contract_of_sources() {
    source_contract(|| Box::new(Folder::new()));
}

#[test]
fn memory_keeps_the_contract_of_sinks() {
    snapshot_contract(|| Box::new(MemoryTable::default()));
    append_contract(|| Box::new(MemoryTable::default()));
}

#[test]
fn the_archive_keeps_the_contract_of_sinks_that_append() {
    append_contract(|| Box::new(Folder::new()));
    owner_contract(&Folder::new(), false);
}

#[test]
fn delta_keeps_the_contract_of_sinks_with_files_that_are_rewritten() {
    snapshot_contract(|| Box::new(Lake::new(1 << 20)));
}

#[test]
fn delta_keeps_the_contract_of_sinks_with_deletion_vectors() {
    snapshot_contract(|| Box::new(Lake::new(0)));
}

#[test]
fn delta_keeps_the_contract_of_sinks_that_append() {
    append_contract(|| Box::new(Lake::new(0)));
    owner_contract(&Lake::new(0), false);
    owner_contract(&Lake::new(0), true);
}

#[test]
fn the_console_keeps_the_contract_of_sinks_that_cannot_be_asked() {
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

/// An archive with one topic, whose objects are written by hand or by the sink.
struct Folder {
    root: TempDir,
}

impl Folder {
    fn new() -> Self {
        Folder { root: tempfile::tempdir().unwrap() }
    }

    fn topic(&self) -> watershed::connectors::archive::ArchiveTopic {
        Archive::open(self.root.path().to_str().unwrap()).unwrap().topic("topic")
    }

    fn partition(&self, partition: u32) -> PathBuf {
        self.root.path().join(format!("topics/topic/partition={partition}"))
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

impl Held for Folder {
    fn append(&self, partition: u32, values: &[&[u8]]) {
        let folder = self.partition(partition);
        fs::create_dir_all(&folder).unwrap();
        let (mut end, topic) = (0, self.topic());
        let mut reader = Source::open(&topic, partition, None, false).unwrap();
        while let Poll::Batch(batch) = reader.poll().unwrap() {
            end = batch.next;
        }
        let text = [values.join(&b'\n'), vec![b'\n']].concat();
        fs::write(folder.join("new.tmp"), text).unwrap();
        fs::rename(folder.join("new.tmp"), folder.join(format!("topic+{partition}+{end:010}.json"))).unwrap();
    }
    fn source(&self) -> Box<dyn Source> {
        Box::new(self.topic())
    }
}

impl Place for Folder {
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

/// What a field of the archive's JSON stands for.
fn value(json: &Json, ty: ColumnType) -> Value {
    if json.is_null() {
        return Value::Null;
    }
    match ty {
        ColumnType::Long => Value::Long(json.as_i64().unwrap()),
        ColumnType::Double => Value::Double(json.as_f64().unwrap()),
        ColumnType::Text => Value::Text(json.as_str().unwrap().into()),
        ColumnType::Timestamp => {
            let time = chrono::DateTime::parse_from_rfc3339(json.as_str().unwrap()).unwrap();
            Value::Timestamp(time.timestamp_micros())
        }
        ColumnType::Doubles => Value::Doubles(json.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()),
        ColumnType::Binary => Value::Binary(STANDARD.decode(json.as_str().unwrap()).unwrap()),
    }
}

/// A Delta table.
struct Lake {
    root: TempDir,
    rewrite_below: u64,
}

impl Lake {
    fn new(rewrite_below: u64) -> Self {
        Lake { root: tempfile::tempdir().unwrap(), rewrite_below }
    }

    fn url(&self) -> String {
        self.root.path().join("table").display().to_string()
    }
}

impl Place for Lake {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(Delta::table(&self.url()).unwrap().rewrite_below(self.rewrite_below).checkpoint_every(5))
    }

    fn rows(&self) -> Vec<Vec<Value>> {
        let mut rows = Vec::new();
        let table = Table::open(&self.url()).unwrap();
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
