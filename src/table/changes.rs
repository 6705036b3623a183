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
use timely::dataflow::operators::vec::Map;

use crate::graph::{Graph, SinkDemand};
use crate::metrics::Meter;
use crate::operators::{
    Datum, Diffs, Keys, Placement, Restored, Seeds, TableCut, Update, Upserts, changelog,
    diffs_to_upserts, keep, map_diffs, map_upserts, upserts_to_changes, upserts_to_diffs,
};
use crate::ports::{
    KeyValueStore, SinkCuts, SinkHandle, materialize, materialize_diffs, snapshot, snapshot_diffs,
};
use crate::row::Row;
use crate::time::Epoch;

/// The changes of a table. It is a handle: clones share the state of conversions.
#[derive(Clone)]
pub(super) struct Changes<'s, K: Datum, V: Datum> {
    graph: Graph<'s>,
    /// The step that makes them.
    node: usize,
    made: Shape<'s, K, V>,
    keys: Keys<K>,
    /// The cut of the versions of rows that are the values of records.
    versions: Option<TableCut>,
    /// The upserts behind a cut, for the first reader that remembers rows.
    kept: Rc<OnceCell<Upserts<'s, V>>>,
    /// The other shape, made for the first reader that needs it.
    upserts: Rc<OnceCell<Upserts<'s, V>>>,
    diffs: Rc<OnceCell<Diffs<'s, (K, V)>>>,
}

#[derive(Clone)]
enum Shape<'s, K: Datum, V: Datum> {
    Upserts(MadeUpserts<'s, V>, Restored),
    /// All of them are restored after a restart, because operators that make diffs remember rows.
    Diffs(Diffs<'s, (K, V)>, Placement),
}

/// Upserts, which may be made for their first reader.
#[derive(Clone)]
struct MadeUpserts<'s, V: Datum> {
    made: Rc<OnceCell<Upserts<'s, V>>>,
    make: Rc<dyn Fn() -> Upserts<'s, V> + 's>,
}

impl<'s, V: Datum> MadeUpserts<'s, V> {
    fn of(rows: Upserts<'s, V>) -> Self {
        MadeUpserts { made: Rc::default(), make: Rc::new(move || rows.clone()) }
    }

    fn get(&self) -> &Upserts<'s, V> {
        self.made.get_or_init(|| (self.make)())
    }
}

impl<'s, K: Datum, V: Datum> Changes<'s, K, V> {
    /// Takes upserts that `make` makes once a reader needs them.
    pub(super) fn from_later_upserts(
        graph: Graph<'s>,
        node: usize,
        make: impl Fn() -> Upserts<'s, V> + 's,
        restored: Restored,
    ) -> Self {
        let (keys, rows) = (graph.keys(), MadeUpserts { made: Rc::default(), make: Rc::new(make) });
        Self::new(graph, node, Shape::Upserts(rows, restored), keys)
    }

    pub(super) fn from_upserts(
        graph: Graph<'s>,
        node: usize,
        rows: Upserts<'s, V>,
        restored: Restored,
        versions: Option<TableCut>,
    ) -> Self {
        let (keys, rows) = (graph.keys(), MadeUpserts::of(rows));
        Changes { versions, ..Self::new(graph, node, Shape::Upserts(rows, restored), keys) }
    }

    pub(super) fn from_diffs(
        graph: Graph<'s>,
        node: usize,
        rows: Diffs<'s, (K, V)>,
        placement: Placement,
    ) -> Self {
        let keys = graph.keys();
        Self::new(graph, node, Shape::Diffs(rows, placement), keys)
    }

    fn new(graph: Graph<'s>, node: usize, made: Shape<'s, K, V>, keys: Keys<K>) -> Self {
        let (kept, upserts, diffs) = (Rc::default(), Rc::default(), Rc::default());
        Changes { graph, node, made, keys, versions: None, kept, upserts, diffs }
    }

    /// Returns `rows` behind a cut, unless they are restored without one.
    fn kept(&self, rows: &Upserts<'s, V>, restored: Restored) -> Upserts<'s, V> {
        let keep = || match self.graph.table_cut::<K, V>(self.node, "rows") {
            Some(cut) => keep(rows.clone(), "rows", cut),
            None => rows.clone(),
        };
        match restored {
            Restored::All => rows.clone(),
            Restored::Tail => self.kept.get_or_init(keep).clone(),
        }
    }

    /// Returns the new rows, on the workers that own their keys, for a reader that remembers them.
    pub(super) fn upserts(&self) -> Upserts<'s, V> {
        match &self.made {
            Shape::Upserts(rows, restored) => self.kept(rows.get(), *restored),
            Shape::Diffs(rows, placement) => {
                let convert = || diffs_to_upserts(rows.clone(), self.keys.clone(), *placement);
                self.upserts.get_or_init(convert).clone()
            }
        }
    }

    /// Returns the previous rows as retractions and the new rows as additions.
    pub(super) fn diffs(&self) -> Diffs<'s, (K, V)> {
        match &self.made {
            Shape::Upserts(rows, restored) => {
                let convert = || {
                    upserts_to_diffs(self.kept(rows.get(), *restored), self.keys.clone(), "rows")
                };
                self.diffs.get_or_init(convert).clone()
            }
            Shape::Diffs(rows, _) => rows.clone(),
        }
    }

    /// Returns each changed key of an epoch with its new row or `None`, from the epoch `first` on;
    /// in `per_record` each update.
    pub(super) fn log(
        &self,
        name: &str,
        first: Epoch,
        meter: Meter,
    ) -> StreamVec<'s, Epoch, ((K, Option<V>), Epoch)> {
        match &self.made {
            // As in Kafka, a deletion without a row goes on, unless a verb needs the old rows.
            Shape::Upserts(..)
                if self.graph.mode().is_per_record() && self.diffs.get().is_none() =>
            {
                upserts_to_changes(self.upserts(), self.keys.clone(), name, first, meter)
            }
            _ => changelog(self.diffs(), name, first, &self.graph.owners(), meter),
        }
    }

    /// Returns the updates of rows, with their former rows where those are kept for another reader,
    /// and in `consistent` mode always.
    pub(super) fn updates(&self) -> StreamVec<'s, Epoch, (K, Update<V>)> {
        match &self.made {
            Shape::Upserts(..)
                if self.graph.mode().is_per_record() && self.diffs.get().is_none() =>
            {
                let (rows, none) = (self.upserts(), Meter::default());
                upserts_to_changes(rows, self.keys.clone(), "updates", 0, none)
                    .map(|((key, row), _)| (key, Update::Row(row)))
            }
            _ => self.updates_with_former(),
        }
    }

    /// Returns the updates of rows, with their former rows.
    pub(super) fn updates_with_former(&self) -> StreamVec<'s, Epoch, (K, Update<V>)> {
        self.diffs().inner.map(|((key, value), _, diff)| {
            (key, if diff > 0 { Update::Row(Some(value)) } else { Update::Retracted(value) })
        })
    }

    /// Returns the workers on which the diffs are.
    pub(super) fn placement(&self) -> Placement {
        match &self.made {
            // Upserts never leave the worker that owns the key.
            Shape::Upserts(..) => Placement::Owner,
            Shape::Diffs(_, placement) => *placement,
        }
    }

    /// Replaces each row's value by the result of `f`; `None` is no row. It keeps no state. `node`
    /// is the step that does it.
    pub(super) fn map<W: Datum>(
        &self,
        node: usize,
        name: &str,
        f: impl Fn(&K, &V) -> Option<W> + 'static,
    ) -> Changes<'s, K, W> {
        let meter = self.graph.meter(node);
        let made = match &self.made {
            Shape::Upserts(rows, restored) => {
                // One cut is enough, if another reader has opened it.
                let (rows, restored) = match self.kept.get() {
                    Some(kept) => (MadeUpserts::of(kept.clone()), Restored::All),
                    None => (rows.clone(), *restored),
                };
                let (keys, name, f) = (self.keys.clone(), name.to_string(), Rc::new(f));
                let make = move || {
                    let (keys, f) = (keys.clone(), f.clone());
                    let mapped = move |key: &K, value: &V| f(key, value);
                    map_upserts(rows.get().clone(), keys, &name, meter.clone(), mapped)
                };
                Shape::Upserts(MadeUpserts { made: Rc::default(), make: Rc::new(make) }, restored)
            }
            Shape::Diffs(rows, placement) => {
                Shape::Diffs(map_diffs(rows.clone(), name, meter, f), *placement)
            }
        };
        Changes::new(self.graph.clone(), node, made, self.keys.clone())
    }

    /// Opens the cut that a store needs.
    pub(super) fn prepare_store(&self) {
        if let Shape::Upserts(..) = &self.made {
            self.upserts();
        }
    }

    /// Applies the changes to a store. The result ends an epoch when the store has its changes.
    pub(super) fn store(
        &self,
        name: &str,
        store: Arc<KeyValueStore<K, V>>,
    ) -> StreamVec<'s, Epoch, ()> {
        match &self.made {
            Shape::Upserts(..) => materialize(self.upserts(), self.keys.clone(), name, store),
            Shape::Diffs(rows, _) => {
                materialize_diffs(rows.clone(), name, store, self.keys.owners())
            }
        }
    }
}

impl<'s, K: Datum + Row, V: Datum + Row> Changes<'s, K, V> {
    /// Prepares the write of the changes to a sink.
    pub(super) fn prepare_sink(&self, node: usize, demand: SinkDemand) -> SinkRows<'s, K, V> {
        let cuts = || {
            let own = self.graph.table_cut::<K, u16>(node, "versions");
            Box::new(SinkCuts { own, source: self.versions.clone() })
        };
        let keys = self.keys.clone();
        match (&self.made, demand) {
            (Shape::Upserts(rows, Restored::Tail), SinkDemand::Keys) => {
                SinkRows::Upserts(rows.get().clone(), keys, cuts())
            }
            (Shape::Upserts(_, Restored::Tail), SinkDemand::RowsOnce) => {
                SinkRows::Upserts(self.upserts(), keys, cuts())
            }
            (Shape::Upserts(..), _) => SinkRows::Upserts(self.upserts(), keys, Box::default()),
            (Shape::Diffs(rows, _), _) => SinkRows::Diffs(rows.clone(), self.keys.seeds()),
        }
    }
}

/// The changes of a table on their way to a sink.
pub(super) enum SinkRows<'s, K: Datum, V: Datum> {
    Upserts(Upserts<'s, V>, Keys<K>, Box<SinkCuts>),
    Diffs(Diffs<'s, (K, V)>, Seeds),
}

impl<'s, K: Datum + Row, V: Datum + Row> SinkRows<'s, K, V> {
    /// Writes the changes. The result ends an epoch when the writer has its changes.
    ///
    /// The two shapes have operators of their own. Upserts address a row by the number of its key.
    /// Diffs are written on the worker that made them, even if it does not own their key.
    pub(super) fn write(
        self,
        topic: &str,
        handle: SinkHandle,
        meter: Meter,
    ) -> StreamVec<'s, Epoch, ()> {
        match self {
            SinkRows::Upserts(rows, keys, cuts) => {
                snapshot(rows, keys, topic, handle, *cuts, meter)
            }
            SinkRows::Diffs(rows, seeds) => snapshot_diffs(rows, topic, handle, seeds, meter),
        }
    }
}
