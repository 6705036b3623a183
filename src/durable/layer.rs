//! Layers: files of packed rows.
//!
//! ```text
//! file   = magic, part*, index, checksum of the index (u128), length of the index (u32), magic
//! part   = block*
//! ```
//!
//! A part has rows of one keyspace. The keys of a bucket and their values in its cuts are blocks of
//! one part, encoded and packed as in [`operators::cut`](crate::operators). The index is encoded by
//! postcard, numbers are little-endian, and checksums are those of XXH3.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::error::{Advice, Error, Result};
use crate::operators::{Block, CutId, PackedRows, SpaceCuts};
use crate::store::Store;
use crate::sync::lock;

/// The format of the file, and its version.
const MAGIC: &[u8; 4] = b"WSL4";
/// A file ends after this many bytes, so that a store can take it in one piece.
pub(super) const FILE_BYTES: usize = 64 << 20;
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

/// A part in the index of a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct IndexPart {
    /// The number of the keyspace in the index.
    space: u32,
    /// The place of its first block in the file.
    offset: u64,
    blocks: Vec<Block>,
}

/// The index at the end of a file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Index {
    spaces: Vec<SpaceCuts>,
    parts: Vec<IndexPart>,
}

/// A block of a file, as its index names it.
pub(super) struct IndexedBlock<'i> {
    /// The number of the part in its keyspace.
    part: usize,
    pub(super) space: &'i str,
    /// None for a block of keys.
    pub(super) cut: Option<&'i CutId>,
    pub(super) offset: u64,
    pub(super) block: &'i Block,
}

impl Index {
    /// Returns the blocks in the order of the file. Returns none if the index lacks the keyspace or
    /// the cut of a block.
    pub(super) fn blocks(&self) -> Option<Vec<IndexedBlock<'_>>> {
        let (mut blocks, mut parts) = (Vec::new(), vec![0; self.spaces.len()]);
        for IndexPart { space, offset, blocks: of } in &self.parts {
            let (space, mut offset) = (*space as usize, *offset);
            let SpaceCuts { name, cuts } = self.spaces.get(space)?;
            for block in of {
                let cut = block.cut.map(|cut| cuts.get(cut as usize).ok_or(()));
                let (part, cut) = (parts[space], cut.transpose().ok()?);
                blocks.push(IndexedBlock { part, space: name, cut, offset, block });
                offset = offset.checked_add(u64::from(block.packed))?;
            }
            parts[space] += 1;
        }
        Some(blocks)
    }
}

/// Writes a layer, in as many files as it needs.
pub(super) struct LayerWriter<'a> {
    store: &'a Store,
    /// The path of the files without their numbers.
    path: String,
    is_merged: bool,
    spaces: Vec<SpaceCuts>,
    parts: Vec<IndexPart>,
    /// The bytes of the parts.
    pieces: Vec<Cow<'a, [u8]>>,
    /// The length of the magic and the pieces.
    length: usize,
    files: Vec<LayerFile>,
}

impl<'a> LayerWriter<'a> {
    pub(super) fn new(
        store: &'a Store,
        path: String,
        spaces: Vec<SpaceCuts>,
        is_merged: bool,
    ) -> Self {
        let (parts, pieces, length, files) = (Vec::new(), Vec::new(), MAGIC.len(), Vec::new());
        LayerWriter { store, path, is_merged, spaces, parts, pieces, length, files }
    }

    /// Adds rows of a keyspace.
    pub(super) fn add(&mut self, space: usize, blocks: Vec<Block>, bytes: Cow<'a, [u8]>) {
        let (space, offset) = (space as u32, self.length as u64);
        self.length += bytes.len();
        self.parts.push(IndexPart { space, offset, blocks });
        self.pieces.push(bytes);
    }

    /// Adds rows of a keyspace that stay in memory. The file ends if it is large enough.
    pub(super) fn add_shared(&mut self, space: usize, rows: &'a PackedRows) -> Result<()> {
        self.add(space, rows.blocks.clone(), Cow::Borrowed(&rows.bytes));
        if self.length >= FILE_BYTES { self.end_file() } else { Ok(()) }
    }

    /// Returns the length of the file up to now.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Ends the file, unless it is empty.
    pub(super) fn end_file(&mut self) -> Result<()> {
        let (spaces, parts) = (self.spaces.clone(), std::mem::take(&mut self.parts));
        if parts.is_empty() {
            return Ok(());
        }
        let mut end = postcard::to_stdvec(&Index { spaces, parts })
            .map_err(|e| Error::internal("can't encode the index of a layer").because(e))?;
        let length =
            u32::try_from(end.len()).map_err(|_| Error::internal("an index of 4 GiB or more"))?;
        end.extend_from_slice(&xxh3_128(&end).to_le_bytes());
        end.extend_from_slice(&length.to_le_bytes());
        end.extend_from_slice(MAGIC);
        let path = format!("{}-{}", self.path, self.files.len());
        let size = (std::mem::replace(&mut self.length, MAGIC.len()) + end.len()) as u64;
        let parts = std::mem::take(&mut self.pieces);
        let mut pieces: Vec<&[u8]> = vec![MAGIC];
        pieces.extend(parts.iter().map(|part| &part[..]));
        pieces.push(&end);
        let mut digest = Xxh3::new();
        pieces.iter().for_each(|piece| digest.update(piece));
        self.store.put_pieces(&path, &pieces)?;
        let digest = format!("{:032x}", digest.digest128());
        self.files.push(LayerFile { path, size, digest, is_merged: self.is_merged });
        Ok(())
    }

    /// Ends the last file, and returns all files. They are durable.
    pub(super) fn finish(mut self) -> Result<Vec<LayerFile>> {
        self.end_file()?;
        Ok(self.files)
    }
}

/// A block of an open file.
#[derive(Clone, Copy)]
struct PlacedBlock {
    offset: u64,
    block: Block,
}

/// The blocks of a part of an open file.
#[derive(Default)]
struct OpenPart {
    /// By bucket.
    keys: BTreeMap<u8, PlacedBlock>,
    /// By cut and bucket.
    columns: BTreeMap<(CutId, u8), PlacedBlock>,
}

/// An open file of a layer.
pub(super) struct OpenLayer {
    store: Store,
    pub(super) file: LayerFile,
    /// The whole file, if it is not in a folder: a request for each block would take long.
    held: Mutex<Option<Arc<Vec<u8>>>>,
    /// By keyspace, in the order of the file.
    parts: BTreeMap<String, Vec<OpenPart>>,
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
        let mut parts: BTreeMap<String, Vec<OpenPart>> = BTreeMap::new();
        for IndexedBlock { part, space, cut, offset, block } in
            index.blocks().ok_or_else(damaged)?
        {
            let parts = parts.entry(space.to_string()).or_default();
            while parts.len() <= part {
                parts.push(OpenPart::default());
            }
            let (place, bucket) = (PlacedBlock { offset, block: *block }, block.bucket);
            match cut {
                None => drop(parts[part].keys.insert(bucket, place)),
                Some(cut) => drop(parts[part].columns.insert((cut.clone(), bucket), place)),
            }
        }
        let held = store.folder().is_none().then(|| Arc::new(bytes)).into();
        Ok(OpenLayer { held, store: store.clone(), file: file.clone(), parts })
    }

    /// Returns true if the file has rows of the cut.
    pub(super) fn has_rows(&self, cut: &CutId) -> bool {
        let mut columns = self.parts_of(&cut.space).flat_map(|part| part.columns.keys());
        columns.any(|(of, _)| of == cut)
    }

    /// Frees the memory of the file. Later blocks are requested one by one.
    pub(super) fn release(&self) {
        *lock(&self.held) = None;
    }

    fn parts_of(&self, space: &str) -> impl Iterator<Item = &OpenPart> {
        self.parts.get(space).into_iter().flatten()
    }

    /// Reads the keys of a bucket, by part. They are empty where there are none.
    ///
    /// # Errors
    /// When they are damaged or can't be read.
    pub(super) fn keys(&self, space: &str, bucket: u8) -> Result<Vec<Vec<u8>>> {
        self.parts_of(space).map(|part| self.read(part.keys.get(&bucket))).collect()
    }

    /// Reads the column of a cut, like [`keys`](Self::keys).
    ///
    /// # Errors
    /// When it is damaged or can't be read.
    pub(super) fn column(&self, cut: &CutId, bucket: u8) -> Result<Vec<Vec<u8>>> {
        let place = (cut.clone(), bucket);
        self.parts_of(&cut.space).map(|part| self.read(part.columns.get(&place))).collect()
    }

    fn read(&self, place: Option<&PlacedBlock>) -> Result<Vec<u8>> {
        let Some(PlacedBlock { offset, block }) = place else { return Ok(Vec::new()) };
        let damaged = || damaged(&self.store, &self.file.path);
        let range = *offset..offset + u64::from(block.packed);
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
