//! The earliest position from which each topic may still deliver records, published with each epoch
//! that opens.
//!
//! It is the least of the next positions of all partitions of the source that is bound first. Once
//! all of these have ended, the same holds for the second source, and so on. It is known only if no
//! partition can be added: in a run that does not follow its sources, and for sources with fixed
//! partitions. Otherwise a new partition may begin at offset 0 at any time.

use std::collections::BTreeSet;

use super::bindings::Bindings;
use super::topics::Topics;
use crate::error::{Advice, Error, Result};
use crate::operators::Advance;
use crate::record::{Order, PartitionId};
use crate::time::Epoch;

/// Announces the topics whose positions will be published to the workers.
pub(super) fn announce(topics: &Topics, follow: bool) {
    for topic in topics.iter() {
        let is_fixed = topic.sources.iter().all(|source| source.has_fixed_partitions());
        match (is_fixed, follow) {
            (true, _) => topic.queue.earliest().announce(Advance::ForEver),
            (false, false) => topic.queue.earliest().announce(Advance::InThisRun),
            (false, true) => {}
        }
    }
}

/// Refuses a partition that was added during the run to a source with fixed partitions.
pub(super) fn check_discovered(topics: &Topics, id: PartitionId) -> Result<()> {
    let source = topics.source(id);
    if !source.has_fixed_partitions() {
        return Ok(());
    }
    let message = format!("{} has a new partition, {}", source.describe(), id.partition);
    Err(Error::data(message)
        .hint(
            "The log was bound with fixed partitions, so the run may have forgotten deleted keys \
             of which the new partition has records. Nothing of it is read yet: start again, and \
             all partitions are read.",
        )
        .advise(Advice::NoFixedPartitions))
}

/// The partitions that may still deliver batches.
#[derive(Default)]
pub(super) struct Unfinished(BTreeSet<PartitionId>);

impl Unfinished {
    /// Adds a partition that is read from now on.
    pub(super) fn begin(&mut self, id: PartitionId) {
        self.0.insert(id);
    }

    /// Removes a partition that is read to its end. Its last batches may not be dispatched yet.
    pub(super) fn end(&mut self, id: PartitionId) {
        self.0.remove(&id);
    }

    /// Publishes the positions for `epoch`, to which no batch was dispatched yet. `bindings` are
    /// the ranges that were dispatched before, and `waiting` the partitions of the batches that
    /// follow.
    pub(super) fn publish(
        &self,
        topics: &Topics,
        epoch: Epoch,
        bindings: &Bindings,
        waiting: impl Iterator<Item = PartitionId>,
    ) {
        let mut all: Option<BTreeSet<PartitionId>> = None;
        let mut waiting = Some(waiting);
        for (topic, bound) in (0..=u16::MAX).zip(topics.iter()) {
            if bound.queue.earliest().advances() {
                let all = all.get_or_insert_with(|| {
                    self.0.iter().copied().chain(waiting.take().into_iter().flatten()).collect()
                });
                bound.queue.earliest().publish(epoch, earliest(topic, all, bindings));
            }
        }
    }
}

/// Returns the earliest position from which `topic` may still deliver records.
fn earliest(topic: u16, unfinished: &BTreeSet<PartitionId>, bindings: &Bindings) -> Order {
    let first = PartitionId { topic, source: 0, partition: 0 };
    let last = PartitionId { topic, source: u16::MAX, partition: u32::MAX };
    let mut of_topic = unfinished.range(first..=last).peekable();
    let source = of_topic.peek().map_or(u16::MAX, |id| id.source);
    let next = of_topic.take_while(|id| id.source == source).map(|id| id.at(bindings.next(*id)));
    // All positions of a topic that has ended are past.
    next.min().unwrap_or(last.at(u64::MAX))
}
