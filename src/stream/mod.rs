//! [`KStream`]: records as events, and the verbs that look at one record at a time. Verbs that
//! combine records or end a stream are in files beside this one.
//!
//! The type states how null keys, tombstones, duplicates and out-of-order records are treated. The
//! doc of a verb states only where it differs.

mod combine;
mod ends;
mod entry;
mod event;
mod global;
mod lookup;
mod pairs;
mod temporal;
#[cfg(test)]
mod tests;
mod timestamps;
mod with_key;
mod within;

use std::rc::Rc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::graph::Graph;
use crate::operators::{Datum, Restored};
use crate::time::Epoch;

pub(crate) use event::Event;

/// A stream of records, each an event of its own. It is a handle, cheap to clone, and may be used
/// any number of times.
///
/// Unless the doc of a verb differs:
/// - A **null key** is a dead letter, or `None` where the serde accepts it
///   ([`Nullable`](crate::serdes::Nullable)): a key like others. Kafka's groups and tables drop it.
/// - A **tombstone** is a dead letter too, or the value `None`. It deletes nothing, not even in a
///   table made of the stream.
/// - A **duplicate** of an earlier record is one more event.
/// - **Out-of-order records** are never too late, except for windows and joins with a grace. Where
///   the latest record matters, position decides, not arrival or timestamp.
/// - A maintained [`join`](Self::join) may **retract** a record. The verbs behind it retract their
///   results, and call their closures again for it: these must return the same result for the same
///   record.
#[derive(Clone)]
pub struct KStream<'s, K: Datum, V: Datum> {
    pub(crate) graph: Graph<'s>,
    pub(crate) node: usize,
    pub(crate) events: StreamVec<'s, Epoch, Event<K, V>>,
    pub(crate) updates: Updates,
    pub(crate) restored: Restored,
}

/// The kinds of events in a stream. Two merged streams have the greater kind of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Updates {
    /// Every event is an addition, for ever.
    AppendOnly,
    /// Events may also be retracted, by a maintained join.
    Retracting,
}

type Each<K, V, L, W> = Box<dyn FnMut(Event<K, V>, &mut Vec<Event<L, W>>)>;

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    pub(crate) fn new(
        graph: Graph<'s>,
        node: usize,
        events: StreamVec<'s, Epoch, Event<K, V>>,
        updates: Updates,
        restored: Restored,
    ) -> Self {
        KStream { graph, node, events, updates, restored }
    }

    /// Names this step, for [`describe`](crate::Topology::describe) and logs. It replaces Kafka's
    /// `Named`, and follows the verb instead of being an argument of it.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    ///     builder.stream("numbers", Consumed::with(Int64, Int64))
    ///         .filter(|_, n| n % 2 == 0).named("even").print("even");
    /// });
    /// assert!(topology.describe().contains("filter \"even\""));
    /// ```
    pub fn named(&self, name: &str) -> Self {
        self.graph.name(self.node, name);
        self.clone()
    }

    fn each<L: Datum, W: Datum>(&self, verb: &str, logic: Each<K, V, L, W>) -> KStream<'s, L, W> {
        let node = self.graph.node(verb, &[self.node]);
        let events = self.counted(self.events.clone(), verb, node, logic);
        KStream::new(self.graph.clone(), node, events, self.updates, self.restored)
    }

    /// Applies `logic` to each of the `events`, and counts the rows of the step `node`.
    fn counted<L: Datum, W: Datum>(
        &self,
        events: StreamVec<'s, Epoch, Event<K, V>>,
        verb: &str,
        node: usize,
        mut logic: Each<K, V, L, W>,
    ) -> StreamVec<'s, Epoch, Event<L, W>> {
        let meter = self.graph.meter(node);
        events.unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(Pipeline, verb, move |_, _| {
            move |input, output| {
                input.for_each(|time, data| {
                    let taken = data.len();
                    let mut out = Vec::with_capacity(taken);
                    data.drain(..).for_each(|event| logic(event, &mut out));
                    meter.count(taken, out.len());
                    if !out.is_empty() {
                        output.session(&time).give_container(&mut out);
                    }
                });
            }
        })
    }

    /// Keeps the records for which `keep` is true.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.filter(|_, n| n % 2 == 0).to("even", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (2, 8), (2, 8)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("even"), [[Long(2), Long(8)], [Long(2), Long(8)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + 'static) -> Self {
        self.each(
            "filter",
            Box::new(move |event, out| out.extend(keep(&event.key, &event.value).then_some(event))),
        )
    }

    /// Keeps the records for which `drop` is false.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.filter_not(|_, n| n % 2 == 0).to("odd", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (2, 8)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("odd"), [[Long(1), Long(7)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn filter_not(&self, drop: impl Fn(&K, &V) -> bool + 'static) -> Self {
        self.each(
            "filter_not",
            Box::new(move |event, out| {
                out.extend((!drop(&event.key, &event.value)).then_some(event))
            }),
        )
    }

    /// Replaces each record by another, with a key of its own. Unlike Kafka's, it never makes a
    /// repartition topic.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.map(|id, n| (n, id)).to("turned", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (2, 7)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("turned"), [[Long(7), Long(1)], [Long(7), Long(2)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn map<L: Datum, W: Datum>(
        &self,
        f: impl Fn(K, V) -> (L, W) + 'static,
    ) -> KStream<'s, L, W> {
        self.each(
            "map",
            Box::new(move |e, out| {
                let (key, value) = f(e.key, e.value);
                out.push(Event {
                    key,
                    value,
                    order: e.order,
                    ordinal: e.ordinal,
                    timestamp: e.timestamp,
                    partition_time: e.partition_time,
                    diff: e.diff,
                });
            }),
        )
    }

    /// Replaces each value by another. The key stays.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.map_values(|n| n * 10).to("tens", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (2, 8)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("tens"), [[Long(1), Long(70)], [Long(2), Long(80)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn map_values<W: Datum>(&self, f: impl Fn(V) -> W + 'static) -> KStream<'s, K, W> {
        self.keyed("map_values", move |_, value| f(value))
    }

    /// Replaces each record by any number of records. All of them are at the position of the
    /// original. If several have one key, a table of them ([`to_table`](Self::to_table)) keeps the
    /// last one, as in Kafka.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.flat_map(|id, n| (0..n).map(move |i| (id * 10 + i, n)))
    ///     .to("each", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 0), (2, 2)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("each"), [[Long(20), Long(2)], [Long(21), Long(2)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn flat_map<L: Datum, W: Datum, I: IntoIterator<Item = (L, W)>>(
        &self,
        f: impl Fn(K, V) -> I + 'static,
    ) -> KStream<'s, L, W> {
        self.each(
            "flat_map",
            Box::new(move |e, out| {
                let (order, timestamp, diff) = (e.order, e.timestamp, e.diff);
                let each = f(e.key, e.value).into_iter().enumerate();
                out.extend(each.map(|(n, (key, value))| Event {
                    key,
                    value,
                    order,
                    ordinal: e.ordinal.then(n),
                    timestamp,
                    partition_time: e.partition_time,
                    diff,
                }));
            }),
        )
    }

    /// Replaces each value by any number of values with the same key. As after
    /// [`flat_map`](Self::flat_map), all of them are at one position.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.flat_map_values(|n| 0..n).to("each", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 0), (2, 2)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("each"), [[Long(2), Long(0)], [Long(2), Long(1)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn flat_map_values<W: Datum, I: IntoIterator<Item = W>>(
        &self,
        f: impl Fn(V) -> I + 'static,
    ) -> KStream<'s, K, W> {
        self.flat_keyed("flat_map_values", move |_, value| f(value))
    }

    /// Replaces the key of each record. Unlike Kafka's, it never makes a repartition topic.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.select_key(|_, n| n % 2).to("by parity", Produced::columns(["parity", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (2, 8)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("by parity"), [[Long(0), Long(8)], [Long(1), Long(7)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn select_key<L: Datum>(&self, f: impl Fn(&K, &V) -> L + 'static) -> KStream<'s, L, V> {
        self.each(
            "select_key",
            Box::new(move |e, out| {
                out.push(Event {
                    key: f(&e.key, &e.value),
                    value: e.value,
                    order: e.order,
                    ordinal: e.ordinal,
                    timestamp: e.timestamp,
                    partition_time: e.partition_time,
                    diff: e.diff,
                });
            }),
        )
    }

    /// Calls a closure for each record, in no order between partitions. Unlike Kafka's, it is also
    /// called for retracted records, and after a restart for records that are read again.
    ///
    /// ```
    /// # use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
    /// # use watershed::prelude::*;
    /// static SUM: AtomicI64 = AtomicI64::new(0);
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.peek(|_, n| drop(SUM.fetch_add(*n, Relaxed)))
    ///     .to("same", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (2, 8)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!((SUM.load(Relaxed), driver.rows("same").len()), (15, 2));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn peek(&self, look: impl Fn(&K, &V) + 'static) -> Self {
        self.each(
            "peek",
            Box::new(move |event, out| {
                look(&event.key, &event.value);
                out.push(event);
            }),
        )
    }
}

/// A closure that two operators of a join share.
type Shared<F> = Rc<F>;
