//! Numbers for keys: tables of one key type share them, so that each key is hashed and kept once and states are arrays.

use std::cell::{RefCell, RefMut};
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::Datum;

/// The numbers of the keys that a worker owns: dense, from 0, in the order in which they came, and never taken back.
#[derive(Clone)]
pub(crate) struct Keys<K>(Rc<RefCell<Dictionary<K>>>);

pub(crate) struct Dictionary<K> {
    numbers: HashTable<u32>,
    keys: Vec<K>,
}

impl<K> Default for Keys<K> {
    fn default() -> Self {
        Keys(Rc::new(RefCell::new(Dictionary { numbers: HashTable::new(), keys: Vec::new() })))
    }
}

impl<K: Datum> Keys<K> {
    /// The dictionary, for as long as an operator is at work.
    pub(crate) fn open(&self) -> RefMut<'_, Dictionary<K>> {
        self.0.borrow_mut()
    }
}

impl<K: Datum> Dictionary<K> {
    /// The number of `key`.
    pub(crate) fn number(&mut self, key: &K) -> u32 {
        let hash = |key: &K| Neighbours.hash_one(key);
        let keys = &self.keys;
        let entry = self.numbers.entry(hash(key), |n| keys[*n as usize] == *key, |n| hash(&keys[*n as usize]));
        match entry {
            hashbrown::hash_table::Entry::Occupied(entry) => *entry.get(),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let number = self.keys.len() as u32;
                entry.insert(number);
                self.keys.push(key.clone());
                number
            }
        }
    }

    /// The key of a number that was given out.
    pub(crate) fn key(&self, number: u32) -> &K {
        &self.keys[number as usize]
    }
}

/// Hashes integers so that 64 consecutive ones lie together: keys are often counted up, and then a table is walked, not jumped about in.
#[derive(Clone, Copy, Default)]
struct Neighbours;

impl BuildHasher for Neighbours {
    type Hasher = NeighbourHasher;
    fn build_hasher(&self) -> NeighbourHasher {
        NeighbourHasher(FixedState::default().build_hasher(), 0)
    }
}

/// The hash of all but the last integer's low bits, and those.
struct NeighbourHasher(foldhash::fast::FoldHasher<'static>, u64);

impl Hasher for NeighbourHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }
    fn write_u64(&mut self, value: u64) {
        self.0.write_u64(value >> 6);
        self.1 = value & 63;
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
        // The low bits choose the place in a table, the high ones tell apart what lies near: both need the integer's low bits.
        let mixed = self.0.finish();
        (mixed & !63 | self.1) ^ (self.1 << 57)
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
