//! The topics that a run reads, with the sources that are bound to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::connect::{Identity, Source};
use crate::durable::SourceState;
use crate::error::{Error, Result};
use crate::metrics::{LateCounts, Metrics, Tally, TopicCounters};
use crate::plan::Plan;
use crate::ports::{Deal, Decoded, InputQueue};
use crate::record::PartitionId;
use crate::time::Epoch;

/// A topic that is read.
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) queue: Arc<InputQueue>,
    pub(super) counters: Arc<TopicCounters>,
    /// The sources in the order in which they are bound.
    pub(super) sources: Vec<Arc<dyn Source>>,
    /// The identities of each source; empty under the test driver.
    pub(super) identities: Vec<Vec<Identity>>,
}

/// Returns the topics of `plan` in its order, each with the sources that are bound to it. A process
/// has so many `workers`.
pub(super) fn bound(
    plan: &Plan,
    sources: Vec<(String, Box<dyn Source>)>,
    workers: usize,
    decoded: &Decoded,
    metrics: &Metrics,
) -> Vec<Topic> {
    let topic = |(rank, name): (u16, &String)| {
        let deal = match plan.time.timed.contains(&rank) {
            true => Deal::ByPartition { first: usize::from(rank), workers },
            false => Deal::ToAnyWorker,
        };
        Topic {
            name: name.clone(),
            queue: Arc::new(InputQueue::new(deal, decoded.clone())),
            counters: metrics.topic(name),
            sources: Vec::new(),
            identities: Vec::new(),
        }
    };
    let mut topics: Vec<Topic> = (0..=u16::MAX).zip(&plan.sources).map(topic).collect();
    for (name, source) in sources {
        if let Some(topic) = topics.iter_mut().find(|topic| topic.name == name) {
            topic.sources.push(source.into());
        }
    }
    topics
}

/// All topics of a run, shared by the parts of the coordinator.
#[derive(Clone)]
pub(super) struct Topics {
    all: Arc<[Topic]>,
    /// The chains of the steps behind them.
    steps: Arc<[String]>,
    late: LateCounts,
}

impl Topics {
    /// Returns the topics of a plan.
    pub(super) fn new(topics: Vec<Topic>, plan: &Plan, metrics: &Metrics) -> Self {
        Topics { all: topics.into(), steps: plan.chains().into(), late: metrics.late().clone() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.all.iter()
    }

    /// Returns by the chain of a step the number of its late records up to the end of `epoch`,
    /// since the beginning of the state. Every worker must have completed the epoch.
    pub(super) fn late(&self, epoch: Epoch) -> BTreeMap<String, u64> {
        let late = self.late.through(epoch).into_iter().filter(|(_, n)| *n > 0);
        late.filter_map(|(step, n)| Some((self.steps.get(step)?.clone(), n))).collect()
    }

    /// Returns every source with the id that its partition 0 has or would have.
    pub(super) fn sources(&self) -> impl Iterator<Item = (PartitionId, &Arc<dyn Source>)> {
        (0..=u16::MAX).zip(self.iter()).flat_map(|(topic, Topic { sources, .. })| {
            let first = PartitionId { topic, source: 0, partition: 0 };
            (0..=u16::MAX)
                .zip(sources)
                .map(move |(n, source)| (PartitionId { source: n, ..first }, source))
        })
    }

    /// Returns the topic of a partition.
    pub(super) fn of(&self, id: PartitionId) -> &Topic {
        &self.all[usize::from(id.topic)]
    }

    /// Returns the source of a partition.
    pub(super) fn source(&self, id: PartitionId) -> &Arc<dyn Source> {
        &self.of(id).sources[usize::from(id.source)]
    }

    /// Returns the name of a partition for logs and errors.
    pub(super) fn describe(&self, id: PartitionId) -> String {
        format!("{}, partition {}", self.source(id).describe(), id.partition)
    }

    /// Returns the outcomes of the records of each topic up to the end of `epoch`, since the
    /// beginning of the state. Every worker must have completed the epoch.
    pub(super) fn totals(&self, epoch: Epoch) -> BTreeMap<String, Tally> {
        let total = |topic: &Topic| topic.counters.tallies.total(epoch);
        self.iter().map(|topic| (topic.name.clone(), total(topic))).collect()
    }

    /// Checks that all records up to the end of `epoch`, whose number is `records`, were read and
    /// have an outcome. Every worker must have completed the epoch.
    ///
    /// # Errors
    /// When one was lost or counted twice: a bug of this library.
    pub(super) fn check_tallies(&self, epoch: Epoch, records: u64) -> Result<()> {
        let mut read = 0;
        for topic in self.iter() {
            let tally = topic.counters.tallies.total(epoch);
            if !tally.balances() {
                let name = &topic.name;
                return Err(Error::internal(format!(
                    "the records of {name} are not all accounted for: {tally:?}"
                )));
            }
            read += tally.read;
        }
        if read == records {
            return Ok(());
        }
        Err(Error::internal(format!("{records} records were dispatched, and {read} of them read")))
    }

    /// Passes the ends of recorded ranges to the sources that have read them.
    pub(super) fn for_each_source(
        &self,
        states: &BTreeMap<String, Vec<SourceState>>,
        call: impl Fn(&dyn Source, &BTreeMap<u32, u64>),
    ) {
        for topic in self.iter() {
            let states = states.get(&topic.name).into_iter().flatten();
            for (source, state) in topic.sources.iter().zip(states) {
                let ends = state.partitions.iter().map(|(partition, bound)| (*partition, bound.to));
                call(&**source, &ends.collect());
            }
        }
    }

    /// Returns the number of records decoded so far, dead letters included.
    pub(super) fn records(&self) -> u64 {
        self.iter().map(|topic| topic.counters.summary().read).sum()
    }

    /// Returns the number of bytes decoded so far.
    pub(super) fn bytes(&self) -> u64 {
        self.iter().map(|topic| topic.counters.summary().bytes).sum()
    }
}
