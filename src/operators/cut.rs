//! Cuts: the places in a dataflow whose rows a snapshot saves.
//!
//! A cut records each changed row, encoded, by epoch. After a commit barrier the worker hands the
//! rows of all its cuts to the runtime. After a restart the rows are loaded from the snapshot, and
//! everything behind a cut is computed again from them.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;

use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::owners::Owners;
use crate::error::{Error, Result};
use crate::faults;
use crate::time::Epoch;

/// The number of buckets into which the rows of a cut are divided by a hash of their key. Rows are
/// merged and loaded bucket by bucket.
pub(crate) const BUCKETS: u8 = 64;

/// The rule by which saved rows with the same key become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Merge {
    /// The latest row replaces the earlier ones. A row without a value deletes them.
    Latest,
    /// The values are numbers, which are added. A sum of 0 is no row.
    Sum,
}

/// The identity of a cut within the snapshots of a topology.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct CutId {
    /// The number of the step, and the purpose of the rows.
    pub(crate) name: String,
    /// The types of key and value.
    pub(crate) types: String,
    pub(crate) merge: Merge,
}

/// A call for each saved row, with its encoded key and value.
pub(crate) type EachRow<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// The rows of a snapshot.
pub(crate) trait SavedRows: Send + Sync {
    /// Calls `each` with the current rows of one bucket of a cut, in any order.
    ///
    /// # Errors
    /// When they can't be read, and those of `each`.
    fn load(&self, cut: &CutId, bucket: u8, each: EachRow<'_>) -> Result<()>;
}

/// The lengths of a row's key and value, which follow each other in the bytes of [`ChangedRows`].
#[derive(Clone, Copy, Debug)]
struct Head {
    bucket: u8,
    key: u32,
    /// [`DELETED`] for a row without a value.
    value: u32,
}

const DELETED: u32 = u32::MAX;

/// The changed rows of one cut on one worker, in the order of the changes.
#[derive(Debug, Default)]
pub(crate) struct ChangedRows {
    heads: Vec<Head>,
    bytes: Vec<u8>,
}

impl ChangedRows {
    /// Returns the memory of the rows in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.heads.len() * size_of::<Head>()
    }

    /// Calls `each` with the bucket, the key and the value of each row.
    pub(crate) fn for_each<'a>(&'a self, mut each: impl FnMut(u8, &'a [u8], Option<&'a [u8]>)) {
        let mut rest = &self.bytes[..];
        for head in &self.heads {
            let (key, behind) = rest.split_at(head.key as usize);
            let length = if head.value == DELETED { 0 } else { head.value as usize };
            let (value, behind) = behind.split_at(length);
            each(head.bucket, key, (head.value != DELETED).then_some(value));
            rest = behind;
        }
    }

    fn push<K: Serialize, V: Serialize>(
        &mut self,
        bucket: impl FnOnce(&[u8]) -> u8,
        key: &K,
        value: Option<&V>,
    ) -> Result<()> {
        let start = self.bytes.len();
        append(&mut self.bytes, key)?;
        let middle = self.bytes.len();
        if let Some(value) = value {
            append(&mut self.bytes, value)?;
        }
        let length = |from: usize, to: usize| {
            let length = u32::try_from(to - from).ok().filter(|length| *length != DELETED);
            length.ok_or_else(|| Error::data("can't save a row of 4 GiB or more"))
        };
        let (bucket, key) = (bucket(&self.bytes[start..middle]), length(start, middle)?);
        let end = length(middle, self.bytes.len())?;
        self.heads.push(Head { bucket, key, value: if value.is_some() { end } else { DELETED } });
        Ok(())
    }
}

/// Appends the encoding of `part` in the format of postcard.
fn append<T: Serialize>(bytes: &mut Vec<u8>, part: &T) -> Result<()> {
    struct Append<'a>(&'a mut Vec<u8>);
    impl Flavor for Append<'_> {
        type Output = ();
        fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
            self.0.push(byte);
            Ok(())
        }
        fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn finalize(self) -> postcard::Result<()> {
            Ok(())
        }
    }
    postcard::serialize_with_flavor(part, Append(bytes))
        .map_err(|e| Error::internal("can't encode a row for a snapshot").because(e))
}

/// Decodes `bytes`, all of them.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(Error::data("can't decode a row of the snapshot: it is too long")),
        Err(e) => Err(Error::data("can't decode a row of the snapshot").because(e)),
    }
}

/// The cuts of one worker.
#[derive(Clone)]
pub(crate) struct Cuts {
    saved: Option<Arc<dyn SavedRows>>,
    logs: Rc<RefCell<Vec<Log>>>,
    worker: usize,
    workers: usize,
}

/// The rows of a cut that were not handed over, by epoch.
type Log = Rc<RefCell<BTreeMap<Epoch, ChangedRows>>>;

impl Cuts {
    /// Makes the cuts of the worker with the global number `worker`. `saved` are the rows of the
    /// snapshot from which the run continues.
    pub(crate) fn new(saved: Option<Arc<dyn SavedRows>>, worker: usize, workers: usize) -> Self {
        Cuts { saved, logs: Rc::default(), worker, workers }
    }

    /// Opens a cut. The topology opens its cuts once, and in the same order on all workers.
    pub(crate) fn open(&self, id: CutId, owners: Owners) -> Cut {
        let log = Log::default();
        self.logs.borrow_mut().push(log.clone());
        let Cuts { saved, worker, workers, .. } = self.clone();
        Cut { id, log, saved, owners, worker: worker as u64, workers: workers as u64 }
    }

    /// Takes the rows of all epochs up to `last`, in the order in which the cuts were opened.
    pub(crate) fn take(&self, last: Epoch) -> Vec<Vec<ChangedRows>> {
        let logs = self.logs.borrow();
        let take = |log: &Log| {
            let mut log = log.borrow_mut();
            let later = log.split_off(&(last + 1));
            std::mem::replace(&mut *log, later).into_values().collect()
        };
        logs.iter().map(take).collect()
    }
}

/// A cut on one worker: the log of its changed rows, and its rows in the snapshot.
#[derive(Clone)]
pub(crate) struct Cut {
    id: CutId,
    log: Log,
    saved: Option<Arc<dyn SavedRows>>,
    owners: Owners,
    worker: u64,
    workers: u64,
}

impl Cut {
    /// Returns the log of `epoch`, to which changed rows are added.
    pub(crate) fn at(&self, epoch: Epoch) -> CutLog<'_> {
        let log = RefMut::map(self.log.borrow_mut(), |log| log.entry(epoch).or_default());
        CutLog { log, cut: self }
    }

    /// Returns the buckets that may hold rows of this worker; none without a snapshot.
    ///
    /// A row with a key is needed by the worker that owns the key. If the number of workers does
    /// not divide that of the buckets, each worker reads all buckets and skips the keys of others.
    pub(crate) fn buckets(&self) -> Vec<u8> {
        let is_dropped = self.worker + 1 == self.workers && faults::bug("dropped_bucket");
        let all = if self.saved.is_some() && !is_dropped { BUCKETS } else { 0 };
        let divides = u64::from(BUCKETS).is_multiple_of(self.workers);
        let any = self.id.merge == Merge::Latest && !divides;
        (0..all).filter(|bucket| any || u64::from(*bucket) % self.workers == self.worker).collect()
    }

    /// Returns the saved rows of a bucket whose keys this worker owns: the keys, and the values in
    /// the same order.
    ///
    /// # Errors
    /// When the rows can't be read.
    pub(crate) fn load<K: DeserializeOwned + Hash, V: DeserializeOwned>(
        &self,
        bucket: u8,
    ) -> Result<(Vec<K>, Vec<V>)> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let Some(saved) = &self.saved else { return Ok((keys, values)) };
        let seeds = self.owners.seeds();
        saved.load(&self.id, bucket, &mut |key, value| {
            let key: K = decode(key)?;
            if seeds.route(&key) % self.workers == self.worker {
                keys.push(key);
                values.push(decode(value)?);
            }
            Ok(())
        })?;
        Ok((keys, values))
    }

    /// Calls `each` with the saved data of a bucket and their multiplicities. They may be loaded by
    /// any worker.
    ///
    /// # Errors
    /// When the data can't be read.
    pub(crate) fn load_diffs<D: DeserializeOwned>(
        &self,
        bucket: u8,
        mut each: impl FnMut(D, isize),
    ) -> Result<()> {
        let Some(saved) = &self.saved else { return Ok(()) };
        saved.load(&self.id, bucket, &mut |datum, diff| {
            each(decode(datum)?, decode(diff)?);
            Ok(())
        })
    }

    /// Ends the run.
    pub(crate) fn fail(&self, error: Error) {
        (self.owners.fail())(error);
    }
}

/// The log of one epoch of a cut.
pub(crate) struct CutLog<'a> {
    log: RefMut<'a, ChangedRows>,
    cut: &'a Cut,
}

impl CutLog<'_> {
    /// Adds the row of a key, or its deletion. An error ends the run.
    pub(crate) fn put<K: Serialize + Hash, V: Serialize>(&mut self, key: &K, value: Option<&V>) {
        let seeds = self.cut.owners.seeds();
        let bucket = (seeds.route(key) % u64::from(BUCKETS)) as u8;
        let put = self.log.push(|_| bucket, key, value);
        put.unwrap_or_else(|error| self.cut.fail(error));
    }

    /// Adds a datum with a multiplicity. An error ends the run.
    pub(crate) fn add<D: Serialize>(&mut self, datum: &D, diff: isize) {
        let bucket = |bytes: &[u8]| (xxh3_64(bytes) % u64::from(BUCKETS)) as u8;
        let put = self.log.push(bucket, datum, Some(&diff));
        put.unwrap_or_else(|error| self.cut.fail(error));
    }
}
