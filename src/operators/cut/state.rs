//! Cuts of the state that an operator keeps by key, in any number of parts.

use std::cell::Cell;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::diffs::DiffsSpace;
use super::{BUCKETS, CutId, Share, append, decode, or_fail};
use crate::error::Result;
use crate::operators::datum::Datum;
use crate::operators::owners::Fail;
use crate::operators::seeds::Seeds;
use crate::time::Epoch;

/// A cut of the state of one operator on one worker. A row is a part of the state of a key.
#[derive(Clone)]
pub(crate) struct StateCut {
    id: CutId,
    share: Share,
    space: Rc<DiffsSpace>,
    pending: Rc<Cell<usize>>,
    seeds: Seeds,
    fail: Fail,
}

impl StateCut {
    pub(super) fn new(
        id: CutId,
        share: Share,
        space: Rc<DiffsSpace>,
        pending: Rc<Cell<usize>>,
        seeds: Seeds,
        fail: Fail,
    ) -> Self {
        StateCut { id, share, space, pending, seeds, fail }
    }

    /// Saves parts of the state of a key in `epoch`; none for a deleted part. An error ends the
    /// run.
    pub(crate) fn put<K: Datum, P: Serialize, R: Serialize>(
        &self,
        epoch: Epoch,
        key: &K,
        parts: impl Iterator<Item = (P, Option<R>)>,
    ) {
        let bucket = (self.seeds.route(key) % u64::from(BUCKETS)) as u8;
        let added = self.space.put(&self.share, epoch, bucket, |keys, column| {
            let mut bytes = Vec::new();
            for (part, row) in parts {
                bytes.clear();
                append(&mut bytes, key)?;
                append(&mut bytes, &part)?;
                let place = keys.push(&bytes);
                column.put(place, row.as_ref())?;
            }
            Ok(())
        });
        match added {
            Ok(added) => self.pending.set(self.pending.get() + added),
            Err(error) => (self.fail)(error),
        }
    }

    /// Calls `each` with the saved parts of all keys that this worker owns. An error ends the run.
    pub(crate) fn load<K: Datum, P: DeserializeOwned, R: DeserializeOwned>(
        &self,
        mut each: impl FnMut(K, P, R),
    ) {
        let any = !u64::from(BUCKETS).is_multiple_of(self.share.workers);
        for bucket in self.share.buckets(any) {
            let own = |key: K, part, row| {
                if self.share.owns(self.seeds.route(&key)) {
                    each(key, part, row);
                }
            };
            or_fail(self.load_bucket(bucket, own), &self.fail);
        }
    }

    /// Returns a key that this worker owns.
    pub(crate) fn own_key(&self) -> u64 {
        let is_own = |key: &u64| self.share.owns(self.seeds.route(key));
        (0..).find(is_own).unwrap_or_default()
    }

    /// Calls `each` with the saved parts of the keys of all workers. An error ends the run.
    pub(crate) fn load_of_all_workers<K: Datum, P: DeserializeOwned, R: DeserializeOwned>(
        &self,
        mut each: impl FnMut(K, P, R),
    ) {
        for bucket in self.share.buckets(true) {
            or_fail(self.load_bucket(bucket, &mut each), &self.fail);
        }
    }

    fn load_bucket<K: Datum, P: DeserializeOwned, R: DeserializeOwned>(
        &self,
        bucket: u8,
        mut each: impl FnMut(K, P, R),
    ) -> Result<()> {
        let Some(saved) = &self.share.saved else { return Ok(()) };
        let keys = saved.keys(&self.id.space, bucket)?;
        let mut rows: Vec<Option<R>> = Vec::new();
        rows.resize_with(keys.len(), || None);
        saved.column(&self.id, bucket, &keys.ids)?.for_each(|id, row| {
            if let Some(row) = row {
                rows[id] = Some(decode(row)?);
            }
            Ok(())
        })?;
        for (key, row) in keys.iter().zip(rows) {
            if let Some(row) = row {
                let (key, part): (K, P) = decode(key)?;
                each(key, part, row);
            }
        }
        Ok(())
    }
}
