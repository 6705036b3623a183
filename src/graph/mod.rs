//! A dataflow under construction. The objects of the DSL share its scope, its bindings and its
//! plan.

mod bindings;
mod time;

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use timely::Container;
use timely::dataflow::{Scope, Stream, StreamVec};

use crate::connect::{Mode, Schema};
use crate::error::Error;
use crate::metrics::{Meter, TopicCounters};
use crate::operators::{
    CutId, Datum, DiffsCut, Keys, Merge, Owners, Restored, Seeds, StateCut, TableCut,
};
use crate::options::{Materialized, Produced};
use crate::plan::{
    DEAD_LETTERS, DeadLetter, MaterializedTable, Node, Plan, PlannedCut, type_name, type_names,
};
use crate::ports::{InputQueue, KeyValueStore, Probe, SinkHandle, TopicInput, append};
use crate::row::{Column, ColumnType, Row};
use crate::time::{Epoch, ProcessingMode};

use time::Clocks;

pub(crate) use bindings::{Demand, SinkDemand, TopicBindings};

/// A dataflow that is being built. A handle: clones build the same one.
#[derive(Clone)]
pub(crate) struct Graph<'s>(Rc<Inner<'s>>);

struct Inner<'s> {
    scope: Scope<'s, Epoch>,
    bindings: RefCell<TopicBindings>,
    plan: RefCell<Plan>,
    dead: RefCell<Vec<StreamVec<'s, Epoch, ((), DeadLetter)>>>,
    probe: RefCell<Probe<'s>>,
    /// By type of key, the numbers of the keys, which all tables with keys of that type share.
    keys: RefCell<BTreeMap<TypeId, Box<dyn Any>>>,
    /// By type of key, the name of the keyspace, in the order of the first cuts.
    spaces: RefCell<Vec<(TypeId, String)>>,
    clocks: RefCell<Clocks<'s>>,
}

impl<'s> Graph<'s> {
    pub(crate) fn new(scope: Scope<'s, Epoch>, bindings: TopicBindings) -> Self {
        Graph(Rc::new(Inner {
            scope,
            bindings: bindings.into(),
            plan: RefCell::default(),
            dead: RefCell::default(),
            probe: RefCell::default(),
            keys: RefCell::default(),
            spaces: RefCell::default(),
            clocks: RefCell::default(),
        }))
    }

    /// Returns the scope in which operators are built.
    pub(crate) fn scope(&self) -> Scope<'s, Epoch> {
        self.0.scope
    }

    /// Returns the granularity of the run's answers.
    pub(crate) fn mode(&self) -> ProcessingMode {
        self.0.bindings.borrow().demand.mode
    }

    /// Adds a step and returns its number.
    pub(crate) fn node(&self, verb: impl Into<String>, inputs: &[usize]) -> usize {
        let mut plan = self.0.plan.borrow_mut();
        plan.nodes.push(Node { verb: verb.into(), name: None, inputs: inputs.to_vec() });
        plan.nodes.len() - 1
    }

    /// Names a step.
    pub(crate) fn name(&self, node: usize, name: &str) {
        self.0.plan.borrow_mut().nodes[node].name = Some(name.to_string());
    }

    /// Returns the counters of a step on this worker.
    pub(crate) fn meter(&self, node: usize) -> Meter {
        self.0.bindings.borrow().metrics.meter(node, self.0.scope.index())
    }

    /// Notes that the results of a step depend on where epochs end. Then a snapshot is part of each
    /// commit, because records that are read again can't rebuild the results.
    pub(crate) fn volatile(&self) {
        self.0.plan.borrow_mut().volatile = true;
    }

    /// Opens a cut at a step, for rows of a table with keys and values of these types. Returns none
    /// in a run without a state.
    pub(crate) fn table_cut<K: Datum, V>(&self, node: usize, purpose: &str) -> Option<TableCut> {
        let mut id = self.new_cut(node, purpose, type_names::<K, V>(), Merge::Latest);
        id.space = self.keyspace::<K>();
        self.plan_cut(PlannedCut { id: id.clone(), node, origin: node });
        let cuts = self.0.bindings.borrow().cuts.clone();
        cuts.map(|cuts| cuts.open_table(id, self.keys::<K>()))
    }

    /// Opens a cut at a step, for diffs of `D` that the step `origin` before it makes. Returns none
    /// in a run without a state.
    pub(crate) fn diffs_cut<D>(
        &self,
        origin: usize,
        node: usize,
        purpose: &str,
    ) -> Option<DiffsCut> {
        let mut id = self.new_cut(node, purpose, type_names::<D, isize>(), Merge::Sum);
        // Cuts of one name have different types.
        id.space = format!("data of {}: {}", id.name, id.types);
        self.plan_cut(PlannedCut { id: id.clone(), node, origin });
        let cuts = self.0.bindings.borrow().cuts.clone();
        cuts.map(|cuts| cuts.open_diffs(id, &self.owners()))
    }

    /// Opens a cut at a step, for the state that it keeps by keys of type `K`, in parts named by
    /// `P` with content `R`. Returns none in a run without a state.
    pub(crate) fn state_cut<K, P, R>(&self, node: usize, purpose: &str) -> Option<StateCut> {
        let mut id = self.new_cut(node, purpose, type_names::<(K, P), R>(), Merge::Latest);
        id.space = format!("state of {}: {}", id.name, id.types);
        self.plan_cut(PlannedCut { id: id.clone(), node, origin: node });
        let cuts = self.0.bindings.borrow().cuts.clone();
        cuts.map(|cuts| cuts.open_state(id, &self.owners()))
    }

    /// Returns the name of the keyspace of tables with keys of this type.
    fn keyspace<K: Datum>(&self) -> String {
        let mut spaces = self.0.spaces.borrow_mut();
        if let Some((_, name)) = spaces.iter().find(|(of, _)| *of == TypeId::of::<K>()) {
            return name.clone();
        }
        let name = type_name::<K>();
        // Types of different modules may have equal names.
        let number = spaces.len() + 1;
        let is_known = spaces.iter().any(|(_, known)| *known == name);
        let name = if is_known { format!("{name} {number}") } else { name };
        spaces.push((TypeId::of::<K>(), name.clone()));
        name
    }

    /// Returns the identity of a new cut, without its keyspace.
    fn new_cut(&self, node: usize, purpose: &str, types: String, merge: Merge) -> CutId {
        let plan = self.0.plan.borrow();
        let chain = format!("{} {purpose}", plan.chain(node));
        let mut id = CutId { name: chain.clone(), types, space: String::new(), merge };
        // Equal chains are numbered.
        let mut number = 1;
        while plan.cuts.iter().any(|cut| cut.id.is_named_like(&id)) {
            number += 1;
            id.name = format!("{chain} {number}");
        }
        id
    }

    fn plan_cut(&self, cut: PlannedCut) {
        self.0.plan.borrow_mut().cuts.push(cut);
    }

    /// Returns the number of earlier runs of the state; 0 without a state.
    pub(crate) fn earlier_runs(&self) -> u64 {
        self.0.bindings.borrow().earlier_runs
    }

    /// Returns the demand of the sink of a topic; none if the topic has no sink.
    pub(crate) fn sink_demand(&self, topic: &str) -> Option<SinkDemand> {
        self.0.bindings.borrow().demand.sinks.get(topic).copied()
    }

    /// Returns true if the program has requested the store.
    pub(crate) fn is_requested(&self, store: &str) -> bool {
        self.0.bindings.borrow().demand.stores.contains(store)
    }

    /// Records a mistake of the topology, which is reported before a run starts.
    pub(crate) fn error(&self, error: String) {
        self.0.plan.borrow_mut().errors.push(error);
    }

    /// Returns the seeds of the run's hashes.
    pub(crate) fn seeds(&self) -> Seeds {
        self.0.bindings.borrow().seeds
    }

    /// Returns a function that ends the run with an error. An epoch that is open when it is called
    /// is never committed.
    pub(crate) fn fail(&self) -> Rc<dyn Fn(Error)> {
        self.0.bindings.borrow().fail.clone()
    }

    /// Returns the owners of keys.
    pub(crate) fn owners(&self) -> Owners {
        Owners::new(self.seeds(), self.fail()).with_mode(self.mode())
    }

    /// Returns the numbers of the keys of this type.
    pub(crate) fn keys<K: Datum>(&self) -> Keys<K> {
        let mut keys = self.0.keys.borrow_mut();
        let (owners, open) = (self.owners(), self.0.bindings.borrow().in_use.clone());
        let found = keys
            .entry(TypeId::of::<K>())
            .or_insert_with(|| Box::new(Keys::<K>::new(owners.clone(), open.clone())));
        found.downcast_ref::<Keys<K>>().cloned().unwrap_or_else(|| Keys::new(owners, open))
    }

    /// Reads `topic`. Returns its rank, its input queue unless only a plan is built, and its
    /// counters.
    pub(crate) fn source(&self, topic: &str) -> (u16, Option<Arc<InputQueue>>, Arc<TopicCounters>) {
        let mut plan = self.0.plan.borrow_mut();
        if plan.sources.iter().any(|s| s == topic) {
            plan.errors.push(format!(
                "topic {topic} is read twice: a stream or table may be used many times, \
                 keep its handle"
            ));
        }
        let rank = u16::try_from(plan.sources.len()).unwrap_or(u16::MAX);
        if plan.sources.len() == usize::from(u16::MAX) {
            plan.errors.push(format!(
                "topic {topic} is one too many: a topology reads up to {} topics",
                u16::MAX
            ));
        }
        plan.sources.push(topic.to_string());
        match self.0.bindings.borrow().inputs.get(topic).cloned() {
            Some(TopicInput { queue, counters }) => (rank, Some(queue), counters),
            None => (rank, None, Arc::default()),
        }
    }

    /// Writes rows with these columns to `topic`; the first `key` of them are the key. Returns the
    /// handle of the sink that is bound to the topic, if any.
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
        self.0.bindings.borrow_mut().sinks.remove(topic)
    }

    /// Notes that the rows of records are appended to a topic once, and not again after a restart.
    pub(crate) fn tail(&self, topic: &str) {
        self.0.plan.borrow_mut().tails.push(topic.to_string());
    }

    /// Keeps the rows of a step in a store. Returns the store if the program has requested it.
    pub(crate) fn store<K: Datum, V: Datum>(
        &self,
        node: usize,
        materialized: Materialized,
    ) -> Option<Arc<KeyValueStore<K, V>>> {
        let (mut plan, name) = (self.0.plan.borrow_mut(), materialized.store);
        if plan.stores.iter().any(|store| store.name == name) {
            plan.errors.push(format!(
                "store {name} is materialized twice: give each table a store of its own"
            ));
        }
        let store = self.0.bindings.borrow_mut().stores.remove(&name);
        plan.stores.push(MaterializedTable {
            name,
            node,
            types: TypeId::of::<(K, V)>(),
            type_names: type_names::<K, V>(),
            make: KeyValueStore::<K, V>::empty,
        });
        let store: Arc<dyn Any + Send + Sync> = store?;
        store.downcast().ok()
    }

    /// Adds a gauge of the rows of a table, which is a step. Returns the number of the step, and
    /// the gauge: all workers share the gauge of one name.
    pub(crate) fn gauge(&self, table: usize, name: &str) -> (usize, Arc<AtomicI64>) {
        let (mut plan, verb) = (self.0.plan.borrow_mut(), format!("gauge {name}"));
        if plan.nodes.iter().any(|node| node.verb == verb) {
            plan.errors.push(format!("gauge {name} is used twice: give each a name of its own"));
        }
        plan.nodes.push(Node { verb, name: None, inputs: vec![table] });
        (plan.nodes.len() - 1, self.0.bindings.borrow().metrics.gauge(name))
    }

    /// Returns a stream without items.
    pub(crate) fn nothing<D: Clone + 'static>(&self) -> StreamVec<'s, Epoch, D> {
        timely::dataflow::operators::generic::operator::empty(self.0.scope)
    }

    /// Ends a stream that has no further reader. An epoch is complete when it is complete at every
    /// end.
    pub(crate) fn end<C: Container>(&self, stream: Stream<'s, Epoch, C>) {
        self.0.probe.borrow_mut().add(stream);
    }

    /// Adds a stream of dead letters.
    pub(crate) fn dead_letters(&self, letters: StreamVec<'s, Epoch, ((), DeadLetter)>) {
        self.0.dead.borrow_mut().push(letters);
    }

    /// Ends the building: writes the dead letters of all sources to their topic, and returns the
    /// plan.
    pub(crate) fn finish(&self) -> Plan {
        use timely::dataflow::operators::Concatenate;
        let letters = self.0.dead.take();
        let produced = Produced::columns(DeadLetter::COLUMNS);
        let sink = self.sink(DEAD_LETTERS, &DeadLetter::columns(), 0, Mode::Append, &produced);
        let letters = self.0.scope.concatenate(letters);
        match sink {
            Some(sink) => {
                // Dead letters are no step of the plan, so this meter has no reader.
                let none = Meter::default();
                self.end(append(letters, DEAD_LETTERS, sink, Restored::Tail, none));
            }
            None => self.end(letters),
        }
        self.0.probe.take().observe(self.0.scope, self.0.bindings.borrow().open.clone());
        if self.mode().is_per_record() {
            // The last step, so that the others keep their numbers.
            self.node("setting mode = per_record", &[]);
            // The order of arrival is not recorded.
            self.volatile();
        }
        self.0.plan.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_topics_than_ranks_are_an_error() {
        timely::example(|scope| {
            let graph = Graph::new(scope, TopicBindings::of_a_plan(Demand::default()));
            graph.0.plan.borrow_mut().sources = (0..u16::MAX - 1).map(|n| n.to_string()).collect();
            assert_eq!(graph.source("last").0, u16::MAX - 1);
            assert!(graph.0.plan.borrow().errors.is_empty());
            graph.source("more");
            let expected = "topic more is one too many: a topology reads up to 65535 topics";
            assert_eq!(graph.0.plan.borrow().errors, [expected]);
        });
    }
}
