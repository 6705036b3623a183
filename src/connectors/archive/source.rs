//! The source: objects one after the other, in batches of about a megabyte that end where a line
//! ends.

mod next;

use std::collections::VecDeque;
use std::io::Read;
use std::mem;
use std::ops::Range;
use std::time::Duration;

use crate::connect::{Identity, Partition, Poll, Source};
use crate::error::{Advice, Error, Result};
use crate::record::{Batch, CUT_VALUE_BYTES, Span, VALUE_MAX_BYTES};

use super::ArchiveTopic;
use super::finder::Listed;
use super::objects::Objects;
use super::prefetch::Prefetch;
use next::Search;

/// The number of bytes after which a batch is complete.
pub(super) const CHUNK_BYTES: usize = 1 << 20;
/// The number of records after which a batch is complete.
const CHUNK_RECORDS: usize = 4096;

impl Source for ArchiveTopic {
    fn describe(&self) -> String {
        self.name()
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
        Ok(Box::new(Reader::open(
            self.objects(partition)?,
            from,
            follow,
            CHUNK_BYTES,
            VALUE_MAX_BYTES,
        )?))
    }

    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        let first = self.objects(partition)?.list()?.first().map(|object| object.first);
        Ok(first.zip(self.end(partition)?).map(|(first, end)| first..end))
    }
}

/// Reads a partition from an offset on.
pub(super) struct Reader {
    objects: Objects,
    follow: bool,
    chunk: usize,
    /// The maximal number of bytes of a line that are held, so that an object without line ends
    /// can't fill the memory.
    limit: usize,
    /// Offset of the next record to read.
    next: u64,
    /// The listed objects that are not begun yet.
    listed: VecDeque<Listed>,
    prefetch: Prefetch,
    /// The object that was begun last.
    begun: Option<Listed>,
    /// Its unread bytes.
    object: Option<Box<dyn Read + Send>>,
    /// Its size if it is packed; it counts as unread until its end is reached.
    packed: Option<u64>,
    /// The beginning of a line whose end is still in `object`.
    rest: Vec<u8>,
    /// The end in `rest` of the lines that were already returned, while further whole lines may
    /// follow in it. Then the end of `rest` is not yet the beginning of a line.
    lines: Option<usize>,
    /// The number of bytes of that line that were read and not held.
    dropped: u64,
    /// A batch that was read and not returned yet.
    pending: Option<Batch>,
    /// The error that stopped the reading, to be returned after the batch before it.
    stopped: Option<Error>,
    /// Bytes of the listed objects that are still unread.
    unread: u64,
    /// The search for the next object.
    search: Search,
}

impl Reader {
    pub(super) fn open(
        objects: Objects,
        from: Option<u64>,
        follow: bool,
        chunk: usize,
        limit: usize,
    ) -> Result<Self> {
        let mut listed = objects.list()?;
        let first = listed.first().map_or(0, |object| object.first);
        if from.is_none() && first > 0 && objects.store.folder().is_some() {
            // A listing may miss objects that appear during it, but none that existed before. So
            // the second one has the earliest object.
            listed = objects.list()?;
        }
        let reader = Self::over(objects, listed, from, follow, chunk, limit)?;
        reader.objects.warn();
        Ok(reader)
    }

    /// Reads the `listed` objects.
    pub(super) fn over(
        objects: Objects,
        mut listed: Vec<Listed>,
        from: Option<u64>,
        follow: bool,
        chunk: usize,
        limit: usize,
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
        let mut reader = Reader {
            follow,
            chunk,
            limit,
            next: listed.first().map_or(from, |object| object.first),
            unread: objects.bytes(listed.iter()),
            listed: listed.into(),
            prefetch: Prefetch::default(),
            begun: None,
            object: None,
            packed: None,
            rest: Vec::new(),
            lines: None,
            dropped: 0,
            pending: None,
            stopped: None,
            search,
            objects,
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
                    "can't read {} from offset {from}: it ends before {}",
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

    /// Reads on into `batch` until it is large enough, or returns why no more can be read. No
    /// record that was read is lost, even after an error: the bytes from `line` on are the
    /// beginning of a record whose end is not read yet.
    fn fill(&mut self, batch: &mut Batch, line: &mut usize) -> Result<Poll> {
        while batch.records.is_empty()
            || (batch.bytes.len() < self.chunk && batch.records.len() < CHUNK_RECORDS)
        {
            if self.object.is_none() {
                self.object = self.advance(batch.next)?;
            }
            let Some(object) = &mut self.object else {
                return Ok(if self.follow { Poll::Idle } else { Poll::End });
            };
            let from = batch.bytes.len();
            // If a line fills the whole batch, read as much again, until it ends or is too long.
            let more = if self.dropped > 0 {
                self.chunk
            } else {
                (from - *line).min(self.limit + 1 - (from - *line))
            };
            let want = self.chunk.saturating_sub(from).max(more);
            batch.bytes.reserve(want);
            let read = object.take(want as u64).read_to_end(&mut batch.bytes);
            if self.packed.is_none() {
                self.unread = self.unread.saturating_sub((batch.bytes.len() - from) as u64);
            }
            if let Some(first) = memchr::memchr(b'\n', &batch.bytes[from..]) {
                // Lines of one topic have similar lengths.
                let lines = (batch.bytes.len() - from) / (first + 1);
                batch.records.reserve(lines.min(CHUNK_RECORDS - batch.records.len()));
            }
            for end in memchr::memchr_iter(b'\n', &batch.bytes[from..]) {
                if batch.records.len() == CHUNK_RECORDS {
                    self.lines = Some(0);
                    break;
                }
                let span =
                    span(batch.next, *line..from + end, mem::take(&mut self.dropped), self.limit);
                batch.records.push(span);
                batch.next += 1;
                *line = from + end + 1;
            }
            let held = batch.bytes.len() - *line;
            if self.lines.is_none() && (held > self.limit || self.dropped > 0) {
                let beginning = held.min(self.limit).min(CUT_VALUE_BYTES);
                self.dropped += (held - beginning) as u64;
                batch.bytes.truncate(*line + beginning);
                batch.bytes.shrink_to(*line + beginning + self.chunk);
            }
            let name = || format!("can't continue to read {}", self.objects.name());
            let ended = read
                .map_err(|e| e.downcast().unwrap_or_else(|e| Error::connect(name()).because(e)))?
                < want;
            if ended {
                let end = batch.bytes.len();
                if self.lines.is_some() {
                    // The next bytes belong to another object: they must not join its last line.
                    batch.bytes.extend((batch.bytes[end - 1] != b'\n').then_some(b'\n'));
                } else if *line < end {
                    batch.records.push(span(
                        batch.next,
                        *line..end,
                        mem::take(&mut self.dropped),
                        self.limit,
                    ));
                    batch.next += 1;
                    *line = end;
                }
                self.object = None;
                self.unread = self.unread.saturating_sub(self.packed.take().unwrap_or(0));
            }
        }
        Ok(Poll::Idle)
    }

    /// Returns the next of the lines that were read and were too many for one batch.
    fn lines(&mut self) -> Option<Batch> {
        let from = self.lines?;
        let mut batch = Batch {
            partition: self.objects.partition,
            first: self.next,
            next: self.next,
            ..Batch::default()
        };
        let (lines, mut line) = (&self.rest[from..], 0);
        for end in memchr::memchr_iter(b'\n', lines).take(CHUNK_RECORDS) {
            batch.records.push(span(batch.next, line..end, 0, self.limit));
            batch.next += 1;
            line = end + 1;
        }
        batch.bytes = lines[..line].to_vec();
        self.next = batch.next;
        self.lines = Some(from + line);
        if batch.records.len() < CHUNK_RECORDS {
            self.rest.drain(..from + line);
            self.lines = None;
        }
        (!batch.records.is_empty()).then_some(batch)
    }
}

/// Returns the record of a line from which `dropped` bytes before its end are missing. Only its
/// length decides how much of it is kept, so every reading returns the same record.
fn span(offset: u64, line: Range<usize>, dropped: u64, limit: usize) -> Span {
    let length = line.len() as u64 + dropped;
    let cut = (length > limit as u64).then_some(length);
    let end = if cut.is_some() { line.start + limit.min(CUT_VALUE_BYTES) } else { line.end };
    Span { cut, ..Span::of_value(offset, line.start as u32..end as u32) }
}

impl Partition for Reader {
    fn poll(&mut self) -> Result<Poll> {
        if let Some(batch) = self.pending.take() {
            return Ok(Poll::Batch(batch));
        }
        if let Some(batch) = self.lines() {
            return Ok(Poll::Batch(batch));
        }
        if let Some(error) = self.stopped.take() {
            return Err(error);
        }
        let bytes = mem::take(&mut self.rest);
        let mut batch = Batch {
            partition: self.objects.partition,
            first: self.next,
            next: self.next,
            bytes,
            records: Vec::new(),
        };
        let mut line = 0;
        let outcome = self.fill(&mut batch, &mut line);
        self.rest = batch.bytes.split_off(line);
        self.next = batch.next;
        if batch.records.is_empty() {
            return outcome;
        }
        self.stopped = outcome.err();
        if batch.bytes.len() < self.chunk / 2 {
            batch.bytes.shrink_to_fit();
        }
        Ok(Poll::Batch(batch))
    }

    fn wait(&mut self, _timeout: Duration) -> bool {
        self.search.waits = self.search.waits.wrapping_add(1);
        false
    }

    fn remaining(&self) -> u64 {
        if self.object.is_none() && self.listed.is_empty() { 0 } else { self.unread }
    }
}
