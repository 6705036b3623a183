//! The rows of windows as tables and streams.

use std::rc::Rc;

use timely::dataflow::StreamVec;

use crate::graph::Graph;
use crate::grouped::Records;
use crate::operators::{
    Accumulate, Datum, Ends, Fixed, Folding, PartOf, Restored, SavedWindow, Setting, Timed,
    WindowRow, in_epoch, keyed,
};
use crate::record::{Order, Ordinal};
use crate::row::Windowed;
use crate::stream::Event;
use crate::table::{KTable, RUN_BITS, TimedChanges};
use crate::time::{Epoch, Timestamp};

/// The times at which rows change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timing {
    /// At the close of epochs, whose places are not recorded.
    Epochs,
    /// At the close of windows, which timestamps decide.
    Windows,
}

/// Notes that an aggregate in the order of values depends on where epochs end: each epoch takes its
/// values in the order of their partitions.
pub(super) fn note_order<X: Datum>(graph: &Graph<'_>, aggregate: &impl Accumulate<X>) {
    if aggregate.is_ordered() {
        graph.volatile();
    }
}

/// Returns the setting of an operator that aggregates the records of a stream.
pub(super) fn setting<G: Datum, X: Datum, A: Accumulate<X>>(
    graph: &Graph<'_>,
    node: usize,
    restored: Restored,
) -> Setting {
    graph.setting::<G, PartOf<A::Part>, SavedWindow<A::Row>>(node, restored, "windows")
}

/// Makes a table of the changed rows of windows.
pub(super) fn timed_changes<'s, G: Datum, N: Datum, O: Datum, K: Datum>(
    graph: &Graph<'s>,
    rows: StreamVec<'s, Epoch, WindowRow<G, N, O>>,
    key: fn(Windowed<G>, N) -> K,
    restored: Restored,
    timing: Timing,
) -> TimedChanges<'s, K, O> {
    let base = graph.earlier_runs() << RUN_BITS;
    let events = in_epoch(rows, move |row, epoch| {
        let WindowRow { key: window, name, value, timestamp, partition_time } = row;
        let offset = match timing {
            Timing::Epochs => base + epoch,
            Timing::Windows => partition_time.place(),
        };
        let (order, ordinal) = (Order::default(), Ordinal::default());
        let timed = Timed { order, ordinal, timestamp, partition_time, value };
        Event::of_change(key(window, name), timed, offset)
    });
    let is_by_epoch = timing == Timing::Epochs;
    TimedChanges { events, restored, is_by_epoch }
}

/// Folds the values of each group of a stream that only adds. The state of a group is its result
/// alone.
pub(crate) fn folded_changes<'s, G: Datum, X: Datum, S: Datum, O: Datum>(
    graph: &Graph<'s>,
    node: usize,
    records: &Records<'s, G, X>,
    verb: &str,
    aggregate: Folding<X, S, O>,
) -> TimedChanges<'s, G, O> {
    note_order(graph, &aggregate);
    let setting = setting::<G, X, Folding<X, S, O>>(graph, node, records.restored);
    let assign = Rc::new(|_, each: &mut dyn FnMut(Timestamp, Timestamp)| {
        each(Timestamp::MIN, Timestamp::MAX);
    });
    let logic = Fixed { aggregate, assign, ends: Ends::never(graph.mode().is_per_record()) };
    let rows = keyed((records.timed)(), graph.nothing(), verb, setting, logic);
    let (key, restored) = (|window: Windowed<G>, ()| window.key, records.restored);
    timed_changes(graph, rows, key, restored, Timing::Epochs)
}

/// Folds the values of each group like [`folded_changes`], to a table.
pub(crate) fn folded<'s, G: Datum, X: Datum, S: Datum, O: Datum>(
    graph: &Graph<'s>,
    before: usize,
    records: &Records<'s, G, X>,
    verb: &str,
    aggregate: Folding<X, S, O>,
) -> KTable<'s, G, O> {
    let node = graph.node(verb, &[before]);
    KTable::from_events(graph.clone(), node, folded_changes(graph, node, records, verb, aggregate))
}
