//! Numbers for keys. Tables with the same key type share them: each key is hashed and stored once,
//! and operators keep their state in arrays.
//!
//! The number of a deleted key is reused for another key. Two kinds of operators take part:
//!
//! - Operators that assign numbers *hold* each number for which they keep state, and *release* it
//!   later. A table that is read from a topic releases it once the order of the deleted key is not
//!   needed any more; a table made from diffs, once the key has no row.
//! - All other operators keep state only for keys with a row. They drop it when the retraction
//!   arrives, which may be after the release.
//!
//! So a number is free once no operator holds it and every end of the dataflow has closed the epoch
//! of its last release. By then all operators have processed the retraction, and no message with
//! the number is in flight.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::rc::Rc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Found;

use super::datum::Datum;
use super::neighbours::Neighbours;
use super::owners::Owners;
use super::seeds::{Map, Seeds};
use crate::time::Epoch;

/// The numbers of the keys that a worker owns, from 0 without gaps, in the order of arrival.
#[derive(Clone)]
pub(crate) struct Keys<K> {
    dictionary: Rc<RefCell<Dictionary<K>>>,
    owners: Owners,
}

pub(crate) struct Dictionary<K> {
    numbers: HashTable<Entry>,
    /// The key of each number. A free number keeps its previous key.
    keys: Vec<K>,
    /// The number of operators that hold each number.
    holders: Vec<u16>,
    /// Released numbers, each with the epoch that must be closed before it is free. Some of them
    /// have been held or released again since.
    released: VecDeque<(Epoch, u32)>,
    /// The same epoch for each number that no operator holds now.
    idle: Map<u32, Epoch>,
    /// The latest epoch in which any number was released.
    last: Epoch,
    free: Vec<u32>,
    /// The earliest epoch that is open at an end of the dataflow.
    open: Rc<Cell<Epoch>>,
    hashes: Neighbours,
    /// The hashes of the keys of one batch.
    batch: Vec<u32>,
}

/// A number and the hash of its key, so that growing the table reads no keys.
#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    number: u32,
}

impl Entry {
    /// Returns the hash for the table. Its low bits select the bucket, its high bits distinguish
    /// the entries of a bucket.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) | u64::from(hash) << 32
    }
}

/// The greatest number of holders that is counted. With more, a number is never free again.
const PINNED: u16 = u16::MAX;

impl<K: Datum> Keys<K> {
    /// Makes the numbers for the operators of one worker. `open` holds the earliest epoch that is
    /// open at an end of the dataflow.
    pub(crate) fn new(owners: Owners, open: Rc<Cell<Epoch>>) -> Self {
        let seeds = owners.seeds();
        let dictionary = Dictionary {
            numbers: HashTable::new(),
            keys: Vec::new(),
            holders: Vec::new(),
            released: VecDeque::new(),
            idle: seeds.map(),
            last: 0,
            free: Vec::new(),
            open,
            hashes: Neighbours(seeds),
            batch: Vec::new(),
        };
        Keys { dictionary: Rc::new(RefCell::new(dictionary)), owners }
    }

    /// Borrows the dictionary.
    pub(crate) fn open(&self) -> RefMut<'_, Dictionary<K>> {
        self.dictionary.borrow_mut()
    }

    /// Returns the seeds of the run.
    pub(crate) fn seeds(&self) -> Seeds {
        self.owners.seeds()
    }

    /// Returns the owners of the keys.
    pub(crate) fn owners(&self) -> &Owners {
        &self.owners
    }
}

impl<K: Datum> Dictionary<K> {
    /// Returns the number of `key`, and assigns a free one if it has none. The caller must hold the
    /// number before it requests another.
    pub(crate) fn number(&mut self, key: &K) -> u32 {
        self.reclaim();
        self.find(key, self.hash(key))
    }

    /// Writes the numbers of `keys` to `numbers`, in the same order. It hashes all keys before the
    /// first look-up, so that the processor can load the memory of several look-ups at once.
    pub(crate) fn number_all<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k K> + Clone,
        numbers: &mut Vec<u32>,
    ) where
        K: 'k,
    {
        // Free numbers here only: one that is found below must keep its key until it is held.
        self.reclaim();
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        batch.extend(keys.clone().map(|key| self.hash(key)));
        numbers.clear();
        numbers.extend(keys.zip(&batch).map(|(key, hash)| self.find(key, *hash)));
        self.batch = batch;
    }

    /// Returns the number of `key`, if it has one.
    pub(crate) fn known(&self, key: &K) -> Option<u32> {
        let hash = self.hash(key);
        let is_key = |entry: &Entry| entry.hash == hash && self.keys[entry.number as usize] == *key;
        self.numbers.find(Entry::spread(hash), is_key).map(|entry| entry.number)
    }

    /// Returns the key of a number that is held, or that was held in an open epoch.
    pub(crate) fn key(&self, number: u32) -> &K {
        &self.keys[number as usize]
    }

    /// Holds a number for an operator that keeps state for it.
    pub(crate) fn hold(&mut self, number: u32) {
        let holders = &mut self.holders[number as usize];
        if *holders == 0 && !self.idle.is_empty() {
            self.idle.remove(&number);
        }
        *holders = holders.saturating_add(1);
    }

    /// Ends a [`hold`](Self::hold). The operator has sent its last message with the number in
    /// `epoch` or earlier.
    pub(crate) fn release(&mut self, number: u32, epoch: Epoch) {
        // Another table may have released it in a later epoch than this one.
        self.last = self.last.max(epoch);
        let holders = &mut self.holders[number as usize];
        if *holders != PINNED {
            *holders = holders.saturating_sub(1);
        }
        if *holders == 0 {
            self.idle.insert(number, self.last);
            self.released.push_back((self.last, number));
        }
    }

    /// Returns how many numbers were ever assigned: the length of the state arrays.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Frees the numbers whose epoch is closed.
    fn reclaim(&mut self) {
        while let Some((_, number)) =
            self.released.pop_front_if(|(epoch, _)| *epoch < self.open.get())
        {
            // A number that was held again in between is skipped: its next release adds it anew.
            if self.idle.get(&number).is_none_or(|epoch| *epoch >= self.open.get()) {
                continue;
            }
            self.idle.remove(&number);
            let hash = Entry::spread(self.hash(&self.keys[number as usize]));
            if let Ok(entry) = self.numbers.find_entry(hash, |entry| entry.number == number) {
                entry.remove();
                self.free.push(number);
            }
        }
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
            Found::Occupied(entry) => entry.get().number,
            Found::Vacant(entry) => {
                let number = match self.free.pop() {
                    Some(number) => {
                        keys[number as usize] = key.clone();
                        number
                    }
                    None => {
                        keys.push(key.clone());
                        self.holders.push(0);
                        keys.len() as u32 - 1
                    }
                };
                entry.insert(Entry { hash, number });
                number
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::secret::Secret;

    fn keys(open: &Rc<Cell<Epoch>>) -> Keys<String> {
        let owners =
            Owners::new(Seeds::new(Secret::new([5; 16])), Rc::new(|error| panic!("{error}")));
        Keys::new(owners, open.clone())
    }

    #[test]
    fn a_key_has_one_number_however_it_is_looked_up() {
        let keys = keys(&Rc::default());
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
    fn keys_that_come_and_go_for_ever_share_few_numbers() {
        let open = Rc::new(Cell::new(0));
        let keys = keys(&open);
        for epoch in 0..10_000 {
            // The ends are two epochs behind.
            open.set(Epoch::max(epoch, 2) - 2);
            for at in 0..7 {
                let (key, mut keys) = (format!("key {epoch} {at}"), keys.open());
                let number = keys.number(&key);
                keys.hold(number);
                assert_eq!(*keys.key(number), key);
                keys.release(number, epoch);
            }
        }
        assert_eq!(keys.open().len(), 3 * 7);
        let keys = keys.open();
        assert!(keys.released.len() <= 3 * 7 && keys.idle.len() <= 3 * 7);
    }

    #[test]
    fn a_number_in_use_or_in_flight_stays_with_its_key() {
        let open = Rc::new(Cell::new(0));
        let keys = keys(&open);
        let mut keys = keys.open();
        let [a, b] = ["a", "b"].map(String::from);
        let number = keys.number(&a);
        keys.hold(number);
        keys.hold(number);
        keys.release(number, 9);
        open.set(5);
        // The second table is behind the first one, which has sent of the number in epoch 9.
        keys.release(number, 5);
        for epoch in 6..10 {
            open.set(epoch);
            assert_eq!(keys.number(&a), number, "it is still that of its key");
        }
        keys.hold(number);
        open.set(10);
        assert_ne!(keys.number(&b), number, "it is held again");
        keys.release(number, 10);
        open.set(11);
        assert_eq!(keys.number(&"c".to_string()), number, "another key has it");
        assert_eq!((keys.key(number).as_str(), keys.len()), ("c", 2));
        assert_ne!(keys.number(&a), number);
    }
}
