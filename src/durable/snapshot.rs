//! Snapshots: the rows of all cuts at one commit.
//!
//! A snapshot `snap/<generation>-<n>` names the layers which together hold the rows after commit
//! `n`. It counts only once a manifest names it, so that the creation of manifests stays the only
//! decision.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::layer::{FILE_BYTES, LayerFile, LayerWriter, OpenLayer};
use super::manifest::{SnapshotName, SourceState};
use crate::error::{Advice, Error, Result};
use crate::metrics::Tally;
use crate::operators::{
    BUCKETS, BucketKeys, ChangedRows, ColumnPart, CutId, KeyIds, KeyList, MergedColumn, PackedRows,
    Packer, SavedRows, SpaceCuts, read_merged,
};
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
    /// By the chain of a step, the number of its late records.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) late: BTreeMap<String, u64>,
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
        let spaces = SpaceCuts::of(cuts);
        let mut writer = LayerWriter::new(store, path, spaces.clone(), true);
        for (number, space) in spaces.iter().enumerate() {
            let mut packer = Packer::default();
            for bucket in 0..BUCKETS {
                self.merge_bucket(&mut packer, space, bucket, all)?;
                let is_full = writer.length() + packer.size() >= FILE_BYTES;
                if packer.size() > 0 && (is_full || bucket == BUCKETS - 1) {
                    let PackedRows { blocks, bytes } = packer.take();
                    writer.add(number, blocks, bytes.into());
                }
                if is_full {
                    writer.end_file()?;
                }
            }
        }
        writer.finish()
    }

    /// Adds the merged rows of a bucket.
    fn merge_bucket(
        &self,
        packer: &mut Packer,
        space: &SpaceCuts,
        bucket: u8,
        all: bool,
    ) -> Result<()> {
        let saved = self.keys(&space.name, bucket)?;
        let columns = space.cuts.iter().map(|cut| self.column(cut, bucket, &saved.ids));
        let columns: Vec<MergedColumn> = columns.collect::<Result<_>>()?;
        // Keys without a row in any column are dropped.
        let mut is_used = vec![false; saved.len()];
        for column in &columns {
            column.for_each(|id, value| {
                is_used[id] |= value.is_some() || !all;
                Ok(())
            })?;
        }
        let mut keys = KeyList::default();
        let place = |(is_used, key): (bool, &[u8])| is_used.then(|| keys.push(key));
        let places: Vec<Option<u32>> = is_used.into_iter().zip(saved.iter()).map(place).collect();
        packer.add(None, bucket, keys.count, &keys.bytes)?;
        for (cut, column) in columns.into_iter().enumerate() {
            let mut part = ColumnPart::default();
            column.for_each(|id, value| {
                if let Some(place) = places[id].filter(|_| value.is_some() || !all) {
                    part.push(place, value);
                }
                Ok(())
            })?;
            packer.add(Some(cut), bucket, part.count, &part.bytes)?;
        }
        Ok(())
    }
}

impl SavedRows for Layers {
    fn keys(&self, space: &str, bucket: u8) -> Result<BucketKeys> {
        let mut blocks = Vec::new();
        for layer in &self.0 {
            let keys = layer.keys(space, bucket)?.into_iter();
            blocks.extend(keys.map(|block| (block, layer.file.is_merged)));
        }
        BucketKeys::of(blocks)
    }

    fn column(&self, cut: &CutId, bucket: u8, ids: &KeyIds) -> Result<MergedColumn> {
        let mut blocks = Vec::new();
        for layer in &self.0 {
            blocks.extend(layer.column(cut, bucket)?);
        }
        read_merged(cut.merge, blocks, ids)
    }
}

/// Writes changed rows as a layer: those of each worker in the order of their changes. `path` is
/// that of its files without their numbers.
///
/// # Errors
/// When a file can't be written.
pub(crate) fn write_layer(
    store: &Store,
    path: String,
    cuts: &[CutId],
    changes: &[&ChangedRows],
) -> Result<Vec<LayerFile>> {
    let spaces = SpaceCuts::of(cuts);
    let count = spaces.len();
    let mut writer = LayerWriter::new(store, path, spaces, false);
    for space in 0..count {
        for rows in changes.iter().filter_map(|rows| rows.0.get(space)).flatten() {
            writer.add_shared(space, rows)?;
        }
    }
    writer.finish()
}
