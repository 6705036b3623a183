//! The snapshot from which a run continues.

use std::sync::Arc;

use super::super::adoption::SnapshotNeeds;
use super::super::topics::Topics;
use crate::durable::{Bound, Layers, Manifest, Snapshot, SourceState};
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::faults;
use crate::store::Store;

/// A snapshot with its open layers.
pub(in super::super) struct Restored {
    pub(in super::super) snapshot: Snapshot,
    pub(in super::super) layers: Arc<Layers>,
}

impl Restored {
    /// Returns the youngest snapshot of a manifest that is sound and has all that the run needs.
    /// Without one, all records are read again.
    ///
    /// # Errors
    /// When a snapshot can't be read, or the records alone can't rebuild the results.
    pub(in super::super) fn find(
        store: &Store,
        last: &Manifest,
        volatile: bool,
        needs: &SnapshotNeeds,
    ) -> Result<Option<Self>> {
        for name in last.snapshots.iter().filter(|_| !needs.reads_all) {
            let open = || -> Result<Option<Self>> {
                let snapshot = Snapshot::read(store, name)?;
                if !snapshot.covers(&needs.cuts, needs.sinks.iter()) {
                    return Ok(None);
                }
                let layers = Arc::new(Layers::open(store, &snapshot.layers)?);
                // Rows of a sink that was bound before, and not meanwhile, are of no use.
                if needs.new_cuts.iter().any(|cut| layers.has_rows(cut)) {
                    return Ok(None);
                }
                Ok(Some(Restored { snapshot, layers }))
            };
            faults::point("recover.load");
            match open() {
                Ok(Some(restored)) if volatile && restored.snapshot.n != last.n => {}
                Ok(Some(restored)) => return Ok(Some(restored)),
                Ok(None) => tracing::info!(
                    snapshot = name.n,
                    "the snapshot lacks rows that the run needs now"
                ),
                Err(error) if error.kind() == ErrorKind::Data => {
                    tracing::warn!(snapshot = name.n, %error, "the snapshot is passed over");
                }
                Err(error) => return Err(error),
            }
        }
        if volatile {
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
}
