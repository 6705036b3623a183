//! Partitions that wake their readers: no record waits for a timer, however many partitions sleep.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{Partition, Poll, Source};
use watershed::runtime::{Config, Milestone, Stop, Streams};
use watershed::{Result, StreamsBuilder, Topology};

use super::Following;
use crate::support::{pair, table};

/// A reader sleeps for this time unless it is woken: longer than any test.
const NEVER_INTERVAL: Duration = Duration::from_secs(1 << 20);

/// A log whose readers sleep until they are woken.
#[derive(Clone, Default)]
struct Sleepy {
    log: MemoryLog,
    asleep: Arc<Mutex<BTreeMap<u32, Waker>>>,
    /// The number of polls.
    polls: Arc<Mutex<u64>>,
}

impl Sleepy {
    fn append(&self, partition: u32, key: &[u8], value: &[u8]) {
        self.log.append(partition, Some(key), Some(value));
        let waker = self.asleep.lock().unwrap().remove(&partition);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Source for Sleepy {
    fn describe(&self) -> String {
        "sleepy".into()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        self.log.partitions()
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let next = from.unwrap_or(0);
        let reader = self.log.open(partition, from, follow)?;
        Ok(Box::new(SleepyReader { log: self.clone(), partition, next, reader }))
    }
}

struct SleepyReader {
    log: Sleepy,
    partition: u32,
    next: u64,
    reader: Box<dyn Partition>,
}

impl Partition for SleepyReader {
    fn poll(&mut self) -> Result<Poll> {
        *self.log.polls.lock().unwrap() += 1;
        let poll = self.reader.poll()?;
        if let Poll::Batch(batch) = &poll {
            self.next = batch.next;
        }
        Ok(poll)
    }

    fn register(&mut self, waker: &Waker) -> Option<Duration> {
        let mut asleep = self.log.asleep.lock().unwrap();
        if self.log.log.span(self.partition).unwrap().is_some_and(|span| span.end > self.next) {
            // Wake it in its turn, which must not be lost.
            waker.wake_by_ref();
        } else {
            asleep.insert(self.partition, waker.clone());
        }
        Some(NEVER_INTERVAL)
    }

    fn wait(&mut self, _timeout: Duration) -> bool {
        panic!("a partition that can be woken is not waited for")
    }
}

#[test]
fn a_woken_partition_is_read_while_thousands_sleep() {
    const PARTITIONS: u32 = 2000;
    let (log, out, stop) = (Sleepy::default(), MemoryTable::default(), Stop::default());
    (0..PARTITIONS).for_each(|partition| log.append(partition, b"a", b"0"));
    let (sender, milestones) = std::sync::mpsc::channel();
    let milestone = move |milestone: Milestone| {
        // The receiver may be gone.
        let _ = sender.send(milestone);
    };
    let config = Config {
        workers: 2,
        follow: true,
        commit_every: Duration::ZERO,
        stop: stop.clone(),
        milestone: Some(Box::new(milestone)),
        ..Config::default()
    };
    let copy = |builder: &StreamsBuilder<'_>| table(builder, "rows").to("kept", pair());
    let streams = Streams::new(Topology::new("copy", copy))
        .source("rows", log.clone())
        .sink("kept", out.clone());
    let thread = std::thread::spawn(move || streams.run(config));
    let run = Following { stop, milestones, thread };
    let mut records = u64::from(PARTITIONS);
    run.until(records);
    for round in 0..100u32 {
        let partition = round * 997 % PARTITIONS;
        // The second record often comes in the turn that reads the first.
        for value in [&b"1"[..], b"2"] {
            log.append(partition, b"a", value);
            records += 1;
        }
        run.until(records);
    }
    let polls = *log.polls.lock().unwrap();
    // Each record costs a poll, and each sleep another.
    assert!(polls <= 2 * (records + u64::from(PARTITIONS)), "{polls} polls");
    run.stop.stop();
    assert_eq!(run.end().unwrap().topics["rows"].read, records);
}
