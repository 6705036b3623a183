//! Promises of a run, one module each:
//!
//! - [`adoption`], [`adoption_by_topic`]: it adopts the state of another topology.
//! - [`replacement`]: it replaces the rows of a sink that other steps make now.
//! - [`reset`], [`reset_tables`]: it begins anew although a state exists.
//! - [`bindings`]: it is checked before it starts.
//! - [`resume`]: it continues where another ended.
//! - [`snapshots`]: a snapshot spares it the records of before.
//! - [`positions`]: it continues at its position in the log that was read.
//! - [`inspection`]: its state can be inspected without it.
//! - [`refusals`]: it refuses a state that it can't continue.
//! - [`takeover`], [`compacted`]: it excludes a second run, even during a compaction.
//! - [`crashes`]: it recovers from a crash at any call.
//! - [`joins`]: its joins continue after a restart and after a crash.
//! - [`ordered`]: folds that take values in order continue too.
//! - [`lossy`]: it survives a store that loses and delays requests.
//! - [`power`]: it continues after a power loss.
//! - [`stores`]: its tables can be read while it runs.
//! - [`following`]: it processes each record as it arrives.
//! - [`many`]: it reads any number of partitions.
//! - [`processes`]: it has any number of processes.
//! - [`pressure`]: it holds back sources that are faster than the workers.
//! - [`strangers`]: records crafted by an attacker do no harm.
//! - [`per_record`]: it can answer after each record.
//! - [`times`]: it records event time with the positions.
//! - [`event_time`]: it closes windows by positions and recorded decisions alone.
//! - [`row_times`]: the times of its rows and steps continue where another ended.

mod adoption;
mod adoption_by_topic;
mod bindings;
mod compacted;
mod crashes;
mod event_time;
mod following;
mod inspection;
mod joins;
mod keys;
mod lossy;
mod many;
mod metrics;
mod ordered;
mod per_record;
mod positions;
mod power;
mod pressure;
mod processes;
mod refusals;
mod replacement;
mod reset;
mod reset_tables;
mod resume;
mod row_times;
mod snapshots;
mod stores;
mod strangers;
mod takeover;
mod times;
mod woken;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use object_store::memory::InMemory;
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{Poll, Source};
use watershed::record::Batch;
use watershed::row::Value;
use watershed::runtime::{Config, Milestone, Stop, Streams, Summary};
use watershed::store::Store;
use watershed::{DEAD_LETTERS, Result, StreamsBuilder, Topology};

use crate::support::broken::{Fuse, Log, Seen, Table};
use crate::support::{EVENT_TIMEOUT, pair, parsed, shown, stream, table};

const SOURCES: [&str; 2] = ["rows", "events"];
const SINKS: [&str; 5] = ["kept", "counts", "all", "sums", DEAD_LETTERS];

/// A topology with a table, a group, an appended stream and a maintained join.
fn program() -> Topology {
    Topology::new("program", |builder: &StreamsBuilder<'_>| {
        let (rows, events) = (table(builder, "rows"), stream(builder, "events"));
        rows.to("kept", pair());
        rows.group_by(|_, v| ((v % 3).to_string(), *v)).count().to("counts", pair());
        events.to("all", pair());
        events.join(&rows, |e, r| e * 100 + r).group_by_key().sum(|v| *v).to("sums", pair());
    })
}

/// Everything that outlives a run: logs, tables, and the state.
#[derive(Clone)]
struct World {
    logs: BTreeMap<&'static str, MemoryLog>,
    seen: BTreeMap<&'static str, Seen>,
    tables: BTreeMap<&'static str, MemoryTable>,
    objects: Arc<InMemory>,
    /// The place of the state, if not `objects`.
    state: Option<Store>,
}

type Shown = BTreeMap<&'static str, Vec<String>>;

impl World {
    fn new() -> Self {
        World {
            logs: SOURCES.map(|topic| (topic, MemoryLog::default())).into(),
            seen: SOURCES.map(|topic| (topic, Seen::default())).into(),
            tables: SINKS.map(|topic| (topic, MemoryTable::default())).into(),
            objects: Arc::default(),
            state: None,
        }
    }

    /// Creates logs of two partitions with corrections, duplicates, deletions and garbage: 30
    /// records.
    fn busy() -> Self {
        let world = World::new();
        world.append("rows", 0, "a=1 b=2 c=3 a=4 d=5 b= e=6 a=4 f=seven");
        world.append("rows", 1, "g=7 a=2 c= h=9 b=1 c=8 i=3 d=");
        world.append("events", 0, "a=1 b=2 a=1 z=3 c=1 c=nothing d=4 h=2");
        world.append("events", 1, "a=7 g=1 g=2 b= i=9");
        world
    }

    /// Appends 10 more records.
    fn more(&self) {
        self.append("rows", 0, "a= b=7 z=1");
        self.append("rows", 1, "c=9 j=1 g=7");
        self.append("events", 0, "a=1 j=5");
        self.append("events", 1, "z=4 z=4");
    }

    fn append(&self, topic: &str, partition: u32, records: &str) {
        for (key, value) in parsed(records) {
            self.logs[topic].append(partition, key, value);
        }
    }

    /// Binds the topology to these logs and tables, with one fuse for all.
    fn bound(&self, topology: Topology, fuse: &Fuse) -> Streams {
        self.bound_by(topology, |_| fuse.clone())
    }

    /// Binds the topology to these logs and tables, with a fuse for each topic.
    fn bound_by(&self, topology: Topology, fuse: impl Fn(&str) -> Fuse) -> Streams {
        let mut streams = Streams::new(topology);
        for (topic, log) in &self.logs {
            let (log, seen, fuse) = (log.clone(), self.seen[topic].clone(), fuse(topic));
            streams = streams
                .source(topic, Log { name: format!("log {topic}"), log, batch: 4, seen, fuse });
        }
        for (topic, table) in &self.tables {
            let (table, fuse) = (table.clone(), fuse(topic));
            streams = streams.sink(topic, Table { name: format!("table {topic}"), table, fuse });
        }
        streams
    }

    fn state(&self) -> Store {
        self.state.clone().unwrap_or_else(|| Store::objects(self.objects.clone(), "state").unwrap())
    }

    fn config(&self, workers: usize) -> Config {
        Config {
            workers,
            state: Some(self.state()),
            commit_every: Duration::ZERO,
            ..Config::default()
        }
    }

    /// Settings of a run that ends with its only commit, so that a snapshot is part of it.
    fn one_commit(&self, workers: usize) -> Config {
        Config { commit_every: Duration::from_secs(60), ..self.config(workers) }
    }

    /// Runs the program to the end of the logs.
    fn run(&self, workers: usize) -> Result<Summary> {
        self.bound(program(), &Fuse::sound()).run(self.config(workers))
    }

    /// Deletes all snapshots of the state, so that the next run reads all records again.
    fn forget_snapshots(&self) {
        let state = self.state();
        for (name, _) in state.list("snap").unwrap() {
            state.delete(&format!("snap/{name}")).unwrap();
        }
    }

    fn shown(&self) -> Shown {
        let rows = |table: &MemoryTable| table.rows().iter().map(|row| shown(row)).collect();
        self.tables.iter().map(|(topic, table)| (*topic, rows(table))).collect()
    }

    /// The rows of a new run over the same logs without a failure. Results are cached by the
    /// contents of the logs.
    fn fresh_run(&self) -> Shown {
        static CACHE: Mutex<BTreeMap<String, Shown>> = Mutex::new(BTreeMap::new());
        let logs: Vec<String> =
            self.logs.iter().map(|(topic, log)| format!("{topic}: {:?}", contents(log))).collect();
        let cached = CACHE.lock().unwrap().get(&logs.concat()).cloned();
        cached.unwrap_or_else(|| {
            let fresh = World { logs: self.logs.clone(), ..World::new() };
            fresh.run(1).unwrap();
            CACHE.lock().unwrap().insert(logs.concat(), fresh.shown());
            fresh.shown()
        })
    }

    /// Names and contents of all objects of the state.
    fn recorded(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.state();
        let names = |folder: &str| -> Vec<String> {
            state
                .list(folder)
                .unwrap()
                .into_iter()
                .map(|(name, _)| format!("{folder}/{name}"))
                .collect()
        };
        let paths = [names("gen"), names("manifest")].concat();
        paths.into_iter().map(|path| (path.clone(), state.get(&path).unwrap().unwrap())).collect()
    }

    /// The numbers of the commits of each table, each with the number of changed rows.
    fn commits(&self) -> BTreeMap<&'static str, Vec<(u64, usize)>> {
        let commits = |table: &MemoryTable| {
            table.commits().iter().map(|(n, changes)| (*n, changes.len())).collect()
        };
        self.tables.iter().map(|(topic, table)| (*topic, commits(table))).collect()
    }

    /// Starts a run that follows the logs and commits as soon as possible.
    fn follow(&self) -> Following {
        self.follow_every(Duration::ZERO)
    }

    fn follow_every(&self, commit_every: Duration) -> Following {
        self.follow_by(self.bound(program(), &Fuse::sound()), commit_every)
    }

    fn follow_by(&self, streams: Streams, commit_every: Duration) -> Following {
        let (sender, milestones) = channel();
        let stop = Stop::default();
        let milestone = Box::new(move |milestone| {
            // The receiver may be gone.
            let _ = sender.send(milestone);
        });
        let config = Config {
            follow: true,
            stop: stop.clone(),
            milestone: Some(milestone),
            commit_every,
            ..self.config(2)
        };
        Following { stop, milestones, thread: std::thread::spawn(move || streams.run(config)) }
    }
}

/// A run that follows, on its own thread.
struct Following {
    stop: Stop,
    milestones: Receiver<Milestone>,
    thread: JoinHandle<Result<Summary>>,
}

impl Following {
    /// Waits until at least `records` records are committed.
    fn until(&self, records: u64) {
        self.wait(|milestone| matches!(milestone, Milestone::Committed(n) if n >= records));
    }

    fn wait(&self, mut reached: impl FnMut(Milestone) -> bool) {
        loop {
            match self.milestones.recv_timeout(EVENT_TIMEOUT) {
                Ok(milestone) if reached(milestone) => return,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("a milestone is not reached in time"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the run is over before a milestone is reached")
                }
            }
        }
    }

    fn end(self) -> Result<Summary> {
        self.thread.join().unwrap()
    }
}

/// All batches of a log, by partition.
fn contents(log: &MemoryLog) -> Vec<(u32, Vec<Batch>)> {
    let batches = |partition| {
        let mut reader = log.open(partition, None, false).unwrap();
        let next = || match reader.poll() {
            Ok(Poll::Batch(batch)) => Some(batch),
            _ => None,
        };
        (partition, std::iter::from_fn(next).collect())
    };
    log.partitions().unwrap().into_iter().map(batches).collect()
}

/// A row of a text and an integer, as tables in memory keep it.
fn row(key: &str, value: i64) -> Vec<Value> {
    vec![Value::Text(key.into()), Value::Long(value)]
}
