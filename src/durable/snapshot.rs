//! Snapshots: the rows of all cuts at one commit.
//!
//! A snapshot `snap/<generation>-<n>` names the layers which together hold the rows after commit
//! `n`. It counts only once a manifest names it, so that the creation of manifests stays the only
//! decision.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::layer::{LayerFile, LayerWriter, OpenLayer, RowBuffer};
use super::manifest::{SnapshotName, SourceState};
use super::merge::{BucketBlock, merge};
use crate::error::{Advice, Error, Result};
use crate::metrics::Tally;
use crate::operators::{BUCKETS, ChangedRows, CutId, EachRow, SavedRows};
use crate::store::Store;
use crate::sync::side_by_side;

/// The number of layers that are read at once.
const READING_THREADS: usize = 4;

/// The content of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) n: u64,
    /// The cuts whose rows are complete in the layers.
    pub(crate) cuts: Vec<CutId>,
    /// From the oldest to the youngest.
    pub(crate) layers: Vec<LayerFile>,
    /// The ranges that were read up to the commit.
    pub(crate) sources: BTreeMap<String, Vec<SourceState>>,
    /// By topic, the rows of its sink after the commit, and the sum of their digests.
    pub(crate) sinks: BTreeMap<String, (u64, u64)>,
    /// By topic, the numbers of its records.
    pub(crate) topics: BTreeMap<String, Tally>,
}

impl Snapshot {
    /// Writes the snapshot of a run of this generation, and returns its name.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn write(&self, store: &Store, generation: u64) -> Result<SnapshotName> {
        let body = serde_json::to_vec(self)
            .map_err(|e| Error::internal("can't write a snapshot").because(e))?;
        let path = format!("snap/{generation:020}-{:020}", self.n);
        store.put(&path, &body)?;
        let base = self.layers.first().map(|file| file.path.clone()).unwrap_or_default();
        Ok(SnapshotName { n: self.n, path, digest: format!("{:032x}", xxh3_128(&body)), base })
    }

    /// Reads the snapshot of this name, without its layers.
    ///
    /// # Errors
    /// When it is missing, damaged or can't be read.
    pub(crate) fn read(store: &Store, name: &SnapshotName) -> Result<Self> {
        let damaged = || {
            Error::data(format!("{} is missing or not as a run wrote it", store.name(&name.path)))
                .hint("Restore it, or begin anew.")
                .advise(Advice::BeginAnew)
        };
        let bytes = store.get(&name.path)?;
        let bytes = bytes.filter(|bytes| format!("{:032x}", xxh3_128(bytes)) == name.digest);
        let bytes = bytes.ok_or_else(damaged)?;
        serde_json::from_slice(&bytes).map_err(|e| damaged().because(e))
    }

    /// Returns true if the snapshot has the rows of these cuts, and the totals of these sinks.
    pub(crate) fn covers<'a>(
        &self,
        cuts: &[CutId],
        mut sinks: impl Iterator<Item = &'a String>,
    ) -> bool {
        cuts.iter().all(|cut| self.cuts.contains(cut))
            && sinks.all(|sink| self.sinks.contains_key(sink))
    }
}

/// The open layers of a snapshot, from the oldest to the youngest.
pub(crate) struct Layers(Vec<OpenLayer>);

impl Layers {
    /// Opens the layers, and compares the checksum of each file.
    ///
    /// # Errors
    /// When one is missing, damaged or can't be read.
    pub(crate) fn open(store: &Store, files: &[LayerFile]) -> Result<Self> {
        let mut layers = Vec::with_capacity(files.len());
        for some in files.chunks(READING_THREADS) {
            let open = some.iter().map(|file| || OpenLayer::open(store, file));
            for layer in side_by_side("a thread that reads a layer", open) {
                layers.push(layer?);
            }
        }
        Ok(Layers(layers))
    }

    /// Returns true if any layer has rows of the cut.
    pub(crate) fn has_rows(&self, cut: &CutId) -> bool {
        self.0.iter().any(|layer| layer.has_rows(cut))
    }

    /// Frees the memory of the layers, once all their rows are loaded.
    pub(crate) fn release(&self) {
        self.0.iter().for_each(OpenLayer::release);
    }

    fn blocks(&self, cut: &CutId, bucket: u8) -> Result<Vec<BucketBlock>> {
        let block = |layer: &OpenLayer| {
            let is_merged = layer.file.is_merged;
            let block = layer.block(cut, bucket)?;
            Ok(block.map(|bytes| BucketBlock { bytes, is_merged }))
        };
        self.0.iter().filter_map(|layer| block(layer).transpose()).collect()
    }

    /// Merges the layers into one. `path` is that of its files without their numbers. Deleted rows
    /// are dropped if these are `all` layers of a snapshot.
    ///
    /// # Errors
    /// When a layer is damaged, or a file can't be read or written.
    pub(crate) fn merge(
        &self,
        store: &Store,
        path: String,
        cuts: &[CutId],
        all: bool,
    ) -> Result<Vec<LayerFile>> {
        let mut writer = LayerWriter::new(store, path, cuts, true);
        for (number, cut) in cuts.iter().enumerate() {
            for bucket in 0..BUCKETS {
                let mut rows = RowBuffer::default();
                merge(cut.merge, &self.blocks(cut, bucket)?, &mut |key, value| {
                    if value.is_some() || !all {
                        rows.push(key, value);
                    }
                    Ok(())
                })?;
                writer.block(number, bucket, rows)?;
            }
        }
        writer.finish()
    }
}

impl SavedRows for Layers {
    fn load(&self, cut: &CutId, bucket: u8, each: EachRow<'_>) -> Result<()> {
        merge(cut.merge, &self.blocks(cut, bucket)?, &mut |key, value| match value {
            Some(value) => each(key, value),
            None => Ok(()),
        })
    }
}

/// Writes changed rows as a layer: by worker and barrier, the rows of each cut. `path` is that of
/// its files without their numbers.
///
/// # Errors
/// When a file can't be written.
pub(crate) fn write_layer(
    store: &Store,
    path: String,
    cuts: &[CutId],
    changes: &[Vec<Vec<ChangedRows>>],
) -> Result<Vec<LayerFile>> {
    let mut writer = LayerWriter::new(store, path, cuts, false);
    for number in 0..cuts.len() {
        let of_cut = changes.iter().filter_map(|cuts| cuts.get(number));
        let chunks: Vec<&ChangedRows> = of_cut.flatten().collect();
        writer.changes(number, &chunks)?;
    }
    writer.finish()
}
