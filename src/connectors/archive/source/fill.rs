//! Batches of lines, filled from the bytes of objects.

use std::io::Read;
use std::mem;
use std::ops::Range;

use crate::connect::Poll;
use crate::error::{Error, Result};
use crate::record::{Batch, CUT_VALUE_BYTES, Span};

use super::Reader;

/// The number of records after which a batch is complete.
const CHUNK_RECORDS: usize = 4096;

impl Reader {
    /// Reads on into `batch` until it is large enough, or returns why no more can be read. No
    /// record that was read is lost, even after an error: the bytes from `line` on are the
    /// beginning of a record whose end is not read yet.
    pub(super) fn fill(&mut self, batch: &mut Batch, line: &mut usize) -> Result<Poll> {
        while batch.records.is_empty()
            || (batch.bytes.len() < self.limits.batch_bytes && batch.records.len() < CHUNK_RECORDS)
        {
            if self.current.bytes.is_none() {
                self.current.bytes = self.advance(batch.next)?;
            }
            let Some(object) = &mut self.current.bytes else {
                return Ok(if self.follow { Poll::Idle } else { Poll::End });
            };
            let from = batch.bytes.len();
            // If a line fills the whole batch, read as much again, until it ends or is too long.
            let more = if self.rest.dropped > 0 {
                self.limits.batch_bytes
            } else {
                (from - *line).min(self.limits.line_bytes + 1 - (from - *line))
            };
            let want = self.limits.batch_bytes.saturating_sub(from).max(more);
            batch.bytes.reserve(want);
            let read = object.take(want as u64).read_to_end(&mut batch.bytes);
            if self.current.packed_bytes.is_none() {
                self.queue.count_read((batch.bytes.len() - from) as u64);
            }
            if let Some(first) = memchr::memchr(b'\n', &batch.bytes[from..]) {
                // Lines of one topic have similar lengths.
                let lines = (batch.bytes.len() - from) / (first + 1);
                batch.records.reserve(lines.min(CHUNK_RECORDS - batch.records.len()));
            }
            for end in memchr::memchr_iter(b'\n', &batch.bytes[from..]) {
                if batch.records.len() == CHUNK_RECORDS {
                    self.rest.lines = Some(0);
                    break;
                }
                let span = span(
                    batch.next,
                    *line..from + end,
                    mem::take(&mut self.rest.dropped),
                    self.limits.line_bytes,
                );
                batch.records.push(span);
                batch.next += 1;
                *line = from + end + 1;
            }
            let held = batch.bytes.len() - *line;
            if self.rest.lines.is_none() && (held > self.limits.line_bytes || self.rest.dropped > 0)
            {
                let beginning = held.min(self.limits.line_bytes).min(CUT_VALUE_BYTES);
                self.rest.dropped += (held - beginning) as u64;
                batch.bytes.truncate(*line + beginning);
                batch.bytes.shrink_to(*line + beginning + self.limits.batch_bytes);
            }
            let name = || format!("can't continue to read {}", self.objects.name());
            let ended = read
                .map_err(|e| e.downcast().unwrap_or_else(|e| Error::connect(name()).because(e)))?
                < want;
            if ended {
                let end = batch.bytes.len();
                if self.rest.lines.is_some() {
                    // The next bytes belong to another object: they must not join its last line.
                    batch.bytes.extend((batch.bytes[end - 1] != b'\n').then_some(b'\n'));
                } else if *line < end {
                    batch.records.push(span(
                        batch.next,
                        *line..end,
                        mem::take(&mut self.rest.dropped),
                        self.limits.line_bytes,
                    ));
                    batch.next += 1;
                    *line = end;
                }
                self.current.bytes = None;
                self.queue.count_read(self.current.packed_bytes.take().unwrap_or(0));
            }
        }
        Ok(Poll::Idle)
    }

    /// Returns the next of the lines that were read and were too many for one batch.
    pub(super) fn next_lines(&mut self) -> Option<Batch> {
        let from = self.rest.lines?;
        let mut batch = Batch {
            partition: self.objects.partition,
            first: self.next,
            next: self.next,
            ..Batch::default()
        };
        let (lines, mut line) = (&self.rest.bytes[from..], 0);
        for end in memchr::memchr_iter(b'\n', lines).take(CHUNK_RECORDS) {
            batch.records.push(span(batch.next, line..end, 0, self.limits.line_bytes));
            batch.next += 1;
            line = end + 1;
        }
        batch.bytes = lines[..line].to_vec();
        self.next = batch.next;
        self.rest.lines = Some(from + line);
        if batch.records.len() < CHUNK_RECORDS {
            self.rest.bytes.drain(..from + line);
            self.rest.lines = None;
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
