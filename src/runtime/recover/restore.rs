//! The snapshot from which a run continues.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::topics::Topics;
use super::rereads::{Rereads, SnapshotNeeds};
use crate::durable::{Bound, Layers, Manifest, Snapshot, SourceState};
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::faults;
use crate::metrics::Metrics;
use crate::operators::CutId;
use crate::plan::Plan;
use crate::store::Store;

/// The part of a snapshot from which a run continues, with its open layers.
pub(in super::super) struct Restored {
    /// The snapshot, of topics that are not read again.
    pub(in super::super) snapshot: Snapshot,
    pub(in super::super) layers: Arc<Layers>,
    pub(in super::super) rereads: Rereads,
    /// The ranges in the snapshot of topics that are read again.
    reread_ranges: BTreeMap<String, Vec<SourceState>>,
}

impl Restored {
    /// Returns the youngest snapshot of a manifest that is sound and has all that the run needs.
    /// If each lacks something, the youngest with any topic that need not be read again. Without
    /// one, all records are read again.
    ///
    /// # Errors
    /// When a snapshot can't be read, or the records alone can't rebuild the results.
    pub(in super::super) fn find(
        store: &Store,
        last: &Manifest,
        plan: &Plan,
        needs: &SnapshotNeeds,
    ) -> Result<Option<Self>> {
        let (mut partial, mut is_sound) = (Vec::new(), false);
        for name in &last.snapshots {
            let snapshot = match Snapshot::read(store, name) {
                Ok(snapshot) if plan.volatile && snapshot.n != last.n => continue,
                // The records since then can't repeat an event of a clock.
                Ok(snapshot) if snapshot.n < last.time.changed => continue,
                Ok(snapshot) => snapshot,
                Err(error) => {
                    pass_over(name.n, error)?;
                    continue;
                }
            };
            is_sound = true;
            let rereads = Rereads::of(plan, needs, &snapshot);
            if !rereads.topics.is_empty() {
                let topics = rereads.topics.iter().cloned().collect::<Vec<_>>().join(", ");
                let lacks = "the snapshot lacks rows of these topics that the run needs now";
                tracing::info!(snapshot = name.n, topics, "{lacks}");
                // An older one that lacks nothing is better: a source may have lost the first
                // records.
                if !plan.volatile && !rereads.is_all(plan) {
                    partial.push((snapshot, rereads));
                }
            } else if let Some(restored) = Self::open(store, snapshot, rereads, plan)? {
                return Ok(Some(restored));
            }
        }
        for (snapshot, rereads) in partial {
            if let Some(restored) = Self::open(store, snapshot, rereads, plan)? {
                return Ok(Some(restored));
            }
        }
        if plan.volatile || (last.time.changed > 0 && !is_sound) {
            let message = format!("the state of commit {} has no sound snapshot", last.n);
            return Err(Error::data(message)
                .hint(
                    "Its results depend on the times of earlier commits, so the records alone \
                     can't rebuild them. Restore the snapshot, or begin anew.",
                )
                .advise(Advice::BeginAnew));
        }
        if !last.snapshots.is_empty() {
            tracing::warn!("no snapshot can be used, so all records are read again");
        }
        Ok(None)
    }

    /// Opens the layers of a snapshot. Returns none if one is damaged.
    ///
    /// # Errors
    /// When a layer can't be read.
    fn open(
        store: &Store,
        mut snapshot: Snapshot,
        rereads: Rereads,
        plan: &Plan,
    ) -> Result<Option<Self>> {
        faults::point("recover.load");
        let layers = match Layers::open(store, &snapshot.layers) {
            Ok(layers) => Arc::new(layers),
            Err(error) => {
                pass_over(snapshot.n, error)?;
                return Ok(None);
            }
        };
        let is_read = |topic: &String| plan.sources.contains(topic);
        let mut reread_ranges = snapshot.sources.clone();
        reread_ranges.retain(|topic, _| is_read(topic) && rereads.topics.contains(topic));
        let is_kept = |topic: &String| is_read(topic) && !rereads.topics.contains(topic);
        snapshot.sources.retain(|topic, _| is_kept(topic));
        snapshot.topics.retain(|topic, _| is_kept(topic));
        snapshot.sinks.retain(|topic, _| rereads.sinks.contains(topic));
        Ok(Some(Restored { snapshot, layers, rereads, reread_ranges }))
    }

    /// Returns true if a topic is read again from its beginning.
    pub(in super::super) fn is_partial(&self) -> bool {
        !self.rereads.topics.is_empty()
    }

    /// Rewrites the layers without the rows of `cuts` that are not loaded, if there are any:
    /// otherwise they would mix with the rows that are made again. The run must have begun.
    ///
    /// # Errors
    /// When a layer can't be read or written.
    pub(in super::super) fn prune(
        &mut self,
        store: &Store,
        generation: u64,
        plan: &Plan,
    ) -> Result<()> {
        let is_stale =
            |cut: &CutId| !self.rereads.loaded.contains(cut) && self.layers.has_rows(cut);
        if !plan.cuts.iter().any(|cut| is_stale(&cut.id)) {
            return Ok(());
        }
        // The saver numbers its layers from 1.
        let path = format!("layer/{generation:020}-{:010}", 0);
        let files = self.layers.merge(store, path, &self.rereads.loaded, true)?;
        self.layers = Arc::new(Layers::open(store, &files)?);
        self.snapshot.layers = files;
        Ok(())
    }

    /// Notes the records that are read again, and whose dead letters are written.
    pub(in super::super) fn pass_over_letters(&self, topics: &Topics) {
        for topic in topics.iter() {
            let states = self.reread_ranges.get(&topic.name).into_iter().flatten();
            let ends = (0..=u16::MAX).zip(states).flat_map(|(rank, state)| {
                state.partitions.iter().map(move |(number, bound)| ((rank, *number), bound.to))
            });
            topic.queue.pass_over_letters(ends.collect());
        }
    }

    /// Returns the range of a partition in the snapshot.
    pub(in super::super) fn bound(&self, topic: &str, rank: usize, id: u32) -> Option<&Bound> {
        self.source(topic, rank)?.partitions.get(&id)
    }

    /// Returns the state of a source in the snapshot.
    pub(in super::super) fn source(&self, topic: &str, rank: usize) -> Option<&SourceState> {
        self.snapshot.sources.get(topic)?.get(rank)
    }

    /// Returns the number of records of which the snapshot has the results.
    pub(in super::super) fn records(&self) -> u64 {
        self.snapshot.topics.values().map(|tally| tally.read).sum()
    }

    /// Begins the counters of topics with the numbers of the snapshot.
    pub(in super::super) fn restore_counters(&self, topics: &Topics) {
        for topic in topics.iter() {
            if let Some(earlier) = self.snapshot.topics.get(&topic.name) {
                topic.counters.restore(*earlier);
            }
        }
    }

    /// Begins the numbers of late records with those of the snapshot, at steps behind topics that
    /// are not read again.
    pub(in super::super) fn restore_late(&self, plan: &Plan, metrics: &Metrics) {
        for (step, chain) in plan.chains().iter().enumerate() {
            if let Some(earlier) = self.snapshot.late.get(chain)
                && plan.topics_before(step).iter().all(|it| self.snapshot.topics.contains_key(it))
            {
                metrics.restore_late(step, *earlier);
            }
        }
    }
}

/// Logs an error of a damaged snapshot, which is passed over.
///
/// # Errors
/// When the snapshot may be sound, and can't be read now.
fn pass_over(n: u64, error: Error) -> Result<()> {
    if error.kind() != ErrorKind::Data {
        return Err(error);
    }
    tracing::warn!(snapshot = n, %error, "the snapshot is passed over");
    Ok(())
}
