//! The reports of a run: [`Progress`] while it runs, [`Milestone`]s, and a [`Summary`] at its end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::TopicCounters;

/// Progress of a run.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Records decoded so far, dead letters included.
    pub records: u64,
    /// Bytes decoded so far.
    pub bytes: u64,
    /// Bytes known to be unread.
    pub remaining: u64,
    /// Time since the start.
    pub elapsed: Duration,
    /// True while the state is rebuilt from the recorded ranges.
    pub recovering: bool,
    /// Number of the last commit.
    pub committed: u64,
    /// The part of the run that everything else waits for.
    pub holds: Holds,
}

/// The part of a run that everything else waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The state, which is being rebuilt from the recorded ranges.
    State,
    /// The workers, which are behind the readers.
    Workers,
    /// A partition of a topic: of those that are not read to their end, the one with the most bytes
    /// left.
    Partition(String, u32),
    /// A commit of everything that was read.
    Commit,
    /// New records: everything that was read is visible.
    Records,
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holds::State => f.write_str("state"),
            Holds::Workers => f.write_str("workers"),
            Holds::Partition(topic, partition) => write!(f, "{topic}, partition {partition}"),
            Holds::Commit => f.write_str("commit"),
            Holds::Records => f.write_str("new records"),
        }
    }
}

/// A stage that all records dispatched before have reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The stores show the results of this many records, counted from the beginning of the state.
    Answered(u64),
    /// The sinks show the results of this many records, counted from the beginning of the state.
    Committed(u64),
}

/// Numbers of the records of a topic. Always `read = applied + duplicates + superseded + dead`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TopicSummary {
    /// Records read since the beginning of the state.
    pub read: u64,
    /// Bytes of these records.
    pub bytes: u64,
    /// Rows in the table now; 0 for a stream.
    pub rows: u64,
    /// Records that changed their table, or that a stream passed on. A tombstone for an unknown key
    /// also counts: it deletes nothing, but a record that arrives later with an earlier position is
    /// now superseded. A further tombstone is a duplicate.
    pub applied: u64,
    /// Of the applied records, those that replaced another row.
    pub replaced: u64,
    /// Records equal to the current row of their key.
    pub duplicates: u64,
    /// Records that arrived after one with a later position.
    pub superseded: u64,
    /// Records that could not be used.
    pub dead: u64,
}

impl From<&TopicCounters> for TopicSummary {
    fn from(counters: &TopicCounters) -> Self {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TopicSummary {
            read: get(&counters.read),
            bytes: get(&counters.bytes),
            rows: u64::try_from(counters.rows.load(Ordering::Relaxed)).unwrap_or(0),
            applied: get(&counters.applied),
            replaced: get(&counters.replaced),
            duplicates: get(&counters.duplicates),
            superseded: get(&counters.superseded),
            dead: get(&counters.dead),
        }
    }
}

impl TopicSummary {
    /// Returns true if every record that was read is accounted for.
    pub fn balances(&self) -> bool {
        self.read == self.applied + self.duplicates + self.superseded + self.dead
    }
}

/// Results of a run.
#[derive(Clone, Debug)]
pub struct Summary {
    /// By topic, the numbers since the beginning of the state.
    pub topics: BTreeMap<String, TopicSummary>,
    /// By name, the number of rows that a [`gauge`](crate::KTable::gauge) counts.
    pub gauges: BTreeMap<String, u64>,
    /// Number of the last manifest; 0 if nothing was ever committed.
    pub committed: u64,
    /// Records that were read again to rebuild the state.
    pub recovered: u64,
    /// Duration of the run.
    pub elapsed: Duration,
}
