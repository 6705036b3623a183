//! What the DSL objects of one dataflow share: the scope that is being built, what is bound to it,
//! and the plan of it.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use timely::Container;
use timely::dataflow::{Scope, Stream, StreamVec};

use crate::row::{Column, ColumnType, Put, Row};

use crate::connect::{Mode, Schema};
use crate::error::{Error, Result};
use crate::metrics::TopicCounters;
use crate::operators::{Datum, Keys, Seeds};
use crate::options::{Materialized, Produced};
use crate::ports::{Ends, Feed, Gauges, Rows, Shelf, SinkHandle, append};
use crate::time::Epoch;

/// Name of the topic that gets the dead letters.
pub const DEAD_LETTERS: &str = "dead_letters";

/// A record that could not be used: a row of [`DEAD_LETTERS`].
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub(crate) struct DeadLetter {
    pub(crate) topic: String,
    pub(crate) partition: i64,
    pub(crate) position: String,
    pub(crate) reason: String,
    pub(crate) detail: String,
    pub(crate) payload: Vec<u8>,
}

impl DeadLetter {
    const COLUMNS: [&str; 6] = ["topic", "partition", "position", "reason", "detail", "payload"];
}

impl Row for DeadLetter {
    fn columns() -> Vec<(ColumnType, bool)> {
        use ColumnType::{Binary, Long, Text};
        [Text, Long, Text, Text, Text, Binary].map(|ty| (ty, false)).to_vec()
    }
    fn put(&self, out: &mut dyn Put) {
        out.text(Some(&self.topic));
        out.long(Some(self.partition));
        out.text(Some(&self.position));
        out.text(Some(&self.reason));
        out.text(Some(&self.detail));
        out.binary(Some(&self.payload));
    }
}

/// A step of the topology, for people and for its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) verb: String,
    pub(crate) name: Option<String>,
    pub(crate) inputs: Vec<usize>,
}

/// A table that may be read as it is maintained.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) name: String,
    /// The step whose rows it holds.
    pub(crate) node: usize,
    /// That of key and value as a pair.
    pub(crate) types: TypeId,
    /// The same for people.
    pub(crate) rows: String,
    pub(crate) make: fn() -> Arc<dyn Shelf>,
}

/// What the rows of a table are, for people: the types' names without their paths.
pub(crate) fn rows<K, V>() -> String {
    let types = format!("{}, {}", std::any::type_name::<K>(), std::any::type_name::<V>());
    let parts = types.split_inclusive(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    parts.filter_map(|part| part.rsplit("::").next()).collect()
}

/// What a topology is, apart from its closures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<Node>,
    pub(crate) sources: Vec<String>,
    pub(crate) sinks: Vec<Schema>,
    /// They are no part of the fingerprint: a state is continued with other stores too.
    pub(crate) stores: Vec<Store>,
    pub(crate) errors: Vec<String>,
    /// Steps whose results depend on how epochs were cut, so that they can't be rebuilt from what
    /// was read.
    pub(crate) volatile: Vec<String>,
}

impl Plan {
    /// What is written to `topic`.
    ///
    /// # Errors
    /// When nothing is.
    pub(crate) fn sink(&self, topic: &str) -> Result<&Schema> {
        self.sinks
            .iter()
            .find(|s| s.topic == topic)
            .ok_or_else(|| Error::internal(format!("topic {topic} has no schema")))
    }
}

/// What a run binds to the topics of a topology, on one worker.
pub(crate) struct Plugs {
    pub(crate) feeds: BTreeMap<String, (Arc<Feed>, Arc<TopicCounters>)>,
    pub(crate) sinks: BTreeMap<String, SinkHandle>,
    pub(crate) stores: BTreeMap<String, Arc<dyn Shelf>>,
    pub(crate) gauges: Gauges,
    pub(crate) seeds: Seeds,
    /// The earliest epoch that is open at any end.
    pub(crate) open: Rc<Cell<Epoch>>,
}

/// The dataflow that is being built.
#[derive(Clone)]
pub(crate) struct Graph<'s>(Rc<Inner<'s>>);

struct Inner<'s> {
    scope: Scope<'s, Epoch>,
    plugs: RefCell<Plugs>,
    plan: RefCell<Plan>,
    dead: RefCell<Vec<StreamVec<'s, Epoch, ((), DeadLetter)>>>,
    ends: RefCell<Ends<'s>>,
    /// By type of key, the numbers that all tables of such keys share.
    keys: RefCell<BTreeMap<TypeId, Box<dyn Any>>>,
}

impl<'s> Graph<'s> {
    pub(crate) fn new(scope: Scope<'s, Epoch>, plugs: Plugs) -> Self {
        Graph(Rc::new(Inner {
            scope,
            plugs: plugs.into(),
            plan: RefCell::default(),
            dead: RefCell::default(),
            ends: RefCell::default(),
            keys: RefCell::default(),
        }))
    }

    pub(crate) fn scope(&self) -> Scope<'s, Epoch> {
        self.0.scope
    }

    /// Adds a step; returns its number.
    pub(crate) fn node(&self, verb: impl Into<String>, inputs: &[usize]) -> usize {
        let mut plan = self.0.plan.borrow_mut();
        plan.nodes.push(Node { verb: verb.into(), name: None, inputs: inputs.to_vec() });
        plan.nodes.len() - 1
    }

    pub(crate) fn name(&self, node: usize, name: &str) {
        self.0.plan.borrow_mut().nodes[node].name = Some(name.to_string());
    }

    /// Marks a step as one that can't be rebuilt.
    pub(crate) fn volatile(&self, step: &str) {
        self.0.plan.borrow_mut().volatile.push(step.to_string());
    }

    pub(crate) fn error(&self, error: String) {
        self.0.plan.borrow_mut().errors.push(error);
    }

    /// The seeds of the run's hashes.
    pub(crate) fn seeds(&self) -> Seeds {
        self.0.plugs.borrow().seeds
    }

    /// The numbers of keys of this type.
    pub(crate) fn keys<K: Datum>(&self) -> Keys<K> {
        let (mut keys, seeds) = (self.0.keys.borrow_mut(), self.seeds());
        let found =
            keys.entry(TypeId::of::<K>()).or_insert_with(|| Box::new(Keys::<K>::new(seeds)));
        found.downcast_ref::<Keys<K>>().cloned().unwrap_or_else(|| Keys::new(seeds))
    }

    /// Reads `topic`: its rank, and what is bound to it, nothing in a mere plan.
    pub(crate) fn source(&self, topic: &str) -> (u16, Option<Arc<Feed>>, Arc<TopicCounters>) {
        let mut plan = self.0.plan.borrow_mut();
        if plan.sources.iter().any(|s| s == topic) {
            plan.errors.push(format!("topic {topic} is read twice: a stream or table may be used many times, keep its handle"));
        }
        let rank = u16::try_from(plan.sources.len()).unwrap_or(u16::MAX);
        if plan.sources.len() == usize::from(u16::MAX) {
            plan.errors.push(format!(
                "topic {topic} is one too many: a topology reads up to {} topics",
                u16::MAX
            ));
        }
        plan.sources.push(topic.to_string());
        match self.0.plugs.borrow().feeds.get(topic) {
            Some((feed, counters)) => (rank, Some(feed.clone()), counters.clone()),
            None => (rank, None, Arc::default()),
        }
    }

    /// Writes to `topic`: what is bound to it, nowhere in a mere plan.
    pub(crate) fn sink(
        &self,
        topic: &str,
        columns: &[(ColumnType, bool)],
        key: usize,
        mode: Mode,
        produced: &Produced,
    ) -> Option<SinkHandle> {
        let mut plan = self.0.plan.borrow_mut();
        if plan.sinks.iter().any(|s| s.topic == topic) {
            plan.errors.push(format!("topic {topic} is written twice: merge the streams first"));
        }
        if produced.columns.len() != columns.len() {
            let (named, has) = (produced.columns.len(), columns.len());
            plan.errors.push(format!(
                "topic {topic} is of another type: {named} columns are named, a row has {has}"
            ));
        }
        let column = |(name, (ty, nullable)): (&String, &(ColumnType, bool))| Column {
            name: name.clone(),
            ty: *ty,
            nullable: *nullable,
        };
        let columns = produced.columns.iter().zip(columns).map(column).collect();
        plan.sinks.push(Schema { topic: topic.to_string(), columns, key, mode });
        self.0.plugs.borrow_mut().sinks.remove(topic)
    }

    /// Keeps the rows of a step in a store: the one that was asked for, none if none was.
    pub(crate) fn store<K: Datum, V: Datum>(
        &self,
        node: usize,
        materialized: Materialized,
    ) -> Option<Arc<Rows<K, V>>> {
        let (mut plan, name) = (self.0.plan.borrow_mut(), materialized.store);
        if plan.stores.iter().any(|store| store.name == name) {
            plan.errors.push(format!(
                "store {name} is materialized twice: give each table a store of its own"
            ));
        }
        let shelf = self.0.plugs.borrow_mut().stores.remove(&name);
        plan.stores.push(Store {
            name,
            node,
            types: TypeId::of::<(K, V)>(),
            rows: rows::<K, V>(),
            make: Rows::<K, V>::shelf,
        });
        let shelf: Arc<dyn Any + Send + Sync> = shelf?;
        shelf.downcast().ok()
    }

    /// The gauge of this name for the rows of a table, shared by all workers.
    pub(crate) fn gauge(&self, table: usize, name: &str) -> Arc<AtomicI64> {
        let (mut plan, verb) = (self.0.plan.borrow_mut(), format!("gauge {name}"));
        if plan.nodes.iter().any(|node| node.verb == verb) {
            plan.errors.push(format!("gauge {name} is used twice: give each a name of its own"));
        }
        plan.nodes.push(Node { verb, name: None, inputs: vec![table] });
        self.0.plugs.borrow().gauges.named(name)
    }

    /// Ends a stream that nobody reads any further: its epochs are those of the whole.
    pub(crate) fn end<C: Container>(&self, stream: Stream<'s, Epoch, C>) {
        self.0.ends.borrow_mut().add(stream);
    }

    pub(crate) fn dead_letters(&self, letters: StreamVec<'s, Epoch, ((), DeadLetter)>) {
        self.0.dead.borrow_mut().push(letters);
    }

    /// Ends the building: dead letters of all sources get their topic.
    pub(crate) fn finish(&self) -> Plan {
        use timely::dataflow::operators::Concatenate;
        let letters = self.0.dead.take();
        let produced = Produced::columns(DeadLetter::COLUMNS);
        let sink = self.sink(DEAD_LETTERS, &DeadLetter::columns(), 0, Mode::Append, &produced);
        let letters = self.0.scope.concatenate(letters);
        match sink {
            Some(sink) => self.end(append(letters, DEAD_LETTERS, sink)),
            None => self.end(letters),
        }
        self.0.ends.take().show(self.0.scope, self.0.plugs.borrow().open.clone());
        self.0.plan.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_beyond_those_that_have_ranks_is_an_error() {
        timely::example(|scope| {
            let plugs = Plugs {
                feeds: BTreeMap::new(),
                sinks: BTreeMap::new(),
                stores: BTreeMap::new(),
                gauges: Gauges::default(),
                seeds: Seeds::of_a_plan(),
                open: Rc::default(),
            };
            let graph = Graph::new(scope, plugs);
            graph.0.plan.borrow_mut().sources = (0..u16::MAX - 1).map(|n| n.to_string()).collect();
            assert_eq!(graph.source("last").0, u16::MAX - 1);
            assert!(graph.0.plan.borrow().errors.is_empty());
            graph.source("more");
            let said = "topic more is one too many: a topology reads up to 65535 topics";
            assert_eq!(graph.0.plan.borrow().errors, [said]);
        });
    }
}
