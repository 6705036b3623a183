//! Counters of a run.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counts the records of a topic by what became of them. Every record is counted once in `applied`, `duplicates`,
/// `superseded` or `dead`.
#[derive(Debug, Default)]
pub(crate) struct TopicCounters {
    /// Records read.
    pub read: AtomicU64,
    /// Bytes read.
    pub bytes: AtomicU64,
    /// Records that decided what stands in their table, or were passed on by a stream. The
    /// tombstone of a key that never was counts too: no row goes, but of the key it is now known
    /// that nothing stands, and an earlier record that comes later is superseded by it. A further
    /// tombstone is a duplicate.
    pub applied: AtomicU64,
    /// Of the applied, those that took the place of another row.
    pub replaced: AtomicU64,
    /// Records equal to what stood.
    pub duplicates: AtomicU64,
    /// Records that came after a later one.
    pub superseded: AtomicU64,
    /// Records that could not be used.
    pub dead: AtomicU64,
    /// Rows that stand now.
    pub rows: AtomicI64,
}

impl TopicCounters {
    /// Adds to a counter.
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}
