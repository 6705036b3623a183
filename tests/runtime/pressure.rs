//! The records that are read but not yet decoded are bounded, however fast the source is.

use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use watershed::connect::memory::MemoryTable;
use watershed::connect::{Partition, Poll, Source};
use watershed::options::{Consumed, Produced};
use watershed::record::Batch;
use watershed::row::Value;
use watershed::runtime::{Config, Streams};
use watershed::serdes::{Int64, Utf8};
use watershed::testing::TopologyTestDriver;
use watershed::{Result, StreamsBuilder, Topology};

use crate::support::{EVENT_TIMEOUT, pair};

/// The number of readers. Each may hold one batch beyond the credit.
const READERS: u64 = 2;

/// The size of a log: batches, records of a batch, bytes of a record.
#[derive(Clone, Copy, Default)]
struct Shape {
    batches: u64,
    records: u64,
    bytes: usize,
    /// The number of batches that may be read and not yet decoded.
    credit: u64,
}

#[derive(Default)]
struct Counts {
    shape: Shape,
    /// The number of decoded records.
    decoded: u64,
    dispatched: u64,
    finished: u64,
    /// The greatest number of batches that were dispatched and not yet finished.
    most: u64,
    late: bool,
}

/// Counts the batches that readers dispatch and that workers finish.
#[derive(Clone, Default)]
struct Meter(Arc<(Mutex<Counts>, Condvar)>);

impl Meter {
    /// Counts one more batch; false after the last.
    fn dispatch(&self) -> bool {
        let mut counts = self.0.0.lock().unwrap();
        if counts.dispatched == counts.shape.batches {
            return false;
        }
        counts.dispatched += 1;
        counts.most = counts.most.max(counts.dispatched - counts.finished);
        self.0.1.notify_all();
        true
    }

    /// Counts a decoded record. Before the first record of each batch it blocks until readers have
    /// used all their credit. This makes the readers faster than the workers, always.
    fn decoded(&self) {
        let mut counts = self.0.0.lock().unwrap();
        counts.decoded += 1;
        if !(counts.decoded - 1).is_multiple_of(counts.shape.records) {
            return;
        }
        let behind = |counts: &mut Counts| {
            !counts.late
                && counts.dispatched
                    < counts.shape.batches.min(counts.finished + counts.shape.credit + READERS)
        };
        let (mut counts, waited) =
            self.0.1.wait_timeout_while(counts, Duration::from_secs(60), behind).unwrap();
        counts.late |= waited.timed_out();
        counts.finished += 1;
    }
}

/// A log that always has a next record, for any reader, until all are dispatched.
struct FastLog(Meter, Shape);

impl Source for FastLog {
    fn describe(&self) -> String {
        "torrent".into()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        Ok((0..READERS as u32).collect())
    }

    fn open(
        &self,
        partition: u32,
        _from: Option<u64>,
        _follow: bool,
    ) -> Result<Box<dyn Partition>> {
        Ok(Box::new(FastPartition { partition, next: 0, meter: self.0.clone(), shape: self.1 }))
    }
}

struct FastPartition {
    partition: u32,
    next: u64,
    meter: Meter,
    shape: Shape,
}

impl Partition for FastPartition {
    fn poll(&mut self) -> Result<Poll> {
        if !self.meter.dispatch() {
            return Ok(Poll::End);
        }
        let (first, next) = (self.next, self.next + self.shape.records);
        let mut batch = Batch { partition: self.partition, first, next, ..Batch::default() };
        let value = vec![7; self.shape.bytes];
        (first..next).for_each(|offset| {
            batch.push(
                offset,
                None,
                None,
                Some(&value).filter(|value| !value.is_empty()).map(|v| &**v),
            )
        });
        self.next = next;
        Ok(Poll::Batch(batch))
    }
}

/// Reads a log that is faster than the workers, and checks that no more than the credit is in
/// flight.
fn bounded(shape: Shape) {
    let meter = Meter::default();
    meter.0.0.lock().unwrap().shape = shape;
    let decoding = meter.clone();
    let topology = Topology::new("torrent", move |builder: &StreamsBuilder<'_>| {
        let meter = decoding.clone();
        let decode = move |bytes: Option<&[u8]>| {
            meter.decoded();
            Ok((0, bytes.unwrap_or_default().len() as i64))
        };
        builder
            .stream::<i64, i64>("records", Consumed::from_value(decode))
            .group_by_key()
            .count()
            .to("counts", pair());
    });
    let streams = Streams::new(topology)
        .source("records", FastLog(meter.clone(), shape))
        .sink("counts", MemoryTable::default());
    let summary = streams.run(Config { workers: 1, ..Config::default() }).unwrap();
    assert_eq!(summary.topics["records"].read, shape.batches * shape.records);
    let counts = meter.0.0.lock().unwrap();
    assert!(!counts.late, "readers are stopped before they have read what they may");
    assert_eq!((counts.dispatched, counts.most), (shape.batches, shape.credit + READERS));
}

#[test]
fn at_most_16_mib_are_read_ahead_of_the_workers() {
    // A batch is a little more than its bytes.
    bounded(Shape { batches: 100, records: 1, bytes: 1 << 20, credit: 15 });
}

#[test]
fn tombstones_without_a_byte_are_bounded_as_others_are() {
    // 72 bytes say where a record lies in its batch, were there none of its own.
    bounded(Shape { batches: 20, records: 1 << 16, bytes: 0, credit: (16 << 20) / (72 << 16) });
}

#[test]
fn a_commit_of_the_test_driver_has_any_number_of_bytes() {
    let topology = Topology::new("texts", |builder: &StreamsBuilder<'_>| {
        let texts = builder.stream("texts", Consumed::with(Int64, Utf8));
        texts.group_by_key().count().to("counts", Produced::columns(["id", "texts"]));
    });
    let (sender, rows) = channel();
    let run = std::thread::spawn(move || {
        let mut driver = TopologyTestDriver::new(topology)?;
        let texts = driver.input("texts", Int64, Utf8);
        // More than the size at which an epoch of another run ends, which is 16 MiB.
        let text = "x".repeat(1 << 20);
        (0..20).for_each(|_| texts.pipe(&mut driver, &7, &text));
        driver.commit()?;
        let _ = sender.send(driver.rows("counts"));
        driver.finish()
    });
    assert_eq!(rows.recv_timeout(EVENT_TIMEOUT), Ok(vec![vec![Value::Long(7), Value::Long(20)]]));
    run.join().unwrap().unwrap();
}
