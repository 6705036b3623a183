//! What of a table can be read while it is maintained: [`ReadOnlyStore`] gives [`View`]s, each of
//! all that stood at the close of one epoch.

use std::any::Any;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, RwLock};

use rpds::RedBlackTreeMapSync;

use crate::operators::{Datum, Map};
use crate::sync::{ignore_poison, lock};
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
    /// Returns a handle of `store`, if its keys and values are of these types.
    pub(crate) fn of(store: Arc<dyn AnyStore>) -> Option<Self> {
        let store: Arc<dyn Any + Send + Sync> = store;
        store.downcast().ok().map(ReadOnlyStore)
    }

    /// The whole table as it is now. Ask one view what is to be compared: of two, the second may be
    /// of a later epoch.
    pub fn view(&self) -> View<K, V> {
        ignore_poison(self.0.published.read()).clone()
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

/// A store of any key and value types, as the runtime holds it.
pub(crate) trait AnyStore: Any + Send + Sync {
    /// Lets readers see the staged changes of all epochs before `open`, in one step.
    fn publish(&self, open: Epoch);
}

/// The keys that an epoch has changed, each with its new value, `None` if it is deleted.
pub(crate) type Net<K, V> = Map<K, Option<V>>;

/// The rows that readers see, and the changes of epochs that are not yet closed on all workers.
pub(crate) struct Rows<K: Ord, V> {
    staged: Mutex<BTreeMap<Epoch, Vec<Net<K, V>>>>,
    published: RwLock<View<K, V>>,
}

impl<K: Datum, V: Datum> Rows<K, V> {
    /// Returns a store without rows.
    pub(crate) fn empty() -> Arc<dyn AnyStore> {
        Arc::new(Rows::<K, V> {
            staged: Mutex::default(),
            published: View { rows: RedBlackTreeMapSync::new_sync(), epoch: None }.into(),
        })
    }

    /// Takes the changes of an epoch from one worker. No other worker has changes of these keys.
    pub(crate) fn stage(&self, epoch: Epoch, part: Net<K, V>) {
        lock(&self.staged).entry(epoch).or_default().push(part);
    }
}

impl<K: Datum, V: Datum> AnyStore for Rows<K, V> {
    fn publish(&self, open: Epoch) {
        let closed = {
            let mut staged = lock(&self.staged);
            let later = staged.split_off(&open);
            std::mem::replace(&mut *staged, later)
        };
        // Readers keep the previous view while the next one is made, also if that fails.
        let mut next = ignore_poison(self.published.read()).clone();
        for (key, value) in closed.into_values().flatten().flatten() {
            match value {
                Some(value) => next.rows.insert_mut(key, value),
                None => _ = next.rows.remove_mut(&key),
            }
        }
        next.epoch = open.checked_sub(1);
        // Rows that only the previous view held are freed after the lock is released.
        let before = std::mem::replace(&mut *ignore_poison(self.published.write()), next);
        drop(before);
    }
}
