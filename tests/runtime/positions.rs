//! A run continues at its position, if the log still is the one that was read. Everything before
//! the position may be gone, and nothing behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::memory::InMemory;
use serde_json::{Value as Json, json};
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{Partition, Source};
use watershed::connectors::archive::{Archive, ArchiveTopic};
use watershed::options::Consumed;
use watershed::runtime::{Config, Streams};
use watershed::serdes::Reject;
use watershed::store::Store;
use watershed::{Error, ErrorKind, Result, StreamsBuilder, Topology};

use super::World;
use crate::support::{pair, shown};

#[test]
fn a_recreated_log_is_refused_however_long_it_is() {
    let world = World::busy();
    world.run(2).unwrap();
    let mut other = world.clone();
    other.logs.insert("rows", MemoryLog::default());
    for partition in 0..2 {
        other.append("rows", partition, "a=1 b=2 c=3 a=4 d=5 b= e=6 a=4 f=8 f=9 f=10 f=11");
    }
    let error = other.run(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains("has another record at offset 8 than before"), "{error}");
    world.run(1).unwrap();
}

/// A log whose state is the ends of its partitions. It keeps the state that a run restores.
#[derive(Clone, Default)]
struct Remembering {
    log: MemoryLog,
    restored: Arc<Mutex<Json>>,
}

impl Source for Remembering {
    fn describe(&self) -> String {
        "a log with a state".into()
    }
    fn partitions(&self) -> Result<Vec<u32>> {
        self.log.partitions()
    }
    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        self.log.open(partition, from, follow)
    }
    fn state(&self, ends: &BTreeMap<u32, u64>) -> Json {
        json!(ends)
    }
    fn restore(&self, state: &Json) -> Result<()> {
        *self.restored.lock().unwrap() = state.clone();
        Ok(())
    }
}

#[test]
fn a_source_is_restored_to_the_snapshot_at_which_it_is_opened() {
    let (world, source) = (World::new(), Remembering::default());
    let topology = || {
        Topology::new("rows", |builder: &StreamsBuilder<'_>| {
            crate::support::table(builder, "rows").to("kept", pair());
        })
    };
    let run = |value: &str| {
        source.log.append(0, Some(b"a"), Some(value.as_bytes()));
        let streams = Streams::new(topology()).source("rows", source.clone());
        // One commit, at the end: it has a snapshot of its own.
        let config = Config { commit_every: Duration::from_secs(3600), ..world.config(1) };
        streams.sink("kept", world.tables["kept"].clone()).run(config).unwrap();
        source.restored.lock().unwrap().clone()
    };
    assert_eq!([run("1"), run("2"), run("3")], [Json::Null, json!({"0": 1}), json!({"0": 2})]);
    let state = world.state();
    let (youngest, _) = state.list("snap").unwrap().pop().unwrap();
    state.put(&format!("snap/{youngest}"), b"damaged").unwrap();
    assert_eq!(run("4"), json!({"0": 2}), "the older snapshot ends there");
}

/// An archive that is read into a table, and everything that outlives a run.
#[derive(Default)]
struct Archived {
    objects: Arc<InMemory>,
    kept: MemoryTable,
    end: Mutex<u64>,
}

impl Archived {
    fn store(&self) -> Store {
        Store::objects(self.objects.clone(), "archive").unwrap()
    }

    /// Adds an object of three records.
    fn add(&self) {
        let mut end = self.end.lock().unwrap();
        let lines: String = (*end..*end + 3).map(|n| format!("k{}={n}\n", n % 5)).collect();
        let path = format!("topics/rows/partition=0/rows+0+{:010}.json", *end);
        self.store().put(&path, lines.as_bytes()).unwrap();
        *end += 3;
    }

    /// Deletes the objects before an offset.
    fn lose(&self, before: u64) {
        for first in (0..before).step_by(3) {
            let path = format!("topics/rows/partition=0/rows+0+{first:010}.json");
            self.store().delete(&path).unwrap();
        }
    }

    fn topic(&self) -> ArchiveTopic {
        Archive::on(self.store()).topic("rows")
    }

    /// Runs to the end of the archive, with one commit, which has a snapshot of its own.
    fn run(&self, source: ArchiveTopic) -> Result<()> {
        let decode = |value: Option<&[u8]>| {
            let text = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            let pair = text.split_once('=').map(|(k, v)| (k.to_string(), v.parse().unwrap_or(0)));
            pair.ok_or_else(|| Reject::new("no pair", text))
        };
        let topology = Topology::new("archived", move |builder: &StreamsBuilder<'_>| {
            let rows = builder.table::<String, i64>("rows", Consumed::from_value(decode));
            rows.to("kept", pair());
        });
        let state = Some(Store::objects(self.objects.clone(), "state")?);
        let config = Config {
            workers: 2,
            state,
            commit_every: Duration::from_secs(3600),
            ..Config::default()
        };
        let streams = Streams::new(topology).source("rows", source);
        streams.sink("kept", self.kept.clone()).run(config).map(|_| ())
    }

    /// Compares the table with all records that were ever added.
    fn is_complete(&self) -> bool {
        let end = *self.end.lock().unwrap();
        let last: BTreeMap<u64, u64> = (0..end).map(|n| (n % 5, n)).collect();
        let rows: Vec<String> = last.into_iter().map(|(k, n)| format!("k{k}={n}")).collect();
        self.kept.rows().iter().map(|row| shown(row)).eq(rows)
    }
}

fn refusal(result: Result<()>) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    error
}

#[test]
fn an_archive_may_lose_all_records_before_the_snapshot() {
    let archived = Archived::default();
    (0..3).for_each(|_| archived.add());
    archived.run(archived.topic()).unwrap();
    archived.lose(6);
    archived.add();
    archived.run(archived.topic()).unwrap();
    assert!(archived.is_complete());
    // Even the object with the last record that was read.
    (0..2).for_each(|_| archived.add());
    archived.lose(12);
    archived.run(archived.topic()).unwrap();
    assert!(archived.is_complete());
    (0..2).for_each(|_| archived.add());
    archived.lose(21);
    let text = refusal(archived.run(archived.topic())).to_string();
    assert!(text.contains("from offset 18: it begins at 21"), "{text}");
    assert!(archived.kept.rows().len() == 5 && !archived.is_complete());
}

#[test]
fn a_run_deletes_the_objects_that_no_restart_needs() {
    let archived = Archived::default();
    let first = || archived.topic().span(0).unwrap().unwrap().start;
    let mut begins = 0;
    for step in 0..40 {
        archived.add();
        archived.run(archived.topic().with_retention(Duration::ZERO)).unwrap();
        assert!(archived.is_complete(), "after step {step}");
        assert!(begins <= first() && first() <= step * 3, "after step {step}");
        begins = first();
    }
    assert!(begins > 30, "it begins at {begins}");
    // The state is needed now.
    let kept = MemoryTable::default();
    let anew = Archived { objects: Arc::default(), kept, end: Mutex::new(120) };
    for (name, _) in archived.store().list("topics/rows/partition=0").unwrap() {
        let path = format!("topics/rows/partition=0/{name}");
        anew.store().put(&path, &archived.store().get(&path).unwrap().unwrap()).unwrap();
    }
    anew.run(anew.topic()).unwrap();
    assert!(anew.kept.rows().len() == 5);
}
