//! A run takes over from one that is compacting a Delta table.

use std::any::Any;
use std::ops::Range;
use std::sync::mpsc::channel;

use serde_json::Value as Json;
use watershed::connect::memory::MemoryLog;
use watershed::connect::{
    Committer, FoundRows, MaintenanceTask, Part, Recovering, Schema, Sink, SinkContext,
};
use watershed::connectors::delta::{Delta, Table};
use watershed::row::Value;
use watershed::runtime::{Config, Milestone, Stop, Streams, Summary};
use watershed::store::Store;
use watershed::{ErrorKind, Result, StreamsBuilder, Topology};

use super::Following;
use crate::support::broken::Fuse;
use crate::support::{pair, shown, table};

/// The number of commits after which an append-only table is due for compaction.
const DUE_COMMITS: u64 = 32;

/// A log and a lake with one table, which outlive runs.
struct Lake {
    log: MemoryLog,
    folder: tempfile::TempDir,
}

impl Lake {
    fn new() -> Self {
        Lake { log: MemoryLog::default(), folder: tempfile::tempdir().unwrap() }
    }

    fn url(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn append(&self, key: u64, value: u64) {
        self.log.append(0, Some(key.to_string().as_bytes()), Some(value.to_string().as_bytes()));
    }

    fn streams(&self, fuse: &Fuse) -> Streams {
        let topology = Topology::new("lake", |builder: &StreamsBuilder<'_>| {
            table(builder, "rows").to("kept", pair())
        });
        let kept =
            Delta::table(&self.url("kept")).unwrap().rewrite_below(0).checkpoint_every(10_000);
        Streams::new(topology)
            .source("rows", self.log.clone())
            .sink("kept", FailingTable { kept, fuse: fuse.clone() })
    }

    fn config(&self) -> Config {
        Config {
            workers: 1,
            state: Some(Store::open(&self.url("state")).unwrap()),
            ..Config::default()
        }
    }

    fn run(&self) -> Result<Summary> {
        self.streams(&Fuse::sound()).run(self.config())
    }

    fn follow(&self) -> Following {
        self.follow_on(&Fuse::sound())
    }

    fn follow_on(&self, fuse: &Fuse) -> Following {
        let (sender, milestones) = channel();
        let stop = Stop::default();
        let milestone = Box::new(move |milestone| {
            // The receiver may be gone.
            let _ = sender.send(milestone);
        });
        let commit_every = std::time::Duration::ZERO;
        let config = Config {
            follow: true,
            stop: stop.clone(),
            milestone: Some(milestone),
            commit_every,
            ..self.config()
        };
        let streams = self.streams(fuse);
        Following { stop, milestones, thread: std::thread::spawn(move || streams.run(config)) }
    }

    /// Starts a run that follows, and commits until it compacts its small files in the background.
    /// The run publishes the result with its next commit or at its end.
    fn compacting(&self, fuse: &Fuse) -> Following {
        let run = self.follow_on(fuse);
        for key in 0..DUE_COMMITS {
            self.append(key, key);
            run.until(key + 1);
        }
        run
    }

    fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        let mut put = |row: &[Value]| {
            rows.push(shown(row));
            Ok(())
        };
        Table::open(&self.url("kept")).unwrap().for_each(&mut put).unwrap();
        rows.sort();
        rows
    }

    /// The expected rows: each key with an equal value, but `changed` with 7.
    fn expected(changed: u64) -> Vec<String> {
        let mut rows: Vec<_> = (0..DUE_COMMITS)
            .map(|key| format!("{key}={}", if key == changed { 7 } else { key }))
            .collect();
        rows.sort();
        rows
    }

    /// Returns true if a version of the table is a compaction.
    fn compacted(&self) -> bool {
        let log = Store::open(&self.url("kept/_delta_log")).unwrap();
        let versions = log.list("").unwrap();
        versions.iter().any(|(name, _)| {
            String::from_utf8_lossy(&log.get(name).unwrap().unwrap()).contains("OPTIMIZE")
        })
    }
}

/// A table whose commits fail when `fuse` does; its maintenance never fails.
struct FailingTable {
    kept: Delta,
    fuse: Fuse,
}

impl Sink for FailingTable {
    fn describe(&self) -> String {
        self.kept.describe()
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        let committer = self.kept.open(schema, context)?;
        Ok(Box::new(FailingCommitter { committer, fuse: self.fuse.clone() }))
    }

    fn writers(
        &self,
        schema: &Schema,
        context: &SinkContext,
        brief: &Json,
        workers: Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>> {
        self.kept.writers(schema, context, brief, workers)
    }

    fn needs_rows(&self) -> bool {
        self.kept.needs_rows()
    }
}

struct FailingCommitter {
    committer: Box<dyn Committer>,
    fuse: Fuse,
}

impl Committer for FailingCommitter {
    fn brief(&mut self) -> Result<Json> {
        self.committer.brief()
    }

    fn recovered(&mut self, found: FoundRows) -> Result<()> {
        self.committer.recovered(found)
    }

    fn stage(&mut self, n: u64, parts: Vec<Part>) -> Result<Option<Json>> {
        self.committer.stage(n, parts)
    }

    fn commit(&mut self, n: u64, content: &Json) -> Result<()> {
        self.fuse.call("commit", || self.committer.commit(n, content))
    }

    fn maintain(&mut self) -> Result<Option<MaintenanceTask>> {
        self.committer.maintain()
    }

    fn maintained(&mut self, done: Box<dyn Any + Send>) -> Result<()> {
        self.committer.maintained(done)
    }
}

#[test]
fn an_idle_run_compacts_at_its_end_while_nobody_has_taken_over() {
    let lake = Lake::new();
    let run = lake.compacting(&Fuse::sound());
    run.stop.stop();
    run.end().unwrap();
    assert!(lake.compacted());
    lake.append(3, 7);
    lake.run().unwrap();
    assert_eq!(lake.rows(), Lake::expected(3));
}

#[test]
fn a_superseded_run_leaves_the_table_alone_at_its_end() {
    let lake = Lake::new();
    let older = lake.compacting(&Fuse::sound());
    let newer = lake.follow();
    newer.wait(|milestone| milestone == Milestone::Answered(DUE_COMMITS));
    older.stop.stop();
    older.end().unwrap();
    assert!(!lake.compacted());
    lake.append(3, 7);
    newer.until(DUE_COMMITS + 1);
    assert_eq!(lake.rows(), Lake::expected(3));
    newer.stop.stop();
    newer.end().unwrap();
    lake.append(4, 4);
    assert_eq!(lake.run().unwrap().recovered, DUE_COMMITS + 1);
    assert_eq!(lake.rows(), Lake::expected(3));
}

#[test]
fn a_superseded_run_compacts_nothing() {
    let lake = Lake::new();
    let older = lake.compacting(&Fuse::sound());
    let newer = lake.follow();
    newer.wait(|milestone| milestone == Milestone::Answered(DUE_COMMITS));
    lake.append(3, 7);
    newer.until(DUE_COMMITS + 1);
    let error = older.end().unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Superseded, 76), "{error}");
    assert!(!lake.compacted());
    newer.stop.stop();
    newer.end().unwrap();
    assert_eq!(lake.run().unwrap().recovered, DUE_COMMITS + 1);
    assert_eq!(lake.rows(), Lake::expected(3));
}

#[test]
fn a_failed_commit_prevents_compaction_and_is_shown_later() {
    for late in [false, true] {
        let lake = Lake::new();
        let older = lake.compacting(&Fuse::at(DUE_COMMITS as i64 + 1, late));
        lake.append(3, 7);
        let error = older.end().unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Connect, 69), "{error}");
        assert!(!lake.compacted());
        for _ in 0..2 {
            assert_eq!(lake.run().unwrap().recovered, DUE_COMMITS + 1);
            assert_eq!(lake.rows(), Lake::expected(3));
        }
    }
}
