//! A world: everything that outlives the lives of a history, and the comparison with the oracle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::FutureExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde_json::Value as Json;
use watershed::connect::Sink;
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connectors::delta::{self, Delta};
use watershed::runtime::{Config, Stop, Streams};
use watershed::simulation::draw;
use watershed::store::Store;
use watershed::{DEAD_LETTERS, Result};

use super::oracle::{self, Record, Shown};
use super::programs::Program;
use super::store::Connection;
use super::topics::{Log, Table};
use crate::support::lossy::{Bucket, Lossy};
use crate::support::shown;

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Counts of comparisons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(super) commits: u64,
    pub(super) rows: u64,
    pub(super) snapshots: u64,
}

/// Everything that outlives a run.
pub(super) struct World {
    pub(super) program: Program,
    /// True if the tables are Delta tables on the bucket.
    is_delta: bool,
    pub(super) bucket: Bucket,
    logs: BTreeMap<&'static str, MemoryLog>,
    tables: BTreeMap<&'static str, MemoryTable>,
    records: Mutex<Vec<Record>>,
    /// By topic and partition, the number of records.
    ends: Mutex<BTreeMap<(&'static str, u32), u64>>,
    pub(super) compared: Mutex<Compared>,
    /// The first difference.
    difference: Mutex<Option<String>>,
}

/// The settings of one run.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) workers: usize,
    pub(super) follow: bool,
    pub(super) commit_every: Duration,
    pub(super) stop: Stop,
}

impl Settings {
    /// A run to the end of the logs.
    pub(super) fn to_the_end(workers: usize) -> Self {
        let (follow, commit_every, stop) = (false, Duration::ZERO, Stop::default());
        Settings { workers, follow, commit_every, stop }
    }
}

impl World {
    pub(super) fn new(program: Program, is_delta: bool) -> Self {
        World {
            program,
            is_delta,
            bucket: Bucket::default(),
            logs: program.sources().iter().map(|topic| (*topic, MemoryLog::default())).collect(),
            tables: program.sinks().iter().map(|topic| (*topic, MemoryTable::default())).collect(),
            records: Mutex::default(),
            ends: Mutex::default(),
            compared: Mutex::default(),
            difference: Mutex::default(),
        }
    }

    /// Appends `count` records: values, corrections, deletions and garbage.
    pub(super) fn append(&self, count: u64) {
        for _ in 0..count {
            let sources = self.program.sources();
            let topic = sources[draw(sources.len() as u64) as usize];
            let (partition, key) = (draw(3) as u32, KEYS[draw(KEYS.len() as u64) as usize]);
            let value = match draw(12) {
                0 | 1 => Ok(None),
                2 => Err(()),
                _ => Ok(Some(draw(8) as i64)),
            };
            let text = match value {
                Ok(number) => number.map(|number: i64| number.to_string()),
                Err(()) => Some("garbage".into()),
            };
            let text = text.as_deref().map(str::as_bytes);
            // The record must be known before a run can commit it.
            let mut ends = self.ends.lock().unwrap();
            let end = ends.entry((topic, partition)).or_default();
            let record = Record { topic, partition, offset: *end, key, value };
            self.records.lock().unwrap().push(record);
            *end += 1;
            drop(ends);
            self.logs[topic].append(partition, Some(key.as_bytes()), text);
        }
    }

    /// Returns the number of records.
    pub(super) fn records(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    /// Returns a run of the program.
    pub(super) fn run(
        self: &Arc<Self>,
        connection: Lossy,
        settings: Settings,
    ) -> impl FnOnce() -> Result<watershed::runtime::Summary> + Send + 'static {
        let mut streams = Streams::new(self.program.topology());
        let store = Connection::store(connection);
        for (topic, log) in &self.logs {
            streams = streams.source(topic, Log(log.clone()));
        }
        for (topic, table) in &self.tables {
            let table: Box<dyn Sink> = match self.is_delta {
                true => Box::new(Delta::on(store.below(&format!("lake/{topic}")))),
                false => Box::new(table.clone()),
            };
            streams = streams.sink(topic, Table { topic, table, world: self.clone() });
        }
        let Settings { workers, follow, commit_every, stop } = settings;
        let state = Some(store.below("state"));
        let config = Config { workers, state, follow, commit_every, stop, ..Config::default() };
        move || streams.run(config)
    }

    pub(super) fn difference(&self) -> Option<String> {
        self.difference.lock().unwrap().clone()
    }

    fn differs(&self, text: String) {
        self.difference.lock().unwrap().get_or_insert(text);
    }

    fn state(&self) -> Store {
        Store::objects(self.bucket.objects.clone(), "state").unwrap()
    }

    /// Returns the records up to the ends that a manifest names; none without that manifest.
    fn records_at(&self, n: u64) -> Option<Vec<Record>> {
        let path = Path::from(format!("state/manifest/{n:020}"));
        let found = self.bucket.objects.get(&path).now_or_never()?.ok()?;
        let bytes = found.bytes().now_or_never()?.ok()?;
        let manifest: Json = serde_json::from_slice(&bytes).ok()?;
        let end = |record: &Record| {
            let partitions = &manifest["sources"][record.topic][0]["partitions"];
            partitions[record.partition.to_string()]["to"].as_u64().unwrap_or(0)
        };
        let records = self.records.lock().unwrap();
        Some(records.iter().filter(|record| record.offset < end(record)).cloned().collect())
    }

    /// Returns the number of the last commit of a table, and its rows.
    fn rows(&self, topic: &str) -> (u64, Vec<String>) {
        let columns = if topic == DEAD_LETTERS { 3 } else { 2 };
        let mut rows = Vec::new();
        let last = if self.is_delta {
            let store =
                Store::objects(self.bucket.objects.clone(), &format!("lake/{topic}")).unwrap();
            let table = delta::Table::on(store).unwrap();
            let each = table.for_each(&mut |row| {
                rows.push(shown(&row[..columns]));
                Ok(())
            });
            each.unwrap();
            table.manifest().unwrap_or(0)
        } else {
            let table = &self.tables[topic];
            rows.extend(table.rows().iter().map(|row| shown(&row[..columns])));
            table.commits().last().map_or(0, |(n, _)| *n)
        };
        rows.sort();
        (last, rows)
    }

    /// Compares a table with the records up to its last commit.
    pub(super) fn check_table(&self, topic: &'static str) {
        let commits = self.tables[topic].commits();
        if !commits.is_sorted_by(|(a, _), (b, _)| a < b) {
            return self.differs(format!("{topic} has commits out of order"));
        }
        let (n, rows) = self.rows(topic);
        let Some(records) = self.records_at(n) else {
            return self.differs(format!("{topic} has commit {n}, which no manifest names"));
        };
        let mut compared = self.compared.lock().unwrap();
        compared.commits += 1;
        compared.rows += rows.len() as u64;
        drop(compared);
        if let Some(expected) = oracle::rows(self.program, &records).get(topic)
            && *expected != rows
        {
            self.differs(format!("{topic} at commit {n} is {rows:?}, not {expected:?}"));
        }
    }

    /// Checks that the manifests are complete, and that the last one names whole snapshots.
    pub(super) fn check_state(&self) {
        let state = self.state();
        let names = state.list("manifest").unwrap();
        for (index, (name, _)) in names.iter().enumerate() {
            if name.parse::<usize>().unwrap() != index + 1 {
                return self.differs(format!("manifest {name} is number {index}"));
            }
        }
        let Some((last, _)) = names.last() else { return };
        let bytes = state.get(&format!("manifest/{last}")).unwrap().unwrap();
        let manifest: Json = serde_json::from_slice(&bytes).unwrap();
        for name in manifest["snapshots"].as_array().into_iter().flatten() {
            let path = name["path"].as_str().unwrap();
            let Some(bytes) = state.get(path).unwrap() else {
                return self.differs(format!("{path} is missing, which manifest {last} names"));
            };
            let snapshot: Json = serde_json::from_slice(&bytes).unwrap();
            for layer in snapshot["layers"].as_array().unwrap() {
                let path = layer["path"].as_str().unwrap();
                if state.get(path).unwrap().is_none() {
                    return self.differs(format!("{path} is missing, a layer of {name}"));
                }
            }
            self.compared.lock().unwrap().snapshots += 1;
        }
    }

    /// Compares all tables at the end of the logs.
    pub(super) fn check_end(&self) {
        let records = self.records.lock().unwrap().clone();
        let found: Shown =
            self.program.sinks().iter().map(|topic| (*topic, self.rows(topic).1)).collect();
        for (topic, expected) in oracle::rows(self.program, &records) {
            if found[topic] != expected {
                let found = &found[topic];
                self.differs(format!("{topic} ends as {found:?}, not {expected:?}"));
            }
        }
        if self.program == Program::Changes
            && let Err(difference) = oracle::check_changes(&found, &records)
        {
            self.differs(difference);
        }
    }
}
