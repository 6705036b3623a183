//! [`Changes`]: the changes of a table, in the shape in which they were made.
//!
//! *Upserts* carry the new row. Topics produce them, and they need no state. *Diffs* also carry the
//! previous row. Joins and aggregates produce them at no cost, but to make them from upserts every
//! key's value must be kept. So each reader requests the shape that it needs, and a table keeps
//! state only for its readers: `map_values` before a join is all that the join keeps, and a sink
//! reads upserts and keeps no value.
//!
//! This is the only file that distinguishes the two shapes.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::StreamVec;

use crate::operators::{
    Datum, Diffs, Keys, Placement, Upserts, diffs_to_upserts, map_upserts, upserts_to_diffs,
};
use crate::ports::{
    KeyValueStore, SinkHandle, materialize, materialize_diffs, snapshot, snapshot_diffs,
};
use crate::row::Row;
use crate::time::Epoch;

/// The changes of a table. It is a handle: clones share the state of conversions.
#[derive(Clone)]
pub(super) struct Changes<'s, K: Datum, V: Datum> {
    made: Shape<'s, K, V>,
    keys: Keys<K>,
    /// The other shape, made for the first reader that needs it.
    upserts: Rc<OnceCell<Upserts<'s, V>>>,
    diffs: Rc<OnceCell<Diffs<'s, (K, V)>>>,
}

#[derive(Clone)]
enum Shape<'s, K: Datum, V: Datum> {
    Upserts(Upserts<'s, V>),
    Diffs(Diffs<'s, (K, V)>, Placement),
}

impl<'s, K: Datum, V: Datum> Changes<'s, K, V> {
    pub(super) fn from_upserts(rows: Upserts<'s, V>, keys: Keys<K>) -> Self {
        Self::new(Shape::Upserts(rows), keys)
    }

    pub(super) fn from_diffs(rows: Diffs<'s, (K, V)>, placement: Placement, keys: Keys<K>) -> Self {
        Self::new(Shape::Diffs(rows, placement), keys)
    }

    fn new(made: Shape<'s, K, V>, keys: Keys<K>) -> Self {
        Changes { made, keys, upserts: Rc::default(), diffs: Rc::default() }
    }

    /// Returns the new rows, on the workers that own their keys.
    pub(super) fn upserts(&self) -> Upserts<'s, V> {
        match &self.made {
            Shape::Upserts(rows) => rows.clone(),
            Shape::Diffs(rows, placement) => {
                let convert = || diffs_to_upserts(rows.clone(), self.keys.clone(), *placement);
                self.upserts.get_or_init(convert).clone()
            }
        }
    }

    /// Returns the previous rows as retractions and the new rows as additions.
    pub(super) fn diffs(&self) -> Diffs<'s, (K, V)> {
        match &self.made {
            Shape::Upserts(rows) => {
                let convert = || upserts_to_diffs(rows.clone(), self.keys.clone(), "rows");
                self.diffs.get_or_init(convert).clone()
            }
            Shape::Diffs(rows, _) => rows.clone(),
        }
    }

    /// Replaces each row's value by the result of `f`; `None` is no row. It keeps no state.
    pub(super) fn map<W: Datum>(
        &self,
        name: &str,
        f: impl Fn(&K, &V) -> Option<W> + 'static,
    ) -> Changes<'s, K, W> {
        let made = match &self.made {
            Shape::Upserts(rows) => {
                Shape::Upserts(map_upserts(rows.clone(), self.keys.clone(), name, f))
            }
            Shape::Diffs(rows, placement) => {
                let row = move |(key, value)| f(&key, &value).map(|value| (key, value));
                Shape::Diffs(rows.clone().flat_map(row), *placement)
            }
        };
        Changes::new(made, self.keys.clone())
    }

    /// Applies the changes to a store. The result ends an epoch when the store has its changes.
    pub(super) fn store(
        &self,
        name: &str,
        store: Arc<KeyValueStore<K, V>>,
    ) -> StreamVec<'s, Epoch, ()> {
        match &self.made {
            Shape::Upserts(rows) => materialize(rows.clone(), self.keys.clone(), name, store),
            Shape::Diffs(rows, _) => {
                materialize_diffs(rows.clone(), name, store, self.keys.seeds())
            }
        }
    }
}

impl<'s, K: Datum + Row, V: Datum + Row> Changes<'s, K, V> {
    /// Writes the changes to a sink. The result ends an epoch when the writer has its changes.
    ///
    /// The two shapes have operators of their own. Upserts address a row by the number of its key.
    /// Diffs are written on the worker that made them, even if it does not own their key.
    pub(super) fn sink(&self, topic: &str, handle: SinkHandle) -> StreamVec<'s, Epoch, ()> {
        match &self.made {
            Shape::Upserts(rows) => snapshot(rows.clone(), self.keys.clone(), topic, handle),
            Shape::Diffs(rows, _) => snapshot_diffs(rows.clone(), topic, handle, self.keys.seeds()),
        }
    }
}
