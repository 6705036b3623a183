//! Verbs that bring the records of a stream together: groups, tables, joins with a table.

use timely::dataflow::operators::vec::Map;

use differential_dataflow::{AsCollection, VecCollection};

use super::{Event, KStream, Shared};
use crate::grouped::KGrouped;
use crate::operators::{Arrived, Datum, Extreme, Tally, fold, group, latest};
use crate::record::Order;
use crate::serdes::digest;
use crate::table::KTable;
use crate::time::Epoch;

/// What of a stream's record outlives a join: value, place, timestamp.
type Left<V> = (V, Order, Option<i64>);

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    /// Groups records: `f` gives group and value, or `None` for no group. A duplicate record counts again, as it is an event.
    pub fn group_by<G: Datum, X: Datum, P: Into<Option<(G, X)>>>(&self, f: impl Fn(&K, &V) -> P + 'static) -> KGrouped<'s, G, X> {
        let node = self.graph.node("group_by", &[self.node]);
        let one = move |e: Event<K, V>| f(&e.key, &e.value).into().map(|pair| (pair, isize::from(e.diff)));
        KGrouped::new(self.graph.clone(), node, group(self.events.clone(), one))
    }

    /// Groups records by their key.
    pub fn group_by_key(&self) -> KGrouped<'s, K, V> {
        let node = self.graph.node("group_by_key", &[self.node]);
        let one = |e: Event<K, V>| Some(((e.key, e.value), isize::from(e.diff)));
        KGrouped::new(self.graph.clone(), node, group(self.events.clone(), one))
    }

    /// The latest record of each key, by position: unlike Kafka's, an older record that arrives later changes nothing.
    pub fn to_table(&self) -> KTable<'s, K, V> {
        let node = self.graph.node("to_table", &[self.node]);
        if self.retracts {
            let diffs = timed(&self.events, |e, t| Some(((e.key, (e.order, e.value)), t, isize::from(e.diff))));
            let last = fold(diffs, "to_table", Box::new(|| Extreme::new(true)), |key, (_, value)| (key, value));
            return KTable::from_diffs(self.graph.clone(), node, last, true);
        }
        let arrived = self.events.clone().map(|e| {
            let digest = digest(&e.value).half();
            Arrived { key: e.key, order: e.order, digest, value: Some(e.value) }
        });
        let rows = latest(arrived, self.graph.keys(), "to_table", std::sync::Arc::<Tally>::default());
        KTable::from_upserts(self.graph.clone(), node, rows)
    }

    /// Joins each record with the table's row of its key. Unlike Kafka's the result is maintained: a row that comes or changes
    /// later moves the results of all records of its key.
    pub fn join<W: Datum, O: Datum>(&self, table: &KTable<'s, K, W>, f: impl Fn(&V, &W) -> O + 'static) -> KStream<'s, K, O> {
        let node = self.graph.node("join", &[self.node, table.node]);
        let joined = self.lefts().join_map(table.diffs(), move |key, (v, order, ts), w| (key.clone(), (f(v, w), *order, *ts)));
        self.joined(node, joined)
    }

    /// Like [`join`](Self::join), and a record without a row is joined with `None` for as long as there is none.
    pub fn left_join<W: Datum, O: Datum>(
        &self,
        table: &KTable<'s, K, W>,
        f: impl Fn(&V, Option<&W>) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let node = self.graph.node("left_join", &[self.node, table.node]);
        let f: Shared<_> = Shared::new(f);
        let (lefts, rows, with) = (self.lefts(), table.diffs(), f.clone());
        let matched =
            lefts.clone().join_map(rows.clone(), move |key, (v, order, ts), w| (key.clone(), (with(v, Some(w)), *order, *ts)));
        let alone = lefts.antijoin(rows.map(|(key, _)| key)).map(move |(key, (v, order, ts))| (key, (f(&v, None), order, ts)));
        self.joined(node, matched.concat(alone))
    }

    fn lefts(&self) -> VecCollection<'s, Epoch, (K, Left<V>)> {
        timed(&self.events, |e, t| Some(((e.key, (e.value, e.order, e.timestamp)), t, isize::from(e.diff))))
    }

    fn joined<O: Datum>(&self, node: usize, rows: VecCollection<'s, Epoch, (K, Left<O>)>) -> KStream<'s, K, O> {
        // A multiplicity beyond one is as many events.
        let event = |((key, (value, order, timestamp)), _, diff): ((K, Left<O>), Epoch, isize)| {
            let one = Event { key, value, order, timestamp, diff: diff.signum() as i8 };
            std::iter::repeat_n(one, diff.unsigned_abs())
        };
        KStream::new(self.graph.clone(), node, rows.consolidate().inner.flat_map(event), true)
    }
}

/// The events of a stream as diffs.
fn timed<'s, K: Datum, V: Datum, D: Clone + 'static>(
    events: &timely::dataflow::StreamVec<'s, Epoch, Event<K, V>>,
    f: impl Fn(Event<K, V>, Epoch) -> Option<(D, Epoch, isize)> + 'static,
) -> VecCollection<'s, Epoch, D> {
    use timely::container::CapacityContainerBuilder;
    use timely::dataflow::channels::pact::Pipeline;
    use timely::dataflow::operators::generic::Operator;
    events
        .clone()
        .unary::<CapacityContainerBuilder<Vec<(D, Epoch, isize)>>, _, _, _>(Pipeline, "diffs", move |_, _| {
            move |input, output| {
                input.for_each(|time, data| {
                    let epoch = *time.time();
                    output.session(&time).give_iterator(data.drain(..).filter_map(|event| f(event, epoch)));
                });
            }
        })
        .as_collection()
}
