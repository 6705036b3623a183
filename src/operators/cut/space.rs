//! The keyspace of tables on one worker: the numbers of its keys, and the places of the keys in the
//! lists of changed rows.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::HashMap;
use serde::Serialize;

use super::buckets::{Buckets, Pending};
use super::pack::PackedRows;
use super::{BUCKETS, BucketKeys, KeyIds, Share, append, decode};
use crate::error::{Error, Result};
use crate::operators::column::Column;
use crate::operators::datum::Datum;
use crate::operators::keys::Keys;
use crate::time::Epoch;

/// The number of a saved key that another worker owns.
pub(super) const FOREIGN: u32 = u32::MAX;

/// The place of a key in the list of its bucket, in the rows of some epochs.
#[derive(Clone, Copy, Default)]
struct Place {
    /// The stamp of the rows.
    stamp: u32,
    /// The place, followed by the bucket in [`BUCKET_BITS`].
    place: u32,
}

const BUCKET_BITS: u32 = BUCKETS.trailing_zeros();

/// The changed rows of a keyspace, and the places of their keys.
struct Rows {
    pending: Pending,
    /// By number of a key, its place in the rows in which it was changed last.
    places: Column<Place>,
}

/// The saved keys of one bucket: their ids, and the number of each id.
pub(super) struct LoadedKeys {
    pub(super) ids: KeyIds,
    pub(super) numbers: Vec<u32>,
    /// The number of keys that this worker owns.
    pub(super) owned: usize,
}

/// The keyspace of tables on one worker.
pub(super) struct TableSpace {
    pub(super) name: String,
    pub(super) share: Share,
    keys: Box<dyn NumberedKeys>,
    rows: RefCell<Rows>,
    /// By bucket.
    loaded: RefCell<Vec<Option<Rc<LoadedKeys>>>>,
    /// By column and bucket, digests that were loaded with other values, until they are taken.
    digests: RefCell<HashMap<(usize, u8), Digests>>,
}

/// Digests of values by the numbers of their keys.
pub(super) type Digests = Vec<(u32, u16)>;

impl TableSpace {
    pub(super) fn new<K: Datum>(name: String, keys: Keys<K>, share: Share) -> Self {
        TableSpace {
            name,
            share,
            keys: Box::new(keys),
            rows: Rows { pending: Pending::default(), places: Column::new() }.into(),
            loaded: RefCell::new((0..BUCKETS).map(|_| None).collect()),
            digests: RefCell::default(),
        }
    }

    /// Adds a cut and returns the number of its column.
    pub(super) fn open(&self) -> usize {
        self.rows.borrow_mut().pending.open()
    }

    /// Adds values of one epoch to a column, by the numbers of their keys; none for a deleted row.
    /// Returns the added bytes. The dictionary of the keys must not be open.
    pub(super) fn put_all<V: Serialize>(
        &self,
        column: usize,
        epoch: Epoch,
        values: impl Iterator<Item = (u32, Option<V>)>,
    ) -> Result<usize> {
        let Rows { pending, places } = &mut *self.rows.borrow_mut();
        // Places with old stamps must not be taken for new ones.
        if pending.stamp == u32::MAX {
            pending.stamp = 0;
            places.clear();
        }
        let buckets = pending.at(epoch, |from, to| self.share.is_apart(from, to));
        let before = buckets.size(column);
        for (number, value) in values {
            let place = places.at(number);
            if place.stamp != buckets.stamp {
                *place = self.add(buckets, number)?;
            }
            let place = place.place;
            let bucket = (place % u32::from(BUCKETS)) as u8;
            buckets.value(column, bucket, place >> BUCKET_BITS, value.as_ref())?;
        }
        let added = buckets.size(column) - before;
        buckets.bytes += added;
        Ok(added)
    }

    /// Adds a key, and returns its place.
    fn add(&self, buckets: &mut Buckets, number: u32) -> Result<Place> {
        let bucket = (self.keys.route(number) % u64::from(BUCKETS)) as u8;
        let place = buckets.keys(bucket).put(|bytes| self.keys.encode(number, bytes))?;
        let too_many = || Error::internal("too many keys change between two commits");
        let place = place.checked_mul(u32::from(BUCKETS)).ok_or_else(too_many)? + u32::from(bucket);
        Ok(Place { stamp: buckets.stamp, place })
    }

    /// Returns the first epoch that has rows.
    pub(super) fn first(&self) -> Option<Epoch> {
        self.rows.borrow().pending.first()
    }

    /// Takes the rows whose epochs are all up to `last`, packed. Also returns their size before.
    pub(super) fn take(&self, last: Epoch) -> Result<(Vec<PackedRows>, usize)> {
        self.rows.borrow_mut().pending.take(last)
    }

    /// Frees memory that is kept for later rows. Few rows need little of it, and an idle run none.
    pub(super) fn trim(&self) {
        let Rows { pending, places } = &mut *self.rows.borrow_mut();
        pending.trim();
        if pending.first().is_none() {
            places.clear();
        }
    }

    /// Returns the saved keys of a bucket, with a number for each that this worker owns.
    ///
    /// # Errors
    /// When they can't be read.
    pub(super) fn loaded(&self, bucket: u8) -> Result<Option<Rc<LoadedKeys>>> {
        let Some(saved) = &self.share.saved else { return Ok(None) };
        let place = usize::from(bucket);
        if let Some(Some(loaded)) = self.loaded.borrow().get(place) {
            return Ok(Some(loaded.clone()));
        }
        let keys = saved.keys(&self.name, bucket)?;
        let numbers = self.keys.numbers(&keys, &self.share)?;
        let owned = numbers.iter().filter(|number| **number != FOREIGN).count();
        let loaded = Rc::new(LoadedKeys { ids: keys.ids, numbers, owned });
        // After the recovery there is no place.
        if let Some(place) = self.loaded.borrow_mut().get_mut(place) {
            *place = Some(loaded.clone());
        }
        Ok(Some(loaded))
    }

    /// Holds the digests of the saved values of a bucket until they are taken.
    pub(super) fn hold_digests(&self, column: usize, bucket: u8, digests: Digests) {
        self.digests.borrow_mut().insert((column, bucket), digests);
    }

    /// Takes digests that are held.
    pub(super) fn take_digests(&self, column: usize, bucket: u8) -> Option<Digests> {
        self.digests.borrow_mut().remove(&(column, bucket))
    }

    /// Forgets the saved keys and digests.
    pub(super) fn end_recovery(&self) {
        self.loaded.take();
        self.digests.take();
    }
}

/// Keys of any type with their numbers.
trait NumberedKeys {
    /// Returns the hash for routing of the key with this number.
    fn route(&self, number: u32) -> u64;

    /// Appends the encoding of the key with this number.
    fn encode(&self, number: u32, bytes: &mut Vec<u8>) -> Result<()>;

    /// Returns a number for each key that the worker owns, and [`FOREIGN`] for the others, by id.
    fn numbers(&self, keys: &BucketKeys, share: &Share) -> Result<Vec<u32>>;
}

impl<K: Datum> NumberedKeys for Keys<K> {
    fn route(&self, number: u32) -> u64 {
        self.seeds().route(self.open().key(number))
    }

    fn encode(&self, number: u32, bytes: &mut Vec<u8>) -> Result<()> {
        append(bytes, self.open().key(number))
    }

    fn numbers(&self, keys: &BucketKeys, share: &Share) -> Result<Vec<u32>> {
        let (seeds, mut owned, mut numbers) = (self.seeds(), Vec::new(), Vec::new());
        let mut owns = Vec::new();
        for key in keys.iter() {
            let key: K = decode(key)?;
            let is_own = share.owns(seeds.route(&key));
            owns.push(is_own);
            if is_own {
                owned.push(key);
            }
        }
        self.open().number_all(owned.iter(), &mut numbers);
        let mut own = numbers.into_iter();
        let number = |is_own| if is_own { own.next() } else { Some(FOREIGN) };
        let missing = || Error::internal("a saved key has no number");
        owns.into_iter().map(number).map(|number| number.ok_or_else(missing)).collect()
    }
}
