//! The contract with the outside: [`Source`] and [`Partition`] for records that come in, [`Sink`],
//! [`Writer`] and [`Committer`] for rows that go out.
//!
//! A connector answers four questions, in its `mod.rs` and in this order: what is a partition here,
//! what is a position, what does commit mean, what is guaranteed. It contains no dataflow: the
//! runtime reads partitions on its own threads, gives every worker a writer, and drives one
//! committer a sink.

pub mod append;
mod identity;
pub mod memory;
mod part;
mod sink;
mod writer;

pub use identity::Identity;
pub use part::{Part, PartFile};
pub use sink::{Committer, MaintenanceTask, Mode, Schema, Sink, SinkContext};
pub use writer::{CountRows, FoundRows, Recovered, Recovering, Writer};

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::error::Result;
use crate::record::Batch;

/// A topic's records, somewhere outside. A log: numbered records in numbered partitions, the same
/// at every reading.
pub trait Source: Send + Sync {
    /// Names the log and its location for people; it holds no secret. Nothing is decided by it.
    fn describe(&self) -> String;

    /// Returns the identities of the log, one for each place that holds a part of it. A run
    /// continues only logs whose identities it recorded; more may follow. A log is known by its
    /// description unless it says otherwise.
    ///
    /// # Errors
    /// When the system that holds the log can't be reached.
    fn identities(&self) -> Result<Vec<Identity>> {
        Ok(vec![Identity::new(self.describe())])
    }

    /// The partitions there are now, ascending.
    ///
    /// # Errors
    /// When the log can't be listed.
    fn partitions(&self) -> Result<Vec<u32>>;

    /// Opens `partition` at offset `from`, or at the earliest there is. Without `follow` it ends
    /// after what is there now.
    ///
    /// # Errors
    /// When the partition can't be read, or doesn't reach from before `from` to it.
    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>>;

    /// The offsets there are now of `partition`, from its earliest record on up to its end; `None`
    /// if it has no records yet, or can't be told.
    ///
    /// # Errors
    /// When the log can't be asked.
    fn span(&self, _partition: u32) -> Result<Option<Range<u64>>> {
        Ok(None)
    }

    /// Told after a commit up to which offset of each partition it goes, for those who watch;
    /// nothing is ever continued from it. It does not wait.
    fn committed(&self, _ends: &BTreeMap<u32, u64>) {}

    /// What finds the offsets `ends` (by partition) again, to be kept with them in a commit. Null,
    /// of a log that numbers its records itself.
    fn remember(&self, _ends: &BTreeMap<u32, u64>) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Told, before anything is opened, what was remembered in the commit that is continued.
    ///
    /// # Errors
    /// When it is not what this source remembers.
    fn recall(&self, _memory: &serde_json::Value) -> Result<()> {
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
    fn committed(&self, ends: &BTreeMap<u32, u64>) {
        (**self).committed(ends);
    }
    fn remember(&self, ends: &BTreeMap<u32, u64>) -> serde_json::Value {
        (**self).remember(ends)
    }
    fn recall(&self, memory: &serde_json::Value) -> Result<()> {
        (**self).recall(memory)
    }
}

/// A reader of one partition. Where there are many, one thread asks several in turn.
pub trait Partition: Send {
    /// The next records, without waiting for any: at most about a megabyte, unless one record is
    /// larger, and a few thousand.
    ///
    /// # Errors
    /// When the log can't be read or is not what it was: a record is never skipped.
    fn poll(&mut self) -> Result<Poll>;

    /// Waits until there may be more, at most for `patience`, which is nothing where others share
    /// the thread. False, at once, of one that can't be told and must be asked again.
    fn wait(&mut self, _patience: Duration) -> bool {
        false
    }

    /// Bytes known to be still unread, for progress.
    fn remaining(&self) -> u64 {
        0
    }
}

/// What a [`Partition`] has.
#[derive(Debug)]
pub enum Poll {
    /// Records, at least one.
    Batch(Batch),
    /// Nothing now; more may come.
    Idle,
    /// Nothing ever again: the end of what was there when it was opened.
    End,
}
