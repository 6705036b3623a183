//! Cuts of diffs: the sum of the multiplicities of each datum.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use super::buckets::Pending;
use super::pack::PackedRows;
use super::{BUCKETS, ColumnPart, CutId, KeyList, Share, append, decode, or_fail};
use crate::error::{Error, Result};
use crate::operators::owners::Fail;
use crate::time::Epoch;

/// The keyspace of one cut: its keys are the data.
pub(super) struct DiffsSpace(RefCell<Pending>);

impl DiffsSpace {
    pub(super) fn new() -> Self {
        let mut pending = Pending::default();
        pending.open();
        DiffsSpace(pending.into())
    }

    /// Adds rows of `epoch` to a bucket with `add`. Returns the added bytes.
    pub(super) fn put(
        &self,
        share: &Share,
        epoch: Epoch,
        bucket: u8,
        add: impl FnOnce(&mut KeyList, &mut ColumnPart) -> Result<()>,
    ) -> Result<usize> {
        let mut pending = self.0.borrow_mut();
        let buckets = pending.at(epoch, |from, to| share.is_apart(from, to));
        let added = buckets.add_to(bucket, add)?;
        buckets.bytes += added;
        Ok(added)
    }

    /// Returns the first epoch that has rows.
    pub(super) fn first(&self) -> Option<Epoch> {
        self.0.borrow().first()
    }

    /// Takes the rows whose epochs are all up to `last`, packed. Also returns their size before.
    pub(super) fn take(&self, last: Epoch) -> Result<(Vec<PackedRows>, usize)> {
        self.0.borrow_mut().take(last)
    }

    /// Frees memory that is kept for later rows.
    pub(super) fn trim(&self) {
        self.0.borrow_mut().trim();
    }
}

/// A cut of diffs on one worker.
#[derive(Clone)]
pub(crate) struct DiffsCut {
    id: CutId,
    share: Share,
    space: Rc<DiffsSpace>,
    pending: Rc<Cell<usize>>,
    fail: Fail,
}

impl DiffsCut {
    pub(super) fn new(
        id: CutId,
        share: Share,
        space: Rc<DiffsSpace>,
        pending: Rc<Cell<usize>>,
        fail: Fail,
    ) -> Self {
        DiffsCut { id, share, space, pending, fail }
    }

    /// Adds data of an epoch with their multiplicities. An error ends the run.
    pub(crate) fn add<'d, D: Serialize + 'd>(
        &self,
        epoch: Epoch,
        rows: impl Iterator<Item = (&'d D, isize)>,
    ) {
        let mut pending = self.space.0.borrow_mut();
        let buckets = pending.at(epoch, |from, to| self.share.is_apart(from, to));
        let (mut bytes, before) = (Vec::new(), buckets.size(0));
        let mut add = |datum: &D, diff: isize| {
            bytes.clear();
            append(&mut bytes, datum)?;
            let bucket = (xxh3_64(&bytes) % u64::from(BUCKETS)) as u8;
            let place = buckets.keys(bucket).push(&bytes);
            buckets.value(0, bucket, place, Some(&diff))
        };
        for (datum, diff) in rows {
            or_fail(add(datum, diff), &self.fail);
        }
        let added = buckets.size(0) - before;
        buckets.bytes += added;
        self.pending.set(self.pending.get() + added);
    }

    /// Returns the buckets that this worker loads; none without a snapshot.
    pub(crate) fn buckets(&self) -> Vec<u8> {
        self.share.buckets(false)
    }

    /// Calls `each` with the saved data of a bucket and their multiplicities. They may belong to
    /// any worker.
    ///
    /// # Errors
    /// When the data can't be read.
    pub(crate) fn load<D: DeserializeOwned>(
        &self,
        bucket: u8,
        mut each: impl FnMut(D, isize),
    ) -> Result<()> {
        let Some(saved) = &self.share.saved else { return Ok(()) };
        let data = saved.keys(&self.id.space, bucket)?;
        let sums = saved.column(&self.id, bucket, &data.ids)?;
        for (id, datum) in data.iter().enumerate() {
            if let Some(sum) = sums.sum(id) {
                let sum = isize::try_from(sum)
                    .map_err(|_| Error::data("a snapshot has too many equal rows"))?;
                each(decode(datum)?, sum);
            }
        }
        Ok(())
    }

    /// Ends the run.
    pub(crate) fn fail(&self) -> &Fail {
        &self.fail
    }
}
