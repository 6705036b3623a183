//! Cuts: the places in a dataflow whose rows a snapshot saves.
//!
//! A cut records each changed row, encoded, by epoch. After a commit barrier the worker packs the
//! rows of all its cuts and hands them to the runtime. After a restart the rows are loaded from the
//! snapshot, and everything behind a cut is computed again from them.
//!
//! Cuts of tables with keys of one type share a *keyspace*: a key is saved and looked up once, and
//! each cut is a column of values.

mod buckets;
mod columns;
mod diffs;
mod merge;
mod pack;
mod space;
mod state;
mod table;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::datum::Datum;
use super::keys::Keys;
use super::owners::{Fail, Owners};
use crate::error::{Error, Result};
use crate::faults;
use crate::time::Epoch;

pub(crate) use buckets::ChangedRows;
use buckets::PENDING_BYTES;
pub(crate) use columns::{ColumnPart, KeyList, read_column, read_keys};
pub(crate) use diffs::DiffsCut;
use diffs::DiffsSpace;
pub(crate) use merge::{BucketKeys, KeyIds, MergedColumn, read_merged};
pub(crate) use pack::{Block, PackedRows, Packer};
use space::TableSpace;
pub(crate) use state::StateCut;
pub(crate) use table::TableCut;

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
    /// The step, and the purpose of the rows.
    pub(crate) name: String,
    /// The types of key and value.
    pub(crate) types: String,
    /// The name of the keyspace.
    pub(crate) space: String,
    pub(crate) merge: Merge,
}

impl CutId {
    /// Returns true if the two differ at most in their keyspace.
    pub(crate) fn is_named_like(&self, other: &CutId) -> bool {
        (&self.name, &self.types, self.merge) == (&other.name, &other.types, other.merge)
    }
}

/// A keyspace, as layers and workers number it: by the order in which its first cut was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpaceCuts {
    pub(crate) name: String,
    /// The cuts, in the order in which they were opened.
    pub(crate) cuts: Vec<CutId>,
}

impl SpaceCuts {
    /// Returns the keyspaces of these cuts, which are in the order in which they were opened.
    pub(crate) fn of(cuts: &[CutId]) -> Vec<SpaceCuts> {
        let mut spaces: Vec<SpaceCuts> = Vec::new();
        for cut in cuts {
            match spaces.iter_mut().find(|space| space.name == cut.space) {
                Some(space) => space.cuts.push(cut.clone()),
                None => spaces.push(SpaceCuts { name: cut.space.clone(), cuts: vec![cut.clone()] }),
            }
        }
        spaces
    }
}

/// The rows of a snapshot.
pub(crate) trait SavedRows: Send + Sync {
    /// Returns the keys of one bucket of a keyspace.
    ///
    /// # Errors
    /// When they can't be read.
    fn keys(&self, space: &str, bucket: u8) -> Result<BucketKeys>;

    /// Returns the current values of a cut for the keys of one bucket.
    ///
    /// # Errors
    /// When they can't be read.
    fn column(&self, cut: &CutId, bucket: u8, ids: &KeyIds) -> Result<MergedColumn>;
}

/// Appends the encoding of `part` in the format of postcard.
fn append<T: Serialize>(bytes: &mut Vec<u8>, part: &T) -> Result<()> {
    struct Append<'a>(&'a mut Vec<u8>);
    impl Flavor for Append<'_> {
        type Output = ();
        #[inline]
        fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
            self.0.push(byte);
            Ok(())
        }
        #[inline]
        fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
            // Most pieces are the few bytes of a number, for which a call costs more than a loop.
            if bytes.len() < 8 {
                bytes.iter().for_each(|byte| self.0.push(*byte));
            } else {
                self.0.extend_from_slice(bytes);
            }
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

/// Returns true if there may be a barrier from the first epoch on and before the second.
type Barriers = dyn Fn(Epoch, Epoch) -> bool;

/// A worker and its share of the saved rows.
#[derive(Clone)]
struct Share {
    saved: Option<Arc<dyn SavedRows>>,
    worker: u64,
    workers: u64,
    barriers: Rc<Barriers>,
}

impl Share {
    /// Returns true if rows of an epoch and of a `later` one must be apart. The recovery ends with
    /// epoch 0, as at a barrier.
    fn is_apart(&self, epoch: Epoch, later: Epoch) -> bool {
        epoch == 0 || (self.barriers)(epoch, later)
    }

    fn owns(&self, route: u64) -> bool {
        route % self.workers == self.worker
    }

    /// Returns the buckets that this worker loads; none without a snapshot. If `any`, the keys of a
    /// bucket may belong to several workers, and each of them loads it.
    fn buckets(&self, any: bool) -> Vec<u8> {
        let is_dropped = self.worker + 1 == self.workers && faults::bug("dropped_bucket");
        let all = if self.saved.is_some() && !is_dropped { BUCKETS } else { 0 };
        (0..all).filter(|bucket| any || self.owns(u64::from(*bucket))).collect()
    }
}

/// A keyspace on one worker.
enum Space {
    Table(Rc<TableSpace>),
    Diffs(Rc<DiffsSpace>),
}

/// The cuts of one worker.
#[derive(Clone)]
pub(crate) struct Cuts {
    share: Share,
    spaces: Rc<RefCell<Vec<Space>>>,
    /// Bytes of changed rows that were not taken.
    pending: Rc<Cell<usize>>,
}

impl Cuts {
    /// Makes the cuts of the worker with the global number `worker`. `saved` are the rows of the
    /// snapshot from which the run continues. `barriers` returns true if there may be a barrier
    /// from its first argument on and before the second.
    pub(crate) fn new(
        saved: Option<Arc<dyn SavedRows>>,
        worker: usize,
        workers: usize,
        barriers: impl Fn(Epoch, Epoch) -> bool + 'static,
    ) -> Self {
        let (worker, workers, barriers) = (worker as u64, workers as u64, Rc::new(barriers));
        let share = Share { saved, worker, workers, barriers };
        Cuts { share, spaces: Rc::default(), pending: Rc::default() }
    }

    /// Opens a cut of a table. The topology opens its cuts once, and in the same order on all
    /// workers.
    pub(crate) fn open_table<K: Datum>(&self, id: CutId, keys: Keys<K>) -> TableCut {
        let mut spaces = self.spaces.borrow_mut();
        let found = spaces.iter().find_map(|space| match space {
            Space::Table(space) if space.name == id.space => Some(space.clone()),
            _ => None,
        });
        let fail = keys.owners().fail();
        let space = found.unwrap_or_else(|| {
            let space = Rc::new(TableSpace::new(id.space.clone(), keys, self.share.clone()));
            spaces.push(Space::Table(space.clone()));
            space
        });
        TableCut::new(id, space, self.pending.clone(), fail)
    }

    /// Opens a cut of diffs, like [`open_table`](Self::open_table).
    pub(crate) fn open_diffs(&self, id: CutId, owners: &Owners) -> DiffsCut {
        let space = Rc::new(DiffsSpace::new());
        self.spaces.borrow_mut().push(Space::Diffs(space.clone()));
        DiffsCut::new(id, self.share.clone(), space, self.pending.clone(), owners.fail())
    }

    /// Opens a cut of the state of an operator, like [`open_table`](Self::open_table).
    pub(crate) fn open_state(&self, id: CutId, owners: &Owners) -> StateCut {
        let space = Rc::new(DiffsSpace::new());
        self.spaces.borrow_mut().push(Space::Diffs(space.clone()));
        let (share, pending) = (self.share.clone(), self.pending.clone());
        StateCut::new(id, share, space, pending, owners.seeds(), owners.fail())
    }

    /// Takes the rows up to the barrier `last`.
    ///
    /// # Errors
    /// When some of them are together with later ones, or they can't be packed.
    pub(crate) fn take(&self, last: Epoch) -> Result<ChangedRows> {
        let taken = self.take_some(last)?;
        for space in self.spaces.borrow().iter() {
            match space {
                Space::Table(space) => space.trim(),
                Space::Diffs(space) => space.trim(),
            }
        }
        match self.first() {
            Some(first) if first <= last => Err(Error::internal(format!(
                "rows of epoch {first} were not saved at the barrier {last}"
            ))),
            _ => Ok(taken),
        }
    }

    /// Returns the first epoch that has rows.
    pub(crate) fn first(&self) -> Option<Epoch> {
        let first = |space: &Space| match space {
            Space::Table(space) => space.first(),
            Space::Diffs(space) => space.first(),
        };
        self.spaces.borrow().iter().filter_map(first).min()
    }

    /// Takes rows of epochs up to `last`, if they are many. Some of them may stay.
    ///
    /// # Errors
    /// When they can't be packed.
    pub(crate) fn take_many(&self, last: Epoch) -> Result<Option<ChangedRows>> {
        if (self.pending.get() as u64) < faults::limit("pending_bytes", PENDING_BYTES) {
            return Ok(None);
        }
        let taken = self.take_some(last)?;
        Ok(Some(taken).filter(|rows| !rows.is_empty()))
    }

    fn take_some(&self, last: Epoch) -> Result<ChangedRows> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for space in self.spaces.borrow().iter() {
            let (rows, size) = match space {
                Space::Table(space) => space.take(last)?,
                Space::Diffs(space) => space.take(last)?,
            };
            taken.push(rows);
            bytes += size;
        }
        self.pending.set(self.pending.get().saturating_sub(bytes));
        Ok(ChangedRows(taken))
    }

    /// Forgets the saved keys, once all saved rows are loaded.
    pub(crate) fn end_recovery(&self) {
        for space in self.spaces.borrow().iter() {
            if let Space::Table(space) = space {
                space.end_recovery();
            }
        }
    }
}

/// Ends the run.
fn or_fail(result: Result<()>, fail: &Fail) {
    if let Err(error) = result {
        fail(error);
    }
}
