//! The metrics of a run: [`Metrics`] is the registry to which workers write and from which
//! everybody reads a [`MetricsSnapshot`].
//!
//! A counter is created once, under a lock, when the dataflow is built. Operators hold a handle of
//! it and add to it once a batch, without a lock. The counters of a step exist once a worker.

mod late;
mod prometheus;
mod step;
mod tally;
mod topic;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use crate::sync::lock;

pub(crate) use late::LateCounts;
pub(crate) use prometheus::{Kind, Text};
pub(crate) use step::Meter;
pub use step::{StepMetrics, StepRows};
pub(crate) use tally::Tally;
pub(crate) use topic::TopicCounters;
pub use topic::TopicSummary;

/// The metrics of a run. A handle: clones read the same numbers, from any thread.
///
/// ```
/// use watershed::connect::memory::MemoryLog;
/// use watershed::prelude::*;
///
/// let topology = Topology::new("even", |builder: &StreamsBuilder<'_>| {
///     let numbers = builder.stream::<i64, i64>("numbers", Consumed::with(Json, Json));
///     numbers.filter(|_, n| n % 2 == 0).named("even").print("even");
/// });
/// let numbers = MemoryLog::default();
/// for n in ["7", "8", "9"] {
///     numbers.append(0, Some(b"1"), Some(n.as_bytes()));
/// }
/// let streams = Streams::new(topology).source("numbers", numbers);
/// let metrics = streams.metrics();
/// streams.run(Config { workers: 1, ..Config::default() })?;
///
/// let snapshot = metrics.snapshot();
/// let filter = snapshot.steps.iter().find(|step| step.name.as_deref() == Some("even")).unwrap();
/// assert_eq!((filter.total().rows_in, filter.total().rows_out), (3, 1));
/// assert!(snapshot.to_prometheus().contains(
///     "watershed_step_rows_out_total{topology=\"even\",step=\"1\",verb=\"filter\",\
///      name=\"even\",worker=\"0\"} 1"
/// ));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Registry>);

#[derive(Debug, Default)]
struct Registry {
    topology: String,
    entries: Mutex<Entries>,
    late: LateCounts,
}

#[derive(Debug, Default)]
struct Entries {
    topics: BTreeMap<String, Arc<TopicCounters>>,
    gauges: BTreeMap<String, Arc<AtomicI64>>,
    /// The verbs and names of the steps, in their order.
    steps: Vec<(String, Option<String>)>,
    /// By the numbers of step and worker.
    meters: BTreeMap<(usize, usize), Meter>,
}

impl Metrics {
    /// Makes the registry of a topology of this name.
    pub(crate) fn new(topology: &str) -> Self {
        Metrics(Arc::new(Registry { topology: topology.to_string(), ..Registry::default() }))
    }

    /// Returns the counters of a topic.
    pub(crate) fn topic(&self, topic: &str) -> Arc<TopicCounters> {
        lock(&self.0.entries).topics.entry(topic.to_string()).or_default().clone()
    }

    /// Returns the gauge of this name, which all workers share.
    pub(crate) fn gauge(&self, name: &str) -> Arc<AtomicI64> {
        lock(&self.0.entries).gauges.entry(name.to_string()).or_default().clone()
    }

    /// Returns the counters of a step on one worker.
    pub(crate) fn meter(&self, step: usize, worker: usize) -> Meter {
        let fresh = || Meter::new(step, self.0.late.clone());
        lock(&self.0.entries).meters.entry((step, worker)).or_insert_with(fresh).clone()
    }

    /// Returns the numbers of late records by step and epoch.
    pub(crate) fn late(&self) -> &LateCounts {
        &self.0.late
    }

    /// Begins with the number of late records of a step up to a snapshot.
    pub(crate) fn restore_late(&self, step: usize, earlier: u64) {
        self.0.late.restore(step, earlier);
        self.meter(step, 0).restore_late(earlier);
    }

    /// Takes the changes of all gauges, to add them in another process.
    pub(crate) fn take_gauges(&self) -> Vec<(String, i64)> {
        let entries = lock(&self.0.entries);
        let gauges = entries.gauges.iter();
        let changes = gauges.map(|(name, gauge)| (name.clone(), gauge.swap(0, Ordering::Relaxed)));
        changes.filter(|(_, change)| *change != 0).collect()
    }

    /// Returns the rows of each step and worker, by their numbers.
    pub(crate) fn step_rows(&self) -> Vec<((usize, usize), StepRows)> {
        let entries = lock(&self.0.entries);
        entries.meters.iter().map(|(place, meter)| (*place, meter.rows())).collect()
    }

    /// Sets the verbs and names of the steps, in their order.
    pub(crate) fn describe(&self, steps: impl Iterator<Item = (String, Option<String>)>) {
        lock(&self.0.entries).steps = steps.collect();
    }

    /// Returns the current numbers. They are zero before a run, and stay as they are after it.
    ///
    /// Workers count while the snapshot is taken, so two of its numbers may be of different
    /// moments. After a run they are exact.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let entries = lock(&self.0.entries);
        let mut steps: BTreeMap<usize, StepMetrics> = BTreeMap::new();
        for ((number, worker), meter) in &entries.meters {
            let Some((verb, name)) = entries.steps.get(*number) else { continue };
            let fresh = || StepMetrics {
                number: *number,
                verb: verb.clone(),
                name: name.clone(),
                workers: BTreeMap::new(),
            };
            let step = steps.entry(*number).or_insert_with(fresh);
            step.workers.insert(*worker, meter.rows());
        }
        let topics = entries.topics.iter();
        let gauges = entries.gauges.iter();
        MetricsSnapshot {
            topology: self.0.topology.clone(),
            topics: topics.map(|(topic, counters)| (topic.clone(), counters.summary())).collect(),
            gauges: gauges.map(|(name, gauge)| (name.clone(), topic::value(gauge))).collect(),
            steps: steps.into_values().collect(),
        }
    }
}

/// The numbers of a run at one moment.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MetricsSnapshot {
    /// The name of the topology.
    pub topology: String,
    /// By topic, the numbers since the beginning of the state.
    pub topics: BTreeMap<String, TopicSummary>,
    /// By name, the number of rows that a [`gauge`](crate::KTable::gauge) counts.
    pub gauges: BTreeMap<String, u64>,
    /// The steps whose rows are counted, in their order.
    pub steps: Vec<StepMetrics>,
}

impl MetricsSnapshot {
    /// Returns the numbers in the text format of Prometheus, with the labels `topology`, `topic`,
    /// `step` and `worker`.
    pub fn to_prometheus(&self) -> String {
        let mut text = Text::new("watershed");
        for (field, (kind, name, help)) in TopicSummary::FIELDS.iter().enumerate() {
            let name = match kind {
                Kind::Counter => format!("topic_{name}_total"),
                _ => format!("topic_{name}"),
            };
            text.family(&name, *kind, help);
            for (topic, summary) in &self.topics {
                let labels = [("topology", self.topology.as_str()), ("topic", topic)];
                text.sample(&name, &labels, summary.values()[field]);
            }
        }
        text.family("gauge_rows", Kind::Gauge, "Rows that a gauge of the topology counts.");
        for (name, rows) in &self.gauges {
            text.sample("gauge_rows", &[("topology", &self.topology), ("gauge", name)], rows);
        }
        let taken = "Rows that a step has taken.";
        self.steps_to_prometheus(&mut text, "step_rows_in_total", taken, |rows| rows.rows_in);
        let emitted = "Rows that a step has emitted.";
        self.steps_to_prometheus(&mut text, "step_rows_out_total", emitted, |rows| rows.rows_out);
        let late = "Records that a step has left out because they were late.";
        self.steps_to_prometheus(&mut text, "step_late_total", late, |rows| rows.late);
        let closed = "Late records whose windows were closed before their partition came.";
        self.steps_to_prometheus(&mut text, "step_closed_total", closed, |rows| rows.closed);
        text.finish()
    }

    fn steps_to_prometheus(
        &self,
        text: &mut Text,
        family: &str,
        help: &str,
        of: fn(&StepRows) -> u64,
    ) {
        text.family(family, Kind::Counter, help);
        for step in &self.steps {
            let number = step.number.to_string();
            for (worker, rows) in &step.workers {
                let worker = worker.to_string();
                let labels = [
                    ("topology", self.topology.as_str()),
                    ("step", &number),
                    ("verb", &step.verb),
                    ("name", step.name.as_deref().unwrap_or_default()),
                    ("worker", &worker),
                ];
                text.sample(family, &labels, of(rows));
            }
        }
    }
}
