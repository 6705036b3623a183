//! A run has any number of processes. Here each is a thread, which encodes all that it sends.

use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use watershed::connect::memory::MemoryTable;
use watershed::connect::{Committer, Recovering, Schema, Sink, SinkContext};
use watershed::connectors::delta::{Delta, Table};
use watershed::prelude::Materialized;
use watershed::row::Value;
use watershed::runtime::{Cluster, Config, Holds, Milestone, Progress, Stop, Streams, Summary};
use watershed::testing::TopologyTestDriver;
use watershed::{DEAD_LETTERS, Error, ErrorKind, Result, StreamsBuilder, Topology};

use super::{SINKS, SOURCES, World, program};
use crate::support::broken::Fuse;
use crate::support::processes::run_in;
use crate::support::{pair, shown, table};

/// The names of the planted bugs, and words of the error that reports each.
const BUGS: [(&str, &str); 3] = [
    ("two_owners", "which does not own them"),
    ("late_barrier", "after its epoch was closed"),
    ("local_file_names", "two workers have made file"),
];

impl World {
    /// Runs the program in several processes. Returns the summary of process 0.
    fn run_in(&self, processes: usize, workers: usize) -> Result<Summary> {
        let streams = || self.bound(program(), &Fuse::sound());
        let all: Result<Vec<_>> =
            run_in(processes, streams, |_| self.config(workers)).into_iter().collect();
        all.map(|mut all| all.swap_remove(0))
    }
}

#[test]
fn any_number_of_processes_continues_a_state() {
    let world = World::busy();
    for (life, (processes, workers)) in [(2, 1), (1, 2), (4, 1), (2, 2)].into_iter().enumerate() {
        let summary = world.run_in(processes, workers).unwrap();
        assert_eq!(world.shown(), world.fresh_run(), "{processes} processes");
        assert_eq!(summary.recovered, if life == 0 { 0 } else { 20 + 10 * life as u64 });
        let read: u64 = summary.topics.values().map(|topic| topic.read).sum();
        assert_eq!(read, 30 + 10 * life as u64);
        assert!(summary.topics.values().all(|topic| topic.balances()), "{summary:?}");
        let steps = summary.steps.iter().flat_map(|step| step.workers.keys());
        assert_eq!(steps.max(), Some(&(processes * workers - 1)), "steps of all workers");
        world.more();
    }
}

#[test]
fn processes_load_the_snapshot_of_any_other_number() {
    let world = World::busy();
    for (processes, workers) in [(2, 2), (3, 1), (1, 1), (2, 1)] {
        let is_first = world.commits()["kept"].is_empty();
        let streams = || world.bound(program(), &Fuse::sound());
        for result in run_in(processes, streams, |_| world.one_commit(workers)) {
            result.unwrap();
        }
        assert_eq!(world.shown(), world.fresh_run(), "{processes} processes");
        let layers = world.state().list("layer").unwrap();
        assert!(!layers.is_empty());
        let is_of_process_1 = layers.iter().any(|(name, _)| name.contains("-p1-"));
        assert!(is_of_process_1 || !is_first, "each process writes its own layers");
        world.more();
    }
}

#[test]
fn a_process_with_another_state_is_refused() {
    let (world, other) = (World::busy(), World::new());
    let streams = || world.bound(program(), &Fuse::sound());
    let state = |process| if process == 1 { other.config(1) } else { world.config(1) };
    for result in run_in(2, streams, state) {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("another state than process 0"), "{error}");
    }
    assert_eq!(world.commits()["kept"], []);
}

#[test]
fn a_process_with_another_program_is_refused() {
    let (world, folder) = (World::busy(), tempfile::tempdir().unwrap());
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "sixteen bytes and some more").unwrap();
    let hosts = format!("unix:{}/{{}}", folder.path().display());
    let run = |process, topology| {
        let cluster = Some(Cluster::new(&hosts, process, 2, &secret).unwrap());
        world.bound(topology, &Fuse::sound()).run(Config { cluster, ..world.config(1) })
    };
    let other = Topology::new("program", |builder: &StreamsBuilder<'_>| {
        table(builder, "rows").to("kept", pair());
    });
    let results = thread::scope(|scope| {
        let second = scope.spawn(|| run(1, other));
        [run(0, program()), second.join().unwrap()]
    });
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("the dataflow"), "{error}");
    }
    assert!(world.state().list("gen").unwrap().is_empty(), "nothing is changed");
}

#[test]
fn the_failure_of_one_process_ends_all_with_its_error() {
    let world = World::busy();
    let broken = |builder: &StreamsBuilder<'_>| table(builder, "rows").to("kept", pair());
    let streams = || {
        let streams = Streams::new(Topology::new("broken", broken));
        let table = Failing(world.tables["kept"].clone());
        streams.source("rows", world.logs["rows"].clone()).sink("kept", table)
    };
    for result in run_in(3, streams, |_| world.config(1)) {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("worker 2 is broken"), "{error}");
    }
    assert_eq!(world.commits()["kept"], []);
}

/// A table that can't be written by worker 2.
struct Failing(MemoryTable);

impl Sink for Failing {
    fn describe(&self) -> String {
        self.0.describe()
    }
    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        self.0.open(schema, context)
    }
    fn writers(
        &self,
        schema: &Schema,
        context: &SinkContext,
        brief: &serde_json::Value,
        workers: Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>> {
        if workers.contains(&2) {
            return Err(Error::connect("worker 2 is broken"));
        }
        self.0.writers(schema, context, brief, workers)
    }
}

/// Follows the logs in some processes until all records are committed. Returns the records and the
/// bytes that process 0 reports then.
fn reported(processes: usize) -> (u64, u64) {
    let world = World::busy();
    let (is_committed, last) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new((0, 0))));
    let config = |process| {
        let (all, last, stop) = (is_committed.clone(), last.clone(), Stop::default());
        let milestone = move |milestone| {
            all.fetch_or(milestone == Milestone::Committed(30), Ordering::SeqCst);
        };
        let (all, request) = (is_committed.clone(), stop.clone());
        let progress = move |progress: &Progress| {
            if process == 0 && all.load(Ordering::SeqCst) {
                *last.lock().unwrap() = (progress.records, progress.bytes);
                request.stop();
            }
        };
        Config {
            follow: true,
            stop,
            milestone: Some(Box::new(milestone)),
            progress: Some(Box::new(progress)),
            ..world.config(1)
        }
    };
    for result in run_in(processes, || world.bound(program(), &Fuse::sound()), config) {
        result.unwrap();
    }
    *last.lock().unwrap()
}

#[test]
fn progress_counts_the_records_of_all_processes() {
    let alone = reported(1);
    assert_eq!(alone.0, 30);
    assert_eq!(reported(2), alone);
    assert_eq!(reported(4), alone);
}

#[test]
fn a_request_to_stop_in_any_process_ends_all() {
    let world = World::busy();
    let asked = Stop::default();
    let config = |process| {
        // The request is made in process 1, once process 0 shows everything.
        let (stop, request) = (Stop::default(), asked.clone());
        let progress = move |progress: &Progress| {
            if progress.holds == Holds::Records {
                request.stop();
            }
        };
        let stop = if process == 1 { asked.clone() } else { stop };
        Config { follow: true, stop, progress: Some(Box::new(progress)), ..world.config(1) }
    };
    for result in run_in(2, || world.bound(program(), &Fuse::sound()), config) {
        result.unwrap();
    }
    assert_eq!(world.shown(), world.fresh_run());
}

#[test]
fn process_0_answers_with_the_rows_of_all() {
    let topology = Topology::new("stores", |builder: &StreamsBuilder<'_>| {
        let rows = table(builder, "rows").materialize(Materialized::named("rows"));
        let groups = rows.group_by(|_, v| ((v % 10).to_string(), *v));
        groups.count().materialize(Materialized::named("counts"));
    });
    let mut driver = TopologyTestDriver::with_processes(topology, 2, 2).unwrap();
    for n in 0..100 {
        let (key, value) = (format!("k{n}"), n.to_string());
        driver.pipe("rows", n % 3, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    driver.commit().unwrap();
    let rows = driver.store::<String, i64>("rows").unwrap();
    let counts = driver.store::<String, i64>("counts").unwrap();
    assert_eq!((rows.view().len(), rows.get("k77"), counts.view().len()), (100, Some(77), 10));
    driver.pipe("rows", 0, Some(b"k77"), None);
    driver.commit().unwrap();
    assert_eq!((rows.view().len(), rows.get("k77"), counts.get("7")), (99, None, Some(9)));
    driver.finish().unwrap();
}

/// Runs the program on Delta tables in a folder.
fn run_on_delta(world: &World, folder: &str, count: usize) -> Vec<Result<Summary>> {
    let streams = || {
        let mut streams = Streams::new(program());
        for topic in SOURCES {
            streams = streams.source(topic, world.logs[topic].clone());
        }
        for topic in SINKS {
            streams = streams.sink(topic, Delta::table(&format!("{folder}/{topic}")).unwrap());
        }
        streams
    };
    run_in(count, streams, |_| world.config(1))
}

/// Returns the rows of a Delta table.
fn delta_rows(folder: &str, topic: &str) -> Vec<String> {
    let mut rows = Vec::new();
    let each = &mut |row: &[Value]| {
        rows.push(shown(row));
        Ok(())
    };
    Table::open(&format!("{folder}/{topic}")).unwrap().for_each(each).unwrap();
    rows.sort();
    rows
}

#[test]
fn processes_write_delta_tables_together() {
    let (world, folder) = (World::busy(), tempfile::tempdir().unwrap());
    let folder = folder.path().to_str().unwrap();
    for count in [2, 3, 1, 2] {
        for result in run_on_delta(&world, folder, count) {
            result.unwrap();
        }
        let expected = world.fresh_run();
        for topic in SINKS.iter().filter(|topic| **topic != DEAD_LETTERS) {
            let mut rows = expected[topic].clone();
            rows.sort();
            assert_eq!(delta_rows(folder, topic), rows, "{topic} of {count} processes");
        }
        world.more();
    }
}

#[test]
fn each_planted_bug_of_several_processes_is_found() {
    if std::env::var_os("WATERSHED_BUG").is_some() {
        let (world, folder) = (World::busy(), tempfile::tempdir().unwrap());
        for result in run_on_delta(&world, folder.path().to_str().unwrap(), 2) {
            println!("{}", result.unwrap_err());
        }
        return;
    }
    for (bug, words) in BUGS {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let own = "runtime::processes::each_planted_bug_of_several_processes_is_found";
        child.args(["--exact", own, "--nocapture"]).env("WATERSHED_BUG", bug);
        let output = child.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{bug}: {printed}");
        assert_eq!(printed.matches(words).count(), 2, "{bug}: {printed}");
    }
}
