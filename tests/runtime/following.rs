//! A run that follows processes each record as it arrives, without further records. Progress
//! reports name the partition that holds the run back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{Partition, Poll, Source};
use watershed::runtime::{Config, Holds, Milestone, Stop, Streams, Summary};
use watershed::{Error, ErrorKind, Result, StreamsBuilder, Topology};

use super::{Following, World, row};
use crate::support::{EVENT_TIMEOUT, pair, table};

#[test]
fn a_single_record_is_answered_and_committed() {
    // The next commit is due at once, or after an interval.
    for commit_every in [Duration::ZERO, Duration::from_millis(300)] {
        let world = World::new();
        let run = world.follow_every(commit_every);
        for (n, (topic, record, shown)) in [
            ("rows", "a=1", ["a=1", "", "1=1", ""]),
            ("events", "a=7", ["a=1", "a=7", "1=1", "a=701"]),
            ("rows", "a=2", ["a=2", "a=7", "2=1", "a=702"]),
        ]
        .into_iter()
        .enumerate()
        {
            world.append(topic, 0, record);
            shows(&run, n as u64 + 1);
            let now = world.shown();
            assert_eq!(
                ["kept", "all", "counts", "sums"].map(|topic| now[topic].join(" ")),
                shown,
                "after {record}"
            );
        }
        run.stop.stop();
        assert_eq!(run.end().unwrap().committed, 3);
    }
}

/// Waits until exactly `records` records are in the answers and in the sinks.
fn shows(run: &Following, records: u64) {
    let mut due = vec![Milestone::Answered(records), Milestone::Committed(records)];
    run.wait(|milestone| {
        due.retain(|due| *due != milestone);
        due.is_empty()
    });
}

/// A log whose partition 1 returns nothing until it is released. Meanwhile it reports `left` unread
/// bytes.
struct Stuck {
    log: MemoryLog,
    left: u64,
    released: Arc<AtomicBool>,
}

impl Source for Stuck {
    fn describe(&self) -> String {
        "stuck".into()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        Ok(vec![0, 1, 2])
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let inner = self.log.open(partition, from, follow)?;
        let released = if partition == 1 { self.released.clone() } else { Arc::new(true.into()) };
        Ok(Box::new(StuckPartition { inner, left: self.left, released }))
    }
}

struct StuckPartition {
    inner: Box<dyn Partition>,
    left: u64,
    released: Arc<AtomicBool>,
}

impl Partition for StuckPartition {
    fn poll(&mut self) -> Result<Poll> {
        if self.released.load(Ordering::SeqCst) { self.inner.poll() } else { Ok(Poll::Idle) }
    }

    fn remaining(&self) -> u64 {
        if self.released.load(Ordering::SeqCst) { 0 } else { self.left }
    }
}

/// A run that copies such a log, with its progress reports.
struct Copying {
    log: MemoryLog,
    released: Arc<AtomicBool>,
    out: MemoryTable,
    run: Following,
    holds: Receiver<Holds>,
}

impl Copying {
    fn start(left: u64, follow: bool) -> Self {
        let released = Arc::<AtomicBool>::default();
        Self::of(follow, released.clone(), |log| Stuck { log, left, released })
    }

    /// Starts a copy of a log with one record in each of three partitions.
    fn of<S: Source + 'static>(
        follow: bool,
        released: Arc<AtomicBool>,
        source: impl FnOnce(MemoryLog) -> S,
    ) -> Self {
        let (log, out, stop) = (MemoryLog::default(), MemoryTable::default(), Stop::default());
        for (partition, key) in [b"a", b"b", b"c"].into_iter().enumerate() {
            log.append(partition as u32, Some(key), Some(b"1"));
        }
        let ((sender, milestones), (holds_sender, holds)) = (channel(), channel());
        let config = Config {
            workers: 2,
            follow,
            commit_every: Duration::ZERO,
            stop: stop.clone(),
            // The receiver may be gone.
            milestone: Some(Box::new(move |milestone| {
                let _ = sender.send(milestone);
            })),
            progress: Some(Box::new(move |now| {
                let _ = holds_sender.send(now.holds.clone());
            })),
            ..Config::default()
        };
        let copy = |builder: &StreamsBuilder<'_>| table(builder, "rows").to("kept", pair());
        let streams = Streams::new(Topology::new("copy", copy))
            .source("rows", source(log.clone()))
            .sink("kept", out.clone());
        let thread: JoinHandle<Result<Summary>> = std::thread::spawn(move || streams.run(config));
        Copying { log, released, out, run: Following { stop, milestones, thread }, holds }
    }

    fn until(&self, holds: &Holds) {
        while self.holds.recv_timeout(EVENT_TIMEOUT).unwrap() != *holds {}
    }
}

#[test]
fn an_idle_partition_never_delays_another() {
    let copying = Copying::start(0, true);
    copying.run.until(2);
    for n in 2..5 {
        copying.log.append(0, Some(b"a"), Some(n.to_string().as_bytes()));
        shows(&copying.run, n as u64 + 1);
        assert_eq!(copying.out.rows(), [row("a", n), row("c", 1)]);
    }
    copying.until(&Holds::Records);
    copying.released.store(true, Ordering::SeqCst);
    shows(&copying.run, 6);
    copying.run.stop.stop();
    assert_eq!(copying.run.end().unwrap().topics["rows"].read, 6);
    assert_eq!(copying.out.rows(), [row("a", 4), row("b", 1), row("c", 1)]);
}

#[test]
fn progress_names_the_partition_that_holds_the_run() {
    let stuck = Holds::Partition("rows".into(), 1);
    assert_eq!(stuck.to_string(), "rows, partition 1");
    // A run to the end waits for a partition even if it reports no unread bytes. A run that follows
    // waits only for one that is behind.
    for (left, follow) in [(7, false), (0, false), (7, true)] {
        let copying = Copying::start(left, follow);
        copying.until(&stuck);
        copying.released.store(true, Ordering::SeqCst);
        if follow {
            copying.until(&Holds::Records);
            copying.run.stop.stop();
        }
        assert_eq!(copying.run.end().unwrap().topics["rows"].read, 3);
        assert_eq!(copying.out.rows().len(), 3);
    }
}

/// A log with one partition at first. Three are there once it is released, and the first three
/// attempts to open the new ones fail.
struct Growing {
    log: MemoryLog,
    released: Arc<AtomicBool>,
    refusals: AtomicUsize,
    kind: fn(&'static str) -> Error,
}

impl Source for Growing {
    fn describe(&self) -> String {
        "growing".into()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        Ok(if self.released.load(Ordering::SeqCst) { vec![0, 1, 2] } else { vec![0] })
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        if partition > 0 && self.refusals.fetch_add(1, Ordering::SeqCst) < 3 {
            return Err((self.kind)("nobody is there"));
        }
        self.log.open(partition, from, follow)
    }
}

#[test]
fn a_new_partition_is_retried_until_it_opens_or_is_invalid() {
    let start = |kind: fn(&'static str) -> Error| {
        let released = Arc::<AtomicBool>::default();
        Copying::of(true, released.clone(), |log| Growing {
            log,
            released,
            refusals: AtomicUsize::new(0),
            kind,
        })
    };
    let copying = start(Error::connect);
    copying.run.until(1);
    copying.released.store(true, Ordering::SeqCst);
    shows(&copying.run, 3);
    copying.run.stop.stop();
    assert_eq!(copying.run.end().unwrap().topics["rows"].read, 3);
    assert_eq!(copying.out.rows(), [row("a", 1), row("b", 1), row("c", 1)]);
    let copying = start(Error::data);
    copying.run.until(1);
    copying.released.store(true, Ordering::SeqCst);
    assert_eq!(copying.run.end().unwrap_err().kind(), ErrorKind::Data);
}
