//! [`KTable`]: the current row of each key, maintained.
//!
//! The type states how null keys, tombstones, duplicates and out-of-order records are treated. The
//! doc of a verb states only where it differs.

mod between;
mod changes;
mod ends;
mod global;
mod group;
mod join;
mod join_on;
mod outer_key;
mod rows;
mod suppress;
mod times;
mod versioned;

use std::cell::OnceCell;
use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Map;

use crate::graph::Graph;
use crate::operators::{Datum, Diffs, Placement, Restored, TableCut, Upserts, number};
use crate::stream::Event;
use crate::time::{Epoch, Timestamp};

use changes::Changes;
pub(crate) use rows::RUN_BITS;
pub(crate) use times::MakeTouches;
pub use versioned::VersionedTable;

pub use global::GlobalKTable;
pub use outer_key::OuterKey;

/// A table: at most one row for each key, maintained. It is a handle, cheap to clone, and may be
/// used any number of times.
///
/// Unless the doc of a verb differs:
/// - A **null key** is a dead letter, or `None` where the serde accepts it
///   ([`Nullable`](crate::serdes::Nullable)): a key like others. Kafka's tables drop it.
/// - A **tombstone** deletes the row, and every result that verbs made of it. A tombstone for a key
///   without a row is no error.
/// - A **duplicate** of the current row changes nothing.
/// - An **out-of-order record**, also a tombstone, changes nothing if a later record of its key has
///   arrived, even if the key has been deleted since. Position decides, not timestamp or arrival:
///   within a partition as in Kafka, and between partitions too.
/// - A **deleted key** keeps its position, 20 bytes beside the key, so that such a record changes
///   nothing. The position is forgotten once no earlier record can arrive: all partitions of the
///   topic are past the tombstone, and no partition can be added. That is possible in a run that
///   ends with its sources, and for a followed log
///   [with fixed partitions](crate::connect::Source::with_fixed_partitions). A partition without
///   new records delays it, and so does a source that is bound before the source of the tombstone.
/// - **Closures** are called again for a row that is retracted: they must return the same result
///   for the same row.
#[derive(Clone)]
pub struct KTable<'s, K: Datum, V: Datum> {
    pub(crate) graph: Graph<'s>,
    pub(crate) node: usize,
    changes: Changes<'s, K, V>,
    /// The changes with their times, of a table whose rows have times.
    timed: Option<MakeTimed<'s, K, V>>,
    /// The table was made of changes with times.
    has_times: bool,
    /// Makes the records of which the table is the latest.
    records: Option<MakeRecords<'s, K, V>>,
    /// Makes the times of the records that touch rows, of another table whose rows can have times.
    touches: Option<MakeTouches<'s, K>>,
    /// Returns the time at which the window of a row closes, if the rows are those of windows.
    closes: Option<Closes<K>>,
}

/// Makes records of rows; `None` deletes a row.
type MakeRecords<'s, K, V> = Rc<dyn Fn() -> StreamVec<'s, Epoch, Event<K, Option<V>>> + 's>;

/// Makes the changes of a table as records with times, for a reader that needs times.
type MakeTimed<'s, K, V> = Rc<dyn Fn() -> TimedChanges<'s, K, V> + 's>;

/// Returns the time at which the window of a row closes.
pub(crate) type Closes<K> = Rc<dyn Fn(&K) -> Timestamp>;

/// The changes of a table as records with times.
#[derive(Clone)]
pub(crate) struct TimedChanges<'s, K: Datum, V: Datum> {
    pub(crate) events: StreamVec<'s, Epoch, Event<K, Option<V>>>,
    pub(crate) restored: Restored,
    /// Changes within an epoch are one, and where epochs end is not recorded.
    pub(crate) is_by_epoch: bool,
}

impl<'s, K: Datum, V: Datum> KTable<'s, K, V> {
    /// Makes a table of the latest records. `versions` is their cut, unless all rows are restored.
    pub(crate) fn from_upserts(
        graph: Graph<'s>,
        node: usize,
        rows: Upserts<'s, V>,
        restored: Restored,
        versions: Option<TableCut>,
    ) -> Self {
        let changes = Changes::from_upserts(graph.clone(), node, rows, restored, versions);
        Self::without_times(graph, node, changes)
    }

    pub(crate) fn from_diffs(
        graph: Graph<'s>,
        node: usize,
        rows: Diffs<'s, (K, V)>,
        placement: Placement,
    ) -> Self {
        let changes = Changes::from_diffs(graph.clone(), node, rows, placement);
        Self::without_times(graph, node, changes)
    }

    fn without_times(graph: Graph<'s>, node: usize, changes: Changes<'s, K, V>) -> Self {
        let (timed, records, touches, closes) = (None, None, None, None);
        KTable { graph, node, changes, timed, has_times: false, records, touches, closes }
    }

    /// Makes a table of changes with times. Those of a key come from one worker, in order. Its keys
    /// are numbered, and remembered, only if the table has a reader that needs rows.
    pub(crate) fn from_events(
        graph: Graph<'s>,
        node: usize,
        timed: TimedChanges<'s, K, V>,
    ) -> Self {
        let (events, restored, of) = (timed.events.clone(), timed.restored, graph.clone());
        let make = move || {
            let rows = events.clone().map(|event| (event.key, event.value));
            let cut = match restored {
                Restored::Tail => of.table_cut::<K, ()>(node, "keys"),
                Restored::All => None,
            };
            number(rows, of.keys(), "rows", cut)
        };
        let changes = Changes::from_later_upserts(graph.clone(), node, make, restored);
        let timed: MakeTimed<'s, K, V> = Rc::new(move || timed.clone());
        let table = Self::without_times(graph, node, changes);
        KTable { timed: Some(timed), has_times: true, ..table }
    }

    /// Adds the records of which the table is the latest. Their times are those of its rows.
    pub(crate) fn with_records(
        self,
        records: impl Fn() -> StreamVec<'s, Epoch, Event<K, Option<V>>> + 's,
    ) -> Self {
        let records: MakeRecords<'s, K, V> = Rc::new(records);
        let touching = records.clone();
        let table = self.with_touches(move || {
            touching().map(|event| {
                let times = event.timed();
                (event.key, times)
            })
        });
        KTable { records: Some(records), ..table }
    }

    /// Adds a way to make the changes with times, which costs another operator.
    pub(crate) fn with_times(self, make: impl Fn() -> TimedChanges<'s, K, V> + 's) -> Self {
        let made = OnceCell::new();
        KTable { timed: Some(Rc::new(move || made.get_or_init(&make).clone())), ..self }
    }

    /// Returns the changes as retractions and additions.
    pub(crate) fn diffs(&self) -> Diffs<'s, (K, V)> {
        self.changes.diffs()
    }

    /// Returns the new rows, on the workers that own their keys.
    pub(crate) fn upserts(&self) -> Upserts<'s, V> {
        self.changes.upserts()
    }

    /// Returns the workers on which the diffs are.
    pub(crate) fn placement(&self) -> Placement {
        self.changes.placement()
    }

    /// Names this step, for [`describe`](crate::Topology::describe) and logs. It replaces Kafka's
    /// `Named`, and follows the verb instead of being an argument of it.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    ///     builder.table("rows", Consumed::with(Int64, Int64))
    ///         .map_values(|n| n * 10).named("tens");
    /// });
    /// assert!(topology.describe().contains("map_values \"tens\""));
    /// ```
    pub fn named(&self, name: &str) -> Self {
        self.graph.name(self.node, name);
        self.clone()
    }
}

/// Leaves the DSL: the table's changes as a differential collection, for operators of your own.
///
/// [`KTable::from_collection`] is the way back.
impl<'s, K: Datum, V: Datum> From<&KTable<'s, K, V>> for Diffs<'s, (K, V)> {
    fn from(table: &KTable<'s, K, V>) -> Self {
        table.diffs().inner.as_collection()
    }
}
