//! The merge of blocks: the rows of one bucket of a cut, from the oldest layer to the youngest,
//! become one row a key.

use hashbrown::{HashMap, HashSet};

use super::layer::Rows;
use crate::error::{Error, Result};
use crate::operators::Merge;

/// A block of a bucket, unpacked.
pub(super) struct BucketBlock {
    pub(super) bytes: Vec<u8>,
    /// No key is in it twice.
    pub(super) is_merged: bool,
}

/// A call for each key, with its value; none for a deleted row.
pub(super) type EachKey<'a> = &'a mut dyn FnMut(&[u8], Option<&[u8]>) -> Result<()>;

/// Calls `each` once for each key of the blocks, which are ordered from the oldest to the youngest.
///
/// # Errors
/// When a block is damaged, and those of `each`.
pub(super) fn merge(rule: Merge, blocks: &[BucketBlock], each: EachKey<'_>) -> Result<()> {
    match rule {
        Merge::Latest => latest(blocks, each),
        Merge::Sum => sum(blocks, each),
    }
}

fn latest(blocks: &[BucketBlock], each: EachKey<'_>) -> Result<()> {
    let mut seen: HashSet<&[u8]> = HashSet::new();
    for (age, block) in blocks.iter().enumerate().rev() {
        let is_oldest = age == 0;
        if block.is_merged {
            for (key, value) in Rows::of(&block.bytes) {
                // Keys of the oldest block are looked up, but need not be remembered.
                let is_new = if is_oldest { !seen.contains(key) } else { seen.insert(key) };
                if is_new {
                    each(key, value)?;
                }
            }
            continue;
        }
        let rows: Vec<_> = Rows::of(&block.bytes).collect();
        seen.reserve(rows.len());
        for (key, value) in rows.into_iter().rev() {
            if seen.insert(key) {
                each(key, value)?;
            }
        }
    }
    Ok(())
}

fn sum(blocks: &[BucketBlock], each: EachKey<'_>) -> Result<()> {
    let mut sums: HashMap<&[u8], i64> = HashMap::new();
    for (datum, diff) in blocks.iter().flat_map(|block| Rows::of(&block.bytes)) {
        let diff: i64 = diff
            .and_then(|diff| postcard::from_bytes(diff).ok())
            .ok_or_else(|| Error::data("a snapshot has a row without a number"))?;
        let sum = sums.entry(datum).or_default();
        *sum = sum
            .checked_add(diff)
            .ok_or_else(|| Error::data("a snapshot has more than 2^63 equal rows"))?;
    }
    for (datum, diff) in sums.into_iter().filter(|(_, diff)| *diff != 0) {
        let diff = postcard::to_stdvec(&diff)
            .map_err(|e| Error::internal("can't encode a number").because(e))?;
        each(datum, Some(&diff))?;
    }
    Ok(())
}
