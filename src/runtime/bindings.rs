//! The ranges of partitions that a run has dispatched. Its commits record them.

use std::collections::BTreeMap;

use super::message::Fetched;
use super::topics::Topics;
use crate::durable::{Bound, SourceState};
use crate::faults;
use crate::record::PartitionId;

/// The range of each partition from its first record to the last that was dispatched.
#[derive(Default)]
pub(super) struct Bindings {
    ranges: BTreeMap<PartitionId, Bound>,
    records: u64,
}

impl Bindings {
    /// Begins with the ranges of a snapshot, which hold so many `records`. None of them is read
    /// again.
    pub(super) fn restore(
        &mut self,
        topics: &Topics,
        saved: &BTreeMap<String, Vec<SourceState>>,
        records: u64,
    ) {
        self.records = records;
        for (number, topic) in (0..=u16::MAX).zip(topics.iter()) {
            let states = saved.get(&topic.name).map_or(&[][..], Vec::as_slice);
            for (rank, state) in (0..=u16::MAX).zip(states) {
                for (partition, bound) in &state.partitions {
                    let id = PartitionId { topic: number, source: rank, partition: *partition };
                    self.ranges.insert(id, *bound);
                    topic.queue.times.restore((rank, *partition), bound.partition_time);
                }
            }
        }
    }

    /// Extends the range of a partition by a batch that is about to be dispatched.
    pub(super) fn extend(&mut self, Fetched { id, batch, digest, last }: &Fetched) {
        let empty = Bound { from: batch.first, to: batch.first, ..Bound::default() };
        let bound = self.ranges.entry(*id).or_insert(empty);
        bound.to = batch.next;
        bound.digest = bound.digest.wrapping_add(*digest);
        bound.last = last.or(bound.last);
        self.records += batch.records.len() as u64;
    }

    /// Returns the number of dispatched records, with those of the snapshot.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Returns the offset after the last record of the partition that was dispatched.
    pub(super) fn next(&self, id: PartitionId) -> u64 {
        self.ranges.get(&id).map_or(0, |bound| bound.to)
    }

    /// Returns true if any batch of the partition was dispatched.
    pub(super) fn contains(&self, id: PartitionId) -> bool {
        self.ranges.contains_key(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PartitionId, &Bound)> {
        self.ranges.iter().map(|(id, bound)| (*id, bound))
    }

    /// Returns the state of each source as a commit records it: by topic, in the order of binding.
    pub(super) fn source_states(&self, topics: &Topics) -> BTreeMap<String, Vec<SourceState>> {
        let mut partitions: BTreeMap<(u16, u16), BTreeMap<u32, Bound>> = BTreeMap::new();
        for (id, bound) in self.iter() {
            let mut bound = *bound;
            if faults::bug("binding_off_by_one") {
                bound.to = bound.to.saturating_sub(1);
            }
            partitions.entry((id.topic, id.source)).or_default().insert(id.partition, bound);
        }
        let mut states = BTreeMap::new();
        for (number, topic) in (0..=u16::MAX).zip(topics.iter()) {
            let sources = (0..=u16::MAX).zip(&topic.sources).map(|(rank, source)| {
                let partitions = partitions.remove(&(number, rank)).unwrap_or_default();
                let ends = partitions.iter().map(|(partition, bound)| (*partition, bound.to));
                SourceState {
                    source: source.describe(),
                    identities: topic
                        .identities
                        .get(usize::from(rank))
                        .cloned()
                        .unwrap_or_default(),
                    memory: source.state(&ends.collect()),
                    partitions,
                    clocks: BTreeMap::new(),
                }
            });
            states.insert(topic.name.clone(), sources.collect());
        }
        states
    }
}
