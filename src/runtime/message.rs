//! The messages that the coordinator receives.

use std::time::Duration;

use super::protocol::{Down, Up};
use crate::durable::{LastRecord, SnapshotName};
use crate::error::Error;
use crate::ports::Report;
use crate::record::{Batch, PartitionId};
use crate::sync::Sender;
use crate::time::Epoch;

/// A message to the coordinator from readers, workers, the committer or the outside.
pub(crate) enum Message {
    /// A batch was read.
    Batch(Fetched),
    /// The recorded range of the partition has been read again.
    Replayed(PartitionId),
    /// The partition is read to its end.
    End(PartitionId),
    /// All partitions of a source.
    Partitions(Vec<PartitionId>),
    /// Every worker has completed all epochs before this one, as a process has observed it.
    Completed { process: usize, epoch: Epoch },
    /// A report of one worker's part of the sink of this number.
    Report(usize, Report),
    /// The sinks hold exactly the rows that the recovery rebuilt.
    Verified,
    /// The commit of this number is visible in every sink.
    Committed(u64),
    /// A snapshot is durable, and the next manifest may name it.
    Saved(SnapshotName),
    /// A snapshot could not be made.
    Unsaved(Error),
    /// A thread of the run can't continue.
    Failed(Error),
    /// Request to end the run in good order.
    Stop,
    /// A message from another process, to process 0.
    Up { process: usize, message: Up },
    /// A message from process 0, to another process.
    Down(Down),
    /// Request to close the epoch, commit, and reply. Only the test driver sends it.
    Close(Sender<()>),
    /// Request to advance the wall clock. Only the test driver sends it.
    Advance(Duration),
}

/// A batch that was read and belongs to no epoch yet.
pub(crate) struct Fetched {
    /// The partition from which it was read.
    pub(crate) id: PartitionId,
    pub(crate) batch: Batch,
    /// Sum of the digests of its records.
    pub(crate) digest: u64,
    /// Its last record; none under the test driver.
    pub(crate) last: Option<LastRecord>,
}
