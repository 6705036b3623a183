//! Many partitions share few threads, and none of them waits long for another.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{Partition, Poll, Source};
use watershed::runtime::{Config, Milestone, Stop, Streams};
use watershed::{Result, StreamsBuilder, Topology};

use super::Following;
use crate::support::{pair, table};

/// Shared by the partitions of a log: the threads that read them, and a door that keeps some from
/// giving anything.
#[derive(Default)]
struct Desk {
    threads: Mutex<HashSet<ThreadId>>,
    open: Mutex<bool>,
    opened: Condvar,
}

/// A log of which each poll of a partition below `shut` takes until the desk opens.
struct Counters {
    log: MemoryLog,
    shut: u32,
    desk: Arc<Desk>,
}

impl Source for Counters {
    fn describe(&self) -> String {
        "counters".into()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        self.log.partitions()
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let inner = self.log.open(partition, from, follow)?;
        Ok(Box::new(Counter { inner, shut: partition < self.shut, desk: self.desk.clone() }))
    }
}

struct Counter {
    inner: Box<dyn Partition>,
    shut: bool,
    desk: Arc<Desk>,
}

impl Partition for Counter {
    fn poll(&mut self) -> Result<Poll> {
        self.desk.threads.lock().unwrap().insert(std::thread::current().id());
        if self.shut {
            drop(
                self.desk.opened.wait_while(self.desk.open.lock().unwrap(), |open| !*open).unwrap(),
            );
        }
        self.inner.poll()
    }

    fn wait(&mut self, patience: Duration) -> bool {
        self.inner.wait(patience)
    }
}

/// A run that copies a log of `partitions` with a record each.
fn copying(
    partitions: u32,
    shut: u32,
    follow: bool,
) -> (MemoryLog, Arc<Desk>, MemoryTable, Following) {
    let (log, desk, out, stop) =
        (MemoryLog::default(), Arc::<Desk>::default(), MemoryTable::default(), Stop::default());
    for partition in 0..partitions {
        log.append(partition, Some(partition.to_string().as_bytes()), Some(b"1"));
    }
    let (tell, told) = std::sync::mpsc::channel();
    let milestone = Box::new(move |milestone: Milestone| {
        // The receiver may have stopped waiting.
        let _ = tell.send(milestone);
    });
    let (commit_every, milestone) = (Duration::ZERO, Some(milestone as _));
    let config = Config {
        workers: 2,
        follow,
        commit_every,
        stop: stop.clone(),
        milestone,
        ..Config::default()
    };
    let copy = |builder: &StreamsBuilder<'_>| table(builder, "rows").to("kept", pair());
    let source = Counters { log: log.clone(), shut, desk: desk.clone() };
    let streams =
        Streams::new(Topology::new("copy", copy)).source("rows", source).sink("kept", out.clone());
    (
        log,
        desk,
        out,
        Following { stop, told, thread: std::thread::spawn(move || streams.run(config)) },
    )
}

#[test]
fn a_thousand_partitions_are_read_to_their_end_by_few_threads() {
    let (_, desk, out, run) = copying(1000, 0, false);
    assert_eq!(run.end().unwrap().topics["rows"].read, 1000);
    assert_eq!(out.rows().len(), 1000);
    // 64, and some more if this machine was too busy to run them.
    let threads = desk.threads.lock().unwrap().len();
    assert!((1..500).contains(&threads), "{threads} threads");
}

#[test]
fn partitions_that_block_every_thread_keep_no_other_waiting() {
    let (_, desk, out, run) = copying(80, 70, true);
    run.until(10);
    assert_eq!(out.rows().len(), 10);
    *desk.open.lock().unwrap() = true;
    desk.opened.notify_all();
    run.until(80);
    run.stop.stop();
    assert_eq!(run.end().unwrap().topics["rows"].read, 80);
}

#[test]
fn a_record_in_one_of_many_idle_partitions_is_shown() {
    let (log, _, out, run) = copying(400, 0, true);
    run.until(400);
    for (n, partition) in [399, 0, 123].into_iter().enumerate() {
        log.append(partition, Some(b"new"), Some(n.to_string().as_bytes()));
        run.until(401 + n as u64);
    }
    // And one that is new has its turn too.
    log.append(400, Some(b"400"), Some(b"1"));
    run.until(404);
    run.stop.stop();
    assert_eq!(run.end().unwrap().topics["rows"].read, 404);
    assert_eq!(out.rows().len(), 402);
}
