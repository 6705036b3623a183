//! Reads shards. A task per shard fetches pages ahead; the reader unpacks their records and counts
//! offsets.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::connect::{Identity, Partition, Poll, Source};
use crate::error::{Advice, Error, Result};
use crate::faults;
use crate::record::Batch;

use super::api::{CallErrorKind, Shard, StoredRecord};
use super::fetch::{
    ATTEMPTS, Ending, Expected, Fetcher, FirstRead, Item, PAGE_MAX_RECORDS, retry, within_timeout,
};
use super::shard_tree::{KnownPosition, ShardPositions, ShardTree};
use super::{KinesisStream, OFFSETS_PER_SHARD, kpl};

/// A batch ends after this many bytes or records.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_RECORDS: usize = 4096;

impl Source for KinesisStream {
    fn describe(&self) -> String {
        self.name()
    }

    fn identities(&self) -> Result<Vec<Identity>> {
        Ok(vec![self.identity()?])
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        let action = format!("list the shards of {}", self.name());
        let service = &self.kinesis.service;
        let list = retry(&action, Some(ATTEMPTS), || service.api.shards(&self.stream));
        let error = match service.runtime.block_on(within_timeout(list)) {
            Ok(shards) => return Ok(self.shard_tree.update(shards)),
            Err(error) if !error.is_transient() => return Err(error.error(&action)),
            Err(error) => error.error(&action),
        };
        // The known shards stay valid while the service is away. New ones are found later.
        let known = self.shard_tree.shards();
        if known.is_empty() {
            return Err(error);
        }
        tracing::warn!(%error, "continue with the known shards");
        Ok(known)
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let base = self.base(partition)?;
        let start = if from.is_none() { FirstRead::AfterParents } else { FirstRead::Now };
        let from = from.unwrap_or(base);
        if !(base..=base + (OFFSETS_PER_SHARD - 1)).contains(&from) {
            return Err(Error::data(format!(
                "can't read {} from offset {from}: shard {partition} begins at {base}",
                self.name()
            ))
            .hint("Restore the stream, or begin anew.")
            .advise(Advice::BeginAnew));
        }
        self.shard_tree.open(partition);
        if self.shard_tree.is_end(partition, from) {
            self.shard_tree.finish(partition);
        }
        let (offset, expected) = match self.shard_tree.position_before(partition, from) {
            Some(KnownPosition { offset, sequence }) => {
                (offset, Some(Expected { sequence, already_read: true }))
            }
            None => {
                let first = self.shard_tree.first(partition);
                (base, first.map(|sequence| Expected { sequence, already_read: false }))
            }
        };
        let fetcher = Fetcher {
            api: self.kinesis.service.api.clone(),
            shard_tree: self.shard_tree.clone(),
            permits: self.kinesis.service.page_permits.clone(),
            poll_interval: self.kinesis.service.poll_interval,
            stream: self.stream.clone(),
            number: partition,
            shard: Shard::name(partition),
            follow,
            closed: self.shard_tree.is_closed(partition),
            iterator: None,
            expected,
            last: None,
        };
        let name = fetcher.name();
        let state = if self.shard_tree.is_end(partition, from) {
            State::Ended
        } else {
            State::Opened(Box::new(fetcher))
        };
        let mut reader = Reader {
            runtime: self.kinesis.service.runtime,
            name,
            shard_tree: self.shard_tree.clone(),
            number: partition,
            start,
            base,
            offset,
            skip: from - offset,
            fetched: VecDeque::new(),
            permit: None,
            state,
        };
        reader.seek(from)?;
        Ok(Box::new(reader))
    }

    /// A sequence number names the record before a position, and Kinesis reads it again.
    fn verifies_positions(&self) -> bool {
        true
    }

    fn state(&self, ends: &BTreeMap<u32, u64>) -> Value {
        serde_json::to_value(self.shard_tree.positions_at(ends)).unwrap_or_default()
    }

    fn restore(&self, state: &Value) -> Result<()> {
        let positions: BTreeMap<u32, ShardPositions> = match state {
            Value::Null => BTreeMap::new(),
            state => serde::Deserialize::deserialize(state).map_err(|e| {
                Error::data(format!("the recorded positions of {} are damaged", self.name()))
                    .because(e)
                    .hint("Restore the state, or begin anew.")
                    .advise(Advice::BeginAnew)
            })?,
        };
        self.shard_tree.restore(positions);
        Ok(())
    }
}

impl KinesisStream {
    /// Returns the name of the stream with its ARN and creation time. Without the right to describe
    /// streams there is no id; then the recorded sequence numbers detect another stream.
    pub(super) fn identity(&self) -> Result<Identity> {
        let action = format!("describe {}", self.name());
        let service = &self.kinesis.service;
        let describe = retry(&action, Some(ATTEMPTS), || service.api.identity(&self.stream));
        let identity = Identity::new(format!("kinesis stream {}", self.stream));
        match service.runtime.block_on(within_timeout(describe)) {
            Ok(id) => Ok(identity.with_id(id)),
            Err(error) if error.kind == CallErrorKind::Denied => Ok(identity),
            Err(error) => Err(error.error(&action)),
        }
    }
}

/// A reader of one shard.
struct Reader {
    runtime: &'static Runtime,
    shard_tree: Arc<ShardTree>,
    name: String,
    number: u32,
    /// A reader with a position does not wait for the parents, because they have been read.
    start: FirstRead,
    /// The offset of the shard's first record.
    base: u64,
    /// The offset of the first record in `fetched`.
    offset: u64,
    /// The number of records in `fetched` before the requested position.
    skip: u64,
    /// Records that are fetched but not returned yet.
    fetched: VecDeque<StoredRecord>,
    /// Counts the page as one in memory.
    permit: Option<OwnedSemaphorePermit>,
    state: State,
}

enum State {
    /// Nothing is fetched before the first poll, so that idle readers hold no permit.
    Opened(Box<Fetcher>),
    /// A task fetches. `received` is an item that arrived during `wait`.
    Reading {
        items: Receiver<Item>,
        received: Option<Item>,
        task: JoinHandle<()>,
    },
    Ended,
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let State::Reading { task, .. } = &self.state {
            task.abort();
        }
    }
}

impl Reader {
    /// Moves to `from`, and verifies that the record before it exists.
    fn seek(&mut self, from: u64) -> Result<()> {
        let State::Opened(fetcher) = &mut self.state else { return Ok(()) };
        let mut first = true;
        while fetcher.expected.is_some() || (self.skip > 0 && self.fetched.is_empty()) {
            if !std::mem::take(&mut first) {
                self.runtime.block_on(async { sleep(fetcher.poll_interval).await });
            }
            let page = self.runtime.block_on(fetcher.next(if self.skip == 0 {
                1
            } else {
                PAGE_MAX_RECORDS
            }))?;
            for raw in page.records {
                if self.offset == self.base {
                    self.shard_tree.record_first(self.number, &raw.sequence);
                }
                let records = kpl::unpack(&raw.data).map_or(1, |records| records.len() as u64);
                if self.fetched.is_empty() && records <= self.skip {
                    self.skip -= records;
                    self.offset += records;
                } else {
                    self.fetched.push_back(raw);
                }
            }
            if self.skip > 0 && self.fetched.is_empty() && (page.caught_up || page.next.is_none()) {
                return Err(Error::data(format!(
                    "can't read {} from offset {from}: it ends at {}",
                    self.name, self.offset
                ))
                .hint("Restore the stream, or begin anew.")
                .advise(Advice::BeginAnew));
            }
        }
        Ok(())
    }

    /// Returns a batch of the fetched records. The rest of a large aggregated record follows in the
    /// next batch.
    fn batch(&mut self) -> Result<Option<Batch>> {
        let first = self.offset + self.skip;
        let mut batch = Batch { partition: self.number, first, next: first, ..Batch::default() };
        let mut last = None;
        'full: while let Some(raw) = self.fetched.front() {
            if self.offset == self.base {
                self.shard_tree.record_first(self.number, &raw.sequence);
            }
            let whole = || vec![(raw.key.as_deref(), raw.data.as_slice())];
            let packed = kpl::unpack(&raw.data)
                .map(|all| all.into_iter().map(|(key, value)| (Some(key), value)).collect());
            let all: Vec<(Option<&str>, &[u8])> = packed.unwrap_or_else(whole);
            let count = all.len() as u64;
            for (key, value) in all.into_iter().skip(self.skip as usize) {
                // A few aggregated bytes may repeat one long key many times.
                let bytes = batch.bytes.len() + key.map_or(0, str::len) + value.len();
                if !batch.records.is_empty()
                    && (bytes > BATCH_BYTES || batch.records.len() >= BATCH_RECORDS)
                {
                    break 'full;
                }
                batch.push(
                    self.offset + self.skip,
                    raw.arrived,
                    key.map(str::as_bytes),
                    Some(value),
                );
                self.skip += 1;
            }
            self.skip -= count;
            self.offset += count;
            last = self.fetched.pop_front().map(|raw| raw.sequence);
        }
        batch.next = self.offset + self.skip;
        if batch.next - self.base >= OFFSETS_PER_SHARD {
            return Err(Error::data(format!(
                "can't number the records of {}: there are more than {OFFSETS_PER_SHARD}",
                self.name
            )));
        }
        if let Some(sequence) = last {
            let end = self.offset - u64::from(faults::bug("skipped_sequence"));
            self.shard_tree.record_end(self.number, end, sequence);
        }
        if self.fetched.is_empty() {
            self.permit = None;
        }
        Ok((!batch.records.is_empty()).then_some(batch))
    }
}

impl Partition for Reader {
    fn poll(&mut self) -> Result<Poll> {
        loop {
            if let Some(batch) = self.batch()? {
                return Ok(Poll::Batch(batch));
            }
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Opened(fetcher) => {
                    let (reader, items) = mpsc::channel(1);
                    let task = self.runtime.spawn(fetcher.run(self.start, reader));
                    self.state = State::Reading { items, received: None, task };
                }
                State::Reading { mut items, received, task } => {
                    let item = received.map_or_else(|| items.try_recv(), Ok);
                    if let Ok(Item::End(ending)) = item {
                        if ending == Ending::ShardClosed {
                            self.shard_tree.finish(self.number);
                        }
                        return Ok(Poll::End);
                    }
                    self.state = State::Reading { items, received: None, task };
                    match item {
                        Ok(Item::Page { records, permit }) => {
                            (self.fetched, self.permit) = (records.into(), Some(permit))
                        }
                        Ok(Item::Failed(error)) => return Err(error),
                        Ok(Item::End(_)) | Err(TryRecvError::Empty) => return Ok(Poll::Idle),
                        Err(TryRecvError::Disconnected) => {
                            return Err(Error::internal(format!(
                                "the task that reads {} has ended",
                                self.name
                            )));
                        }
                    }
                }
                State::Ended => return Ok(Poll::End),
            }
        }
    }

    fn register(&mut self, waker: &task::Waker) -> Option<Duration> {
        let State::Reading { items, received, .. } = &mut self.state else { return None };
        if received.is_some() {
            waker.wake_by_ref();
        } else if let task::Poll::Ready(item) =
            items.poll_recv(&mut task::Context::from_waker(waker))
        {
            // The next poll detects a closed channel.
            *received = item;
            waker.wake_by_ref();
        }
        Some(Duration::MAX)
    }

    fn wait(&mut self, limit: Duration) -> bool {
        let State::Reading { items, received, .. } = &mut self.state else { return false };
        if received.is_none() {
            // The next poll detects a closed channel.
            *received =
                self.runtime.block_on(async { timeout(limit, items.recv()).await.ok().flatten() });
        }
        true
    }

    fn remaining(&self) -> u64 {
        self.fetched.iter().map(|raw| raw.data.len() as u64).sum()
    }
}
