//! The copy of a log: every record keeps its offset, and objects end where Confluent's S3 sink
//! would end them.

use std::sync::Arc;
use std::time::Duration;

use crate::connect::{Partition, Poll};
use crate::error::{Error, Result};
use crate::record::{Batch, Record, VALUE_MAX_BYTES};
use crate::time::Timestamp;

use super::lines::line;
use super::objects::Objects;
use super::source::{Limits, Reader};
use super::{ArchiveTopic, WriterLock, layout};

/// The end of an object of a [`Copier`]. It depends on the records alone, so that every copy of a
/// log has the same objects.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// The number of records of an object, at least 1: `flush.size`.
    pub flush_size: u64,
    /// An object ends before the first record whose timestamp is this much later than that of its
    /// first record: `rotate.interval.ms`.
    pub rotate_interval: Option<Duration>,
}

/// A copy of one partition of a log. It creates an object once that is complete, on condition that
/// there is none.
///
/// So the archive itself shows how far the copy is. A copy that is repeated, or made by two
/// processes at once, has the same objects. An object also ends at 64 MiB. Keys are not kept, a
/// null value is the line `null`, and a line feed in a value becomes a space, which in JSON means
/// the same.
///
/// A gap in the offsets is refused; transactions and compaction leave such gaps. Confluent's sink
/// continues the same object, so that its later lines have wrong offsets. If the object ended at
/// the gap instead, no reader could tell the gap from a missing object, which it may not skip.
///
/// ```
/// use watershed::connect::memory::MemoryLog;
/// use watershed::connect::{Poll, Source};
/// use watershed::connectors::archive::{Archive, Rotation};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let url = folder.path().to_str().unwrap();
/// let log = MemoryLog::default();
/// for value in [b"1", b"2", b"3"] {
///     log.append(0, None, Some(value));
/// }
/// let topic = Archive::open(url)?.topic("pin");
/// let mut copier = topic.copy(0, Rotation { flush_size: 2, rotate_interval: None })?;
/// let mut partition = log.open(0, copier.next(), false)?;
/// while let Poll::Batch(batch) = partition.poll()? {
///     copier.push(&batch)?;
/// }
/// assert_eq!((copier.next(), copier.waiting()), (Some(3), 1));
/// assert_eq!(topic.span(0)?, Some(0..2)); // the third record is in no object yet
/// # Ok::<(), watershed::Error>(())
/// ```
pub struct Copier {
    objects: Objects,
    rotation: Rotation,
    /// Offset after the last record that was pushed or is in the archive; `None` before the first.
    next: Option<u64>,
    open: OpenObject,
    _lock: Arc<WriterLock>,
}

/// Records that don't yet make a complete object.
#[derive(Default)]
struct OpenObject {
    first: u64,
    records: u64,
    timestamp: Option<Timestamp>,
    lines: Vec<u8>,
}

impl ArchiveTopic {
    /// Continues the copy of `partition`, or begins it.
    ///
    /// # Errors
    /// When the topic can't be read. When an application writes to it as a
    /// [`Sink`](crate::connect::Sink), or another process holds the archive's lock exclusively.
    pub fn copy(&self, partition: u32, rotation: Rotation) -> Result<Copier> {
        if rotation.flush_size == 0 {
            return Err(Error::usage("can't archive objects of 0 records")
                .hint("Give a flush size of 1 or more."));
        }
        if self.archive.store.get(&layout::writer_path(&self.path()?))?.is_some() {
            return Err(Error::data(format!(
                "can't copy to {}: it belongs to an application",
                self.name()
            ))
            .hint("Copy to another topic or another archive."));
        }
        // Lock first, so that no other process moves the end that is read below.
        let lock = self.archive.lock("a copy of a log")?;
        let objects = self.objects(partition)?;
        // The process that wrote the last object may have died before it was durable.
        if objects.below.folder().is_some()
            && let Some(last) = objects.list()?.pop()
        {
            objects.below.confirm(&objects.at(&last))?;
        }
        let next = self.end(partition)?;
        Ok(Copier { objects, rotation, next, open: OpenObject::default(), _lock: lock })
    }

    /// Returns the offset after the last record of `partition`, `None` if it has no object.
    pub(super) fn end(&self, partition: u32) -> Result<Option<u64>> {
        let objects = self.objects(partition)?;
        let Some(last) = objects.list()?.pop() else { return Ok(None) };
        let from = last.first;
        let mut reader = Reader::over(objects, vec![last], Some(from), false, Limits::default())?;
        while let Poll::Batch(_) = reader.poll()? {}
        Ok(Some(reader.next()))
    }
}

impl Copier {
    /// Returns the offset from which to read on: the one after the last record that was pushed or
    /// is in the archive. `None` if there is no record, so that the log is read from its earliest
    /// one.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// Returns the number of pushed records that don't yet make a complete object.
    pub fn waiting(&self) -> u64 {
        self.open.records
    }

    /// Adds the records of `batch` that are not in the archive yet, and creates the objects that
    /// they complete.
    ///
    /// ```
    /// use watershed::connect::Source;
    /// use watershed::connectors::archive::{Archive, Rotation};
    /// use watershed::record::{Batch, Span};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let url = folder.path().to_str().unwrap();
    /// let topic = Archive::open(url)?.topic("pin");
    /// let mut copier = topic.copy(0, Rotation { flush_size: 1, rotate_interval: None })?;
    /// let (bytes, records) = (b"{}".to_vec(), vec![Span::of_value(5, 0..2)]);
    /// let batch = Batch { partition: 0, first: 5, next: 6, bytes, records };
    /// copier.push(&batch)?;
    /// copier.push(&batch)?; // its record is in the archive already
    /// assert_eq!(topic.span(0)?, Some(5..6));
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// When an object can't be created, or another one has its name. At a gap, and at a record of
    /// which only the beginning was read.
    pub fn push(&mut self, batch: &Batch) -> Result<()> {
        for record in batch.iter(0) {
            let offset = record.order.offset;
            if self.next.is_some_and(|next| offset < next) {
                continue;
            }
            if let Some(next) = self.next.filter(|next| *next < offset) {
                return Err(Error::data(format!(
                    "can't continue {}: the log has no records at the offsets from {next} up to {offset}",
                    self.objects.name()
                ))
                .hint(
                    "Read the log itself: an archive can't represent offsets without records, which transactions and compaction leave.",
                ));
            }
            if self.ends_before(&record) {
                self.close()?;
            }
            self.add(&record)?;
            if self.open.records == self.rotation.flush_size
                || self.open.lines.len() >= VALUE_MAX_BYTES
            {
                self.close()?;
            }
        }
        Ok(())
    }

    fn ends_before(&self, record: &Record<'_>) -> bool {
        let late = |interval: Duration| {
            let age = record.timestamp?.0.checked_sub(self.open.timestamp?.0)?;
            Some(u128::try_from(age).ok()? >= interval.as_micros())
        };
        self.rotation.rotate_interval.and_then(late).unwrap_or(false)
    }

    fn add(&mut self, record: &Record<'_>) -> Result<()> {
        let offset = record.order.offset;
        if let Some(length) = record.cut {
            let problem = format!("only the beginning of its {length} bytes was read");
            return Err(Error::data(format!(
                "can't write offset {offset} of {}: {problem}",
                self.objects.name()
            ))
            .hint("Copy the objects of an archive as files."));
        }
        if self.open.records == 0 {
            (self.open.first, self.open.timestamp) = (offset, record.timestamp);
        }
        self.open.lines.extend(line(record.value));
        self.open.lines.push(b'\n');
        self.open.records += 1;
        self.next = Some(offset + 1);
        Ok(())
    }

    /// Makes the open object visible, if it has records.
    fn close(&mut self) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        let path = self.objects.path(open.first);
        if open.records > 0 && !self.objects.store.ensure(&path, &open.lines)? {
            let message =
                format!("can't create {}: it holds other records", self.objects.store.name(&path));
            return Err(Error::data(message).hint(
                "Use the options with which the copy was begun, or copy to another archive.",
            ));
        }
        Ok(())
    }
}
