//! Layers: files of rows, in blocks by keyspace and bucket.
//!
//! ```text
//! file   = magic, blocks, index, checksum of the index (u128), length of the index (u32), magic
//! block  = keys or a column, in the LZ4 block format (lz4.org, doc/lz4_Block_format.md) if that
//!          is shorter
//! ```
//!
//! The keys of a bucket and the columns of its cuts are in one file, encoded as in
//! [`operators::cut`](crate::operators). The index is encoded by postcard, numbers are
//! little-endian, and checksums are those of XXH3.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::error::{Advice, Error, Result};
use crate::operators::{ChangedBucket, CutId, SpaceCuts};
use crate::store::Store;
use crate::sync::lock;

/// The format of the file, and its version.
const MAGIC: &[u8; 4] = b"WSL3";
/// A file ends after this many bytes, so that a store can take it in one piece.
const FILE_BYTES: usize = 64 << 20;
/// The first bytes of a block, which are packed to learn whether the block is worth it.
const SAMPLE_BYTES: usize = 2 << 10;
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
    /// The number of the keyspace in the index.
    pub(super) space: u32,
    /// The number of the cut in the keyspace; none for the keys.
    pub(super) cut: Option<u32>,
    pub(super) bucket: u8,
    pub(super) offset: u64,
    pub(super) packed: u32,
    pub(super) raw: u32,
    /// The number of keys or values.
    pub(super) rows: u32,
    /// The checksum of the packed bytes.
    pub(super) checksum: u64,
}

impl Block {
    /// Returns the content of the block; none if it does not have its checksum.
    pub(super) fn unpack(&self, packed: &[u8]) -> Option<Vec<u8>> {
        if xxh3_64(packed) != self.checksum {
            return None;
        }
        if packed.len() == self.raw as usize {
            return Some(packed.to_vec());
        }
        lz4_flex::block::decompress(packed, self.raw as usize).ok()
    }
}

/// The index at the end of a file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) spaces: Vec<SpaceCuts>,
    pub(super) blocks: Vec<Block>,
}

impl Index {
    /// Returns the keyspace and the cut of a block; no cut for keys. Returns none if the index
    /// lacks them.
    pub(super) fn names(&self, block: &Block) -> Option<(&str, Option<&CutId>)> {
        let space = self.spaces.get(block.space as usize)?;
        Some(match block.cut {
            None => (&space.name, None),
            Some(cut) => (&space.name, Some(space.cuts.get(cut as usize)?)),
        })
    }
}

/// Writes a layer, in as many files as it needs.
pub(super) struct LayerWriter<'a> {
    store: &'a Store,
    /// The path of the files without their numbers.
    path: String,
    is_merged: bool,
    spaces: Vec<SpaceCuts>,
    blocks: Vec<Block>,
    bytes: Vec<u8>,
    files: Vec<LayerFile>,
    packer: Packer,
}

impl<'a> LayerWriter<'a> {
    pub(super) fn new(
        store: &'a Store,
        path: String,
        spaces: Vec<SpaceCuts>,
        is_merged: bool,
    ) -> Self {
        LayerWriter {
            store,
            path,
            is_merged,
            spaces,
            blocks: Vec::new(),
            bytes: MAGIC.to_vec(),
            files: Vec::new(),
            packer: Packer::default(),
        }
    }

    /// Adds `rows` keys or values, unless there are none.
    pub(super) fn block(&mut self, place: BlockPlace, rows: u32, content: &[u8]) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        let (too_long, offset) = (|_| Error::internal("a block of 4 GiB"), self.bytes.len());
        let raw = u32::try_from(content.len()).map_err(too_long)?;
        let packed = self.packer.pack(content)?;
        self.blocks.push(Block {
            space: place.space as u32,
            cut: place.cut.map(|cut| cut as u32),
            bucket: place.bucket,
            offset: offset as u64,
            packed: u32::try_from(packed.len()).map_err(too_long)?,
            raw,
            rows,
            checksum: xxh3_64(packed),
        });
        self.bytes.extend_from_slice(packed);
        Ok(())
    }

    /// Ends a bucket, whose keys and columns are in one file.
    pub(super) fn end_bucket(&mut self) -> Result<()> {
        if self.bytes.len() >= FILE_BYTES { self.end_file() } else { Ok(()) }
    }

    /// Adds the changed rows of one bucket of a keyspace, in the order of the changes.
    pub(super) fn changes(
        &mut self,
        space: usize,
        bucket: u8,
        changes: &[&ChangedBucket],
    ) -> Result<()> {
        let Some(first) = changes.first() else { return Ok(()) };
        let mut content = Vec::new();
        let mut keys = 0;
        for change in changes {
            content.extend_from_slice(&change.keys.bytes);
            keys += change.keys.count;
        }
        self.block(BlockPlace { space, cut: None, bucket }, keys, &content)?;
        for cut in 0..first.columns.len() {
            let (mut first, mut rows) = (0, 0);
            content.clear();
            for change in changes {
                let column = change.columns.get(cut).filter(|column| column.count > 0);
                if let Some(column) = column {
                    column.append_to(&mut content, first);
                    rows += column.count;
                }
                first += change.keys.count;
            }
            self.block(BlockPlace { space, cut: Some(cut), bucket }, rows, &content)?;
        }
        self.end_bucket()
    }

    fn end_file(&mut self) -> Result<()> {
        let (spaces, blocks) = (self.spaces.clone(), std::mem::take(&mut self.blocks));
        let index = Index { spaces, blocks };
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

/// Packs blocks.
#[derive(Default)]
struct Packer {
    buffer: Vec<u8>,
}

impl Packer {
    /// Returns the packed block, or the block itself if packing is of little use: digests can't be
    /// packed. The first bytes of a block represent the others.
    fn pack<'b>(&'b mut self, block: &'b [u8]) -> Result<&'b [u8]> {
        if let Some(sample) = block.get(..SAMPLE_BYTES)
            && self.compress(sample)? * 8 > sample.len() * 7
        {
            return Ok(block);
        }
        let length = self.compress(block)?;
        Ok(if length < block.len() { &self.buffer[..length] } else { block })
    }

    /// Packs `block` into the buffer, and returns the length.
    fn compress(&mut self, block: &[u8]) -> Result<usize> {
        let most = lz4_flex::block::get_maximum_output_size(block.len());
        if self.buffer.len() < most {
            self.buffer.resize(most, 0);
        }
        lz4_flex::block::compress_into(block, &mut self.buffer)
            .map_err(|e| Error::internal("can't pack a block").because(e))
    }
}

/// The place of a block in a layer.
#[derive(Clone, Copy)]
pub(super) struct BlockPlace {
    /// The number of the keyspace.
    pub(super) space: usize,
    /// The number of the cut in the keyspace; none for the keys.
    pub(super) cut: Option<usize>,
    pub(super) bucket: u8,
}

/// An open file of a layer.
pub(super) struct OpenLayer {
    store: Store,
    pub(super) file: LayerFile,
    /// The whole file, if it is not in a folder: a request for each block would take long.
    held: Mutex<Option<Arc<Vec<u8>>>>,
    /// By keyspace and bucket.
    keys: BTreeMap<(String, u8), Block>,
    /// By cut and bucket.
    columns: BTreeMap<(CutId, u8), Block>,
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
        let (mut keys, mut columns) = (BTreeMap::new(), BTreeMap::new());
        for block in &index.blocks {
            match index.names(block).ok_or_else(damaged)? {
                (space, None) => drop(keys.insert((space.to_string(), block.bucket), *block)),
                (_, Some(cut)) => drop(columns.insert((cut.clone(), block.bucket), *block)),
            }
        }
        let held = store.folder().is_none().then(|| Arc::new(bytes)).into();
        Ok(OpenLayer { held, store: store.clone(), file: file.clone(), keys, columns })
    }

    /// Returns true if the file has rows of the cut.
    pub(super) fn has_rows(&self, cut: &CutId) -> bool {
        self.columns.keys().any(|(of, _)| of == cut)
    }

    /// Frees the memory of the file. Later blocks are requested one by one.
    pub(super) fn release(&self) {
        *lock(&self.held) = None;
    }

    /// Reads the keys of a bucket; they are empty if the file has none.
    ///
    /// # Errors
    /// When they are damaged or can't be read.
    pub(super) fn keys(&self, space: &str, bucket: u8) -> Result<Vec<u8>> {
        self.read(self.keys.get(&(space.to_string(), bucket)))
    }

    /// Reads the column of a cut, like [`keys`](Self::keys).
    ///
    /// # Errors
    /// When it is damaged or can't be read.
    pub(super) fn column(&self, cut: &CutId, bucket: u8) -> Result<Vec<u8>> {
        self.read(self.columns.get(&(cut.clone(), bucket)))
    }

    fn read(&self, block: Option<&Block>) -> Result<Vec<u8>> {
        let Some(block) = block else { return Ok(Vec::new()) };
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
        block.unpack(packed).ok_or_else(damaged)
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
