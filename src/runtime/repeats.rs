//! An estimate of how many of the saved rows have a later row of the same key.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use crate::operators::{ChangedRows, read_keys};

/// The bucket whose rows are counted. A hash of the key decides its bucket, so one represents all.
const SAMPLED_BUCKET: u8 = 0;

/// The saved rows of one bucket, by keyspace.
#[derive(Default)]
pub(super) struct Repeats(Vec<Sample>);

/// The saved rows of one bucket of a keyspace.
#[derive(Default)]
struct Sample {
    /// The hashes of the keys.
    keys: HashSet<u64>,
    /// The number of rows in each cut. A key has a row each time it was saved.
    rows: Vec<usize>,
}

impl Repeats {
    /// Counts more rows.
    pub(super) fn add(&mut self, rows: &ChangedRows) {
        self.0.resize_with(self.0.len().max(rows.0.len()), Sample::default);
        for (sample, packed) in self.0.iter_mut().zip(&rows.0) {
            let blocks = packed.iter().flat_map(|rows| rows.blocks());
            for (block, bytes) in blocks.filter(|(block, _)| block.bucket == SAMPLED_BUCKET) {
                match block.cut {
                    Some(cut) => sample.count(cut as usize, block.rows as usize),
                    None => sample.add_keys(&block.unpack(bytes).unwrap_or_default()),
                }
            }
        }
    }

    /// Returns true if most of the rows have a later row of the same key.
    pub(super) fn are_most(&self) -> bool {
        let all: usize = self.0.iter().flat_map(|sample| &sample.rows).sum();
        let repeated: usize = self.0.iter().map(Sample::repeated).sum();
        2 * repeated > all
    }
}

impl Sample {
    fn add_keys(&mut self, keys: &[u8]) {
        read_keys(keys, |key| _ = self.keys.insert(xxh3_64(key)));
    }

    fn count(&mut self, cut: usize, rows: usize) {
        self.rows.resize(self.rows.len().max(cut + 1), 0);
        self.rows[cut] += rows;
    }

    /// Returns the least number of rows that have a later one: the rows of a cut beyond one a key.
    fn repeated(&self) -> usize {
        self.rows.iter().map(|rows| rows.saturating_sub(self.keys.len())).sum()
    }
}
