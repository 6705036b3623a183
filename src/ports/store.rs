//! Stores of materialized tables, which other threads can read while the tables are maintained:
//! [`ReadOnlyStore`] returns [`View`]s, and each shows the rows at the close of one epoch.

use std::any::Any;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use rpds::RedBlackTreeMapSync;

use crate::operators::{Datum, Map};
use crate::sync::{ignore_poison, lock};
use crate::time::Epoch;

/// The rows of a table at the close of one epoch. A view never changes. It blocks nothing however
/// long it is kept, and shares unchanged rows with later views.
///
/// ```
/// use watershed::prelude::*;
///
/// let topology = Topology::new("stock", |builder: &StreamsBuilder<'_>| {
///     let stock = builder.table("stock", Consumed::with(Utf8, Int64));
///     stock.materialize(Materialized::named("stock"));
/// });
/// let mut driver = TopologyTestDriver::new(topology)?;
/// let stock = driver.store::<String, i64>("stock")?;
/// let items = driver.input("stock", Utf8, Int64);
/// for (item, pieces) in [("desk", 2), ("lamp", 3), ("shelf", 0)] {
///     items.pipe(&mut driver, &item.to_string(), &pieces);
/// }
/// driver.commit()?;
///
/// let view = stock.view();
/// assert_eq!((view.len(), view.is_empty()), (3, false));
/// assert_eq!((view.get("lamp"), view.get("chair")), (Some(&3), None));
/// let keys = view.range("e".to_string().."m".to_string()).map(|(item, _)| item.as_str());
/// assert_eq!(keys.collect::<Vec<_>>(), ["lamp"]);
/// let sold_out = view.all().filter(|(_, pieces)| **pieces == 0).count();
/// assert_eq!(sold_out, 1);
///
/// items.delete(&mut driver, &"lamp".to_string());
/// driver.commit()?;
/// assert_eq!((view.get("lamp"), stock.view().get("lamp")), (Some(&3), None));
/// assert!(view.epoch() < stock.view().epoch());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct View<K: Ord, V> {
    rows: RedBlackTreeMapSync<K, V>,
    epoch: Option<Epoch>,
}

impl<K: Datum, V: Datum> View<K, V> {
    /// Returns the epoch at whose close the table had these rows. It is `None`, and there are no
    /// rows, until a run has rebuilt its state. Each run counts epochs from 0: the view of epoch 0
    /// shows the last commit of the previous run.
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// Returns the value of `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.rows.get(key)
    }

    /// Returns the rows whose keys are in the range `keys`, in ascending order.
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

    /// Returns all rows, in the ascending order of their keys.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.size()
    }

    /// Returns true if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl<K: Datum, V: Datum> fmt::Debug for View<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.all()).finish()
    }
}

/// A handle to read a [materialized](crate::KTable::materialize) table from any thread, before,
/// during and after a run.
///
/// Readers and the run never block each other. Each answer is as of the last epoch that is closed
/// on all workers, which may not be committed yet. After a crash the store shows the last commit
/// first, and then the records that are read again.
///
/// ```
/// use watershed::connect::memory::MemoryLog;
/// use watershed::prelude::*;
///
/// let topology = Topology::new("stock", |builder: &StreamsBuilder<'_>| {
///     let stock = builder.table("stock", Consumed::with(Utf8, Utf8));
///     stock.materialize(Materialized::named("stock"));
/// });
/// let items = MemoryLog::default();
/// items.append(0, Some(b"lamp"), Some(b"3 pieces"));
/// let mut streams = Streams::new(topology).source("stock", items);
/// let stock: ReadOnlyStore<String, String> = streams.store("stock")?;
/// assert!(stock.view().is_empty()); // before the run
///
/// let reader = stock.clone();
/// let run = std::thread::spawn(move || streams.run(Config::default()));
/// let _ = reader.get("lamp"); // during the run: `None`, then "3 pieces"
/// assert!(run.join().is_ok_and(|result| result.is_ok()));
/// assert_eq!(stock.get("lamp").as_deref(), Some("3 pieces")); // after the run
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct ReadOnlyStore<K: Ord, V>(Arc<KeyValueStore<K, V>>);

impl<K: Datum, V: Datum> ReadOnlyStore<K, V> {
    /// Returns a handle of `store`, if its keys and values are of these types.
    pub(crate) fn of(store: Arc<dyn AnyStore>) -> Option<Self> {
        let store: Arc<dyn Any + Send + Sync> = store;
        store.downcast().ok().map(ReadOnlyStore)
    }

    /// Returns the whole table as it is now. Compare rows within one view, because a second view
    /// may be of a later epoch.
    pub fn view(&self) -> View<K, V> {
        ignore_poison(self.0.published.read()).clone()
    }

    /// Returns the value of `key` as it is now.
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

/// A store of any key and value types, for the runtime.
pub(crate) trait AnyStore: Any + Send + Sync {
    /// Publishes the staged changes of all epochs before `open` to readers, in one step.
    fn publish(&self, open: Epoch);

    /// Has the first `workers` workers gather the rows of all, because only they share this store.
    fn gather_on(&self, workers: usize);
}

/// The keys that an epoch has changed, each with its new value, or `None` if it was deleted.
pub(crate) type Net<K, V> = Map<K, Option<V>>;

/// The rows that readers see, and the changes of epochs that are not yet closed on all workers.
pub(crate) struct KeyValueStore<K: Ord, V> {
    staged: Mutex<BTreeMap<Epoch, Vec<Net<K, V>>>>,
    published: RwLock<View<K, V>>,
    /// The number of workers that gather the rows of all; not set if each worker stages its own.
    gathering: OnceLock<usize>,
}

impl<K: Datum, V: Datum> KeyValueStore<K, V> {
    /// Returns a store without rows.
    pub(crate) fn empty() -> Arc<dyn AnyStore> {
        Arc::new(KeyValueStore::<K, V> {
            staged: Mutex::default(),
            published: View { rows: RedBlackTreeMapSync::new_sync(), epoch: None }.into(),
            gathering: OnceLock::new(),
        })
    }

    /// Returns the number of workers that gather the rows of all, if they do.
    pub(super) fn gathering(&self) -> Option<usize> {
        self.gathering.get().copied()
    }

    /// Adds the changes of an epoch from one worker. No other worker may have changes of these
    /// keys.
    pub(crate) fn stage(&self, epoch: Epoch, part: Net<K, V>) {
        lock(&self.staged).entry(epoch).or_default().push(part);
    }
}

impl<K: Datum, V: Datum> AnyStore for KeyValueStore<K, V> {
    fn gather_on(&self, workers: usize) {
        self.gathering.get_or_init(|| workers.max(1));
    }

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
