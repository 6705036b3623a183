//! Packed rows: blocks of keys and values, as workers hand them over and layers hold them.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

/// The first bytes of a block, which are packed to learn whether the block is worth it.
const SAMPLE_BYTES: usize = 2 << 10;

/// A block: the keys of a bucket, or the values of a cut for these keys. It is in the LZ4 block
/// format (lz4.org, doc/lz4_Block_format.md) if that is shorter.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Block {
    /// The number of the cut in the keyspace; none for the keys.
    pub(crate) cut: Option<u32>,
    pub(crate) bucket: u8,
    pub(crate) packed: u32,
    pub(crate) raw: u32,
    /// The number of keys or values.
    pub(crate) rows: u32,
    /// The XXH3 checksum of the packed bytes.
    pub(crate) checksum: u64,
}

impl Block {
    /// Returns the content of the block; none if it does not have its checksum.
    pub(crate) fn unpack(&self, packed: &[u8]) -> Option<Vec<u8>> {
        if xxh3_64(packed) != self.checksum {
            return None;
        }
        if packed.len() == self.raw as usize {
            return Some(packed.to_vec());
        }
        lz4_flex::block::decompress(packed, self.raw as usize).ok()
    }
}

/// Packed rows of a keyspace: blocks without gaps. The keys of a bucket are followed by their
/// values in each cut.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct PackedRows {
    pub(crate) blocks: Vec<Block>,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: Vec<u8>,
}

impl PackedRows {
    /// Returns the blocks with their packed bytes.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (&Block, &[u8])> {
        let mut rest = &self.bytes[..];
        self.blocks.iter().map_while(move |block| {
            let (packed, behind) = rest.split_at_checked(block.packed as usize)?;
            rest = behind;
            Some((block, packed))
        })
    }
}

/// Packs the rows of a keyspace.
#[derive(Default)]
pub(crate) struct Packer {
    rows: PackedRows,
    buffer: Vec<u8>,
    /// By column, the keys first: none until a block was long enough to learn whether packing is
    /// of use.
    is_useful: Vec<Option<bool>>,
}

impl Packer {
    /// Returns a packer with memory for this number of bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let rows = PackedRows { bytes: Vec::with_capacity(bytes), ..PackedRows::default() };
        Packer { rows, ..Packer::default() }
    }

    /// Adds `rows` keys or values, unless there are none.
    ///
    /// # Errors
    /// When they have 4 GiB or more.
    pub(crate) fn add(
        &mut self,
        cut: Option<usize>,
        bucket: u8,
        rows: u32,
        content: &[u8],
    ) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        let raw = u32::try_from(content.len()).map_err(|_| Error::internal("a block of 4 GiB"))?;
        let column = cut.map_or(0, |cut| cut + 1);
        let is_useful = self.is_useful(column, content)?;
        let length = if is_useful { self.pack(content)? } else { content.len() };
        let packed = if length < content.len() { &self.buffer[..length] } else { content };
        let (cut, checksum) = (cut.map(|cut| cut as u32), xxh3_64(packed));
        let packed_length = packed.len() as u32;
        self.rows.bytes.extend_from_slice(packed);
        self.rows.blocks.push(Block { cut, bucket, packed: packed_length, raw, rows, checksum });
        Ok(())
    }

    /// Returns the number of packed bytes.
    pub(crate) fn size(&self) -> usize {
        self.rows.bytes.len()
    }

    /// Takes the packed rows.
    pub(crate) fn take(&mut self) -> PackedRows {
        self.rows.bytes.shrink_to_fit();
        std::mem::take(&mut self.rows)
    }

    /// Returns false if packing is of little use for a column: digests can't be packed. The first
    /// bytes of its first long block represent all.
    fn is_useful(&mut self, column: usize, content: &[u8]) -> Result<bool> {
        if column >= self.is_useful.len() {
            self.is_useful.resize(column + 1, None);
        }
        let Some(sample) = content.get(..SAMPLE_BYTES) else { return Ok(true) };
        if let Some(is_useful) = self.is_useful[column] {
            return Ok(is_useful);
        }
        let is_useful = self.pack(sample)? * 8 <= sample.len() * 7;
        self.is_useful[column] = Some(is_useful);
        Ok(is_useful)
    }

    /// Packs `block` into the buffer, and returns the length.
    fn pack(&mut self, block: &[u8]) -> Result<usize> {
        let most = lz4_flex::block::get_maximum_output_size(block.len());
        if self.buffer.len() < most {
            self.buffer.resize(most, 0);
        }
        lz4_flex::block::compress_into(block, &mut self.buffer)
            .map_err(|e| Error::internal("can't pack a block").because(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_packed_where_that_is_of_use() {
        let (same, mut state) = (vec![7; 5_000], 1_u64);
        let mut random = |length: usize| -> Vec<u8> {
            let next = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            };
            (0..length).map(next).collect()
        };
        let contents = [same.clone(), random(5_000), random(100), random(4_000), same, vec![1; 90]];
        let mut packer = Packer::default();
        for (at, content) in contents.iter().enumerate() {
            packer.add((at % 2).checked_sub(1), at as u8, 1, content).unwrap();
        }
        packer.add(None, 0, 0, b"no rows").unwrap();
        let PackedRows { blocks, bytes } = packer.take();
        assert_eq!((packer.size(), blocks.len()), (0, contents.len()));
        let mut from = 0;
        for (block, content) in blocks.iter().zip(&contents) {
            let packed = &bytes[from..from + block.packed as usize];
            from += packed.len();
            assert_eq!(block.unpack(packed).as_ref(), Some(content));
            assert!(block.unpack(&packed[1..]).is_none());
        }
        assert_eq!(from, bytes.len());
        let is_packed: Vec<bool> = blocks.iter().map(|block| block.packed < block.raw).collect();
        assert_eq!(is_packed, [true, false, false, false, true, true]);
    }
}
