//! Reading: objects back to back, in batches of about a megabyte that end where a line ends.

mod next;

use std::collections::{BTreeSet, VecDeque};
use std::io::Read;
use std::mem;
use std::ops::Range;
use std::time::Duration;

use crate::connect::{Identity, Partition, Poll, Source};
use crate::error::{Error, Result};
use crate::record::{Batch, CUT_VALUE_BYTES, Span, VALUE_MAX_BYTES};

use super::ArchiveTopic;
use super::ahead::Ahead;
use super::finder::Listed;
use super::objects::Objects;
use next::{LIST_FIRST, all_after};

/// After how many bytes or records a batch is handed over.
pub(super) const CHUNK: usize = 1 << 20;
const RECORDS: usize = 4096;

impl Source for ArchiveTopic {
    fn describe(&self) -> String {
        self.name()
    }

    fn identities(&self) -> Result<Vec<Identity>> {
        Ok(vec![self.identity()])
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        let partitions = self.partitions()?;
        self.left_alone.warn(None, || self.name());
        Ok(partitions)
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        Ok(Box::new(Reader::open(self.objects(partition)?, from, follow, CHUNK, VALUE_MAX_BYTES)?))
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
    /// The most bytes of a line that are held, so that an object without line ends can't fill the
    /// memory.
    limit: usize,
    /// Offset of the next record to read.
    next: u64,
    /// The objects ahead, as listed.
    listed: VecDeque<Listed>,
    ahead: Ahead,
    /// The object begun last.
    begun: Option<Listed>,
    /// What is left of it.
    object: Option<Box<dyn Read + Send>>,
    /// Its size, if it is packed: that is unread as long as its end is.
    packed: Option<u64>,
    /// The beginning of a line whose end is still in `object`.
    rest: Vec<u8>,
    /// Up to where in `rest` all lines were handed over, if others may follow: then its end is no
    /// beginning yet.
    lines: Option<usize>,
    /// How many bytes of that line were read and not held.
    dropped: u64,
    /// What was read before something stopped the reading, and what stopped it: each is handed over
    /// once.
    pending: Option<Batch>,
    stopped: Option<Error>,
    /// Bytes of the listed objects that are still unread.
    unread: u64,
    /// Polls in vain since the last listing, and how many of them make the next.
    vain: u32,
    patience: u32,
    /// How often it was waited for what an object store may have next.
    waited: u32,
    /// The offset whose absence was reported, and the one that was looked for once more before that
    /// was an error.
    reported: Option<u64>,
    sought: Option<u64>,
    /// How many digits offsets have in the names that were seen.
    widths: BTreeSet<u8>,
    /// Polls in vain since it was looked into other folders.
    idle: u32,
    /// How often it is still looked for later names only in an object store's folder, before all is
    /// listed.
    all: u32,
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
            // A listing may miss what came while it was made, but nothing that came before: now it
            // has the earliest.
            listed = objects.list()?;
        }
        let reader = Self::over(objects, listed, from, follow, chunk, limit)?;
        reader.objects.warn();
        Ok(reader)
    }

    /// Reads what was `listed`.
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
            let what = match listed.first() {
                Some(object) => format!("it begins at {}", object.first),
                None => "it holds nothing".to_string(),
            };
            return Err(Error::data(format!(
                "can't read {} from offset {from}: {what}",
                objects.name()
            ))
            .hint(
                "Bring the missing objects back, or start anew from another archive and state.",
            ));
        }
        let (all, widths) =
            (all_after(listed.len()), listed.iter().map(|object| object.digits).collect());
        listed.drain(..held.saturating_sub(1));
        let mut reader = Reader {
            follow,
            chunk,
            limit,
            next: listed.first().map_or(from, |object| object.first),
            unread: objects.bytes(listed.iter()),
            listed: listed.into(),
            ahead: Ahead::default(),
            begun: None,
            object: None,
            packed: None,
            rest: Vec::new(),
            lines: None,
            dropped: 0,
            pending: None,
            stopped: None,
            vain: 0,
            patience: LIST_FIRST,
            waited: 0,
            reported: None,
            sought: None,
            widths,
            idle: 0,
            all,
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
                    .hint("Bring the missing objects back, or start anew with another state."));
            };
            if batch.next > from {
                self.pending = Some(batch.split_off(from));
            }
        }
        Ok(())
    }

    /// Reads on into `batch` until it is large enough, or says why there is no more. Whatever
    /// happens, no record that was read is lost: from `line` on there is the beginning of one whose
    /// end is still to come.
    fn fill(&mut self, batch: &mut Batch, line: &mut usize) -> Result<Poll> {
        while batch.records.is_empty()
            || (batch.bytes.len() < self.chunk && batch.records.len() < RECORDS)
        {
            if self.object.is_none() {
                self.object = self.advance(batch.next)?;
            }
            let Some(object) = &mut self.object else {
                return Ok(if self.follow { Poll::Idle } else { Poll::End });
            };
            let from = batch.bytes.len();
            // A line that is longer than all the room: read as much again, until that shows that it
            // is too long.
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
                // Lines of one topic are about as long.
                let lines = (batch.bytes.len() - from) / (first + 1);
                batch.records.reserve(lines.min(RECORDS - batch.records.len()));
            }
            for end in memchr::memchr_iter(b'\n', &batch.bytes[from..]) {
                if batch.records.len() == RECORDS {
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
            let name = || format!("can't read on in {}", self.objects.name());
            let ended = read
                .map_err(|e| e.downcast().unwrap_or_else(|e| Error::connect(name()).because(e)))?
                < want;
            if ended {
                let end = batch.bytes.len();
                if self.lines.is_some() {
                    // The next bytes are of another object: they must not join its last line.
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

    /// Of lines that were read and are too many for one batch, the next ones.
    fn lines(&mut self) -> Option<Batch> {
        let from = self.lines?;
        let mut batch = Batch {
            partition: self.objects.partition,
            first: self.next,
            next: self.next,
            ..Batch::default()
        };
        let (lines, mut line) = (&self.rest[from..], 0);
        for end in memchr::memchr_iter(b'\n', lines).take(RECORDS) {
            batch.records.push(span(batch.next, line..end, 0, self.limit));
            batch.next += 1;
            line = end + 1;
        }
        batch.bytes = lines[..line].to_vec();
        self.next = batch.next;
        self.lines = Some(from + line);
        if batch.records.len() < RECORDS {
            self.rest.drain(..from + line);
            self.lines = None;
        }
        (!batch.records.is_empty()).then_some(batch)
    }
}

/// The record that is a line, of which `dropped` bytes before its end are not there. Only its
/// length decides what is kept of it, not how it was read: at each reading it is the same.
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

    fn wait(&mut self, _patience: Duration) -> bool {
        self.waited = self.waited.wrapping_add(1);
        false
    }

    fn remaining(&self) -> u64 {
        if self.object.is_none() && self.listed.is_empty() { 0 } else { self.unread }
    }
}
