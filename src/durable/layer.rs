//! Layers: files of rows, in blocks by cut and bucket.
//!
//! ```text
//! file   = magic, blocks, index, checksum of the index (u128), length of the index (u32), magic
//! block  = rows in the LZ4 block format (lz4.org, doc/lz4_Block_format.md)
//! row    = length of the key, key, 0 or length of the value + 1, value
//! ```
//!
//! The index is encoded by postcard. Lengths in rows are LEB128 numbers, other numbers are
//! little-endian, and checksums are those of XXH3.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::error::{Advice, Error, Result};
use crate::operators::{ChangedRows, CutId};
use crate::store::Store;
use crate::sync::lock;

/// The format of the file, and its version.
const MAGIC: &[u8; 4] = b"WSL1";
/// A file ends after this many bytes, so that a store can take it in one piece.
const FILE_BYTES: usize = 64 << 20;
/// The bytes behind the index: its checksum, its length, and the magic.
pub(super) const TAIL_BYTES: usize = 16 + 4 + 4;

/// A file of a layer, as a snapshot names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerFile {
    pub(crate) path: String,
    pub(crate) size: u64,
    /// The XXH3-128 checksum of the file, in hexadecimal.
    pub(crate) digest: String,
    /// No key is in the file twice, nor in another file of the same layer.
    pub(crate) is_merged: bool,
}

/// A block in the index of a file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Block {
    /// The number of the cut in the index.
    pub(super) cut: u32,
    pub(super) bucket: u8,
    pub(super) offset: u64,
    pub(super) packed: u32,
    pub(super) raw: u32,
    pub(super) rows: u32,
    /// The checksum of the packed bytes.
    pub(super) checksum: u64,
}

/// The index at the end of a file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) cuts: Vec<CutId>,
    pub(super) blocks: Vec<Block>,
}

/// The rows of a block in the making.
#[derive(Default)]
pub(super) struct RowBuffer {
    bytes: Vec<u8>,
    rows: u32,
}

impl RowBuffer {
    pub(super) fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.length(key.len() as u64);
        self.bytes.extend_from_slice(key);
        self.length(value.map_or(0, |value| value.len() as u64 + 1));
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.rows += 1;
    }

    fn length(&mut self, mut length: u64) {
        while length >= 0x80 {
            self.bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        self.bytes.push(length as u8);
    }
}

/// Reads the rows of an unpacked block: their keys, and their values or none.
pub(super) struct Rows<'a>(&'a [u8]);

impl<'a> Rows<'a> {
    pub(super) fn of(block: &'a [u8]) -> Self {
        Rows(block)
    }

    fn length(&mut self) -> Option<u64> {
        let mut length = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            length |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(length);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.length()?;
        let key = self.take(key)?;
        match self.length()?.checked_sub(1) {
            Some(length) => Some((key, Some(self.take(length)?))),
            None => Some((key, None)),
        }
    }
}

/// Writes a layer, in as many files as it needs.
pub(super) struct LayerWriter<'a> {
    store: &'a Store,
    /// The path of the files without their numbers.
    path: String,
    is_merged: bool,
    cuts: Vec<CutId>,
    blocks: Vec<Block>,
    bytes: Vec<u8>,
    files: Vec<LayerFile>,
}

impl<'a> LayerWriter<'a> {
    pub(super) fn new(store: &'a Store, path: String, cuts: &[CutId], is_merged: bool) -> Self {
        let (bytes, cuts) = (MAGIC.to_vec(), cuts.to_vec());
        LayerWriter { store, path, is_merged, cuts, blocks: Vec::new(), bytes, files: Vec::new() }
    }

    /// Adds the rows of one bucket of a cut, unless there are none.
    pub(super) fn block(&mut self, cut: usize, bucket: u8, rows: RowBuffer) -> Result<()> {
        if rows.rows == 0 {
            return Ok(());
        }
        let (too_long, offset) = (|_| Error::internal("a block of 4 GiB"), self.bytes.len());
        let raw = u32::try_from(rows.bytes.len()).map_err(too_long)?;
        let packed = lz4_flex::block::compress(&rows.bytes);
        self.blocks.push(Block {
            cut: cut as u32,
            bucket,
            offset: offset as u64,
            packed: u32::try_from(packed.len()).map_err(too_long)?,
            raw,
            rows: rows.rows,
            checksum: xxh3_64(&packed),
        });
        self.bytes.extend(packed);
        if self.bytes.len() >= FILE_BYTES {
            self.end_file()?;
        }
        Ok(())
    }

    /// Adds changed rows of all workers: by cut, in the order of their changes.
    pub(super) fn changes(&mut self, cut: usize, chunks: &[&ChangedRows]) -> Result<()> {
        let mut buckets: BTreeMap<u8, RowBuffer> = BTreeMap::new();
        for chunk in chunks {
            chunk.for_each(|bucket, key, value| {
                buckets.entry(bucket).or_default().push(key, value);
            });
        }
        buckets.into_iter().try_for_each(|(bucket, rows)| self.block(cut, bucket, rows))
    }

    fn end_file(&mut self) -> Result<()> {
        let index = Index { cuts: self.cuts.clone(), blocks: std::mem::take(&mut self.blocks) };
        let index = postcard::to_stdvec(&index)
            .map_err(|e| Error::internal("can't encode the index of a layer").because(e))?;
        let mut bytes = std::mem::replace(&mut self.bytes, MAGIC.to_vec());
        let length =
            u32::try_from(index.len()).map_err(|_| Error::internal("an index of 4 GiB or more"))?;
        bytes.extend_from_slice(&index);
        bytes.extend_from_slice(&xxh3_128(&index).to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(MAGIC);
        let path = format!("{}-{}", self.path, self.files.len());
        self.store.put(&path, &bytes)?;
        let (size, digest) = (bytes.len() as u64, format!("{:032x}", xxh3_128(&bytes)));
        self.files.push(LayerFile { path, size, digest, is_merged: self.is_merged });
        Ok(())
    }

    /// Ends the last file, and returns all files. They are durable.
    pub(super) fn finish(mut self) -> Result<Vec<LayerFile>> {
        if !self.blocks.is_empty() {
            self.end_file()?;
        }
        Ok(self.files)
    }
}

/// An open file of a layer.
pub(super) struct OpenLayer {
    store: Store,
    pub(super) file: LayerFile,
    /// The whole file, if it is not in a folder: a request for each block would take long.
    held: Mutex<Option<Arc<Vec<u8>>>>,
    /// By cut and bucket.
    blocks: BTreeMap<(CutId, u8), Block>,
}

impl OpenLayer {
    /// Reads the whole file once, and compares its checksum with the recorded one.
    ///
    /// # Errors
    /// When it is missing, damaged or can't be read.
    pub(super) fn open(store: &Store, file: &LayerFile) -> Result<Self> {
        let bytes = store.get(&file.path)?;
        let damaged = || damaged(store, &file.path);
        let bytes = bytes.filter(|bytes| format!("{:032x}", xxh3_128(bytes)) == file.digest);
        let bytes = bytes.ok_or_else(damaged)?;
        let index = index(&bytes).ok_or_else(damaged)?;
        let Index { cuts, blocks } = index;
        let named = |block: Block| {
            cuts.get(block.cut as usize).map(|cut| ((cut.clone(), block.bucket), block))
        };
        let blocks: Option<_> = blocks.into_iter().map(named).collect();
        let held = store.folder().is_none().then(|| Arc::new(bytes)).into();
        Ok(OpenLayer {
            held,
            store: store.clone(),
            file: file.clone(),
            blocks: blocks.ok_or_else(damaged)?,
        })
    }

    /// Returns true if the file has rows of the cut.
    pub(super) fn has_rows(&self, cut: &CutId) -> bool {
        self.blocks.keys().any(|(of, _)| of == cut)
    }

    /// Frees the memory of the file. Later blocks are requested one by one.
    pub(super) fn release(&self) {
        *lock(&self.held) = None;
    }

    /// Reads a block; none if the file has no rows of the bucket.
    ///
    /// # Errors
    /// When it is damaged or can't be read.
    pub(super) fn block(&self, cut: &CutId, bucket: u8) -> Result<Option<Vec<u8>>> {
        let Some(block) = self.blocks.get(&(cut.clone(), bucket)) else { return Ok(None) };
        let damaged = || damaged(&self.store, &self.file.path);
        let range = block.offset..block.offset + u64::from(block.packed);
        let held = lock(&self.held).clone();
        let read;
        let packed = match &held {
            Some(bytes) => {
                bytes.get(range.start as usize..range.end as usize).ok_or_else(damaged)?
            }
            None => {
                read = self.store.get_range(&self.file.path, range)?.ok_or_else(damaged)?;
                &read
            }
        };
        if xxh3_64(packed) != block.checksum {
            return Err(damaged());
        }
        let raw = lz4_flex::block::decompress(packed, block.raw as usize);
        let raw = raw.map_err(|e| damaged().because(e))?;
        if Rows::of(&raw).count() as u64 == u64::from(block.rows) {
            Ok(Some(raw))
        } else {
            Err(damaged())
        }
    }
}

/// Returns the length of the index, of the last [`TAIL_BYTES`] of a file.
pub(super) fn index_length(tail: &[u8]) -> Option<u64> {
    let (length, magic) = tail.get(TAIL_BYTES - 8..)?.split_first_chunk()?;
    (magic == MAGIC).then(|| u64::from(u32::from_le_bytes(*length)))
}

/// Returns the index of a file, of all its bytes or those from the index on.
pub(super) fn index(bytes: &[u8]) -> Option<Index> {
    let (rest, tail) = bytes.split_at_checked(bytes.len().checked_sub(TAIL_BYTES)?)?;
    let (checksum, tail) = tail.split_first_chunk()?;
    let (length, magic) = tail.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    let index = &rest[rest.len().checked_sub(length)?..];
    let is_sound = magic == MAGIC && u128::from_le_bytes(*checksum) == xxh3_128(index);
    is_sound.then(|| postcard::from_bytes(index).ok()).flatten()
}

fn damaged(store: &Store, path: &str) -> Error {
    Error::data(format!("{} is missing or not as a run wrote it", store.name(path)))
        .hint("Restore it, or begin anew.")
        .advise(Advice::BeginAnew)
}
