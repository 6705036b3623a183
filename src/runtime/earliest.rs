//! The earliest position that may still come of each topic, published with each epoch that opens.
//!
//! It is the least of the next positions of all partitions of the source that is bound first, once
//! they have ended of the second, and so on. It is known only where no further partition can come:
//! in a run that does not follow its sources, and for sources whose partitions are fixed. Anywhere
//! else a new partition may begin at offset 0 at any time.

use std::collections::BTreeSet;

use super::bindings::Bindings;
use super::topics::Topics;
use crate::error::{Error, Result};
use crate::record::{Order, PartitionId};
use crate::time::Epoch;

/// Announces to the workers the topics of which positions will be published.
pub(super) fn announce(topics: &Topics, follow: bool) {
    for topic in topics.iter() {
        if !follow || topic.sources.iter().all(|source| source.has_fixed_partitions()) {
            topic.feed.earliest().announce();
        }
    }
}

/// Checks that a partition which was discovered after the start may be there.
pub(super) fn check_discovered(topics: &Topics, id: PartitionId) -> Result<()> {
    let source = topics.source(id);
    if !source.has_fixed_partitions() {
        return Ok(());
    }
    let message = format!("{} has a new partition, {}", source.describe(), id.partition);
    Err(Error::data(message).hint(
        "It was bound as a log of fixed partitions, and deleted keys may be forgotten that the new \
         partition has records of. Bind it without that promise, and start again.",
    ))
}

/// The partitions of which more batches may come.
#[derive(Default)]
pub(super) struct Unfinished(BTreeSet<PartitionId>);

impl Unfinished {
    /// Adds a partition that is read from now on.
    pub(super) fn begin(&mut self, id: PartitionId) {
        self.0.insert(id);
    }

    /// Removes a partition that is read to its end. Batches of it may still wait.
    pub(super) fn end(&mut self, id: PartitionId) {
        self.0.remove(&id);
    }

    /// Publishes the positions for `epoch`, to which nothing was dispatched yet. `bindings` has all
    /// that was dispatched before, `waiting` the partitions of the batches that come next.
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
            if bound.feed.earliest().advances() {
                let all = all.get_or_insert_with(|| {
                    self.0.iter().copied().chain(waiting.take().into_iter().flatten()).collect()
                });
                bound.feed.earliest().publish(epoch, earliest(topic, all, bindings));
            }
        }
    }
}

/// Returns the earliest position that may still come of `topic`.
fn earliest(topic: u16, unfinished: &BTreeSet<PartitionId>, bindings: &Bindings) -> Order {
    let first = PartitionId { topic, source: 0, partition: 0 };
    let last = PartitionId { topic, source: u16::MAX, partition: u32::MAX };
    let mut of_topic = unfinished.range(first..=last).peekable();
    let source = of_topic.peek().map_or(u16::MAX, |id| id.source);
    let next = of_topic.take_while(|id| id.source == source).map(|id| id.at(bindings.next(*id)));
    // Of a topic that has ended, every position is past.
    next.min().unwrap_or(last.at(u64::MAX))
}
