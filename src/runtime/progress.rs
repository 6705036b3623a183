//! The reports of a run: [`Progress`] while it runs, [`Milestone`]s, and a [`Summary`] at its end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::metrics::{StepMetrics, TopicSummary};

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

/// Results of a run.
#[derive(Clone, Debug)]
pub struct Summary {
    /// By topic, the numbers since the beginning of the state.
    pub topics: BTreeMap<String, TopicSummary>,
    /// By name, the number of rows that a [`gauge`](crate::KTable::gauge) counts.
    pub gauges: BTreeMap<String, u64>,
    /// The steps whose rows are counted, in their order.
    pub steps: Vec<StepMetrics>,
    /// Number of the last manifest; 0 if nothing was ever committed.
    pub committed: u64,
    /// Records that were read again to rebuild the state.
    pub recovered: u64,
    /// Duration of the run.
    pub elapsed: Duration,
}
