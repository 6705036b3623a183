//! The messages that the coordinator receives.

use std::sync::mpsc::Sender;

use crate::error::Error;
use crate::ports::Report;
use crate::record::{Batch, PartitionId};
use crate::time::Epoch;

/// A message to the coordinator from readers, workers, the committer or the outside.
pub(crate) enum Message {
    /// A batch was read.
    Batch(Fetched),
    /// The recorded range of the partition has been read again.
    Replayed(PartitionId),
    /// The partition is read to its end.
    End(PartitionId),
    /// All partitions that a source has now.
    Partitions(Vec<PartitionId>),
    /// Every worker has completed all epochs before this one.
    Completed(Epoch),
    /// One worker's part of a sink, by the number of the sink, reports.
    Report(usize, Report),
    /// The sinks hold exactly the rows that the recovery rebuilt.
    Verified,
    /// The commit of this number is visible in every sink.
    Committed(u64),
    /// A thread of the run can't continue.
    Failed(Error),
    /// End the run in good order.
    Stop,
    /// Close the epoch, commit, and reply. Only the test driver sends it.
    Close(Sender<()>),
}

/// A batch that was read and belongs to no epoch yet.
pub(crate) struct Fetched {
    /// The partition it was read from.
    pub(crate) id: PartitionId,
    pub(crate) batch: Batch,
    /// Sum of the digests of its records.
    pub(crate) digest: u64,
}
