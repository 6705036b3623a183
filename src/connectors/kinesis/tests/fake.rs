//! A fake service that the test controls, without delays.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, pending, ready};
use tokio::sync::Semaphore;

use super::super::api::{
    Api, CallError, CallErrorKind, Entry, Page, Shard, Start, StoredRecord, Written,
};
use super::super::{Kinesis, KinesisStream, PAGES_IN_MEMORY, Service};
use crate::connect::{Partition, Poll, Source};
use crate::time::Timestamp;

/// The service with its one stream. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<Stream>>);

#[derive(Default)]
pub(super) struct Stream {
    pub(super) shards: Vec<FakeShard>,
    sequence: u64,
    /// Iterators of earlier times have expired.
    time: u32,
    /// The failures of the next calls.
    pub(super) failures: VecDeque<CallErrorKind>,
    /// The most records of a page, and the number of empty pages before each.
    pub(super) page: usize,
    pub(super) empty: usize,
    /// The records that each of the next calls of `put` refuses.
    pub(super) refused: VecDeque<BTreeSet<usize>>,
    pub(super) puts: Vec<Vec<Entry>>,
    /// The number of calls of `put` that get a reply.
    pub(super) silent_after: Option<usize>,
    /// True if all records are old.
    pub(super) old: bool,
    /// The records of the first shard that retention has deleted after each call for records.
    pub(super) trims: VecDeque<usize>,
    /// The starts of the iterators requested so far.
    pub(super) starts: Vec<Start>,
}

pub(super) struct FakeShard {
    pub(super) shard: Shard,
    pub(super) records: Vec<StoredRecord>,
    /// The number of records that retention has deleted.
    pub(super) trimmed: usize,
}

impl Fake {
    /// Returns a stream with this number of shards.
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
            stream.shards.push(FakeShard { shard, records: Vec::new(), trimmed: 0 });
        });
    }

    /// Closes shards and creates their children. Returns the numbers of these.
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
            assert!(
                !stream.shards[shard as usize].shard.closed,
                "a closed shard accepts no records"
            );
            // Longer than 64 bits, as the numbers of the service are.
            stream.sequence += 1;
            let sequence = format!("4{:055}", stream.sequence);
            let raw = StoredRecord {
                sequence,
                key: Some(key.into()),
                arrived: Some(Timestamp(7)),
                data: data.into(),
            };
            stream.shards[shard as usize].records.push(raw);
        });
    }

    /// Lets all present iterators expire.
    pub(super) fn expire(&self) {
        self.with(|stream| stream.time += 1);
    }

    /// Returns the stream, as one process opens it.
    pub(super) fn stream(&self) -> KinesisStream {
        let runtime = crate::sync::io_runtime().unwrap();
        let service = Service {
            region: "nowhere".into(),
            api: Arc::new(self.clone()),
            client: None,
            runtime,
            page_permits: Arc::new(Semaphore::new(PAGES_IN_MEMORY)),
            poll_interval: Duration::from_millis(1),
        };
        Kinesis { service: Arc::new(service) }.stream("events")
    }

    fn failure(&self) -> Option<CallError> {
        self.with(|stream| stream.failures.pop_front()).map(call_error)
    }
}

fn call_error(kind: CallErrorKind) -> CallError {
    CallError { kind, cause: format!("{kind:?} was requested").into() }
}

impl Stream {
    fn iterator(&self, shard: &str, start: &Start) -> Result<String, CallError> {
        let fake_shard = self
            .shards
            .iter()
            .find(|fake_shard| Shard::name(fake_shard.shard.number) == shard)
            .ok_or_else(|| call_error(CallErrorKind::Missing))?;
        let at = match start {
            Start::TrimHorizon => fake_shard.trimmed,
            // The service silently moves to the first record that still exists.
            Start::AtSequence(sequence) => fake_shard
                .records
                .partition_point(|raw| raw.sequence < *sequence)
                .max(fake_shard.trimmed),
        };
        Ok(format!("{} {} {at} {}", self.time, fake_shard.shard.number, self.empty))
    }

    fn records(&self, iterator: &str, limit: usize) -> Result<Page, CallError> {
        let parts: Vec<usize> = iterator.split(' ').map(|part| part.parse().unwrap()).collect();
        let [time, shard, at, empty] = parts[..] else { panic!("{iterator} is not an iterator") };
        if time != self.time as usize {
            return Err(call_error(CallErrorKind::Expired));
        }
        let fake_shard = &self.shards[shard];
        let at = at.max(fake_shard.trimmed);
        let to =
            if empty > 0 { at } else { fake_shard.records.len().min(at + limit.min(self.page)) };
        let caught_up = empty == 0 && to == fake_shard.records.len();
        let next =
            format!("{time} {shard} {to} {}", if empty > 0 { empty - 1 } else { self.empty });
        let next = (!caught_up || !fake_shard.shard.closed).then_some(next);
        Ok(Page {
            records: fake_shard.records[at..to].to_vec(),
            next,
            caught_up,
            near_horizon: self.old,
        })
    }
}

impl Api for Fake {
    fn identity<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<String, CallError>> {
        ready(
            self.failure().map_or_else(
                || Ok(format!("arn:aws:kinesis:fake:1:stream/{stream}, created 1")),
                Err,
            ),
        )
        .boxed()
    }

    fn shards<'a>(&'a self, _stream: &'a str) -> BoxFuture<'a, Result<Vec<Shard>, CallError>> {
        let listed = || {
            self.with(|stream| {
                // A closed shard is listed while retention keeps any of its records.
                let gone = |fake_shard: &&FakeShard| {
                    fake_shard.trimmed == fake_shard.records.len()
                        && fake_shard.trimmed > 0
                        && fake_shard.shard.closed
                };
                stream
                    .shards
                    .iter()
                    .filter(|fake_shard| !gone(fake_shard))
                    .map(|fake_shard| fake_shard.shard.clone())
                    .collect()
            })
        };
        ready(self.failure().map_or_else(|| Ok(listed()), Err)).boxed()
    }

    fn iterator<'a>(
        &'a self,
        _stream: &'a str,
        shard: &'a str,
        start: &'a Start,
    ) -> BoxFuture<'a, Result<String, CallError>> {
        self.with(|stream| stream.starts.push(start.clone()));
        ready(self.failure().map_or_else(|| self.with(|stream| stream.iterator(shard, start)), Err))
            .boxed()
    }

    fn records<'a>(
        &'a self,
        iterator: &'a str,
        limit: i32,
    ) -> BoxFuture<'a, Result<Page, CallError>> {
        let answer = |stream: &mut Stream| {
            let page = stream.records(iterator, limit as usize);
            if let Some(trimmed) = stream.trims.pop_front() {
                stream.shards[0].trimmed = trimmed;
            }
            page
        };
        ready(self.failure().map_or_else(|| self.with(answer), Err)).boxed()
    }

    fn put<'a>(
        &'a self,
        _stream: &'a str,
        entries: &'a [Entry],
    ) -> BoxFuture<'a, Result<Vec<Result<Written, String>>, CallError>> {
        if let Some(error) = self.failure() {
            return ready(Err(error)).boxed();
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
pub(super) type ReadRecord = (u32, u64, String, String);

/// Reads until a poll returns no records. Returns the records and this poll. Waits for `enough`
/// records first.
pub(super) fn drain(partition: &mut dyn Partition, enough: usize) -> (Vec<ReadRecord>, Poll) {
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

/// Returns all records of a shard from an offset on.
pub(super) fn read(source: &KinesisStream, shard: u32, from: Option<u64>) -> Vec<ReadRecord> {
    let mut partition = source.open(shard, from, false).unwrap();
    let (got, end) = drain(&mut *partition, usize::MAX);
    assert!(matches!(end, Poll::End), "{end:?}");
    assert!(matches!(partition.poll().unwrap(), Poll::End), "the end remains");
    got
}

/// Returns the values.
pub(super) fn values(got: &[ReadRecord]) -> Vec<&str> {
    got.iter().map(|(_, _, _, value)| value.as_str()).collect()
}
