//! One log in two places: an archive of it, and the topic that the archive is written from and that
//! goes on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::{Identity, Partition, Poll, Source};
use crate::error::{Error, Result};
use crate::record::{BEGINNING, Batch, LONGEST, Record, Span};

/// A log that is read from its archive as far as that reaches, and then, at the very next offset of
/// each partition, from the topic. Both have the same positions, so a record has the same place in
/// the topic's order wherever it is read.
///
/// The archive may end anywhere between the topic's beginning and its end. A gap between the two is
/// refused, and so is an archive of another log: it reaches beyond the topic, or its last record is
/// not what the topic has there. The same JSON in other bytes is the same record, for Confluent's
/// sink may order the fields of an object anew. A record of the topic is read as the archive would
/// hold it: without its key, headers and timestamp, a null value as `null`, a line feed as a space,
/// and of one of more than 64 MiB only the beginning. Two of which there is no more are the same if
/// that and their lengths are.
///
/// Where the topic took over is remembered in each commit. What was read is read again from where
/// it was read, and where it no longer is from the other place; then the same bytes must be there.
pub struct HandOff(Arc<Parts>);

struct Parts {
    archive: Box<dyn Source>,
    live: Box<dyn Source>,
    /// By partition, the offset from which on it was read from the topic.
    taken: Mutex<BTreeMap<u32, u64>>,
}

impl HandOff {
    /// The log that `live` is, and `archive` an archive of. Both must know their [`Source::span`].
    pub fn new(archive: impl Source + 'static, live: impl Source + 'static) -> Self {
        HandOff(Arc::new(Parts {
            archive: Box::new(archive),
            live: Box::new(live),
            taken: Mutex::default(),
        }))
    }
}

impl Source for HandOff {
    fn describe(&self) -> String {
        format!("{}, continued by {}", self.0.archive.describe(), self.0.live.describe())
    }

    /// Returns those of both, so that a run that read one of the two alone is continued with both.
    fn identities(&self) -> Result<Vec<Identity>> {
        Ok([self.0.archive.identities()?, self.0.live.identities()?].concat())
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        let mut partitions = self.0.archive.partitions()?;
        partitions.extend(self.0.live.partitions()?);
        partitions.sort_unstable();
        partitions.dedup();
        Ok(partitions)
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let spans = self.0.spans(partition)?;
        let all = spans.all();
        let next = from.unwrap_or(all.start);
        if !(all.start..=all.end).contains(&next) {
            let what = format!("it has the offsets from {} up to {}", all.start, all.end);
            return Err(Error::data(format!(
                "can't read {} from offset {next}: {what}",
                self.0.name(partition)
            ))
            .hint("Bring back what is missing, or begin anew with another state."));
        }
        let part = self.0.part(partition, next, &spans, follow, None)?;
        let end = (!follow).then_some(all.end);
        Ok(Box::new(Reader { log: self.0.clone(), partition, follow, next, end, part, last: None }))
    }

    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        Ok(Some(self.0.spans(partition)?.all()))
    }

    fn committed(&self, ends: &BTreeMap<u32, u64>) {
        self.0.archive.committed(ends);
        self.0.live.committed(ends);
    }

    fn remember(&self, _ends: &BTreeMap<u32, u64>) -> Value {
        let taken = self.0.taken();
        if taken.is_empty() {
            Value::Null
        } else {
            serde_json::to_value(&*taken).unwrap_or_default()
        }
    }

    fn recall(&self, memory: &Value) -> Result<()> {
        *self.0.taken() = match memory {
            Value::Null => BTreeMap::new(),
            memory => serde::Deserialize::deserialize(memory).map_err(|e| {
                let message = format!("what was recorded of {} is damaged", self.describe());
                Error::data(message)
                    .because(e)
                    .hint("Restore the state, or begin anew with another one.")
            })?,
        };
        Ok(())
    }
}

/// What there is of a partition.
struct Spans {
    archived: Option<Range<u64>>,
    live: Option<Range<u64>>,
}

impl Spans {
    fn all(&self) -> Range<u64> {
        let spans = || self.archived.iter().chain(&self.live);
        spans().map(|span| span.start).min().unwrap_or(0)
            ..spans().map(|span| span.end).max().unwrap_or(0)
    }
}

/// What is being read.
enum Part {
    /// The archive, up to this offset at most.
    Archive(Box<dyn Partition>, u64),
    /// The topic; before the first batch, what the archive says its first record is.
    Live(Box<dyn Partition>, Option<Held>),
}

impl Parts {
    fn taken(&self) -> MutexGuard<'_, BTreeMap<u32, u64>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, partition: u32) -> String {
        format!(
            "partition {partition} of {}, continued by {}",
            self.archive.describe(),
            self.live.describe()
        )
    }

    /// What there is of a partition now. The archive is asked first, for the topic is never behind
    /// it.
    fn spans(&self, partition: u32) -> Result<Spans> {
        let spans =
            Spans { archived: self.archive.span(partition)?, live: self.live.span(partition)? };
        let (Some(archived), Some(live)) = (&spans.archived, &spans.live) else { return Ok(spans) };
        if live.end < archived.end {
            return Err(self.other(
                partition,
                &format!("one ends at {}, the other at {}", archived.end, live.end),
            ));
        }
        if live.start > archived.end {
            let (end, start) = (archived.end, live.start);
            return Err(Error::data(format!("{} lacks the offsets from {end} up to {start}", self.name(partition))).hint(
                "Its retention took them before they were archived. If no other archive has them, read the two as two logs, \
                     with --apart, another --state and another --lake.",
            ));
        }
        Ok(spans)
    }

    fn other(&self, partition: u32, what: &str) -> Error {
        Error::data(format!("{} is not one log: {what}", self.name(partition))).hint(
            "Give the archive that was written from this very topic, or read the two as two logs.",
        )
    }

    /// Opens what has the record at `next`. `last` is the record before it, if that was just read
    /// from the archive.
    fn part(
        &self,
        partition: u32,
        next: u64,
        spans: &Spans,
        follow: bool,
        last: Option<Held>,
    ) -> Result<Part> {
        let taken = self.taken().get(&partition).copied().unwrap_or(u64::MAX);
        let lives = |at: u64| spans.live.as_ref().is_some_and(|live| live.start <= at);
        let archived =
            |at: u64| spans.archived.as_ref().is_some_and(|archived| archived.contains(&at));
        if archived(next) && !(taken <= next && lives(next)) {
            let until = if lives(taken) { taken } else { u64::MAX };
            return Ok(Part::Archive(self.archive.open(partition, Some(next), false)?, until));
        }
        let seam = last.is_some();
        let last = match next.checked_sub(1).filter(|before| lives(*before)) {
            // Whoever continues what was read of the archive alone has not compared the two yet.
            Some(before) if !seam && next <= taken && archived(before) => {
                self.archived(partition, before)?
            }
            before => last.filter(|_| before.is_some()),
        };
        let live = self.live.open(partition, Some(next - u64::from(last.is_some())), follow)?;
        let mut taken = self.taken();
        let at = taken.entry(partition).or_insert(next);
        *at = if seam { next } else { next.min(*at) };
        Ok(Part::Live(live, last))
    }

    /// The record that the archive has at an offset.
    fn archived(&self, partition: u32, offset: u64) -> Result<Option<Held>> {
        let poll = self.archive.open(partition, Some(offset), false)?.poll()?;
        let Poll::Batch(batch) = poll else { return Ok(None) };
        Ok(batch.iter(0).next().and_then(|record| held(&record)))
    }
}

/// Reads a partition, from one part after the other.
struct Reader {
    log: Arc<Parts>,
    partition: u32,
    follow: bool,
    next: u64,
    /// Where it ends: after what was there when it was opened.
    end: Option<u64>,
    part: Part,
    /// The last record that came from the archive.
    last: Option<Held>,
}

impl Reader {
    /// Goes on in what has the next record now: the archive may have grown, the topic been
    /// shortened.
    fn change(&mut self) -> Result<()> {
        let spans = self.log.spans(self.partition)?;
        self.part =
            self.log.part(self.partition, self.next, &spans, self.follow, self.last.take())?;
        Ok(())
    }

    /// What of a batch is handed over.
    fn take(&mut self, mut batch: Batch) -> Result<Option<Batch>> {
        match &mut self.part {
            Part::Archive(_, until) => {
                batch.split_off(*until);
                self.last = batch.iter(0).last().and_then(|record| held(&record));
            }
            Part::Live(_, expected) => {
                batch = lines(&batch);
                if let Some(expected) = expected.take() {
                    let first =
                        batch.iter(0).next().filter(|first| first.order.offset + 1 == self.next);
                    if !first.is_some_and(|first| same(&first, &expected)) {
                        let what = format!("they have other records at offset {}", self.next - 1);
                        return Err(self.log.other(self.partition, &what));
                    }
                    batch = batch.split_off(self.next);
                }
            }
        }
        if let Some(end) = self.end {
            batch.split_off(end);
        }
        self.next = self.next.max(batch.next);
        Ok((!batch.records.is_empty()).then_some(batch))
    }
}

impl Partition for Reader {
    fn poll(&mut self) -> Result<Poll> {
        loop {
            if self.end.is_some_and(|end| self.next >= end) {
                return Ok(Poll::End);
            }
            let (poll, archived) = match &mut self.part {
                Part::Archive(_, until) if self.next >= *until => (Poll::End, true),
                Part::Archive(part, _) => (part.poll()?, true),
                Part::Live(part, _) => (part.poll()?, false),
            };
            match poll {
                Poll::Batch(batch) => {
                    if let Some(batch) = self.take(batch)? {
                        return Ok(Poll::Batch(batch));
                    }
                }
                Poll::End if archived => self.change()?,
                Poll::End => self.end = Some(self.next),
                Poll::Idle => return Ok(Poll::Idle),
            }
        }
    }

    fn wait(&mut self, patience: Duration) -> bool {
        let (Part::Archive(part, _) | Part::Live(part, _)) = &mut self.part;
        part.wait(patience)
    }

    fn remaining(&self) -> u64 {
        let (Part::Archive(part, _) | Part::Live(part, _)) = &self.part;
        if self.end.is_some_and(|end| self.next >= end) { 0 } else { part.remaining() }
    }
}

/// The line that stands for a value in an archive: JSON has no line feeds, so that a blank means
/// the same.
pub(crate) fn line(value: Option<&[u8]>) -> impl Iterator<Item = u8> {
    value.unwrap_or(b"null").iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte })
}

/// The records of a batch as an archive holds them.
fn lines(batch: &Batch) -> Batch {
    let mut lines = Batch {
        partition: batch.partition,
        first: batch.first,
        next: batch.next,
        ..Batch::default()
    };
    for record in batch.iter(0) {
        let (start, length) = (lines.bytes.len() as u32, record.value.map_or(0, <[u8]>::len));
        let cut = record.cut.or((length > LONGEST).then_some(length as u64));
        lines.bytes.extend(line(record.value).take(if cut.is_some() {
            BEGINNING
        } else {
            LONGEST
        }));
        lines.records.push(Span {
            cut,
            ..Span::of_value(record.order.offset, start..lines.bytes.len() as u32)
        });
    }
    lines
}

/// A value, or the beginning of one that has so many bytes.
type Held = (Vec<u8>, Option<u64>);

fn held(record: &Record<'_>) -> Option<Held> {
    record.value.map(|value| (value.to_vec(), record.cut))
}

/// Whether a record has the same bytes, or the same JSON.
fn same(record: &Record<'_>, (other, cut): &Held) -> bool {
    let json = |bytes| serde_json::from_slice::<Value>(bytes);
    let alike = |one| {
        cut.is_none() && json(one).is_ok_and(|one| json(other).is_ok_and(|other| one == other))
    };
    record.cut == *cut && record.value.is_some_and(|value| value == other || alike(value))
}
