//! Cuts of diffs: the sum of the multiplicities of each datum.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use super::{BUCKETS, Buckets, ChangedBucket, CutId, Share, append, decode, or_fail};
use crate::error::{Error, Result};
use crate::operators::owners::Fail;
use crate::time::Epoch;

/// The keyspace of one cut: its keys are the data.
#[derive(Default)]
pub(super) struct DiffsSpace {
    log: RefCell<BTreeMap<Epoch, Log>>,
}

/// Changed rows, in the order of the changes.
#[derive(Default)]
struct Log {
    /// The lengths of datum and diff, which follow each other in `bytes`.
    heads: Vec<(u32, u32)>,
    bytes: Vec<u8>,
}

impl DiffsSpace {
    /// Takes the rows of all epochs up to `last`, and adds their bytes to `bytes`.
    pub(super) fn take(&self, last: Epoch, bytes: &mut usize) -> Vec<ChangedBucket> {
        let mut log = self.log.borrow_mut();
        let later = log.split_off(&(last + 1));
        let mut buckets = Buckets::new(1);
        for log in std::mem::replace(&mut *log, later).into_values() {
            *bytes += log.bytes.len();
            let mut rest = &log.bytes[..];
            for (datum, diff) in log.heads {
                let (datum, behind) = rest.split_at(datum as usize);
                let (diff, behind) = behind.split_at(diff as usize);
                rest = behind;
                let bucket = buckets.at((xxh3_64(datum) % u64::from(BUCKETS)) as u8);
                let place = bucket.keys.push(datum);
                bucket.columns[0].push(place, Some(diff));
            }
        }
        buckets.of
    }
}

/// A cut of diffs on one worker.
#[derive(Clone)]
pub(crate) struct DiffsCut {
    id: CutId,
    share: Share,
    space: Rc<DiffsSpace>,
    logged: Rc<Cell<usize>>,
    fail: Fail,
}

impl DiffsCut {
    pub(super) fn new(
        id: CutId,
        share: Share,
        space: Rc<DiffsSpace>,
        logged: Rc<Cell<usize>>,
        fail: Fail,
    ) -> Self {
        DiffsCut { id, share, space, logged, fail }
    }

    /// Adds data of an epoch with their multiplicities. An error ends the run.
    pub(crate) fn add<'d, D: Serialize + 'd>(
        &self,
        epoch: Epoch,
        rows: impl Iterator<Item = (&'d D, isize)>,
    ) {
        let mut logs = self.space.log.borrow_mut();
        let log = logs.entry(epoch).or_default();
        let before = log.bytes.len();
        for (datum, diff) in rows {
            let lengths = append(&mut log.bytes, datum)
                .and_then(|datum| Ok((datum, append(&mut log.bytes, &diff)?)));
            or_fail(lengths.map(|lengths| log.heads.push(lengths)), &self.fail);
        }
        self.logged.set(self.logged.get() + log.bytes.len() - before);
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
