//! The keyspace of tables on one worker: the numbers of its keys, and the places of the keys in the
//! lists of changed rows.

use std::cell::RefCell;
use std::rc::Rc;

use super::log::{Log, LoggedRows};
use super::{BUCKETS, BucketKeys, Buckets, ChangedBucket, KeyIds, Share, append, decode};
use crate::error::{Error, Result};
use crate::operators::datum::Datum;
use crate::operators::keys::Keys;
use crate::time::Epoch;

/// The number of a saved key that another worker owns.
pub(super) const FOREIGN: u32 = u32::MAX;

/// The place of a key that has no changed row.
const UNCHANGED: Place = Place { bucket: 0, place: u32::MAX };

/// A place in the list of a bucket's keys.
#[derive(Clone, Copy, PartialEq)]
struct Place {
    bucket: u8,
    place: u32,
}

/// The saved keys of one bucket: their ids, and the number of each id.
pub(super) struct LoadedKeys {
    pub(super) ids: KeyIds,
    pub(super) numbers: Vec<u32>,
}

/// The keyspace of tables on one worker.
pub(super) struct TableSpace {
    pub(super) name: String,
    pub(super) share: Share,
    keys: Box<dyn NumberedKeys>,
    /// The logs of the cuts, in the order in which they were opened.
    logs: RefCell<Vec<Log>>,
    /// By number of a key. It is filled while rows are taken.
    places: RefCell<Vec<Place>>,
    /// By bucket.
    loaded: RefCell<Vec<Option<Rc<LoadedKeys>>>>,
}

impl TableSpace {
    pub(super) fn new<K: Datum>(name: String, keys: Keys<K>, share: Share) -> Self {
        TableSpace {
            name,
            share,
            keys: Box::new(keys),
            logs: RefCell::default(),
            places: RefCell::default(),
            loaded: RefCell::new((0..BUCKETS).map(|_| None).collect()),
        }
    }

    /// Adds a cut.
    pub(super) fn open(&self, log: Log) {
        self.logs.borrow_mut().push(log);
    }

    /// Takes the rows of all epochs up to `last`, and adds their bytes to `bytes`. The numbers of
    /// their keys must not have been freed.
    pub(super) fn take(&self, last: Epoch, bytes: &mut usize) -> Result<Vec<ChangedBucket>> {
        let (logs, mut places) = (self.logs.borrow(), self.places.borrow_mut());
        let mut buckets = Buckets::new(logs.len());
        let (mut changed, mut key) = (Vec::new(), Vec::new());
        for (column, log) in logs.iter().enumerate() {
            let mut log = log.borrow_mut();
            let later = log.split_off(&(last + 1));
            let taken = std::mem::replace(&mut *log, later);
            buckets.size_columns(taken.values().map(LoggedRows::encoded_size).sum());
            for rows in taken.into_values() {
                *bytes += rows.size();
                rows.for_each(|number, value| {
                    let at = number as usize;
                    if at >= places.len() {
                        places.resize(at + 1, UNCHANGED);
                    }
                    if places[at] == UNCHANGED {
                        key.clear();
                        let route = self.keys.encode(number, &mut key)?;
                        let bucket = (route % u64::from(BUCKETS)) as u8;
                        places[at] = Place { bucket, place: buckets.at(bucket).keys.push(&key) };
                        changed.push(number);
                    }
                    let Place { bucket, place } = places[at];
                    buckets.column(bucket, column).push(place, value);
                    Ok(())
                })?;
            }
        }
        // Most commits change few keys, so only their places are reset.
        changed.into_iter().for_each(|number| places[number as usize] = UNCHANGED);
        Ok(buckets.of)
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
        let loaded = Rc::new(LoadedKeys { ids: keys.ids, numbers });
        // After the recovery there is no place.
        if let Some(place) = self.loaded.borrow_mut().get_mut(place) {
            *place = Some(loaded.clone());
        }
        Ok(Some(loaded))
    }

    /// Forgets the saved keys.
    pub(super) fn end_recovery(&self) {
        self.loaded.take();
    }
}

/// Keys of any type with their numbers.
trait NumberedKeys {
    /// Appends the encoding of the key with this number, and returns its hash for routing.
    fn encode(&self, number: u32, bytes: &mut Vec<u8>) -> Result<u64>;

    /// Returns a number for each key that the worker owns, and [`FOREIGN`] for the others, by id.
    fn numbers(&self, keys: &BucketKeys, share: &Share) -> Result<Vec<u32>>;
}

impl<K: Datum> NumberedKeys for Keys<K> {
    fn encode(&self, number: u32, bytes: &mut Vec<u8>) -> Result<u64> {
        let keys = self.open();
        let key = keys.key(number);
        append(bytes, key)?;
        Ok(self.seeds().route(key))
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
