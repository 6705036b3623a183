//! A topology with the sources and sinks of its topics.

use std::collections::{BTreeMap, BTreeSet};

use super::stores::Stores;
use crate::connect::{Sink, Source};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::operators::Datum;
use crate::plan::{DEAD_LETTERS, Plan};
use crate::ports::ReadOnlyStore;
use crate::topology::Topology;

/// Largest number of sources of one topic.
const MAX_SOURCES: usize = u16::MAX as usize;

/// A topology and the bindings of its topics.
///
/// ```
/// use watershed::connect::memory::{MemoryLog, MemoryTable};
/// use watershed::prelude::*;
///
/// let topology = Topology::new("copy", |builder| {
///     let table = builder.table::<String, String>("in", Consumed::with(Utf8, Utf8));
///     table.to("out", Produced::columns(["key", "value"]));
/// });
/// let (input, output) = (MemoryLog::default(), MemoryTable::default());
/// input.append(0, Some(b"tea"), Some(b"green"));
///
/// let streams = Streams::new(topology).source("in", input).sink("out", output.clone());
/// let summary = streams.run(Config::default())?;
/// assert_eq!((summary.topics["in"].read, output.rows().len()), (1, 1));
/// # Ok::<(), Error>(())
/// ```
pub struct Streams {
    pub(super) topology: Topology,
    pub(super) sources: Vec<(String, Box<dyn Source>)>,
    pub(super) sinks: Vec<(String, Box<dyn Sink>)>,
    pub(crate) stores: Stores,
    pub(super) metrics: Metrics,
}

impl Streams {
    /// Returns a topology without bindings.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    ///     builder.stream("numbers", Consumed::with(Int64, Int64)).print("numbers");
    /// });
    /// let error = Streams::new(topology).run(Config::default()).unwrap_err();
    /// assert!(error.to_string().ends_with("topic numbers is read but bound to no source"));
    /// ```
    pub fn new(topology: Topology) -> Self {
        let metrics = Metrics::new(topology.name());
        let (sources, sinks, stores) = (Vec::new(), Vec::new(), Stores::default());
        Streams { topology, sources, sinks, stores, metrics }
    }

    /// Binds a topic that is read. It may be bound to several sources. Of records with the same
    /// key, those from the source that is bound later are later.
    ///
    /// ```
    /// use watershed::connect::memory::{MemoryLog, MemoryTable};
    /// use watershed::prelude::{Value::Text, *};
    ///
    /// let topology = Topology::new("copy", |builder: &StreamsBuilder<'_>| {
    ///     let rows = builder.table::<String, String>("in", Consumed::with(Utf8, Utf8));
    ///     rows.to("out", Produced::columns(["key", "value"]));
    /// });
    /// let (input, out) = (MemoryLog::default(), MemoryTable::default());
    /// input.append(0, Some(b"tea"), Some(b"black"));
    /// input.append(0, Some(b"tea"), Some(b"green"));
    /// let streams = Streams::new(topology).source("in", input).sink("out", out.clone());
    /// streams.run(Config::default())?;
    /// assert_eq!(out.rows(), [[Text("tea".into()), Text("green".into())]]);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn source(mut self, topic: &str, source: impl Source + 'static) -> Self {
        self.sources.push((topic.to_string(), Box::new(source)));
        self
    }

    /// Binds a topic that is written. Dead letters are written to [`DEAD_LETTERS`]. If that topic
    /// is not bound, they are only counted.
    ///
    /// ```
    /// use watershed::connect::memory::{MemoryLog, MemoryTable};
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("copy", |builder: &StreamsBuilder<'_>| {
    ///     let rows = builder.table::<String, i64>("in", Consumed::with(Utf8, Json));
    ///     rows.to("out", Produced::columns(["key", "value"]));
    /// });
    /// let input = MemoryLog::default();
    /// let (out, dead) = (MemoryTable::default(), MemoryTable::default());
    /// input.append(0, Some(b"a"), Some(b"1"));
    /// input.append(0, Some(b"b"), Some(b"one"));
    /// let streams = Streams::new(topology).source("in", input).sink("out", out.clone());
    /// streams.sink(DEAD_LETTERS, dead.clone()).run(Config::default())?;
    /// assert_eq!((out.rows().len(), dead.rows().len()), (1, 1));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn sink(mut self, topic: &str, sink: impl Sink + 'static) -> Self {
        self.sinks.push((topic.to_string(), Box::new(sink)));
        self
    }

    /// Returns the metrics of the run, which any thread can read while it runs. See [`Metrics`] for
    /// an example.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Returns a handle to read the table that the topology
    /// [materializes](crate::KTable::materialize) as `name`. It must be opened before the run, and
    /// any thread can read it from then on. Tables that are not opened take no memory.
    ///
    /// ```
    /// use watershed::connect::memory::MemoryLog;
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("count", |builder| {
    ///     let words = builder.stream("words", Consumed::with(Nullable(Utf8), Utf8));
    ///     let counts = words.group_by(|_, word| (word.clone(), ())).count();
    ///     counts.materialize(Materialized::named("counts"));
    /// });
    /// let words = MemoryLog::default();
    /// for word in ["to", "be", "or", "not", "to", "be"] {
    ///     words.append(0, None, Some(word.as_bytes()));
    /// }
    ///
    /// let mut streams = Streams::new(topology).source("words", words);
    /// let counts: ReadOnlyStore<String, i64> = streams.store("counts")?;
    /// assert_eq!(counts.view().epoch(), None);
    /// streams.run(Config::default())?;
    /// assert_eq!((counts.get("to"), counts.get("that")), (Some(2), None));
    /// let rows = counts.view().all().map(|(word, n)| format!("{word} {n}")).collect::<Vec<_>>();
    /// assert_eq!(rows, ["be 2", "not 1", "or 1", "to 2"]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When the topology has no such store, or one with other types of keys or values. The error
    /// lists its stores.
    pub fn store<K: Datum, V: Datum>(&mut self, name: &str) -> Result<ReadOnlyStore<K, V>> {
        self.stores.open(&self.topology, name)
    }

    /// Refuses a run whose topology or bindings are wrong.
    ///
    /// # Errors
    /// One error with every mistake in it.
    pub(super) fn check(&self, plan: &Plan) -> Result<()> {
        let mut wrong = plan.errors.clone();
        self.check_sources(plan, &mut wrong);
        self.check_sinks(plan, &mut wrong);
        self.check_unbound(plan, &mut wrong);
        if wrong.is_empty() {
            return Ok(());
        }
        let (topology, wrong) = (self.topology.name(), wrong.join("; "));
        Err(Error::config(format!("topology {topology} can't run: {wrong}")))
    }

    fn check_sources(&self, plan: &Plan, wrong: &mut Vec<String>) {
        let mut known: BTreeSet<(&str, String)> = BTreeSet::new();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (topic, source) in &self.sources {
            *counts.entry(topic).or_default() += 1;
            if !plan.sources.contains(topic) {
                wrong.push(format!("topic {topic} is bound to a source but never read"));
            }
            let rank = (0..=u16::MAX).zip(&plan.sources).find(|(_, read)| *read == topic);
            let needs_timestamps = rank.is_some_and(|(rank, _)| {
                plan.time.timed.contains(&rank) && !plan.time.extracted.contains(&rank)
            });
            if needs_timestamps && !source.has_timestamps() {
                let source = source.describe();
                wrong.push(format!(
                    "the time of topic {topic} is used, but the records of {source} have no \
                     timestamps: take them from keys and values (`Consumed::timestamp`)"
                ));
            }
            if !known.insert((topic, source.describe())) {
                wrong.push(format!("topic {topic} is bound twice to {}", source.describe()));
            }
        }
        for (topic, n) in counts.into_iter().filter(|(_, n)| *n > MAX_SOURCES) {
            wrong.push(format!(
                "topic {topic} is bound to {n} sources, but may be bound to {MAX_SOURCES}"
            ));
        }
    }

    fn check_sinks(&self, plan: &Plan, wrong: &mut Vec<String>) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (topic, _) in &self.sinks {
            if !plan.sinks.iter().any(|schema| schema.topic == *topic) {
                wrong.push(format!("topic {topic} is bound to a sink but never written"));
            }
            *counts.entry(topic).or_default() += 1;
        }
        let twice = counts.into_iter().filter(|(_, n)| *n > 1);
        wrong.extend(twice.map(|(topic, _)| format!("topic {topic} is bound to two sinks")));
    }

    fn check_unbound(&self, plan: &Plan, wrong: &mut Vec<String>) {
        let read: BTreeSet<&String> = plan.sources.iter().collect();
        for topic in read {
            if !self.sources.iter().any(|(bound, _)| bound == topic) {
                wrong.push(format!("topic {topic} is read but bound to no source"));
            }
        }
        let written: BTreeSet<&String> = plan.sinks.iter().map(|schema| &schema.topic).collect();
        for topic in written.into_iter().filter(|topic| *topic != DEAD_LETTERS) {
            if !self.sinks.iter().any(|(bound, _)| bound == topic) {
                wrong.push(format!("topic {topic} is written but bound to no sink"));
            }
        }
    }
}
