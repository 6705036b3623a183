//! Cuts of tables: the latest value of each key.

use std::cell::Cell;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::space::{Digests, FOREIGN, TableSpace};
use super::{BUCKETS, CutId, decode};
use crate::error::Result;
use crate::operators::owners::Fail;
use crate::time::Epoch;

/// A cut of a table on one worker: its changed rows, and its rows in the snapshot.
#[derive(Clone)]
pub(crate) struct TableCut {
    id: CutId,
    /// The number of its column in the keyspace.
    column: usize,
    space: Rc<TableSpace>,
    pending: Rc<Cell<usize>>,
    fail: Fail,
}

impl TableCut {
    pub(super) fn new(
        id: CutId,
        space: Rc<TableSpace>,
        pending: Rc<Cell<usize>>,
        fail: Fail,
    ) -> Self {
        TableCut { id, column: space.open(), space, pending, fail }
    }

    /// Saves rows of `epoch` by the numbers of their keys; none for a deleted row. The dictionary
    /// of the keys must not be open. An error ends the run.
    pub(crate) fn put_all<V: Serialize>(
        &self,
        epoch: Epoch,
        rows: impl Iterator<Item = (u32, Option<V>)>,
    ) {
        match self.space.put_all(self.column, epoch, rows) {
            Ok(bytes) => self.pending.set(self.pending.get() + bytes),
            Err(error) => (self.fail)(error),
        }
    }

    /// Returns the buckets that may hold rows of this worker; none without a snapshot.
    ///
    /// A row is needed by the worker that owns its key. If the number of workers does not divide
    /// that of the buckets, each worker reads all buckets and skips the keys of others.
    pub(crate) fn buckets(&self) -> Vec<u8> {
        let share = &self.space.share;
        share.buckets(!u64::from(BUCKETS).is_multiple_of(share.workers))
    }

    /// Returns the saved rows of a bucket whose keys this worker owns, by the numbers of the keys.
    ///
    /// # Errors
    /// When the rows can't be read.
    pub(crate) fn load<V: DeserializeOwned>(&self, bucket: u8) -> Result<Vec<(u32, V)>> {
        let Some(saved) = &self.space.share.saved else { return Ok(Vec::new()) };
        let Some(keys) = self.space.loaded(bucket)? else { return Ok(Vec::new()) };
        let mut rows = Vec::with_capacity(keys.owned);
        saved.column(&self.id, bucket, &keys.ids)?.for_each(|id, value| {
            let number = keys.numbers[id];
            if let Some(value) = value.filter(|_| number != FOREIGN) {
                rows.push((number, decode(value)?));
            }
            Ok(())
        })?;
        Ok(rows)
    }

    /// Holds the digests of the saved values of a bucket, by the numbers of their keys, so that an
    /// end of the table need not load these values again. They are forgotten after the recovery.
    pub(crate) fn hold_digests(&self, bucket: u8, digests: Digests) {
        self.space.hold_digests(self.column, bucket, digests);
    }

    /// Takes digests that are held; only the first end of a table finds them.
    pub(crate) fn take_digests(&self, bucket: u8) -> Option<Digests> {
        self.space.take_digests(self.column, bucket)
    }

    /// Ends the run.
    pub(crate) fn fail(&self) -> &Fail {
        &self.fail
    }
}
