//! The inspection of a layer's file: the rows of its cuts, and the checksums of its blocks.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_128;

use super::report::Finding;
use crate::durable::layer::{self, Index, IndexedBlock, LayerFile};
use crate::error::Result;
use crate::operators::{CutId, read_column, read_keys};
use crate::store::Store;

/// The stored rows and bytes of a cut, or the keys and bytes of a keyspace.
#[derive(Clone, Copy, Default)]
pub(super) struct Stored {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Stored {
    pub(super) fn add(&mut self, other: &Stored) {
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

/// The content of a file.
#[derive(Clone, Default)]
pub(super) struct LayerContent {
    pub(super) cuts: BTreeMap<CutId, Stored>,
    /// The keys, by keyspace.
    pub(super) keys: BTreeMap<String, Stored>,
    /// The number of blocks whose checksums were compared.
    pub(super) verified: u64,
    pub(super) damage: Option<LayerDamage>,
}

/// A damaged file.
#[derive(Clone)]
pub(super) struct LayerDamage {
    pub(super) finding: Finding,
    /// The cuts and buckets of damaged blocks.
    pub(super) blocks: Vec<String>,
}

/// Reads the index of a file.
///
/// # Errors
/// When the store can't be read.
pub(super) fn list(store: &Store, file: &LayerFile) -> Result<LayerContent> {
    let from = file.size.saturating_sub(layer::TAIL_BYTES as u64);
    let tail = match store.get_range(&file.path, from..file.size) {
        Ok(Some(tail)) => tail,
        Ok(None) => return Ok(damaged(Finding::Missing, Vec::new())),
        // An object store refuses a range behind the end of a file that is too short.
        Err(_) => return verify(store, file),
    };
    let from = layer::index_length(&tail).and_then(|length| from.checked_sub(length));
    let Some(from) = from else { return Ok(damaged(Finding::Changed, Vec::new())) };
    let bytes = store.get_range(&file.path, from..file.size)?.unwrap_or_default();
    Ok(match layer::index(&bytes).as_ref().and_then(Index::blocks) {
        Some(blocks) => content(&blocks),
        None => damaged(Finding::Changed, Vec::new()),
    })
}

/// Reads a file, and compares its checksum and those of its blocks.
///
/// # Errors
/// When the store can't be read.
pub(super) fn verify(store: &Store, file: &LayerFile) -> Result<LayerContent> {
    let Some(bytes) = store.get(&file.path)? else {
        return Ok(damaged(Finding::Missing, Vec::new()));
    };
    let is_same = format!("{:032x}", xxh3_128(&bytes)) == file.digest;
    let index = layer::index(&bytes);
    let Some(blocks) = index.as_ref().and_then(Index::blocks) else {
        return Ok(damaged(Finding::Changed, Vec::new()));
    };
    let unsound: Vec<String> = (blocks.iter())
        .filter(|indexed| !is_sound(indexed, &bytes))
        .map(|indexed| format!("{}, bucket {}", name(indexed), indexed.block.bucket))
        .collect();
    let mut content = content(&blocks);
    content.verified = blocks.len() as u64;
    if !is_same || !unsound.is_empty() {
        content.damage = Some(LayerDamage { finding: Finding::Changed, blocks: unsound });
    }
    Ok(content)
}

fn damaged(finding: Finding, blocks: Vec<String>) -> LayerContent {
    LayerContent { damage: Some(LayerDamage { finding, blocks }), ..LayerContent::default() }
}

fn content(blocks: &[IndexedBlock<'_>]) -> LayerContent {
    let mut content = LayerContent::default();
    for IndexedBlock { space, cut, block, .. } in blocks {
        let stored = match cut {
            Some(cut) => content.cuts.entry((*cut).clone()).or_default(),
            None => content.keys.entry(space.to_string()).or_default(),
        };
        stored.rows += u64::from(block.rows);
        stored.bytes += u64::from(block.packed);
    }
    content
}

fn name(indexed: &IndexedBlock<'_>) -> String {
    match indexed.cut {
        Some(cut) => cut.name.clone(),
        None => format!("keys of {}", indexed.space),
    }
}

/// Returns true if a block has its checksum and its number of rows.
fn is_sound(indexed: &IndexedBlock<'_>, file: &[u8]) -> bool {
    let IndexedBlock { block, offset, .. } = indexed;
    let packed = usize::try_from(*offset).ok().and_then(|from| {
        let to = from.checked_add(block.packed as usize)?;
        file.get(from..to)
    });
    let Some(raw) = packed.and_then(|packed| block.unpack(packed)) else { return false };
    let rows = match block.cut {
        None => read_keys(&raw, |_| ()),
        Some(_) => read_column(&raw, |_, _| ()),
    };
    rows == Some(u64::from(block.rows))
}
