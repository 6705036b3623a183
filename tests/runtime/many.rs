//! Many partitions share few threads, and no partition delays another for long.

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

/// State that the partitions of a log share: the threads that poll them, and the gate that blocks
/// some.
#[derive(Default)]
struct Gate {
    threads: Mutex<HashSet<ThreadId>>,
    open: Mutex<bool>,
    opened: Condvar,
}

/// A log whose partitions below `blocked` block in each poll until the gate opens.
struct GatedLog {
    log: MemoryLog,
    blocked: u32,
    gate: Arc<Gate>,
}

impl Source for GatedLog {
    fn describe(&self) -> String {
        "gated".into()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        self.log.partitions()
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let inner = self.log.open(partition, from, follow)?;
        Ok(Box::new(GatedPartition {
            inner,
            blocked: partition < self.blocked,
            gate: self.gate.clone(),
        }))
    }
}

struct GatedPartition {
    inner: Box<dyn Partition>,
    blocked: bool,
    gate: Arc<Gate>,
}

impl Partition for GatedPartition {
    fn poll(&mut self) -> Result<Poll> {
        self.gate.threads.lock().unwrap().insert(std::thread::current().id());
        if self.blocked {
            drop(
                self.gate.opened.wait_while(self.gate.open.lock().unwrap(), |open| !*open).unwrap(),
            );
        }
        self.inner.poll()
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        self.inner.wait(timeout)
    }
}

/// Starts a run that copies a log with one record in each of `partitions` partitions.
fn copying(
    partitions: u32,
    blocked: u32,
    follow: bool,
) -> (MemoryLog, Arc<Gate>, MemoryTable, Following) {
    let (log, gate, out, stop) =
        (MemoryLog::default(), Arc::<Gate>::default(), MemoryTable::default(), Stop::default());
    for partition in 0..partitions {
        log.append(partition, Some(partition.to_string().as_bytes()), Some(b"1"));
    }
    let (sender, milestones) = std::sync::mpsc::channel();
    let milestone = Box::new(move |milestone: Milestone| {
        // The receiver may be gone.
        let _ = sender.send(milestone);
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
    let source = GatedLog { log: log.clone(), blocked, gate: gate.clone() };
    let streams =
        Streams::new(Topology::new("copy", copy)).source("rows", source).sink("kept", out.clone());
    (
        log,
        gate,
        out,
        Following { stop, milestones, thread: std::thread::spawn(move || streams.run(config)) },
    )
}

#[test]
fn a_thousand_partitions_are_read_to_their_end_by_few_threads() {
    let (_, gate, out, run) = copying(1000, 0, false);
    assert_eq!(run.end().unwrap().topics["rows"].read, 1000);
    assert_eq!(out.rows().len(), 1000);
    // Usually 64; a busy machine may need some more.
    let threads = gate.threads.lock().unwrap().len();
    assert!((1..500).contains(&threads), "{threads} threads");
}

#[test]
fn partitions_that_block_every_thread_keep_no_other_waiting() {
    let (_, gate, out, run) = copying(80, 70, true);
    run.until(10);
    assert_eq!(out.rows().len(), 10);
    *gate.open.lock().unwrap() = true;
    gate.opened.notify_all();
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
    // A new partition is read too.
    log.append(400, Some(b"400"), Some(b"1"));
    run.until(404);
    run.stop.stop();
    assert_eq!(run.end().unwrap().topics["rows"].read, 404);
    assert_eq!(out.rows().len(), 402);
}
