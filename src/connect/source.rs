//! The contract of a connector that is read: numbered records in numbered partitions.

use std::collections::BTreeMap;
use std::ops::Range;
use std::task::Waker;
use std::time::Duration;

use super::{FixedPartitions, Identity};
use crate::error::Result;
use crate::record::Batch;
use crate::time::Timestamp;

/// The records of a topic in an outside system: numbered records in numbered partitions, the same
/// at every reading.
///
/// A run calls [`identities`](Source::identities) and [`restore`](Source::restore) first. Then it
/// opens every partition, at the offset after the last recorded one.
///
/// A source of ten squares in one partition:
///
/// ```
/// use watershed::connect::memory::MemoryTable;
/// use watershed::connect::{Partition, Poll, Source};
/// use watershed::prelude::*;
/// use watershed::record::Batch;
///
/// struct Squares;
///
/// impl Source for Squares {
///     fn describe(&self) -> String {
///         "squares".into()
///     }
///     fn partitions(&self) -> Result<Vec<u32>> {
///         Ok(vec![0])
///     }
///     fn open(&self, _: u32, from: Option<u64>, _follow: bool) -> Result<Box<dyn Partition>> {
///         match from.unwrap_or(0) {
///             next @ 0..=10 => Ok(Box::new(Reader { next })),
///             next => Err(Error::data(format!("can't read squares from {next}: there are 10"))),
///         }
///     }
/// }
///
/// struct Reader {
///     next: u64,
/// }
///
/// impl Partition for Reader {
///     fn poll(&mut self) -> Result<Poll> {
///         if self.next == 10 {
///             return Ok(Poll::End);
///         }
///         let first = std::mem::replace(&mut self.next, 10);
///         let mut batch = Batch { first, next: 10, ..Batch::default() };
///         for n in first..10 {
///             let [key, value] = [n, n * n].map(|number| number.to_string());
///             batch.push(n, None, Some(key.as_bytes()), Some(value.as_bytes()));
///         }
///         Ok(Poll::Batch(batch))
///     }
/// }
///
/// let topology = Topology::new("copy", |builder: &StreamsBuilder| {
///     let squares = builder.stream("square", Consumed::with(Utf8, Utf8));
///     squares.to("copy", Produced::columns(["n", "square"]));
/// });
/// let copy = MemoryTable::default();
/// Streams::new(topology)
///     .source("square", Squares)
///     .sink("copy", copy.clone())
///     .run(Config::default())?;
/// assert_eq!(copy.rows()[9], [Value::Text("9".into()), Value::Text("81".into())]);
/// # Ok::<(), Error>(())
/// ```
pub trait Source: Send + Sync {
    /// Names the log and its location for people; it holds no secret. Nothing is decided by it.
    fn describe(&self) -> String;

    /// Returns the identities of the log, one for each place that holds a part of it.
    ///
    /// A run continues only logs whose identities it recorded; more may follow. By default the
    /// description is the identity.
    ///
    /// # Errors
    /// When the system that holds the log can't be reached.
    fn identities(&self) -> Result<Vec<Identity>> {
        Ok(vec![Identity::new(self.describe())])
    }

    /// Returns the numbers of the current partitions, ascending.
    ///
    /// # Errors
    /// When the log can't be listed.
    fn partitions(&self) -> Result<Vec<u32>>;

    /// Opens `partition` at offset `from`, or at its earliest record. Without `follow`, the reader
    /// ends at the current end of the partition.
    ///
    /// # Errors
    /// When the partition can't be read. A [data error](crate::ErrorKind::Data) that names both
    /// offsets when `from` lies before its earliest record or after its end: a run continues at
    /// `from` without a look at the records before it, so nothing else detects a gap.
    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>>;

    /// Returns the current offsets of `partition`, from its earliest record up to its end. `None`
    /// if it has no records yet, or if the log can't report them.
    ///
    /// # Errors
    /// When the log can't be reached.
    fn span(&self, _partition: u32) -> Result<Option<Range<u64>>> {
        Ok(None)
    }

    /// Returns true if the log never gets another partition than those it has when a run begins.
    ///
    /// Then a table can forget deleted keys while the log is followed: [`KTable`](crate::KTable).
    /// A run ends with an error if a partition is added all the same. See
    /// [`with_fixed_partitions`](Source::with_fixed_partitions).
    fn has_fixed_partitions(&self) -> bool {
        false
    }

    /// Returns this log with the promise that no partition is added to it while a run follows it.
    ///
    /// Give it for a Kafka topic whose number of partitions stays, for a stream of Kinesis that is
    /// not resharded, and for an archive of which each partition has a record already. Then a run
    /// forgets deleted keys, instead of keeping 20 bytes and the key of each for ever. A partition
    /// that is added nevertheless ends the run with an error, before any of its records is read;
    /// the next run reads it from the beginning, with the others.
    ///
    /// ```
    /// use watershed::connect::Source;
    /// use watershed::connectors::archive::Archive;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let url = folder.path().to_str().unwrap();
    /// let pins = Archive::open(url)?.topic("pin").with_fixed_partitions();
    /// assert!(pins.has_fixed_partitions());
    /// # Ok::<(), watershed::Error>(())
    /// ```
    fn with_fixed_partitions(self) -> FixedPartitions<Self>
    where
        Self: Sized,
    {
        FixedPartitions(self)
    }

    /// Returns false if no record of the log has a timestamp. Then a topology that uses the time of
    /// the topic must take timestamps from keys and values, by
    /// [`Consumed::timestamp`](crate::options::Consumed::timestamp).
    fn has_timestamps(&self) -> bool {
        true
    }

    /// Receives the committed end of each partition after a commit, so that the log can report it
    /// to people, as Kafka reports the lag of a group. No run continues from it. It must not block.
    fn committed(&self, _ends: &BTreeMap<u32, u64>) {}

    /// Returns true if [`open`](Source::open) verifies that the record before `from` is the one
    /// that was read. Otherwise a run reads that record again and compares it, because the log may
    /// have been recreated.
    fn verifies_positions(&self) -> bool {
        false
    }

    /// Receives, after a snapshot, the end of each partition up to which no run of this state reads
    /// a record again, and the current time. The log may delete these records before it returns. A
    /// thread of its own makes the call. A failure is logged by the source and does no harm.
    fn released(&self, _ends: &BTreeMap<u32, u64>, _now: Timestamp) {}

    /// Returns the state that this source needs to find the offsets `ends` (by partition) again.
    /// The commit records it. Null, the default, is for a log that numbers its records itself.
    fn state(&self, _ends: &BTreeMap<u32, u64>) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Restores the state that [`state`](Source::state) returned for the commit from which
    /// the run continues. It is called before any partition is opened.
    ///
    /// # Errors
    /// When it is not a state of this source.
    fn restore(&self, _state: &serde_json::Value) -> Result<()> {
        Ok(())
    }
}

impl Source for Box<dyn Source> {
    fn describe(&self) -> String {
        (**self).describe()
    }
    fn identities(&self) -> Result<Vec<Identity>> {
        (**self).identities()
    }
    fn partitions(&self) -> Result<Vec<u32>> {
        (**self).partitions()
    }
    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        (**self).open(partition, from, follow)
    }
    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        (**self).span(partition)
    }
    fn has_fixed_partitions(&self) -> bool {
        (**self).has_fixed_partitions()
    }
    fn has_timestamps(&self) -> bool {
        (**self).has_timestamps()
    }
    fn verifies_positions(&self) -> bool {
        (**self).verifies_positions()
    }
    fn released(&self, ends: &BTreeMap<u32, u64>, now: Timestamp) {
        (**self).released(ends, now);
    }
    fn committed(&self, ends: &BTreeMap<u32, u64>) {
        (**self).committed(ends);
    }
    fn state(&self, ends: &BTreeMap<u32, u64>) -> serde_json::Value {
        (**self).state(ends)
    }
    fn restore(&self, state: &serde_json::Value) -> Result<()> {
        (**self).restore(state)
    }
}

/// A reader of one partition. One thread may poll several of them in turn.
///
/// ```
/// use watershed::connect::memory::MemoryLog;
/// use watershed::connect::{Poll, Source};
///
/// let log = MemoryLog::default();
/// log.append(0, None, Some(b"first"));
/// log.append(0, None, Some(b"second"));
/// let mut partition = log.open(0, Some(1), false)?;
/// let Poll::Batch(batch) = partition.poll()? else { panic!("one record is left") };
/// assert_eq!(batch.iter(0).next().and_then(|record| record.value), Some(&b"second"[..]));
/// assert!(matches!(partition.poll()?, Poll::End));
/// # Ok::<(), watershed::Error>(())
/// ```
pub trait Partition: Send {
    /// Returns the next records without blocking: at most a few thousand, and about a megabyte
    /// unless one record is larger.
    ///
    /// # Errors
    /// When the log can't be read or has changed. A record is never skipped.
    fn poll(&mut self) -> Result<Poll>;

    /// Arranges that `waker` is woken once records may be available, and returns the longest time
    /// until the next [`poll`](Self::poll) if it is not woken. It is called after a poll that
    /// returned [`Poll::Idle`]; records that have come since then wake it immediately. A partition
    /// that is woken so needs no thread and no timer while it is idle, however many there are.
    ///
    /// `None`, the default, is for a partition that reports nothing by itself: then
    /// [`wait`](Self::wait) is called.
    fn register(&mut self, _waker: &Waker) -> Option<Duration> {
        None
    }

    /// Blocks until records may be available, or for `timeout`. The timeout is zero if other
    /// partitions share the thread. Returns false immediately if this partition can only be polled.
    fn wait(&mut self, _timeout: Duration) -> bool {
        false
    }

    /// Returns the number of bytes known to be unread, for a report of progress.
    fn remaining(&self) -> u64 {
        0
    }
}

/// The result of [`Partition::poll`].
///
/// ```
/// use watershed::connect::memory::MemoryLog;
/// use watershed::connect::{Poll, Source};
///
/// let log = MemoryLog::default();
/// assert!(matches!(log.open(0, None, false)?.poll()?, Poll::End));
/// let mut follower = log.open(0, None, true)?;
/// assert!(matches!(follower.poll()?, Poll::Idle));
/// log.append(0, None, Some(b"first"));
/// assert!(matches!(follower.poll()?, Poll::Batch(batch) if batch.next == 1));
/// # Ok::<(), watershed::Error>(())
/// ```
#[derive(Debug)]
pub enum Poll {
    /// Records, at least one.
    Batch(Batch),
    /// No record now; more may come.
    Idle,
    /// The end: the partition had no more records when it was opened.
    End,
}
