//! [`KStream`]: records as events. Verbs that look at one record at a time are here, those that bring records together beside.

mod combine;
mod ends;

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::graph::Graph;
use crate::operators::Datum;
use crate::record::Order;
use crate::time::Epoch;

/// A record in a stream. `diff` is 1, or -1 where a maintained join takes back what it gave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Event<K, V> {
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) order: Order,
    pub(crate) timestamp: Option<i64>,
    pub(crate) diff: i8,
}

/// A stream of records: each is an event of its own, two equal ones are two events.
///
/// A handle: it is cheap to clone, and may be used many times.
#[derive(Clone)]
pub struct KStream<'s, K: Datum, V: Datum> {
    pub(crate) graph: Graph<'s>,
    pub(crate) node: usize,
    pub(crate) events: StreamVec<'s, Epoch, Event<K, V>>,
    /// Whether events may be taken back.
    pub(crate) retracts: bool,
}

type Each<K, V, L, W> = Box<dyn FnMut(Event<K, V>, &mut Vec<Event<L, W>>)>;

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    pub(crate) fn new(graph: Graph<'s>, node: usize, events: StreamVec<'s, Epoch, Event<K, V>>, retracts: bool) -> Self {
        KStream { graph, node, events, retracts }
    }

    /// Names this step, for [`describe`](crate::Topology::describe) and logs.
    pub fn named(&self, name: &str) -> Self {
        self.graph.name(self.node, name);
        self.clone()
    }

    fn each<L: Datum, W: Datum>(&self, verb: &str, mut logic: Each<K, V, L, W>) -> KStream<'s, L, W> {
        let node = self.graph.node(verb, &[self.node]);
        let events = self.events.clone().unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(Pipeline, verb, move |_, _| {
            move |input, output| {
                input.for_each(|time, data| {
                    let mut out = Vec::with_capacity(data.len());
                    data.drain(..).for_each(|event| logic(event, &mut out));
                    if !out.is_empty() {
                        output.session(&time).give_container(&mut out);
                    }
                });
            }
        });
        KStream::new(self.graph.clone(), node, events, self.retracts)
    }

    /// Keeps the records for which `keep` is true. A null key is a key like others.
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + 'static) -> Self {
        self.each("filter", Box::new(move |event, out| out.extend(keep(&event.key, &event.value).then_some(event))))
    }

    /// Keeps the records for which `drop` is false.
    pub fn filter_not(&self, drop: impl Fn(&K, &V) -> bool + 'static) -> Self {
        self.each("filter_not", Box::new(move |event, out| out.extend((!drop(&event.key, &event.value)).then_some(event))))
    }

    /// Makes each record another one, with a key of its own.
    pub fn map<L: Datum, W: Datum>(&self, f: impl Fn(K, V) -> (L, W) + 'static) -> KStream<'s, L, W> {
        self.each(
            "map",
            Box::new(move |e, out| {
                let (key, value) = f(e.key, e.value);
                out.push(Event { key, value, order: e.order, timestamp: e.timestamp, diff: e.diff });
            }),
        )
    }

    /// Makes each value another one; the key stays.
    pub fn map_values<W: Datum>(&self, f: impl Fn(V) -> W + 'static) -> KStream<'s, K, W> {
        self.each(
            "map_values",
            Box::new(move |e, out| {
                out.push(Event { key: e.key, value: f(e.value), order: e.order, timestamp: e.timestamp, diff: e.diff });
            }),
        )
    }

    /// Makes each record any number of records. All of them stand at the position of the one they come from: in a table of
    /// them ([`to_table`](Self::to_table)) the first of a key wins, behind a maintained join the greatest.
    pub fn flat_map<L: Datum, W: Datum, I: IntoIterator<Item = (L, W)>>(
        &self,
        f: impl Fn(K, V) -> I + 'static,
    ) -> KStream<'s, L, W> {
        self.each(
            "flat_map",
            Box::new(move |e, out| {
                let (order, timestamp, diff) = (e.order, e.timestamp, e.diff);
                out.extend(f(e.key, e.value).into_iter().map(|(key, value)| Event { key, value, order, timestamp, diff }));
            }),
        )
    }

    /// Makes each value any number of values under the same key.
    pub fn flat_map_values<W: Datum, I: IntoIterator<Item = W>>(&self, f: impl Fn(V) -> I + 'static) -> KStream<'s, K, W> {
        self.each(
            "flat_map_values",
            Box::new(move |e, out| {
                let (key, order, timestamp, diff) = (e.key, e.order, e.timestamp, e.diff);
                out.extend(f(e.value).into_iter().map(|value| Event { key: key.clone(), value, order, timestamp, diff }));
            }),
        )
    }

    /// Gives each record another key.
    pub fn select_key<L: Datum>(&self, f: impl Fn(&K, &V) -> L + 'static) -> KStream<'s, L, V> {
        self.each(
            "select_key",
            Box::new(move |e, out| {
                out.push(Event {
                    key: f(&e.key, &e.value),
                    value: e.value,
                    order: e.order,
                    timestamp: e.timestamp,
                    diff: e.diff,
                });
            }),
        )
    }

    /// Looks at each record as it passes, in no order between partitions. Unlike Kafka's it also sees what is taken back; and
    /// after a restart it sees what is read again.
    pub fn peek(&self, look: impl Fn(&K, &V) + 'static) -> Self {
        self.each(
            "peek",
            Box::new(move |event, out| {
                look(&event.key, &event.value);
                out.push(event);
            }),
        )
    }

    /// The records of both streams. As in Kafka there is no order between them.
    pub fn merge(&self, other: &Self) -> Self {
        use timely::dataflow::operators::Concat;
        let node = self.graph.node("merge", &[self.node, other.node]);
        let events = self.events.clone().concat(other.events.clone());
        KStream::new(self.graph.clone(), node, events, self.retracts || other.retracts)
    }
}

/// A closure shared by the retraction and the addition of a join.
type Shared<F> = Rc<F>;
