//! [`KTable`]: what stands at each key now.
//!
//! A table is one of two streams, whichever its maker has at hand, and becomes the other where a reader needs it. *Upserts* say
//! what stands now; they are what a topic gives, and cost no state. *Diffs* also say what stood before; joins and aggregates
//! give them for nothing, while to make them from upserts every key's value must be kept. So a table remembers what its readers
//! need, not what arrived: `map_values` before a join is what the join keeps, and a sink, content with upserts, keeps no value.

use std::cell::OnceCell;
use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Map;

use crate::connect::{Mode, Row};
use crate::graph::Graph;
use crate::grouped::KGrouped;
use crate::operators::{
    Datum, Diffs, Upsert, Upserts, changelog, changes, group, join, materialize, materialize_diffs, measure, numbered, snapshot,
    snapshot_diffs,
};
use crate::options::{Materialized, Produced};
use crate::record::Order;
use crate::stream::{Event, KStream};
use crate::time::Epoch;

/// A table: at most one row a key, maintained. A handle: it is cheap to clone, and may be used many times.
#[derive(Clone)]
pub struct KTable<'s, K: Datum, V: Datum> {
    pub(crate) graph: Graph<'s>,
    pub(crate) node: usize,
    rows: Rows<'s, K, V>,
    /// The other shape, once a reader has needed it.
    upserts: Rc<OnceCell<Upserts<'s, V>>>,
    diffs: Rc<OnceCell<Diffs<'s, (K, V)>>>,
}

#[derive(Clone)]
enum Rows<'s, K: Datum, V: Datum> {
    Upserts(Upserts<'s, V>),
    /// Diffs, each key's from one worker, and whether that is the one which owns the key.
    Diffs(Diffs<'s, (K, V)>, bool),
}

impl<'s, K: Datum, V: Datum> KTable<'s, K, V> {
    pub(crate) fn from_upserts(graph: Graph<'s>, node: usize, rows: Upserts<'s, V>) -> Self {
        KTable { graph, node, rows: Rows::Upserts(rows), upserts: Rc::default(), diffs: Rc::default() }
    }

    pub(crate) fn from_diffs(graph: Graph<'s>, node: usize, rows: Diffs<'s, (K, V)>, settled: bool) -> Self {
        KTable { graph, node, rows: Rows::Diffs(rows, settled), upserts: Rc::default(), diffs: Rc::default() }
    }

    /// What stands now.
    fn upserts(&self) -> Upserts<'s, V> {
        match &self.rows {
            Rows::Upserts(rows) => rows.clone(),
            Rows::Diffs(rows, settled) => {
                self.upserts.get_or_init(|| numbered(rows.clone(), self.graph.keys(), *settled)).clone()
            }
        }
    }

    /// What stands now and what stood before.
    pub(crate) fn diffs(&self) -> Diffs<'s, (K, V)> {
        match &self.rows {
            Rows::Upserts(rows) => self.diffs.get_or_init(|| changes(rows.clone(), self.graph.keys(), "rows")).clone(),
            Rows::Diffs(rows, _) => rows.clone(),
        }
    }

    /// Names this step, for [`describe`](crate::Topology::describe) and logs.
    pub fn named(&self, name: &str) -> Self {
        self.graph.name(self.node, name);
        self.clone()
    }

    /// Lets the table be read as it is maintained, under a name: Kafka's interactive queries. Each answer is as of one closed epoch
    /// of all workers. It keeps every row, in memory, but only where a run [is asked](crate::runtime::Streams::store) for the store.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// let mut driver = TopologyTestDriver::new(Topology::new("stock", |builder: &StreamsBuilder<'_>| {
    ///     let stock = builder.table("stock", Consumed::with(Utf8, Int64)).materialize(Materialized::named("stock"));
    ///     stock.filter(|_, pieces| *pieces == 0).materialize(Materialized::named("sold out"));
    /// }))?;
    /// let (stock, sold_out) = (driver.store::<String, i64>("stock")?, driver.store::<String, i64>("sold out")?);
    /// let items = driver.input("stock", Utf8, Int64);
    /// items.pipe(&mut driver, &"lamp".to_string(), &3);
    /// items.pipe(&mut driver, &"table".to_string(), &0);
    /// driver.commit()?;
    /// assert_eq!((stock.get("lamp"), sold_out.get("table"), sold_out.get("lamp")), (Some(3), Some(0), None));
    ///
    /// let before = stock.view();
    /// items.delete(&mut driver, &"lamp".to_string());
    /// driver.commit()?;
    /// assert_eq!((stock.get("lamp"), before.get("lamp")), (None, Some(&3)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn materialize(&self, materialized: Materialized) -> Self {
        let name = materialized.store.clone();
        if let Some(store) = self.graph.store::<K, V>(self.node, materialized) {
            self.graph.end(match &self.rows {
                Rows::Upserts(rows) => materialize(rows.clone(), self.graph.keys(), &name, store),
                Rows::Diffs(rows, _) => materialize_diffs(rows.clone(), &name, store),
            });
        }
        self.clone()
    }

    fn mapped<W: Datum>(&self, verb: &str, f: impl Fn(&K, &V) -> Option<W> + 'static) -> KTable<'s, K, W> {
        let (graph, node) = (self.graph.clone(), self.graph.node(verb, &[self.node]));
        match &self.rows {
            Rows::Upserts(rows) => {
                let keys = graph.keys::<K>();
                let rows = rows.clone().unary::<CapacityContainerBuilder<Rc<Vec<_>>>, _, _, _>(Pipeline, verb, move |_, _| {
                    move |input, output| {
                        input.for_each(|time, data| {
                            let keys = keys.open();
                            let one =
                                |(number, value): &Upsert<V>| (*number, value.as_ref().and_then(|v| f(keys.key(*number), v)));
                            output.session(&time).give_container(&mut Rc::new(data.iter().map(one).collect()));
                        });
                    }
                });
                KTable::from_upserts(graph, node, rows)
            }
            Rows::Diffs(rows, settled) => {
                let rows = rows.clone().flat_map(move |(key, value)| f(&key, &value).map(|value| (key, value)));
                KTable::from_diffs(graph, node, rows, *settled)
            }
        }
    }

    /// Keeps the rows for which `keep` is true.
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + 'static) -> Self {
        self.mapped("filter", move |key, value| keep(key, value).then(|| value.clone()))
    }

    /// Makes each row's value another one. What comes next keeps only that.
    pub fn map_values<W: Datum>(&self, f: impl Fn(&V) -> W + 'static) -> KTable<'s, K, W> {
        self.mapped("map_values", move |_, value| Some(f(value)))
    }

    /// Counts the rows that stand and for which `counts` is true, for [`Summary::gauges`](crate::runtime::Summary::gauges).
    pub fn gauge(&self, name: &str, counts: impl Fn(&K, &V) -> bool + 'static) {
        let through = measure(self.diffs(), self.graph.gauge(self.node, name), move |(key, value)| counts(key, value));
        self.graph.end(through);
    }

    /// Groups rows: `f` gives group and value, or `None` for no group. When a row changes it leaves its group and enters another.
    pub fn group_by<G: Datum, X: Datum, P: Into<Option<(G, X)>>>(&self, f: impl Fn(&K, &V) -> P + 'static) -> KGrouped<'s, G, X> {
        let node = self.graph.node("group_by", &[self.node]);
        let regroup = move |((key, value), _, diff): ((K, V), Epoch, isize)| f(&key, &value).into().map(|pair| (pair, diff));
        KGrouped::new(self.graph.clone(), node, group(self.diffs().inner, regroup))
    }

    /// Joins rows of equal keys; `None` of `f` is no row. It keeps both sides' values as they come: project them first.
    pub fn join<W: Datum, O: Datum, P: Into<Option<O>>>(
        &self,
        other: &KTable<'s, K, W>,
        f: impl Fn(&V, &W) -> P + 'static,
    ) -> KTable<'s, K, O> {
        let node = self.graph.node("join", &[self.node, other.node]);
        let both = Rc::new(move |_: &K, v: &V, w: Option<&W>| w.and_then(|w| f(v, w).into()));
        KTable::from_diffs(self.graph.clone(), node, join(self.upserts(), other.upserts(), self.graph.keys(), "join", both), true)
    }

    /// Like [`join`](Self::join), and a row without a partner is joined with `None`.
    pub fn left_join<W: Datum, O: Datum, P: Into<Option<O>>>(
        &self,
        other: &KTable<'s, K, W>,
        f: impl Fn(&V, Option<&W>) -> P + 'static,
    ) -> KTable<'s, K, O> {
        let node = self.graph.node("left_join", &[self.node, other.node]);
        let one = Rc::new(move |_: &K, v: &V, w: Option<&W>| f(v, w).into());
        KTable::from_diffs(
            self.graph.clone(),
            node,
            join(self.upserts(), other.upserts(), self.graph.keys(), "left_join", one),
            true,
        )
    }

    /// The changes as a stream: at each epoch one record for each key that changed, `None` when its row is gone.
    ///
    /// How often a row changed depends on how epochs were cut, which is not recorded: a topology with this verb runs only without
    /// a state, from the beginning each time.
    pub fn to_stream(&self) -> KStream<'s, K, Option<V>> {
        let node = self.graph.node("to_stream", &[self.node]);
        self.graph.volatile("to_stream");
        let event = |((key, value), epoch): ((K, Option<V>), Epoch)| {
            let order = Order { source: 0, offset: epoch, partition: 0 };
            Event { key, value, order, timestamp: None, diff: 1 }
        };
        KStream::new(self.graph.clone(), node, changelog(self.diffs(), "to_stream").map(event), false)
    }
}

impl<'s, K: Datum + Row, V: Datum + Row> KTable<'s, K, V> {
    /// Writes the table to `topic`: at each commit the sink holds exactly the rows that stand. It keeps no row, only its key.
    pub fn to(&self, topic: &str, produced: Produced) {
        self.graph.node(format!("to {topic}"), &[self.node]);
        let (key, value) = (K::columns(), V::columns());
        let outlet = self.graph.sink(topic, &[key.clone(), value].concat(), key.len(), Mode::Snapshot, &produced);
        match (&self.rows, outlet) {
            (Rows::Upserts(rows), Some(outlet)) => snapshot(rows.clone(), self.graph.keys::<K>(), topic, outlet),
            (Rows::Diffs(rows, _), Some(outlet)) => snapshot_diffs(rows.clone(), topic, outlet),
            (_, None) => {}
        }
    }
}

/// A table's changes as differential's collection, for operators of one's own.
impl<'s, K: Datum, V: Datum> From<&KTable<'s, K, V>> for Diffs<'s, (K, V)> {
    fn from(table: &KTable<'s, K, V>) -> Self {
        table.diffs().inner.as_collection()
    }
}
