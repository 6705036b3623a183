//! What a run says of itself: [`Progress`] while it goes on, [`Summary`] in the end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::coordinator::{Coordinator, Phase};
use super::ingest::Place;
use crate::metrics::TopicCounters;

/// How often progress is told.
pub(super) const TELL: Duration = Duration::from_millis(100);

/// How a run goes.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Records decoded so far, dead letters among them.
    pub records: u64,
    /// Bytes decoded so far.
    pub bytes: u64,
    /// Bytes known to be still unread.
    pub remaining: u64,
    /// Time since the start.
    pub elapsed: Duration,
    /// Whether the state is still being rebuilt from what was committed before.
    pub recovering: bool,
    /// The last commit.
    pub committed: u64,
    /// What everything waits for.
    pub holds: Holds,
}

/// What everything waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The state, which is rebuilt from what was committed before.
    State,
    /// The workers, which are behind what is read.
    Workers,
    /// A partition of a topic: of those that are not read to their end, the one with the most bytes
    /// left.
    Partition(String, u32),
    /// A commit, of all that there is.
    Commit,
    /// New records: all that there is shows.
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

/// A point that all records handed out before have reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The answers know this many records, of all that were read since the beginning of the state.
    Answered(u64),
    /// The sinks show what this many records make of them.
    Committed(u64),
}

/// What became of the records of a topic: `read = applied + duplicates + superseded + dead`,
/// always.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TopicSummary {
    /// Records read since the beginning of the state.
    pub read: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Rows that stand now; 0 of a stream.
    pub rows: u64,
    /// Records that decided what stands in their table, or were passed on by a stream. The
    /// tombstone of a key that never was counts too: no row goes, but of the key it is now known
    /// that nothing stands, and an earlier record that comes later is superseded by it. A further
    /// tombstone is a duplicate.
    pub applied: u64,
    /// Of the applied, those that took the place of another row.
    pub replaced: u64,
    /// Records equal to what stood.
    pub duplicates: u64,
    /// Records that came after a later one.
    pub superseded: u64,
    /// Records that could not be used.
    pub dead: u64,
}

impl From<&TopicCounters> for TopicSummary {
    fn from(counters: &TopicCounters) -> Self {
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
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
    /// Whether every record read is accounted for.
    pub fn balances(&self) -> bool {
        self.read == self.applied + self.duplicates + self.superseded + self.dead
    }
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct Summary {
    /// By topic, since the beginning of the state.
    pub topics: BTreeMap<String, TopicSummary>,
    /// By name, how many of the rows that stand a [`gauge`](crate::KTable::gauge) counts.
    pub gauges: BTreeMap<String, u64>,
    /// Number of the last manifest; 0 if nothing was ever committed.
    pub committed: u64,
    /// Records that were read again to rebuild the state.
    pub recovered: u64,
    /// How long it ran.
    pub elapsed: Duration,
}

impl Coordinator {
    /// What the run did so far.
    pub(super) fn summary(&self) -> Summary {
        let topics = self
            .topics
            .iter()
            .map(|t| (t.name.clone(), TopicSummary::from(t.counters.as_ref())))
            .collect();
        let (gauges, elapsed) = (self.gauges.read(), self.started.elapsed());
        Summary { topics, gauges, committed: self.committed, recovered: self.recovered, elapsed }
    }

    /// Tells how it goes, if it is time.
    pub(super) fn tell(&mut self) {
        if self.told.elapsed() < TELL || self.config.progress.is_none() {
            return;
        }
        self.told = Instant::now();
        let (mut records, mut bytes) = (0, 0);
        for topic in &self.topics {
            records += topic.counters.read.load(Ordering::Relaxed);
            bytes += topic.counters.bytes.load(Ordering::Relaxed);
        }
        let progress = Progress {
            records,
            bytes,
            remaining: self.remaining.load(Ordering::Relaxed),
            elapsed: self.started.elapsed(),
            recovering: self.phase != Phase::Live,
            committed: self.committed,
            holds: self.holds(),
        };
        if let Some(told) = &mut self.config.progress {
            told(&progress);
        }
    }

    fn holds(&self) -> Holds {
        if self.phase != Phase::Live {
            return Holds::State;
        }
        if self.credit.is_short() {
            return Holds::Workers;
        }
        let left = |(place, left): (&Place, &Arc<AtomicU64>)| {
            (left.load(Ordering::Relaxed), !self.bounds.contains_key(place), *place)
        };
        // One that is followed is waited for only while it is behind: it has no end.
        let behind = |(left, ..): &(u64, bool, Place)| *left > 0 || !self.config.follow;
        match self.reading.iter().map(left).filter(behind).max() {
            Some((.., (topic, _, partition))) => {
                Holds::Partition(self.topics[topic].name.clone(), partition)
            }
            None if self.dirty || self.through < self.open => Holds::Workers,
            None if self.marked.is_some() || self.unmarked => Holds::Commit,
            None => Holds::Records,
        }
    }
}
