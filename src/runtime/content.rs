//! The content of a commit, as a snapshot of it records it.

use std::collections::{BTreeMap, BTreeSet};

use super::topics::Topics;
use crate::durable::{CommitTime, Manifest, SourceState};
use crate::metrics::Tally;
use crate::time::Epoch;

/// The ranges that were read up to a commit, and the totals of the sinks.
#[derive(Clone)]
pub(super) struct CommitContent {
    pub(super) n: u64,
    /// The last epoch of the commit.
    pub(super) barrier: Epoch,
    pub(super) sources: BTreeMap<String, Vec<SourceState>>,
    pub(super) time: CommitTime,
    /// By topic, the rows of its sink, and the sum of their digests.
    pub(super) sinks: BTreeMap<String, (u64, u64)>,
    /// By topic, the outcomes of its records since the beginning of the state.
    pub(super) topics: BTreeMap<String, Tally>,
    /// By the chain of a step, the number of its late records since the beginning of the state.
    pub(super) late: BTreeMap<String, u64>,
}

impl CommitContent {
    /// Returns the content of the last manifest of earlier runs, once the recovery has rebuilt its
    /// rows in epoch 0.
    /// The totals of the `replaced` sinks are left out, because other rows come in their place.
    pub(super) fn recorded(last: &Manifest, topics: &Topics, replaced: &BTreeSet<String>) -> Self {
        let sinks = last.sinks.iter().filter(|(topic, _)| !replaced.contains(*topic));
        CommitContent {
            n: last.n,
            barrier: 0,
            sources: last.sources.clone(),
            time: last.time.clone(),
            sinks: sinks.map(|(topic, sink)| (topic.clone(), (sink.rows, sink.digest))).collect(),
            topics: topics.totals(0),
            late: topics.late(0),
        }
    }
}
