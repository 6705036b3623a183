//! The reports of a run: [`Progress`] while it runs, [`Milestone`]s, and a [`Summary`] at its end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::metrics::{StepMetrics, TopicSummary};

/// Progress of a run.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use watershed::connect::memory::MemoryLog;
/// use watershed::prelude::*;
/// use watershed::runtime::{Holds, Progress};
///
/// let topology = Topology::new("print", |builder: &StreamsBuilder<'_>| {
///     builder.stream("words", Consumed::with(Utf8, Utf8)).print("words");
/// });
/// let words = MemoryLog::default();
/// words.append(0, Some(b"drink"), Some(b"tea"));
///
/// let (stop, last) = (Stop::default(), Arc::new(Mutex::new(None)));
/// let (stopped, shown) = (stop.clone(), last.clone());
/// let progress = move |progress: &Progress| {
///     *shown.lock().unwrap() = Some(progress.clone());
///     if progress.holds == Holds::Records {
///         stopped.stop(); // everything is visible
///     }
/// };
/// let config =
///     Config { follow: true, stop, progress: Some(Box::new(progress)), ..Config::default() };
/// Streams::new(topology).source("words", words).run(config)?;
/// let last = last.lock().unwrap().clone();
/// assert!(last.is_some_and(|last| last.records == 1 && last.committed == 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Progress {
    /// Records decoded so far, dead letters included.
    pub records: u64,
    /// Bytes decoded so far.
    pub bytes: u64,
    /// Bytes that the sources report as unread.
    pub remaining: u64,
    /// Time since the start.
    pub elapsed: Duration,
    /// True while the state is rebuilt from the recorded ranges.
    pub recovering: bool,
    /// Number of the last commit.
    pub committed: u64,
    /// The part of the run for which everything else waits.
    pub holds: Holds,
}

/// The part of a run for which everything else waits. Its text is meant for people.
///
/// ```
/// use watershed::runtime::Holds;
///
/// assert_eq!(Holds::Partition("pin".to_string(), 2).to_string(), "pin, partition 2");
/// assert_eq!(Holds::Records.to_string(), "new records");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The recovery of the state.
    State,
    /// The workers: they are behind the readers.
    Workers,
    /// A topic and a partition of it: the one with the most bytes left.
    Partition(String, u32),
    /// A commit of the records that were read.
    Commit,
    /// New records. Everything that was read is visible.
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

/// A stage that a number of records has reached. [`Config`](super::Config) has an example.
///
/// ```
/// use watershed::runtime::Milestone;
///
/// let text = |milestone| match milestone {
///     Milestone::Answered(records) => format!("stores show {records} records"),
///     Milestone::Committed(records) => format!("sinks show {records} records"),
/// };
/// assert_eq!(text(Milestone::Answered(7)), "stores show 7 records");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The stores show the results of this many records, counted from the beginning of the state.
    Answered(u64),
    /// The sinks show the results of this many records, counted from the beginning of the state.
    Committed(u64),
}

/// Results of a run.
///
/// ```
/// use watershed::connect::memory::{MemoryLog, MemoryTable};
/// use watershed::prelude::*;
/// use watershed::runtime::Summary;
///
/// fn share_of_dead_letters(summary: &Summary, topic: &str) -> f64 {
///     let topic = &summary.topics[topic];
///     topic.dead as f64 / topic.read as f64
/// }
///
/// let topology = Topology::new("copy", |builder: &StreamsBuilder| {
///     let numbers = builder.table::<String, i64>("number", Consumed::with(Utf8, Json));
///     numbers.to("copy", Produced::columns(["name", "n"]));
/// });
/// let log = MemoryLog::default();
/// log.append(0, Some(b"one"), Some(b"1"));
/// log.append(0, Some(b"two"), Some(b"two"));
/// let streams = Streams::new(topology).source("number", log).sink("copy", MemoryTable::default());
/// let summary = streams.sink(DEAD_LETTERS, MemoryTable::default()).run(Config::default())?;
/// assert_eq!(share_of_dead_letters(&summary, "number"), 0.5);
/// # Ok::<(), Error>(())
/// ```
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
    /// Records of the state from which the run continued: those that its snapshot covers, and those
    /// that were read again.
    pub recovered: u64,
    /// Duration of the run.
    pub elapsed: Duration,
}
