//! A service that does what it is told, at once.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, pending, ready};
use tokio::sync::Semaphore;

use super::super::api::{Api, Entry, Fault, FaultKind, Page, Raw, Shard, Start, Written};
use super::super::{Kinesis, KinesisStream, PAGES, Service};
use crate::connect::{Partition, Poll, Source};
use crate::time::Timestamp;

/// The one stream of a service. Clones are handles of the same.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<Stream>>);

#[derive(Default)]
pub(super) struct Stream {
    pub(super) shards: Vec<Held>,
    sequence: u64,
    /// Iterators of earlier times are too old.
    time: u32,
    /// What the next calls fail with.
    pub(super) faults: VecDeque<FaultKind>,
    /// How many records an answer holds at most, and how many empty ones come before each.
    pub(super) page: usize,
    pub(super) empty: usize,
    /// Of each call of `put` to come, which of its records are refused.
    pub(super) refused: VecDeque<BTreeSet<usize>>,
    pub(super) puts: Vec<Vec<Entry>>,
    /// After how many calls of `put` no other is answered any more.
    pub(super) silent_after: Option<usize>,
    /// Whether all there is is old, and how many records of the first shard retention has taken
    /// after each call for records.
    pub(super) old: bool,
    pub(super) trims: VecDeque<usize>,
    /// Sequence numbers that iterators were asked for.
    pub(super) sought: Vec<Start>,
}

pub(super) struct Held {
    pub(super) shard: Shard,
    pub(super) records: Vec<Raw>,
    /// How many records retention took away.
    pub(super) trimmed: usize,
}

impl Fake {
    /// A stream of this many shards.
    pub(super) fn of(shards: u32) -> Self {
        let fake = Fake::default();
        (0..shards).for_each(|_| fake.add(&[]));
        fake.with(|stream| stream.page = 10);
        fake
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Stream) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    fn add(&self, parents: &[u32]) {
        self.with(|stream| {
            let number = stream.shards.len() as u32;
            let shard = Shard { number, parents: parents.to_vec(), closed: false };
            stream.shards.push(Held { shard, records: Vec::new(), trimmed: 0 });
        });
    }

    /// Closes shards and makes `children` of them, whose numbers are returned.
    pub(super) fn reshard(&self, parents: &[u32], children: u32) -> Range<u32> {
        let first = self.with(|stream| {
            parents.iter().for_each(|parent| stream.shards[*parent as usize].shard.closed = true);
            stream.shards.len() as u32
        });
        (0..children).for_each(|_| self.add(parents));
        first..first + children
    }

    /// Writes a record into a shard.
    pub(super) fn append(&self, shard: u32, key: &str, data: impl Into<Vec<u8>>) {
        self.with(|stream| {
            assert!(!stream.shards[shard as usize].shard.closed, "a closed shard takes no records");
            // Longer than 64 bits, as those of the service are.
            stream.sequence += 1;
            let sequence = format!("4{:055}", stream.sequence);
            let raw = Raw {
                sequence,
                key: Some(key.into()),
                arrived: Some(Timestamp(7)),
                data: data.into(),
            };
            stream.shards[shard as usize].records.push(raw);
        });
    }

    /// Makes every iterator there is too old.
    pub(super) fn expire(&self) {
        self.with(|stream| stream.time += 1);
    }

    /// The stream, as one process sees it.
    pub(super) fn stream(&self) -> KinesisStream {
        let runtime = crate::sync::io_runtime().unwrap();
        let service = Service {
            region: "nowhere".into(),
            api: Arc::new(self.clone()),
            client: None,
            runtime,
            room: Arc::new(Semaphore::new(PAGES)),
            pace: Duration::from_millis(1),
        };
        Kinesis { service: Arc::new(service) }.stream("events")
    }

    fn fault(&self) -> Option<Fault> {
        self.with(|stream| stream.faults.pop_front()).map(fault)
    }
}

fn fault(kind: FaultKind) -> Fault {
    Fault { kind, cause: format!("{kind:?} was asked for").into() }
}

impl Stream {
    fn iterator(&self, shard: &str, start: &Start) -> Result<String, Fault> {
        let held = self
            .shards
            .iter()
            .find(|held| Shard::name(held.shard.number) == shard)
            .ok_or_else(|| fault(FaultKind::Missing))?;
        let at = match start {
            Start::Horizon => held.trimmed,
            // The service takes what is too old without a word.
            Start::At(sequence) => {
                held.records.partition_point(|raw| raw.sequence < *sequence).max(held.trimmed)
            }
        };
        Ok(format!("{} {} {at} {}", self.time, held.shard.number, self.empty))
    }

    fn records(&self, iterator: &str, limit: usize) -> Result<Page, Fault> {
        let parts: Vec<usize> = iterator.split(' ').map(|part| part.parse().unwrap()).collect();
        let [time, shard, at, empty] = parts[..] else { panic!("{iterator} is no iterator") };
        if time != self.time as usize {
            return Err(fault(FaultKind::Expired));
        }
        let held = &self.shards[shard];
        let at = at.max(held.trimmed);
        let to = if empty > 0 { at } else { held.records.len().min(at + limit.min(self.page)) };
        let newest = empty == 0 && to == held.records.len();
        let next =
            format!("{time} {shard} {to} {}", if empty > 0 { empty - 1 } else { self.empty });
        let next = (!newest || !held.shard.closed).then_some(next);
        Ok(Page { records: held.records[at..to].to_vec(), next, newest, old: self.old })
    }
}

impl Api for Fake {
    fn identity<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<String, Fault>> {
        ready(
            self.fault().map_or_else(
                || Ok(format!("arn:aws:kinesis:fake:1:stream/{stream}, created 1")),
                Err,
            ),
        )
        .boxed()
    }

    fn shards<'a>(&'a self, _stream: &'a str) -> BoxFuture<'a, Result<Vec<Shard>, Fault>> {
        let listed = || {
            self.with(|stream| {
                // A closed shard is listed as long as it has records that are not too old.
                let gone = |held: &&Held| {
                    held.trimmed == held.records.len() && held.trimmed > 0 && held.shard.closed
                };
                stream
                    .shards
                    .iter()
                    .filter(|held| !gone(held))
                    .map(|held| held.shard.clone())
                    .collect()
            })
        };
        ready(self.fault().map_or_else(|| Ok(listed()), Err)).boxed()
    }

    fn iterator<'a>(
        &'a self,
        _stream: &'a str,
        shard: &'a str,
        start: &'a Start,
    ) -> BoxFuture<'a, Result<String, Fault>> {
        self.with(|stream| stream.sought.push(start.clone()));
        ready(self.fault().map_or_else(|| self.with(|stream| stream.iterator(shard, start)), Err))
            .boxed()
    }

    fn records<'a>(&'a self, iterator: &'a str, limit: i32) -> BoxFuture<'a, Result<Page, Fault>> {
        let answer = |stream: &mut Stream| {
            let page = stream.records(iterator, limit as usize);
            if let Some(trimmed) = stream.trims.pop_front() {
                stream.shards[0].trimmed = trimmed;
            }
            page
        };
        ready(self.fault().map_or_else(|| self.with(answer), Err)).boxed()
    }

    fn put<'a>(
        &'a self,
        _stream: &'a str,
        entries: &'a [Entry],
    ) -> BoxFuture<'a, Result<Vec<Result<Written, String>>, Fault>> {
        if let Some(fault) = self.fault() {
            return ready(Err(fault)).boxed();
        }
        let refused = self.with(|stream| {
            stream.puts.push(entries.to_vec());
            stream.refused.pop_front().unwrap_or_default()
        });
        if self.with(|stream| stream.silent_after.is_some_and(|calls| stream.puts.len() > calls)) {
            return pending().boxed();
        }
        let result = |at: usize| match refused.contains(&at) {
            true => Err("ProvisionedThroughputExceededException".to_string()),
            false => Ok(Written { shard: Shard::name(0), sequence: format!("49{at}") }),
        };
        ready(Ok((0..entries.len()).map(result).collect())).boxed()
    }
}

/// A record that was read: partition, offset, key and value.
pub(super) type Got = (u32, u64, String, String);

/// What is there until a poll has no records, and that poll. A reader that follows is waited for
/// until `enough` are there.
pub(super) fn drain(partition: &mut dyn Partition, enough: usize) -> (Vec<Got>, Poll) {
    let mut got = Vec::new();
    loop {
        match partition.poll().unwrap() {
            Poll::Batch(batch) => {
                let text =
                    |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
                got.extend(
                    batch
                        .iter(0)
                        .map(|r| (batch.partition, r.order.offset, text(r.key), text(r.value))),
                );
            }
            Poll::Idle if got.len() < enough => assert!(partition.wait(Duration::from_secs(10))),
            other => return (got, other),
        }
    }
}

/// All that a shard holds from an offset on.
pub(super) fn read(source: &KinesisStream, shard: u32, from: Option<u64>) -> Vec<Got> {
    let mut partition = source.open(shard, from, false).unwrap();
    let (got, end) = drain(&mut *partition, usize::MAX);
    assert!(matches!(end, Poll::End), "{end:?}");
    assert!(matches!(partition.poll().unwrap(), Poll::End), "an end is for ever");
    got
}

/// The values alone.
pub(super) fn values(got: &[Got]) -> Vec<&str> {
    got.iter().map(|(_, _, _, value)| value.as_str()).collect()
}
