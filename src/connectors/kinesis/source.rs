//! Reading: a task a shard fetches pages ahead, a reader opens what is packed in them and counts
//! offsets.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
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
use crate::record::Batch;

use super::api::{FaultKind, Raw, Shard};
use super::fetch::{ALL, ATTEMPTS, Fetcher, Item, insist, soon};
use super::lineage::{Known, Lineage};
use super::{KinesisStream, OFFSETS, kpl};

/// After how many bytes or records a batch is handed over.
const CHUNK: usize = 1 << 20;
const RECORDS: usize = 4096;

impl Source for KinesisStream {
    fn describe(&self) -> String {
        self.name()
    }

    fn identities(&self) -> Result<Vec<Identity>> {
        Ok(vec![self.identity()?])
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        let what = format!("list the shards of {}", self.name());
        let service = &self.kinesis.service;
        let list = insist(&what, Some(ATTEMPTS), || service.api.shards(&self.stream));
        let error = match service.runtime.block_on(soon(list)) {
            Ok(shards) => return Ok(self.lineage.list(shards)),
            Err(fault) if !fault.passes() => return Err(fault.error(&what)),
            Err(fault) => fault.error(&what),
        };
        // Shards stay what they are while the service is away; new ones are found when it is back.
        let known = self.lineage.numbers();
        if known.is_empty() {
            return Err(error);
        }
        tracing::warn!(%error, "go on with the shards that are known");
        Ok(known)
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let base = self.base(partition)?;
        let fresh = from.is_none();
        let from = from.unwrap_or(base);
        if !(base..=base + (OFFSETS - 1)).contains(&from) {
            return Err(Error::data(format!(
                "can't read {} from offset {from}: shard {partition} begins at {base}",
                self.name()
            ))
            .hint("Restore the stream, or begin anew.")
            .advise(Advice::BeginAnew));
        }
        self.lineage.open(partition);
        let (offset, expected) = match self.lineage.before(partition, from) {
            Some((offset, sequence)) => (offset, Some((sequence, false))),
            None => (base, self.lineage.first(partition).map(|sequence| (sequence, true))),
        };
        let fetcher = Fetcher {
            api: self.kinesis.service.api.clone(),
            lineage: self.lineage.clone(),
            room: self.kinesis.service.room.clone(),
            pace: self.kinesis.service.pace,
            stream: self.stream.clone(),
            number: partition,
            shard: Shard::name(partition),
            follow,
            closed: self.lineage.is_closed(partition),
            iterator: None,
            expected,
            last: None,
        };
        let mut reader = Reader {
            runtime: self.kinesis.service.runtime,
            name: fetcher.name(),
            lineage: self.lineage.clone(),
            number: partition,
            fresh,
            base,
            offset,
            skip: from - offset,
            raw: VecDeque::new(),
            room: None,
            state: State::Opened(Box::new(fetcher)),
        };
        reader.seek(from)?;
        Ok(Box::new(reader))
    }

    fn remember(&self, ends: &BTreeMap<u32, u64>) -> Value {
        let memory = self.lineage.remember(ends);
        serde_json::to_value(memory).unwrap_or_default()
    }

    fn recall(&self, memory: &Value) -> Result<()> {
        let memory: BTreeMap<u32, Known> = match memory {
            Value::Null => BTreeMap::new(),
            memory => serde::Deserialize::deserialize(memory).map_err(|e| {
                Error::data(format!("what was recorded of {} is damaged", self.name()))
                    .because(e)
                    .hint("Restore the state, or begin anew.")
                    .advise(Advice::BeginAnew)
            })?,
        };
        self.lineage.recall(memory);
        Ok(())
    }
}

impl KinesisStream {
    /// The name of the stream with its ARN and creation time. Where the account may not describe
    /// streams it has no id: then the sequence numbers that were recorded decide.
    pub(super) fn identity(&self) -> Result<Identity> {
        let what = format!("describe {}", self.name());
        let service = &self.kinesis.service;
        let describe = insist(&what, Some(ATTEMPTS), || service.api.identity(&self.stream));
        let identity = Identity::new(format!("kinesis stream {}", self.stream));
        match service.runtime.block_on(soon(describe)) {
            Ok(id) => Ok(identity.with_id(id)),
            Err(fault) if fault.kind == FaultKind::Denied => Ok(identity),
            Err(fault) => Err(fault.error(&what)),
        }
    }
}

/// Reads one shard.
struct Reader {
    runtime: &'static Runtime,
    lineage: Arc<Lineage>,
    name: String,
    number: u32,
    /// Whether it waits for the parents of the shard: whoever has a position in it has read them.
    fresh: bool,
    /// Offset of the first record of the shard, and of the first in `raw`.
    base: u64,
    offset: u64,
    /// How many records of `raw` are before the position that was asked for.
    skip: u64,
    /// What is fetched and not handed over, and the room it takes.
    raw: VecDeque<Raw>,
    room: Option<OwnedSemaphorePermit>,
    state: State,
}

enum State {
    /// Nothing is fetched ahead before the first poll: a reader that waits for its turn takes no
    /// room from others.
    Opened(Box<Fetcher>),
    /// A task fetches; what came while the reader waited is beside.
    Reading(Receiver<Item>, Option<Item>, JoinHandle<()>),
    Ended,
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let State::Reading(_, _, task) = &self.state {
            task.abort();
        }
    }
}

impl Reader {
    /// Goes to `from`, and makes sure that the record before it is there.
    fn seek(&mut self, from: u64) -> Result<()> {
        let State::Opened(fetcher) = &mut self.state else { return Ok(()) };
        let mut first = true;
        while fetcher.expected.is_some() || (self.skip > 0 && self.raw.is_empty()) {
            if !std::mem::take(&mut first) {
                self.runtime.block_on(async { sleep(fetcher.pace).await });
            }
            let page = self.runtime.block_on(fetcher.next(if self.skip == 0 { 1 } else { ALL }))?;
            for raw in page.records {
                if self.offset == self.base {
                    self.lineage.begins(self.number, &raw.sequence);
                }
                let records = kpl::unpack(&raw.data).map_or(1, |records| records.len() as u64);
                if self.raw.is_empty() && records <= self.skip {
                    self.skip -= records;
                    self.offset += records;
                } else {
                    self.raw.push_back(raw);
                }
            }
            if self.skip > 0 && self.raw.is_empty() && (page.newest || page.next.is_none()) {
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

    /// What is fetched, up to about a megabyte: of a record that holds many, the rest comes next.
    fn batch(&mut self) -> Result<Option<Batch>> {
        let first = self.offset + self.skip;
        let mut batch = Batch { partition: self.number, first, next: first, ..Batch::default() };
        let mut last = None;
        'full: while let Some(raw) = self.raw.front() {
            if self.offset == self.base {
                self.lineage.begins(self.number, &raw.sequence);
            }
            let whole = || vec![(raw.key.as_deref(), raw.data.as_slice())];
            let packed = kpl::unpack(&raw.data)
                .map(|all| all.into_iter().map(|(key, value)| (Some(key), value)).collect());
            let all: Vec<(Option<&str>, &[u8])> = packed.unwrap_or_else(whole);
            let count = all.len() as u64;
            for (key, value) in all.into_iter().skip(self.skip as usize) {
                // A few bytes packed may name one long key again and again.
                let bytes = batch.bytes.len() + key.map_or(0, str::len) + value.len();
                if !batch.records.is_empty() && (bytes > CHUNK || batch.records.len() >= RECORDS) {
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
            last = self.raw.pop_front().map(|raw| raw.sequence);
        }
        batch.next = self.offset + self.skip;
        if batch.next - self.base >= OFFSETS {
            return Err(Error::data(format!(
                "can't number the records of {}: it has over {OFFSETS}",
                self.name
            )));
        }
        if let Some(sequence) = last {
            self.lineage.ends(self.number, self.offset, sequence);
        }
        if self.raw.is_empty() {
            self.room = None;
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
                    let task = self.runtime.spawn(fetcher.run(self.fresh, reader));
                    self.state = State::Reading(items, None, task);
                }
                State::Reading(mut items, came, task) => {
                    let item = came.map_or_else(|| items.try_recv(), Ok);
                    if let Ok(Item::End(closed)) = item {
                        if closed {
                            self.lineage.finish(self.number);
                        }
                        return Ok(Poll::End);
                    }
                    self.state = State::Reading(items, None, task);
                    match item {
                        Ok(Item::Page(raw, room)) => {
                            (self.raw, self.room) = (raw.into(), Some(room))
                        }
                        Ok(Item::Failed(error)) => return Err(error),
                        Ok(Item::End(_)) | Err(TryRecvError::Empty) => return Ok(Poll::Idle),
                        Err(TryRecvError::Disconnected) => {
                            return Err(Error::internal(format!(
                                "the task that reads {} is gone",
                                self.name
                            )));
                        }
                    }
                }
                State::Ended => return Ok(Poll::End),
            }
        }
    }

    fn wait(&mut self, patience: Duration) -> bool {
        let State::Reading(items, came, _) = &mut self.state else { return false };
        if came.is_none() {
            // One that gets nothing any more is told so by the next poll.
            *came = self
                .runtime
                .block_on(async { timeout(patience, items.recv()).await.ok().flatten() });
        }
        true
    }

    fn remaining(&self) -> u64 {
        self.raw.iter().map(|raw| raw.data.len() as u64).sum()
    }
}
