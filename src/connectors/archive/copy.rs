//! Copying a log, every record at its own offset, in objects that end where Confluent's S3 sink
//! would end them.

use std::sync::Arc;
use std::time::Duration;

use crate::connect::{Partition, Poll};
use crate::error::{Error, Result};
use crate::record::{Batch, Record, VALUE_MAX_BYTES};
use crate::time::Timestamp;

use super::lines::line;
use super::objects::Objects;
use super::source::{CHUNK, Reader};
use super::{ArchiveTopic, WriterLock, layout};

/// When an object of a [`Copier`] is complete: by the records alone, so that every copy of a log
/// has the same objects.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// After how many records: `flush.size`, at least 1.
    pub flush_size: u64,
    /// Before the first record that is this much later, by its timestamp, than the object's first:
    /// `rotate.interval.ms`.
    pub rotate_interval: Option<Duration>,
}

/// A copy of one partition of a log: an object is created when it is complete, on condition that
/// there is none.
///
/// So the archive itself says how far the copy is, and a copy that is repeated, or made by two at
/// once, makes the same objects. 64 MiB end an object too. Keys are not kept, a null value is the
/// line `null`, and a line feed in a value becomes a space, which in JSON means the same.
///
/// A gap in the offsets, such as transactions and compaction leave, is refused. Confluent's sink
/// goes on in the same object, whose later lines then have other offsets than their number says;
/// and an object that ended at the gap could not be told from one before another that is missing,
/// which no reader may skip.
pub struct Copier {
    objects: Objects,
    rotation: Rotation,
    /// Offset after the last record that came; `None` before the first.
    next: Option<u64>,
    open: Open,
    _lock: Arc<WriterLock>,
}

/// Records that make no whole object yet.
#[derive(Default)]
struct Open {
    first: u64,
    records: u64,
    timestamp: Option<Timestamp>,
    lines: Vec<u8>,
}

impl ArchiveTopic {
    /// Goes on with the copy of `partition`, or begins it.
    ///
    /// # Errors
    /// When the topic can't be read, an application writes to it as a
    /// [`Sink`](crate::connect::Sink), or somebody else writes the archive alone.
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
        // Before it is looked where the copy is: nobody else moves that end then.
        let lock = self.archive.lock("a copy of a log")?;
        let objects = self.objects(partition)?;
        // It was read, and whoever wrote it may have died before it was durable.
        if objects.below.folder().is_some()
            && let Some(last) = objects.list()?.pop()
        {
            objects.below.confirm(&objects.at(&last))?;
        }
        let next = self.end(partition)?;
        Ok(Copier { objects, rotation, next, open: Open::default(), _lock: lock })
    }

    /// The offset after the last record of `partition`, `None` if it has no object.
    pub(super) fn end(&self, partition: u32) -> Result<Option<u64>> {
        let objects = self.objects(partition)?;
        let Some(last) = objects.list()?.pop() else { return Ok(None) };
        let from = last.first;
        let mut reader =
            Reader::over(objects, vec![last], Some(from), false, CHUNK, VALUE_MAX_BYTES)?;
        while let Poll::Batch(_) = reader.poll()? {}
        Ok(Some(reader.next()))
    }
}

impl Copier {
    /// The offset from which to read on: that after the last record that came, or is in the
    /// archive. `None` if there is none, so that the log is read from its earliest record.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// How many of the records that came make no whole object yet.
    pub fn waiting(&self) -> u64 {
        self.open.records
    }

    /// Adds the records of `batch` that come after those which are there, and creates the objects
    /// that are complete with them.
    ///
    /// # Errors
    /// When an object can't be created, or there is another one in its place; at a gap; and at a
    /// record that is not whole.
    pub fn push(&mut self, batch: &Batch) -> Result<()> {
        for record in batch.iter(0) {
            let offset = record.order.offset;
            if self.next.is_some_and(|next| offset < next) {
                continue;
            }
            if let Some(next) = self.next.filter(|next| *next < offset) {
                return Err(Error::data(format!(
                    "can't go on with {}: the log has no records at the offsets from {next} up to {offset}",
                    self.objects.name()
                ))
                .hint(
                    "Read the log itself: an archive can't say that there are none, and transactions and compaction leave such.",
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
            let what = format!("only the beginning of its {length} bytes was read");
            return Err(Error::data(format!(
                "can't write offset {offset} of {}: {what}",
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
                "Go on with the options that the copy was begun with, or copy to another archive.",
            ));
        }
        Ok(())
    }
}
