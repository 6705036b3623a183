//! Numbers for keys: tables of one key type share them, so that each key is hashed and kept once and states are arrays.

use std::cell::{RefCell, RefMut};
use std::hash::BuildHasher;
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
        let hash = |key: &K| FixedState::default().hash_one(key);
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
