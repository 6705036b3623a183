//! A log whose partitions are fixed.

use std::collections::BTreeMap;
use std::ops::Range;

use super::identity::Identity;
use super::source::{Partition, Source};
use crate::error::Result;
use crate::time::Timestamp;

/// A source with the promise that no partition is added to it, which the source itself can't give.
/// Made by [`Source::with_fixed_partitions`].
///
/// A partition can be added to a Kafka topic at any time, and it begins at offset 0. Its records
/// could be earlier than a tombstone, so a table that follows the topic must keep the order of each
/// deleted key. With the promise, the order is dropped once all partitions have passed it. A run
/// ends with an error if a partition is added nevertheless.
///
/// ```
/// use watershed::connect::memory::MemoryLog;
/// use watershed::connect::{FixedPartitions, Source};
///
/// let log = MemoryLog::default();
/// log.append(0, Some(b"key"), Some(b"value"));
/// let source: FixedPartitions<MemoryLog> = log.with_fixed_partitions();
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
    fn has_timestamps(&self) -> bool {
        self.0.has_timestamps()
    }
    fn verifies_positions(&self) -> bool {
        self.0.verifies_positions()
    }
    fn released(&self, ends: &BTreeMap<u32, u64>, now: Timestamp) {
        self.0.released(ends, now);
    }
    fn state(&self, ends: &BTreeMap<u32, u64>) -> serde_json::Value {
        self.0.state(ends)
    }
    fn restore(&self, state: &serde_json::Value) -> Result<()> {
        self.0.restore(state)
    }
}
