//! The inspection of a layer's file: the rows of its cuts, and the checksums of its blocks.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_128;

use super::report::Finding;
use crate::durable::layer::{self, Block, Index, LayerFile};
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
    Ok(match layer::index(&bytes) {
        Some(index) => content(&index),
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
    let Some(index) = layer::index(&bytes) else {
        return Ok(damaged(Finding::Changed, Vec::new()));
    };
    let unsound: Vec<String> = (index.blocks.iter())
        .filter(|block| !is_sound(block, &bytes))
        .map(|block| format!("{}, bucket {}", name(&index, block), block.bucket))
        .collect();
    let mut content = content(&index);
    content.verified = index.blocks.len() as u64;
    if !is_same || !unsound.is_empty() {
        content.damage = Some(LayerDamage { finding: Finding::Changed, blocks: unsound });
    }
    Ok(content)
}

fn damaged(finding: Finding, blocks: Vec<String>) -> LayerContent {
    LayerContent { damage: Some(LayerDamage { finding, blocks }), ..LayerContent::default() }
}

fn content(index: &Index) -> LayerContent {
    let mut content = LayerContent::default();
    for block in &index.blocks {
        let stored = match index.names(block) {
            Some((_, Some(cut))) => content.cuts.entry(cut.clone()).or_default(),
            Some((space, None)) => content.keys.entry(space.to_string()).or_default(),
            None => return damaged(Finding::Changed, Vec::new()),
        };
        stored.rows += u64::from(block.rows);
        stored.bytes += u64::from(block.packed);
    }
    content
}

fn name(index: &Index, block: &Block) -> String {
    match index.names(block) {
        Some((_, Some(cut))) => cut.name.clone(),
        Some((space, None)) => format!("keys of {space}"),
        None => "a cut without a name".to_string(),
    }
}

/// Returns true if a block has its checksum and its number of rows.
fn is_sound(block: &Block, file: &[u8]) -> bool {
    let packed = usize::try_from(block.offset).ok().and_then(|from| {
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
