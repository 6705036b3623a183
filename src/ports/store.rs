//! What of a table can be read while it is maintained: [`ReadOnlyStore`] gives [`View`]s, each of
//! all that stood at the close of one epoch.

use std::any::Any;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rpds::RedBlackTreeMapSync;

use crate::operators::{Datum, Map};
use crate::time::Epoch;

/// The rows of a table as they stood at the close of one epoch. It never changes, and holds up
/// nothing for as long as it is kept: it shares with later views the rows that are the same in
/// both.
#[derive(Clone)]
pub struct View<K: Ord, V> {
    rows: RedBlackTreeMapSync<K, V>,
    epoch: Option<Epoch>,
}

impl<K: Datum, V: Datum> View<K, V> {
    /// The epoch at whose close the rows stood; `None`, and then no rows, before a run has rebuilt
    /// its state. Epochs are counted anew in each run: at 0 the rows are those of the last commit
    /// of the run before.
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// The value at `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.rows.get(key)
    }

    /// The rows whose keys lie in `keys`, ascending.
    pub fn range<Q: Ord + ?Sized>(
        &self,
        keys: impl RangeBounds<Q>,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let none = match (keys.start_bound(), keys.end_bound()) {
            (Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
            (
                Bound::Included(from) | Bound::Excluded(from),
                Bound::Included(to) | Bound::Excluded(to),
            ) => from > to,
            _ => false,
        };
        (!none).then(|| self.rows.range(keys)).into_iter().flatten()
    }

    /// All rows, by ascending key.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.size()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl<K: Datum, V: Datum> fmt::Debug for View<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.all()).finish()
    }
}

/// A handle of a [materialized](crate::KTable::materialize) table, to read it from any thread,
/// before, while and after it runs.
///
/// Readers and the run never wait for each other's work. Each answer is as of the last epoch that
/// was closed on all workers, which may not be committed yet: after a crash the store shows the
/// last commit, and then what is read again.
#[derive(Clone)]
pub struct ReadOnlyStore<K: Ord, V>(Arc<Rows<K, V>>);

impl<K: Datum, V: Datum> ReadOnlyStore<K, V> {
    /// The handle of a shelf, if that has such keys and values.
    pub(crate) fn of(shelf: Arc<dyn Shelf>) -> Option<Self> {
        let shelf: Arc<dyn Any + Send + Sync> = shelf;
        shelf.downcast().ok().map(ReadOnlyStore)
    }

    /// The whole table as it is now. Ask one view what is to be compared: of two, the second may be
    /// of a later epoch.
    pub fn view(&self) -> View<K, V> {
        self.0.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The value at `key` now.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.view().get(key).cloned()
    }
}

impl<K: Datum, V: Datum> fmt::Debug for ReadOnlyStore<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// A store of any type, as a run sees it.
pub(crate) trait Shelf: Any + Send + Sync {
    /// Shows all that was handed over of the epochs before `open`, in one step.
    fn show(&self, open: Epoch);
}

/// What stands at the keys that an epoch has touched.
pub(crate) type Net<K, V> = Map<K, Option<V>>;

/// What is shown, and what waits for its epoch to be closed on all workers.
pub(crate) struct Rows<K: Ord, V> {
    waiting: Mutex<BTreeMap<Epoch, Vec<Net<K, V>>>>,
    shown: RwLock<View<K, V>>,
}

impl<K: Datum, V: Datum> Rows<K, V> {
    /// A store without rows.
    pub(crate) fn shelf() -> Arc<dyn Shelf> {
        Arc::new(Rows::<K, V> {
            waiting: Mutex::default(),
            shown: View { rows: RedBlackTreeMapSync::new_sync(), epoch: None }.into(),
        })
    }

    /// Takes one worker's part of an epoch; no other worker's has keys of it.
    pub(crate) fn hand(&self, epoch: Epoch, part: Net<K, V>) {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(epoch)
            .or_default()
            .push(part);
    }
}

impl<K: Datum, V: Datum> Shelf for Rows<K, V> {
    fn show(&self, open: Epoch) {
        let closed = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let later = waiting.split_off(&open);
            std::mem::replace(&mut *waiting, later)
        };
        // The next view is made aside: while that goes on, and whatever becomes of it, readers have
        // the one before.
        let mut next = self.shown.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (key, value) in closed.into_values().flatten().flatten() {
            match value {
                Some(value) => next.rows.insert_mut(key, value),
                None => _ = next.rows.remove_mut(&key),
            }
        }
        next.epoch = open.checked_sub(1);
        // What only the view before held is freed when readers can go on.
        let before = std::mem::replace(
            &mut *self.shown.write().unwrap_or_else(PoisonError::into_inner),
            next,
        );
        drop(before);
    }
}
