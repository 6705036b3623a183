//! A log whose partitions are fixed.

use std::collections::BTreeMap;
use std::ops::Range;

use super::identity::Identity;
use super::source::{Partition, Source};
use crate::error::Result;

/// Promises of a log that it never gets another partition, which the log itself can't know.
///
/// A topic of Kafka may get one at any time, and it would begin at offset 0. So a table must keep
/// the order of a deleted key for as long as it follows the topic: a record of the new partition
/// could be earlier than the tombstone. With the promise the order is forgotten once all partitions
/// are past it. A run ends with an error when the log breaks the promise.
///
/// ```
/// use watershed::connect::memory::MemoryLog;
/// use watershed::connect::{FixedPartitions, Source};
///
/// let log = MemoryLog::default();
/// log.append(0, Some(b"key"), Some(b"value"));
/// let source = FixedPartitions(log);
/// assert!(source.has_fixed_partitions());
/// assert_eq!(source.partitions()?, [0]);
/// # Ok::<(), watershed::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct FixedPartitions<S>(
    /// The log.
    pub S,
);

impl<S: Source> Source for FixedPartitions<S> {
    fn describe(&self) -> String {
        self.0.describe()
    }
    fn identities(&self) -> Result<Vec<Identity>> {
        self.0.identities()
    }
    fn partitions(&self) -> Result<Vec<u32>> {
        self.0.partitions()
    }
    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        self.0.open(partition, from, follow)
    }
    fn span(&self, partition: u32) -> Result<Option<Range<u64>>> {
        self.0.span(partition)
    }
    fn has_fixed_partitions(&self) -> bool {
        true
    }
    fn committed(&self, ends: &BTreeMap<u32, u64>) {
        self.0.committed(ends);
    }
    fn remember(&self, ends: &BTreeMap<u32, u64>) -> serde_json::Value {
        self.0.remember(ends)
    }
    fn recall(&self, memory: &serde_json::Value) -> Result<()> {
        self.0.recall(memory)
    }
}
