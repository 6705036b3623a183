//! Counters of a run.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counts the records of a topic by their outcome. Every record is counted once in `applied`,
/// `duplicates`, `superseded` or `dead`.
#[derive(Debug, Default)]
pub(crate) struct TopicCounters {
    /// Records read.
    pub read: AtomicU64,
    /// Bytes read.
    pub bytes: AtomicU64,
    /// Records that determined the current row of a key, or that a stream passed on. The tombstone
    /// of an unknown key counts too: it deletes nothing, but a record that arrives later with an
    /// earlier position is now superseded. A further tombstone is a duplicate.
    pub applied: AtomicU64,
    /// Applied records that replaced another row.
    pub replaced: AtomicU64,
    /// Records equal to the current row.
    pub duplicates: AtomicU64,
    /// Records that arrived after a later record of their key.
    pub superseded: AtomicU64,
    /// Records that became dead letters.
    pub dead: AtomicU64,
    /// The number of current rows.
    pub rows: AtomicI64,
}

impl TopicCounters {
    /// Adds to a counter.
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}
