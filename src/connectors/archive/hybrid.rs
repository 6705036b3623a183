//! A log in two places: an archive of a topic, and the topic itself, which continues the archive.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use serde_json::Value;

use crate::connect::{Identity, Partition, Poll, Source};
use crate::error::{Advice, Error, Result};
use crate::record::{Batch, Record};
use crate::sync::lock;
use crate::time::Timestamp;

use super::lines::archived_lines;

/// A log that is read from its archive first, and then from the topic at the next offset of each
/// partition. Both have the same offsets, so the order of a record does not depend on the place.
///
/// The archive may end anywhere between the topic's beginning and its end. These are refused:
///
/// - a gap between the two;
/// - an archive that ends after the topic;
/// - an archive whose last record differs from the topic's record at that offset. Equal JSON in
///   other bytes is no difference, because Confluent's sink may reorder the fields of an object.
///
/// A record of the topic is read as the archive would hold it: without key, headers and timestamp,
/// a null value as `null`, a line feed as a space. Of a record over 64 MiB only the first 2 MiB are
/// kept. Two such records are equal if those bytes and their full sizes are.
///
/// Each commit records the offset at which the topic took over. After a restart, records are read
/// from the same place as before. If that place no longer has them, they are read from the other
/// one, whose bytes must be the same.
///
/// ```
/// use watershed::connect::memory::MemoryLog;
/// use watershed::connect::{Poll, Source};
/// use watershed::connectors::archive::{Archive, HybridSource, Rotation};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let url = folder.path().to_str().unwrap();
/// let topic = MemoryLog::default();
/// topic.append(0, None, Some(b"1"));
/// topic.append(0, None, Some(b"2"));
/// let archive = Archive::open(url)?.topic("pin");
/// let mut copier = archive.copy(0, Rotation { flush_size: 1, rotate_interval: None })?;
/// let Poll::Batch(batch) = topic.open(0, None, false)?.poll()? else { panic!("two records") };
/// copier.push(&batch)?;
/// topic.append(0, None, Some(b"3")); // not archived yet
///
/// let source = HybridSource::new(archive, topic.with_fixed_partitions());
/// assert!(source.has_fixed_partitions());
/// let (mut partition, mut values) = (source.open(0, None, false)?, Vec::new());
/// while let Poll::Batch(batch) = partition.poll()? {
///     values.extend(batch.iter(0).filter_map(|record| Some(record.value?.to_vec())));
/// }
/// assert_eq!(values, [b"1", b"2", b"3"]);
/// # Ok::<(), watershed::Error>(())
/// ```
pub struct HybridSource(Arc<Places>);

struct Places {
    archive: Box<dyn Source>,
    live: Box<dyn Source>,
    /// The offset of the first record that was read from the topic, by partition.
    takeover: Mutex<BTreeMap<u32, u64>>,
}

impl HybridSource {
    /// Reads `archive` and then `live`. Both must have a [`Source::span`].
    pub fn new(archive: impl Source + 'static, live: impl Source + 'static) -> Self {
        let (archive, live) = (Box::new(archive), Box::new(live));
        HybridSource(Arc::new(Places { archive, live, takeover: Mutex::default() }))
    }
}

impl Source for HybridSource {
    fn describe(&self) -> String {
        format!("{}, continued by {}", self.0.archive.describe(), self.0.live.describe())
    }

    fn has_timestamps(&self) -> bool {
        false
    }

    /// Returns the identities of both, so that a run that read only one of them can continue with
    /// both.
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
            let has = format!("it has the offsets from {} up to {}", all.start, all.end);
            return Err(Error::data(format!(
                "can't read {} from offset {next}: {has}",
                self.0.name(partition)
            ))
            .hint("Restore the missing records, or begin anew.")
            .advise(Advice::BeginAnew));
        }
        let place = self.0.place(partition, next, &spans, follow, None)?;
        let end = (!follow).then_some(all.end);
        Ok(Box::new(Reader {
            log: self.0.clone(),
            partition,
            follow,
            next,
            end,
            place,
            last: None,
        }))
    }

    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        Ok(Some(self.0.spans(partition)?.all()))
    }

    /// The partitions of the archive are some of the topic's, so the promise of the topic decides.
    fn has_fixed_partitions(&self) -> bool {
        self.0.live.has_fixed_partitions()
    }

    fn committed(&self, ends: &BTreeMap<u32, u64>) {
        self.0.archive.committed(ends);
        self.0.live.committed(ends);
    }

    fn released(&self, ends: &BTreeMap<u32, u64>, now: Timestamp) {
        self.0.archive.released(ends, now);
        self.0.live.released(ends, now);
    }

    fn state(&self, _ends: &BTreeMap<u32, u64>) -> Value {
        let takeover = self.0.takeover();
        if takeover.is_empty() {
            Value::Null
        } else {
            serde_json::to_value(&*takeover).unwrap_or_default()
        }
    }

    fn restore(&self, state: &Value) -> Result<()> {
        *self.0.takeover() = match state {
            Value::Null => BTreeMap::new(),
            state => serde::Deserialize::deserialize(state).map_err(|e| {
                let message = format!("can't read the recorded positions of {}", self.describe());
                Error::data(message)
                    .because(e)
                    .hint("Restore the state, or begin anew.")
                    .advise(Advice::BeginAnew)
            })?,
        };
        Ok(())
    }
}

/// The offsets of a partition in both places.
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

/// The place from which a partition is read.
enum Place {
    /// The archive, up to this offset at most.
    Archive(Box<dyn Partition>, u64),
    /// The topic. Until the first batch it comes with the archive's version of that batch's first
    /// record.
    Live(Box<dyn Partition>, Option<Held>),
}

impl Places {
    fn takeover(&self) -> MutexGuard<'_, BTreeMap<u32, u64>> {
        lock(&self.takeover)
    }

    fn name(&self, partition: u32) -> String {
        format!(
            "partition {partition} of {}, continued by {}",
            self.archive.describe(),
            self.live.describe()
        )
    }

    /// Returns the current offsets of a partition. The archive is listed first, because it only
    /// follows the topic.
    fn spans(&self, partition: u32) -> Result<Spans> {
        let spans =
            Spans { archived: self.archive.span(partition)?, live: self.live.span(partition)? };
        let (Some(archived), Some(live)) = (&spans.archived, &spans.live) else { return Ok(spans) };
        if live.end < archived.end {
            return Err(self.not_one_log(
                partition,
                &format!("one ends at {}, the other at {}", archived.end, live.end),
            ));
        }
        if live.start > archived.end {
            let (end, start) = (archived.end, live.start);
            let name = self.name(partition);
            return Err(Error::data(format!("{name} lacks the offsets from {end} up to {start}"))
                .hint(
                    "The topic's retention deleted them before they were archived. If no other archive has \
                     them, read the two as two logs.",
                )
                .advise(Advice::TwoLogs));
        }
        Ok(spans)
    }

    fn not_one_log(&self, partition: u32, why: &str) -> Error {
        Error::data(format!("{} is not one log: {why}", self.name(partition))).hint(
            "Give the archive that was written from this very topic, or read the two as two logs.",
        )
    }

    /// Opens the place that has the record at `next`. `last` is the record before it, if the
    /// archive has just returned that.
    fn place(
        &self,
        partition: u32,
        next: u64,
        spans: &Spans,
        follow: bool,
        last: Option<Held>,
    ) -> Result<Place> {
        let takeover = self.takeover().get(&partition).copied().unwrap_or(u64::MAX);
        let lives = |at: u64| spans.live.as_ref().is_some_and(|live| live.start <= at);
        let archived =
            |at: u64| spans.archived.as_ref().is_some_and(|archived| archived.contains(&at));
        if archived(next) && !(takeover <= next && lives(next)) {
            let until = if lives(takeover) { takeover } else { u64::MAX };
            return Ok(Place::Archive(self.archive.open(partition, Some(next), false)?, until));
        }
        let seam = last.is_some();
        let last = match next.checked_sub(1).filter(|before| lives(*before)) {
            // A run that has read only the archive so far has not compared the two places yet.
            Some(before) if !seam && next <= takeover && archived(before) => {
                self.archived(partition, before)?
            }
            before => last.filter(|_| before.is_some()),
        };
        let live = self.live.open(partition, Some(next - u64::from(last.is_some())), follow)?;
        let mut takeover = self.takeover();
        let at = takeover.entry(partition).or_insert(next);
        *at = if seam { next } else { next.min(*at) };
        Ok(Place::Live(live, last))
    }

    /// Returns the record of the archive at an offset.
    fn archived(&self, partition: u32, offset: u64) -> Result<Option<Held>> {
        let poll = self.archive.open(partition, Some(offset), false)?.poll()?;
        let Poll::Batch(batch) = poll else { return Ok(None) };
        Ok(batch.iter(0).next().and_then(|record| held(&record)))
    }
}

/// A reader of a partition, from one place after the other.
struct Reader {
    log: Arc<Places>,
    partition: u32,
    follow: bool,
    next: u64,
    /// The end of a bounded read: the end of the partition when it was opened.
    end: Option<u64>,
    place: Place,
    /// The last record from the archive.
    last: Option<Held>,
}

impl Reader {
    /// Continues in the place that has the next record now: the archive may have grown, and the
    /// topic may have lost records to its retention.
    fn change(&mut self) -> Result<()> {
        let spans = self.log.spans(self.partition)?;
        self.place =
            self.log.place(self.partition, self.next, &spans, self.follow, self.last.take())?;
        Ok(())
    }

    /// Returns the records of a batch that belong to this read.
    fn take(&mut self, mut batch: Batch) -> Result<Option<Batch>> {
        match &mut self.place {
            Place::Archive(_, until) => {
                batch.split_off(*until);
                self.last = batch.iter(0).last().and_then(|record| held(&record));
            }
            Place::Live(_, expected) => {
                batch = archived_lines(&batch);
                if let Some(expected) = expected.take() {
                    let first =
                        batch.iter(0).next().filter(|first| first.order.offset + 1 == self.next);
                    if !first.is_some_and(|first| same(&first, &expected)) {
                        let why = format!("they have other records at offset {}", self.next - 1);
                        return Err(self.log.not_one_log(self.partition, &why));
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
            let (poll, archived) = match &mut self.place {
                Place::Archive(_, until) if self.next >= *until => (Poll::End, true),
                Place::Archive(place, _) => (place.poll()?, true),
                Place::Live(place, _) => (place.poll()?, false),
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

    fn register(&mut self, waker: &Waker) -> Option<Duration> {
        let (Place::Archive(place, _) | Place::Live(place, _)) = &mut self.place;
        place.register(waker)
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        let (Place::Archive(place, _) | Place::Live(place, _)) = &mut self.place;
        place.wait(timeout)
    }

    fn remaining(&self) -> u64 {
        let (Place::Archive(place, _) | Place::Live(place, _)) = &self.place;
        if self.end.is_some_and(|end| self.next >= end) { 0 } else { place.remaining() }
    }
}

/// A value that is compared with the same record in the other place.
struct Held {
    /// Its bytes, or the beginning of them.
    bytes: Vec<u8>,
    /// Its full size in bytes, if only the beginning is held.
    cut: Option<u64>,
}

fn held(record: &Record<'_>) -> Option<Held> {
    record.value.map(|value| Held { bytes: value.to_vec(), cut: record.cut })
}

/// Returns true if a record has the same bytes or the same JSON.
fn same(record: &Record<'_>, Held { bytes: other, cut }: &Held) -> bool {
    let json = |bytes| serde_json::from_slice::<Value>(bytes);
    let alike = |one| {
        cut.is_none() && json(one).is_ok_and(|one| json(other).is_ok_and(|other| one == other))
    };
    record.cut == *cut && record.value.is_some_and(|value| value == other || alike(value))
}
