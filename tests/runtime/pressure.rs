//! What is read and not yet decoded is bounded, however much faster a log is than the workers.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use watershed::connect::memory::MemoryTable;
use watershed::connect::{Partition, Poll, Source};
use watershed::options::Consumed;
use watershed::record::Batch;
use watershed::runtime::{Config, Streams};
use watershed::{Result, StreamsBuilder, Topology};

use crate::support::pair;

/// Bytes of a record, which is a batch of its own.
const RECORD: usize = 1 << 20;
/// How many of these may be read and not yet decoded; each reader has one more in its hands.
const CREDIT: u64 = 64;
const READERS: u64 = 2;
const ALL: u64 = 100;

#[derive(Default)]
struct Counts {
    handed_out: u64,
    through: u64,
    /// The most that were handed out and not through.
    most: u64,
    late: bool,
}

/// Counts the records that are handed out and those that workers are through with.
#[derive(Clone, Default)]
struct Meter(Arc<(Mutex<Counts>, Condvar)>);

impl Meter {
    /// Whether there is one more to hand out.
    fn hand_out(&self) -> bool {
        let mut counts = self.0.0.lock().unwrap();
        if counts.handed_out == ALL {
            return false;
        }
        counts.handed_out += 1;
        counts.most = counts.most.max(counts.handed_out - counts.through);
        self.0.1.notify_all();
        true
    }

    /// Waits until readers are as far ahead as they may be: so they always are faster.
    fn through(&self) {
        let counts = self.0.0.lock().unwrap();
        let behind = |counts: &mut Counts| !counts.late && counts.handed_out < ALL.min(counts.through + CREDIT + READERS);
        let (mut counts, waited) = self.0.1.wait_timeout_while(counts, Duration::from_secs(60), behind).unwrap();
        counts.late |= waited.timed_out();
        counts.through += 1;
    }
}

/// A log that always has the next record, whoever asks, until all are handed out.
struct Torrent(Meter);

impl Source for Torrent {
    fn describe(&self) -> String {
        "torrent".into()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        Ok((0..READERS as u32).collect())
    }

    fn open(&self, partition: u32, _from: Option<u64>, _follow: bool) -> Result<Box<dyn Partition>> {
        Ok(Box::new(Jet { partition, next: 0, meter: self.0.clone() }))
    }
}

struct Jet {
    partition: u32,
    next: u64,
    meter: Meter,
}

impl Partition for Jet {
    fn poll(&mut self) -> Result<Poll> {
        if !self.meter.hand_out() {
            return Ok(Poll::End);
        }
        let mut batch = Batch { partition: self.partition, first: self.next, next: self.next + 1, ..Batch::default() };
        batch.push(self.next, None, None, Some(&vec![self.partition as u8; RECORD]));
        self.next += 1;
        Ok(Poll::Batch(batch))
    }
}

#[test]
fn a_log_that_is_faster_than_the_workers_never_has_more_than_64_mib_on_the_way() {
    let meter = Meter::default();
    let decoding = meter.clone();
    let topology = Topology::new("torrent", move |builder: &StreamsBuilder<'_>| {
        let meter = decoding.clone();
        let decode = move |bytes: Option<&[u8]>| {
            meter.through();
            let bytes = bytes.unwrap_or_default();
            Ok((i64::from(bytes[0]), bytes.len() as i64))
        };
        builder.stream::<i64, i64>("records", Consumed::from_value(decode)).group_by_key().count().to("counts", pair());
    });
    let streams = Streams::new(topology).source("records", Torrent(meter.clone())).sink("counts", MemoryTable::default());
    let summary = streams.run(Config { workers: 1, ..Config::default() }).unwrap();
    assert_eq!(summary.topics["records"].read, ALL);
    let counts = meter.0.0.lock().unwrap();
    assert!(!counts.late, "readers are stopped before they have read what they may");
    assert_eq!((counts.handed_out, counts.most), (ALL, CREDIT + READERS));
}
