//! [`KTable`]: what stands at each key now.
//!
//! A table is one of two streams, whichever its maker has at hand, and becomes the other where a
//! reader needs it. *Upserts* say what stands now; they are what a topic gives, and cost no state.
//! *Diffs* also say what stood before; joins and aggregates give them for nothing, while to make
//! them from upserts every key's value must be kept. So a table remembers what its readers need,
//! not what arrived: `map_values` before a join is what the join keeps, and a sink, content with
//! upserts, keeps no value.
//!
//! What becomes of null keys, tombstones, duplicates and out-of-order records is said once, at the
//! type; a verb says only where it differs.

use std::cell::OnceCell;
use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Map;

use crate::connect::Mode;

use crate::graph::Graph;
use crate::grouped::KGrouped;
use crate::operators::{Datum, Diffs, Upsert, Upserts, changelog, changes, group, join, numbered};
use crate::options::{Materialized, Produced};
use crate::ports::{materialize, materialize_diffs, measure, snapshot, snapshot_diffs};
use crate::record::{Order, Ordinal};
use crate::row::Row;
use crate::stream::{Event, KStream};
use crate::time::Epoch;

/// A table: at most one row a key, maintained. A handle: it is cheap to clone, and may be used many
/// times.
///
/// What holds where a verb does not say otherwise:
/// - A **null key** is a dead letter, or `None` where the serde takes it
///   ([`Nullable`](crate::serdes::Nullable)): a key like others, which Kafka's tables drop.
/// - A **tombstone** deletes the row, and with it what verbs made of it. What is not there can be
///   deleted.
/// - A **duplicate** of the row that stands changes nothing.
/// - An **out-of-order record**, a tombstone too, changes nothing once a later one of its key has
///   come, be the key deleted since. Position decides, neither timestamp nor arrival: within a
///   partition as in Kafka, and between partitions too.
/// - Closures are called again for a row that goes: they must give the same for the same.
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
        KTable {
            graph,
            node,
            rows: Rows::Upserts(rows),
            upserts: Rc::default(),
            diffs: Rc::default(),
        }
    }

    pub(crate) fn from_diffs(
        graph: Graph<'s>,
        node: usize,
        rows: Diffs<'s, (K, V)>,
        settled: bool,
    ) -> Self {
        KTable {
            graph,
            node,
            rows: Rows::Diffs(rows, settled),
            upserts: Rc::default(),
            diffs: Rc::default(),
        }
    }

    /// What stands now.
    fn upserts(&self) -> Upserts<'s, V> {
        match &self.rows {
            Rows::Upserts(rows) => rows.clone(),
            Rows::Diffs(rows, settled) => self
                .upserts
                .get_or_init(|| numbered(rows.clone(), self.graph.keys(), *settled))
                .clone(),
        }
    }

    /// What stands now and what stood before.
    pub(crate) fn diffs(&self) -> Diffs<'s, (K, V)> {
        match &self.rows {
            Rows::Upserts(rows) => {
                self.diffs.get_or_init(|| changes(rows.clone(), self.graph.keys(), "rows")).clone()
            }
            Rows::Diffs(rows, _) => rows.clone(),
        }
    }

    /// Names this step, for [`describe`](crate::Topology::describe) and logs: Kafka's `Named`,
    /// behind the verb instead of in it.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    ///     builder.table("rows", Consumed::with(Int64, Int64)).map_values(|n| n * 10).named("tens");
    /// });
    /// assert!(topology.describe().contains("map_values \"tens\""));
    /// ```
    pub fn named(&self, name: &str) -> Self {
        self.graph.name(self.node, name);
        self.clone()
    }

    /// Lets the table be read as it is maintained, under a name: Kafka's interactive queries. Each
    /// answer is as of one closed epoch of all workers. It keeps every row, in memory, but only
    /// where a run [is asked](crate::runtime::Streams::store) for the store.
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
                Rows::Diffs(rows, _) => {
                    materialize_diffs(rows.clone(), &name, store, self.graph.seeds())
                }
            });
        }
        self.clone()
    }

    fn mapped<W: Datum>(
        &self,
        verb: &str,
        f: impl Fn(&K, &V) -> Option<W> + 'static,
    ) -> KTable<'s, K, W> {
        let (graph, node) = (self.graph.clone(), self.graph.node(verb, &[self.node]));
        match &self.rows {
            Rows::Upserts(rows) => {
                let keys = graph.keys::<K>();
                let rows = rows.clone().unary::<CapacityContainerBuilder<Rc<Vec<_>>>, _, _, _>(
                    Pipeline,
                    verb,
                    move |_, _| {
                        move |input, output| {
                            input.for_each(|time, data| {
                                let keys = keys.open();
                                let one = |(number, value): &Upsert<V>| {
                                    (*number, value.as_ref().and_then(|v| f(keys.key(*number), v)))
                                };
                                output
                                    .session(&time)
                                    .give_container(&mut Rc::new(data.iter().map(one).collect()));
                            });
                        }
                    },
                );
                KTable::from_upserts(graph, node, rows)
            }
            Rows::Diffs(rows, settled) => {
                let rows = rows
                    .clone()
                    .flat_map(move |(key, value)| f(&key, &value).map(|value| (key, value)));
                KTable::from_diffs(graph, node, rows, *settled)
            }
        }
    }

    /// Keeps the rows for which `keep` is true: a row enters and leaves as it changes.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.filter(|_, n| n % 2 == 0).to("even", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 7), (2, 8)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("even"), [[Long(2), Long(8)]]);
    /// [(1, 6), (2, 9)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("even"), [[Long(1), Long(6)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + 'static) -> Self {
        self.mapped("filter", move |key, value| keep(key, value).then(|| value.clone()))
    }

    /// Makes each row's value another one; what comes next keeps only that. Unlike in Kafka a
    /// change that it hides is no change.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.map_values(|n| n / 10).to("tens", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 17), (2, 28)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("tens"), [[Long(1), Long(1)], [Long(2), Long(2)]]);
    /// driver.changes("tens");
    /// rows.pipe(&mut driver, &1, &19);
    /// driver.commit()?;
    /// assert!(driver.changes("tens").is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn map_values<W: Datum>(&self, f: impl Fn(&V) -> W + 'static) -> KTable<'s, K, W> {
        self.mapped("map_values", move |_, value| Some(f(value)))
    }

    /// Counts the rows that stand and for which `counts` is true, for
    /// [`Summary::gauges`](crate::runtime::Summary::gauges): a verb Kafka lacks.
    ///
    /// ```
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.gauge("small", |_, n| *n < 10);
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 7), (2, 8), (3, 70)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// rows.delete(&mut driver, &2);
    /// driver.commit()?;
    /// assert_eq!(driver.finish()?.gauges["small"], 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn gauge(&self, name: &str, counts: impl Fn(&K, &V) -> bool + 'static) {
        let through =
            measure(self.diffs(), self.graph.gauge(self.node, name), move |(key, value)| {
                counts(key, value)
            });
        self.graph.end(through);
    }

    /// Groups rows: `f` gives group and value, or `None` for no group. A row that changes leaves
    /// its group and enters another, a deleted one leaves it: no aggregate needs Kafka's
    /// subtractor.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.group_by(|id, n| (n % 2, *id)).count().to("count", Produced::columns(["parity", "count"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 7), (2, 9)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("count"), [[Long(1), Long(2)]]);
    /// rows.pipe(&mut driver, &2, &8);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("count"), [[Long(0), Long(1)], [Long(1), Long(1)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn group_by<G: Datum, X: Datum, P: Into<Option<(G, X)>>>(
        &self,
        f: impl Fn(&K, &V) -> P + 'static,
    ) -> KGrouped<'s, G, X> {
        let node = self.graph.node("group_by", &[self.node]);
        let regroup = move |((key, value), _, diff): ((K, V), Epoch, isize)| {
            f(&key, &value).into().map(|pair| (pair, diff))
        };
        KGrouped::new(
            self.graph.clone(),
            node,
            group(self.diffs().inner, regroup, self.graph.seeds()),
        )
    }

    /// Joins rows of equal keys; unlike Kafka's the topics need not be partitioned alike, and
    /// `None` of `f` is no row. It keeps both sides' values as they come: project them first.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let left = builder.table("left", Consumed::with(Int64, Int64));
    /// let right = builder.table("right", Consumed::with(Int64, Int64));
    /// left.join(&right, |l, r| l * 100 + r).to("both", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (left, right) = (driver.input("left", Int64, Int64), driver.input("right", Int64, Int64));
    /// left.pipe(&mut driver, &1, &7);
    /// right.pipe(&mut driver, &1, &30);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("both"), [[Long(1), Long(730)]]);
    /// right.delete(&mut driver, &1);
    /// driver.commit()?;
    /// assert!(driver.rows("both").is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join<W: Datum, O: Datum, P: Into<Option<O>>>(
        &self,
        other: &KTable<'s, K, W>,
        f: impl Fn(&V, &W) -> P + 'static,
    ) -> KTable<'s, K, O> {
        let node = self.graph.node("join", &[self.node, other.node]);
        let both = Rc::new(move |_: &K, v: &V, w: Option<&W>| w.and_then(|w| f(v, w).into()));
        KTable::from_diffs(
            self.graph.clone(),
            node,
            join(self.upserts(), other.upserts(), self.graph.keys(), "join", both),
            true,
        )
    }

    /// Like [`join`](Self::join), and a row without a partner is joined with `None`, also once a
    /// tombstone has deleted it.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let left = builder.table("left", Consumed::with(Int64, Int64));
    /// let right = builder.table("right", Consumed::with(Int64, Int64));
    /// left.left_join(&right, |l, r| l * 100 + r.unwrap_or(&0)).to("left", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (left, right) = (driver.input("left", Int64, Int64), driver.input("right", Int64, Int64));
    /// left.pipe(&mut driver, &1, &7);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("left"), [[Long(1), Long(700)]]);
    /// right.pipe(&mut driver, &1, &30);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("left"), [[Long(1), Long(730)]]);
    /// # Ok::<(), Error>(())
    /// ```
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

    /// Gives the changes as a stream: unlike Kafka's one record an epoch for each key whose row is
    /// another than before, `None` when it is gone. What comes and goes within an epoch is no
    /// change.
    ///
    /// How often a row changed depends on how epochs were cut, which is not recorded: a topology
    /// with this verb runs only without a state, from the beginning each time.
    ///
    /// ```
    /// # use watershed::prelude::{Value::{Long, Null}, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.to_stream().to("changes", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 7), (1, 8), (2, 9)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// rows.delete(&mut driver, &2);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("changes"), [[Long(1), Long(8)]]);
    /// rows.delete(&mut driver, &1);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("changes"), [[Long(1), Null], [Long(1), Long(8)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn to_stream(&self) -> KStream<'s, K, Option<V>> {
        let node = self.graph.node("to_stream", &[self.node]);
        self.graph.volatile("to_stream");
        let event = |((key, value), epoch): ((K, Option<V>), Epoch)| {
            // All changes of an epoch come at once: no topic has their rank, and between keys any
            // order will do that stays.
            let order = Order { topic: u16::MAX, source: 0, offset: epoch, partition: 0 };
            Event { ordinal: Ordinal::of_key(&key), key, value, order, timestamp: None, diff: 1 }
        };
        KStream::new(
            self.graph.clone(),
            node,
            changelog(self.diffs(), "to_stream", self.graph.seeds()).map(event),
            false,
        )
    }
}

impl<'s, K: Datum + Row, V: Datum + Row> KTable<'s, K, V> {
    /// Writes the table to `topic`, unlike Kafka's not as a changelog: at each commit the sink
    /// holds exactly the rows that stand, and a tombstone takes its row out. It keeps no row, only
    /// its key.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.to("kept", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 7), (2, 8), (1, 9)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("kept"), [[Long(1), Long(9)], [Long(2), Long(8)]]);
    /// rows.delete(&mut driver, &1);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("kept"), [[Long(2), Long(8)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn to(&self, topic: &str, produced: Produced) {
        self.graph.node(format!("to {topic}"), &[self.node]);
        let (key, value) = (K::columns(), V::columns());
        let outlet = self.graph.sink(
            topic,
            &[key.clone(), value].concat(),
            key.len(),
            Mode::Snapshot,
            &produced,
        );
        match (&self.rows, outlet) {
            (Rows::Upserts(rows), Some(outlet)) => {
                self.graph.end(snapshot(rows.clone(), self.graph.keys::<K>(), topic, outlet));
            }
            (Rows::Diffs(rows, _), Some(outlet)) => {
                self.graph.end(snapshot_diffs(rows.clone(), topic, outlet, self.graph.seeds()))
            }
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
