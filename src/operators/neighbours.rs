//! A hash that keeps consecutive integers together.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FoldHasher;

use super::seeds::Seeds;

/// Hashes keys of one integer so that 64 consecutive keys are adjacent in a table. Keys are often
/// sequential, and this keeps their look-ups in neighbouring cache lines. Keys with more parts are
/// hashed as a whole.
#[derive(Clone, Copy)]
pub(super) struct Neighbours(pub(super) Seeds);

impl BuildHasher for Neighbours {
    type Hasher = NeighbourHasher;
    fn build_hasher(&self) -> NeighbourHasher {
        NeighbourHasher { mixed: self.0.hasher(), written: Written::Nothing }
    }
}

/// Keeps the first integer until it is known whether more parts follow.
pub(super) struct NeighbourHasher {
    mixed: FoldHasher<'static>,
    written: Written,
}

#[derive(Clone, Copy)]
enum Written {
    Nothing,
    One(u64),
    More,
}

impl NeighbourHasher {
    /// Returns the hasher for keys that are more than one integer.
    fn more(&mut self) -> &mut FoldHasher<'static> {
        if let Written::One(first) = self.written {
            self.mixed.write_u64(first);
        }
        self.written = Written::More;
        &mut self.mixed
    }
}

impl Hasher for NeighbourHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.more().write(bytes);
    }
    fn write_u8(&mut self, value: u8) {
        self.more().write_u8(value);
    }
    fn write_usize(&mut self, value: usize) {
        self.more().write_usize(value);
    }
    fn write_u64(&mut self, value: u64) {
        match self.written {
            Written::Nothing => self.written = Written::One(value),
            _ => self.more().write_u64(value),
        }
    }
    fn write_i64(&mut self, value: i64) {
        self.write_u64(value as u64);
    }
    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }
    fn write_i32(&mut self, value: i32) {
        self.write_u64(value as u64);
    }
    fn finish(&self) -> u64 {
        let Written::One(value) = self.written else { return self.mixed.finish() };
        let (mut mixed, low) = (self.mixed.clone(), value & 63);
        mixed.write_u64(value >> 6);
        // The low bits select the bucket and the high bits distinguish its entries, so both get the
        // low bits of the integer. They move a key by at most 64 buckets, so keys with equal low
        // bits are spread too.
        mixed.finish() ^ low ^ (low << 57)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::hash::Hash;

    use super::*;
    use crate::secret::Secret;

    /// Returns how many keys share the fullest place of a table that has one for each key, and how
    /// many hashes there are.
    fn crowd<K: Hash>(keys: impl Iterator<Item = K>, seed: u8) -> (usize, usize) {
        let hashes = Neighbours(Seeds::new(Secret::new([seed; 16])));
        let (mut places, mut all) = (BTreeMap::<u64, usize>::new(), BTreeSet::new());
        for key in keys {
            let hash = hashes.hash_one(&key);
            *places.entry(hash % (1 << 18)).or_default() += 1;
            all.insert(hash);
        }
        (places.into_values().max().unwrap_or(0), all.len())
    }

    #[test]
    fn keys_of_several_integers_spread_like_single_ones() {
        let n = 160_000;
        let single = crowd(0..n, 1);
        assert_eq!(single.1, n as usize);
        for seed in 1..5 {
            let several = [
                crowd((0..n).map(|at: i64| at << 6), seed),
                crowd((0..n).map(|at: i64| (at / 400, at % 400, 7_i64)), seed),
                crowd((0..n).map(|at: i64| (7_i64, at / 400, at % 400)), seed),
                crowd((0..n).map(|at: i64| (at / 3200, at / 50 % 64, at % 50)), seed),
                crowd((0..n).map(|at: i64| (at as i32, at as u32)), seed),
                crowd((0..n).map(|at: i64| (at << 40, at << 6)), seed),
            ];
            for (fullest, hashes) in several {
                assert!(
                    fullest <= 12 && hashes == n as usize,
                    "{fullest} keys at one place, {hashes} hashes"
                );
            }
        }
    }

    #[test]
    fn sixty_four_consecutive_integers_lie_together() {
        let hashes = Neighbours(Seeds::new(Secret::new([7; 16])));
        let places: Vec<u64> = (640..704_i64).map(|key| hashes.hash_one(key) % (1 << 18)).collect();
        assert_eq!(
            places.iter().map(|place| place >> 6).collect::<BTreeSet<_>>().len(),
            1,
            "{places:?}"
        );
        assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), 64, "{places:?}");
        let strange = Neighbours(Seeds::new(Secret::new([8; 16])));
        assert_ne!(
            places[0] >> 6,
            (strange.hash_one(640_i64) % (1 << 18)) >> 6,
            "another state has other places"
        );
    }
}
