//! The inspection of a layer's file: the rows of its cuts, and the checksums of its blocks.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::report::Finding;
use crate::durable::layer::{self, Block, Index, LayerFile, Rows};
use crate::error::Result;
use crate::operators::CutId;
use crate::store::Store;

/// The stored rows and bytes of a cut.
#[derive(Clone, Copy, Default)]
pub(super) struct Stored {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// The content of a file.
#[derive(Clone, Default)]
pub(super) struct LayerContent {
    pub(super) cuts: BTreeMap<CutId, Stored>,
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
        let Some(cut) = index.cuts.get(block.cut as usize) else {
            return damaged(Finding::Changed, Vec::new());
        };
        let stored = content.cuts.entry(cut.clone()).or_default();
        stored.rows += u64::from(block.rows);
        stored.bytes += u64::from(block.packed);
    }
    content
}

fn name<'a>(index: &'a Index, block: &Block) -> &'a str {
    index.cuts.get(block.cut as usize).map_or("a cut without a name", |cut| &cut.name)
}

/// Returns true if a block has its checksum and its number of rows.
fn is_sound(block: &Block, file: &[u8]) -> bool {
    let packed = usize::try_from(block.offset).ok().and_then(|from| {
        let to = from.checked_add(block.packed as usize)?;
        file.get(from..to)
    });
    let Some(packed) = packed.filter(|packed| xxh3_64(packed) == block.checksum) else {
        return false;
    };
    lz4_flex::block::decompress(packed, block.raw as usize)
        .is_ok_and(|raw| Rows::of(&raw).count() as u64 == u64::from(block.rows))
}
