//! The floor of a restart: the layers of the youngest snapshot are read and unpacked, and nothing
//! is built of their rows.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::support::machine;

/// The bytes behind the index of a file: its checksum, its length, and the magic.
const TAIL_BYTES: usize = 16 + 4 + 4;

/// The layers of a snapshot, and the cost of reading them.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Layers {
    /// The size of the files, in bytes.
    pub(crate) packed: u64,
    /// The size of the keys and rows, in bytes.
    pub(crate) raw: u64,
    pub(crate) rows: u64,
    /// Elapsed time, in seconds.
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// The index of a file, as `src/durable/layer.rs` writes it.
#[derive(Deserialize)]
struct Index {
    /// Each with its cuts.
    _spaces: Vec<(String, Vec<(String, String, String, u32)>)>,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    _space: u32,
    offset: u64,
    blocks: Vec<Block>,
}

/// A block; the blocks of a part are without gaps.
#[derive(Deserialize)]
struct Block {
    /// None for a block of keys.
    cut: Option<u32>,
    _bucket: u8,
    packed: u32,
    raw: u32,
    rows: u32,
    _checksum: u64,
}

/// Reads and unpacks the layers that the youngest snapshot of a state names.
pub(crate) fn read(state: &Path) -> Result<Layers> {
    let snapshots = fs::read_dir(state.join("snap"))?.collect::<std::io::Result<Vec<_>>>()?;
    let youngest = snapshots.iter().map(fs::DirEntry::path).max().ok_or("there is no snapshot")?;
    let snapshot: serde_json::Value = serde_json::from_slice(&fs::read(youngest)?)?;
    let paths = snapshot["layers"].as_array().ok_or("a snapshot without layers")?;
    let (started, cpu) = (Instant::now(), machine::cpu()?);
    let mut layers = Layers::default();
    for path in paths {
        let bytes = fs::read(state.join(path["path"].as_str().ok_or("a layer without path")?))?;
        layers.packed += bytes.len() as u64;
        for Part { offset, blocks, .. } in index(&bytes)?.parts {
            let mut from = usize::try_from(offset)?;
            for block in blocks {
                let to = from + block.packed as usize;
                let packed = bytes.get(from..to).ok_or("a short layer")?;
                from = to;
                let raw = match packed.len() == block.raw as usize {
                    true => packed.to_vec(),
                    false => lz4_flex::block::decompress(packed, block.raw as usize)?,
                };
                layers.raw += std::hint::black_box(raw).len() as u64;
                layers.rows += block.cut.map_or(0, |_| u64::from(block.rows));
            }
        }
    }
    (layers.wall, layers.cpu) = (started.elapsed().as_secs_f64(), machine::cpu()? - cpu);
    Ok(layers)
}

fn index(bytes: &[u8]) -> Result<Index> {
    let (rest, tail) =
        bytes.split_at(bytes.len().checked_sub(TAIL_BYTES).ok_or("a layer is too short")?);
    if &tail[20..] != b"WSL4" {
        return Err("a layer of another format: adapt this benchmark".into());
    }
    let length = u32::from_le_bytes([tail[16], tail[17], tail[18], tail[19]]) as usize;
    let from = rest.len().checked_sub(length).ok_or("a layer is too short")?;
    Ok(postcard::from_bytes(&rest[from..])?)
}
