//! Numbers for keys: tables of one key type share them, so that each key is hashed and kept once
//! and states are arrays.

use std::cell::{RefCell, RefMut};
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;

use foldhash::fast::FoldHasher;
use hashbrown::HashTable;

use super::datum::Datum;
use super::seeds::Seeds;

/// The numbers of the keys that a worker owns: dense, from 0, in the order in which they came, and
/// never taken back.
#[derive(Clone)]
pub(crate) struct Keys<K> {
    dictionary: Rc<RefCell<Dictionary<K>>>,
    seeds: Seeds,
}

pub(crate) struct Dictionary<K> {
    numbers: HashTable<Entry>,
    keys: Vec<K>,
    hashes: Neighbours,
    /// The hashes of the keys that are looked up together.
    batch: Vec<u32>,
}

/// A number with the hash of its key, so that the table grows without a look at any key.
#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    number: u32,
}

impl Entry {
    /// Returns the hash as the table takes it: the low bits choose the place, the high ones tell
    /// the entries of one place apart.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) | u64::from(hash) << 32
    }
}

impl<K: Datum> Keys<K> {
    pub(crate) fn new(seeds: Seeds) -> Self {
        let dictionary = Dictionary {
            numbers: HashTable::new(),
            keys: Vec::new(),
            hashes: Neighbours(seeds),
            batch: Vec::new(),
        };
        Keys { dictionary: Rc::new(RefCell::new(dictionary)), seeds }
    }

    /// The dictionary, for as long as an operator is at work.
    pub(crate) fn open(&self) -> RefMut<'_, Dictionary<K>> {
        self.dictionary.borrow_mut()
    }

    /// The seeds of the run.
    pub(crate) fn seeds(&self) -> Seeds {
        self.seeds
    }
}

impl<K: Datum> Dictionary<K> {
    /// Returns the number of `key`: the one it has, or the next.
    pub(crate) fn number(&mut self, key: &K) -> u32 {
        self.find(key, self.hash(key))
    }

    /// Puts the numbers of `keys` into `numbers`, in their order. All keys are hashed before any is
    /// looked up, so that the processor waits for the memory of several look-ups at once.
    pub(crate) fn number_all<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k K> + Clone,
        numbers: &mut Vec<u32>,
    ) where
        K: 'k,
    {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        batch.extend(keys.clone().map(|key| self.hash(key)));
        numbers.clear();
        numbers.extend(keys.zip(&batch).map(|(key, hash)| self.find(key, *hash)));
        self.batch = batch;
    }

    fn hash(&self, key: &K) -> u32 {
        let hash = self.hashes.hash_one(key);
        // The low bits hold neighbours together, the seven highest tell them apart.
        hash as u32 & (u32::MAX >> 7) | (hash >> 57 << 25) as u32
    }

    fn find(&mut self, key: &K, hash: u32) -> u32 {
        let keys = &mut self.keys;
        let entry = self.numbers.entry(
            Entry::spread(hash),
            |entry| entry.hash == hash && keys[entry.number as usize] == *key,
            |entry| Entry::spread(entry.hash),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(entry) => entry.get().number,
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let number = keys.len() as u32;
                entry.insert(Entry { hash, number });
                keys.push(key.clone());
                number
            }
        }
    }

    /// The key of a number that was given out.
    pub(crate) fn key(&self, number: u32) -> &K {
        &self.keys[number as usize]
    }
}

/// Hashes keys of one integer so that 64 consecutive ones lie together. Such keys are often counted
/// up, and then a table is walked, not jumped about in. Of a key that is more than one integer, all
/// bits are hashed alike.
#[derive(Clone, Copy)]
struct Neighbours(Seeds);

impl BuildHasher for Neighbours {
    type Hasher = NeighbourHasher;
    fn build_hasher(&self) -> NeighbourHasher {
        NeighbourHasher { mixed: self.0.hasher(), written: Written::Nothing }
    }
}

/// Holds the first integer back until it is clear whether anything follows.
struct NeighbourHasher {
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
    /// Returns the hasher of all that is no single integer.
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
        // The low bits choose the place in a table, the high ones tell apart what lies near: both
        // need the integer's low bits. As they only change the place within 64, keys that have all
        // the same ones are spread too.
        mixed.finish() ^ low ^ (low << 57)
    }
}

/// A value for each number, in chunks: it grows without copying and without slack.
pub(crate) struct Column<T>(Vec<Box<[T]>>);

const CHUNK: usize = 4096;

impl<T: Default> Column<T> {
    pub(crate) fn new() -> Self {
        Column(Vec::new())
    }

    /// The value at `number`, which is there from the beginning.
    pub(crate) fn at(&mut self, number: u32) -> &mut T {
        let (chunk, place) = (number as usize / CHUNK, number as usize % CHUNK);
        while self.0.len() <= chunk {
            self.0.push(std::iter::repeat_with(T::default).take(CHUNK).collect());
        }
        &mut self.0[chunk][place]
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
    fn a_key_has_one_number_however_it_is_looked_up() {
        let keys = Keys::<String>::new(Seeds::new(Secret::new([5; 16])));
        let (mut numbers, mut known) = (Vec::new(), BTreeMap::new());
        for batch in 0..60 {
            let texts: Vec<String> =
                (0..97).map(|at| format!("key {}", (batch * 31 + at * at) % 2_000)).collect();
            keys.open().number_all(texts.iter(), &mut numbers);
            for (text, number) in texts.iter().zip(&numbers) {
                let next = known.len() as u32;
                assert_eq!(*known.entry(text.clone()).or_insert(next), *number);
                assert_eq!(keys.open().number(text), *number);
                assert_eq!(keys.open().key(*number), text);
            }
        }
        assert!(known.len() > 1_000);
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
