//! An estimate of how many of the saved rows have a later row of the same key.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::operators::{ChangedRows, read_keys};

/// The bucket whose keys are counted. A hash of the key decides its bucket, so one represents all.
const SAMPLED_BUCKET: u8 = 0;

/// The keys of the changed rows in one bucket.
#[derive(Default)]
pub(super) struct Repeats {
    /// The number of keys, each as often as it was saved.
    saved: usize,
    /// The hashes of different keys.
    different: HashSet<u64>,
}

impl Repeats {
    /// Counts the keys of more rows.
    pub(super) fn add(&mut self, rows: &ChangedRows) {
        for (space, packed) in (0..).zip(&rows.0) {
            for rows in packed {
                let keys = rows
                    .blocks()
                    .filter(|(block, _)| block.cut.is_none() && block.bucket == SAMPLED_BUCKET);
                for keys in keys.filter_map(|(block, bytes)| block.unpack(bytes)) {
                    read_keys(&keys, |key| {
                        self.saved += 1;
                        self.different.insert(xxh3_64_with_seed(key, space));
                    });
                }
            }
        }
    }

    /// Returns true if most of the rows have a later row of the same key.
    pub(super) fn are_most(&self) -> bool {
        self.saved > 2 * self.different.len()
    }
}
