//! The source: objects one after the other, in batches of about a megabyte that end where a line
//! ends.

mod fill;
mod next;

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::mem;
use std::ops::Range;
use std::task::Waker;
use std::time::Duration;

use crate::connect::{Identity, Partition, Poll, Source};
use crate::error::{Advice, Error, Result};
use crate::record::{Batch, VALUE_MAX_BYTES};
use crate::time::Timestamp;

use super::ArchiveTopic;
use super::finder::Listed;
use super::objects::Objects;
use super::prefetch::Prefetch;
use super::watch::{Follower, Interval};
use next::Search;

/// The number of bytes after which a batch is complete.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

impl Source for ArchiveTopic {
    fn describe(&self) -> String {
        self.name()
    }

    fn has_timestamps(&self) -> bool {
        false
    }

    fn identities(&self) -> Result<Vec<Identity>> {
        Ok(vec![self.identity()])
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        let partitions = self.partitions()?;
        self.ignored.warn(None, || self.name());
        Ok(partitions)
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        // Before the objects are listed, so that none is missed.
        let follower = if follow { self.follow(partition)? } else { None };
        let objects = self.objects(partition)?;
        let mut reader = Reader::open(objects, from, follow, Limits::default())?;
        reader.follower = follower;
        Ok(Box::new(reader))
    }

    fn released(&self, ends: &BTreeMap<u32, u64>, now: Timestamp) {
        let Some(age) = self.retention else { return };
        for (partition, end) in ends {
            match self.delete_before(*partition, *end, age, now) {
                Ok(0) => {}
                Ok(objects) => tracing::info!(topic = self.name(), partition, objects, "deleted"),
                Err(error) => {
                    tracing::warn!(%error, "can't delete old objects, it will be tried again");
                }
            }
        }
    }

    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        let first = self.objects(partition)?.list()?.first().map(|object| object.first);
        Ok(first.zip(self.end(partition)?).map(|(first, end)| first..end))
    }
}

/// The bounds of the memory of a reader.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// The number of bytes after which a batch is complete.
    pub(super) batch_bytes: usize,
    /// The maximal number of bytes of a line that are held, so that an object without line ends
    /// can't fill the memory.
    pub(super) line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { batch_bytes: CHUNK_BYTES, line_bytes: VALUE_MAX_BYTES }
    }
}

/// Reads a partition from an offset on.
pub(super) struct Reader {
    objects: Objects,
    follow: bool,
    limits: Limits,
    /// Offset of the next record to read.
    next: u64,
    queue: Queue,
    current: Current,
    rest: Rest,
    /// A batch that was read and not returned yet.
    pending: Option<Batch>,
    /// The error that stopped the reading, to be returned after the batch before it.
    stopped: Option<Error>,
    /// The search for the next object.
    search: Search,
    /// The changes of a partition that is followed.
    follower: Option<Follower>,
}

/// The listed objects that are not begun yet.
struct Queue {
    listed: VecDeque<Listed>,
    prefetch: Prefetch,
    /// Unread bytes of the listed objects and of the current one.
    unread_bytes: u64,
}

impl Queue {
    fn count_read(&mut self, bytes: u64) {
        self.unread_bytes = self.unread_bytes.saturating_sub(bytes);
    }
}

/// The object that was begun last.
#[derive(Default)]
struct Current {
    object: Option<Listed>,
    /// Its unread bytes.
    bytes: Option<Box<dyn Read + Send>>,
    /// Its size if it is packed; it counts as unread until its end is reached.
    packed_bytes: Option<u64>,
}

/// Bytes that were read and are in no batch yet.
#[derive(Default)]
struct Rest {
    /// The beginning of a line whose end is still in the current object.
    bytes: Vec<u8>,
    /// The end in `bytes` of the lines that were already returned, while further whole lines may
    /// follow in it. Then the end of `bytes` is not yet the beginning of a line.
    lines: Option<usize>,
    /// The number of bytes of that line that were read and not held.
    dropped: u64,
}

impl Reader {
    pub(super) fn open(
        objects: Objects,
        from: Option<u64>,
        follow: bool,
        limits: Limits,
    ) -> Result<Self> {
        let mut listed = objects.list()?;
        let first = listed.first().map_or(0, |object| object.first);
        if from.is_none() && first > 0 && objects.store.folder().is_some() {
            // A listing may miss objects that appear during it, but none that existed before. So
            // the second one has the earliest object.
            listed = objects.list()?;
        }
        let reader = Self::over(objects, listed, from, follow, limits)?;
        reader.objects.warn();
        Ok(reader)
    }

    /// Reads the `listed` objects.
    pub(super) fn over(
        objects: Objects,
        mut listed: Vec<Listed>,
        from: Option<u64>,
        follow: bool,
        limits: Limits,
    ) -> Result<Self> {
        let from = from.unwrap_or_else(|| listed.first().map_or(0, |object| object.first));
        let held = listed.partition_point(|object| object.first <= from);
        if held == 0 && (from > 0 || !listed.is_empty()) {
            let holds = match listed.first() {
                Some(object) => format!("it begins at {}", object.first),
                None => "it holds nothing".to_string(),
            };
            return Err(Error::data(format!(
                "can't read {} from offset {from}: {holds}",
                objects.name()
            ))
            .hint("Restore the missing objects, or begin anew from another archive.")
            .advise(Advice::BeginAnew));
        }
        let search = Search::over(&listed);
        listed.drain(..held.saturating_sub(1));
        let next = listed.first().map_or(from, |object| object.first);
        let queue = Queue {
            unread_bytes: objects.bytes(listed.iter()),
            listed: listed.into(),
            prefetch: Prefetch::default(),
        };
        let mut reader = Reader {
            objects,
            follow,
            limits,
            next,
            queue,
            current: Current::default(),
            rest: Rest::default(),
            pending: None,
            stopped: None,
            search,
            follower: None,
        };
        reader.skip_to(from)?;
        Ok(reader)
    }

    /// Offset of the next record to read.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    fn skip_to(&mut self, from: u64) -> Result<()> {
        while self.next < from {
            let Poll::Batch(mut batch) = self.poll()? else {
                let message = format!(
                    "can't read {} from offset {from}: it ends at {}",
                    self.objects.name(),
                    self.next
                );
                return Err(Error::data(message)
                    .hint("Restore the missing objects, or begin anew.")
                    .advise(Advice::BeginAnew));
            };
            if batch.next > from {
                self.pending = Some(batch.split_off(from));
            }
        }
        Ok(())
    }
}

impl Partition for Reader {
    fn poll(&mut self) -> Result<Poll> {
        if let Some(batch) = self.pending.take() {
            return Ok(Poll::Batch(batch));
        }
        if let Some(batch) = self.next_lines() {
            return Ok(Poll::Batch(batch));
        }
        if let Some(error) = self.stopped.take() {
            return Err(error);
        }
        let bytes = mem::take(&mut self.rest.bytes);
        let mut batch = Batch {
            partition: self.objects.partition,
            first: self.next,
            next: self.next,
            bytes,
            records: Vec::new(),
        };
        let mut line = 0;
        let outcome = self.fill(&mut batch, &mut line);
        self.rest.bytes = batch.bytes.split_off(line);
        self.next = batch.next;
        if batch.records.is_empty() {
            return outcome;
        }
        self.stopped = outcome.err();
        if batch.bytes.len() < self.limits.batch_bytes / 2 {
            batch.bytes.shrink_to_fit();
        }
        Ok(Poll::Batch(batch))
    }

    fn wait(&mut self, _timeout: Duration) -> bool {
        self.search.waits = self.search.waits.wrapping_add(1);
        false
    }

    fn register(&mut self, waker: &Waker) -> Option<Duration> {
        let interval = self.follower.as_ref()?.register(waker);
        self.search.pause(interval);
        let (Interval::Watched(time) | Interval::Polled(time) | Interval::Requested(time)) =
            interval;
        Some(time)
    }

    fn remaining(&self) -> u64 {
        if self.current.bytes.is_none() && self.queue.listed.is_empty() {
            0
        } else {
            self.queue.unread_bytes
        }
    }
}
