//! Running a topology: [`Streams`] binds topics to connectors, checks the whole, and drives it.
//!
//! # How a record becomes visible
//!
//! A few threads (`readers`) read batches of all partitions (`ingest`). The *coordinator* hands
//! each to the open epoch of its topic's feed, notes how far the partition is bound, and closes the
//! epoch: at once when nothing more is waiting, later under load, and only when the epoch before is
//! through. Workers take batches from the feeds as they can, so one that is faster does more. When
//! it is time to commit, the epoch to be closed is *marked*; each sink's part on each worker hands
//! over what changed up to the mark; with all parts together the *committer* stages files, creates
//! the manifest, and shows it in every sink. Stores show an epoch, in one step, when it is through
//! on all workers, committed or not.
//!
//! # How it continues
//!
//! Before anything is changed, `begin` looks at the state, every sink and every source: a run that
//! it refuses leaves no trace. Then the run is the state's newest generation, and is the only one
//! that commits. Epoch 0 is the recovery: the ranges of the last manifest are read again and
//! rebuild the state, while sinks write nothing and only find their rows again. Sums of digests, of
//! every record read and of every row shown, then say whether this is the state that was recorded.
//! From epoch 1 on it is live.
//!
//! # Invariants
//!
//! - A batch is stamped when it is handed out, by one thread, and bindings are taken when an epoch
//!   is closed by the same one: so an epoch is exactly the ranges that its manifest binds.
//! - There is at most one commit at a time. Epochs go on meanwhile; what they change waits in the
//!   sinks.
//! - Clocks decide when epochs are closed, never what they contain.

mod alarm;
mod begin;
mod commit;
mod coordinator;
mod drive;
mod ingest;
mod progress;
mod readers;
mod secret;
mod stores;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use crate::durable::changed;
pub(crate) use coordinator::{Coordinator, Message};
pub use progress::{Holds, Milestone, Progress, Summary, TopicSummary};
pub use secret::secret;
pub(crate) use stores::Stores;

use crate::connect::{Sink, Source};

use crate::error::{Error, Result};
use crate::graph::{DEAD_LETTERS, Plan};
use crate::store::{Store, disk};
use crate::topology::Topology;

/// So many sources of one topic have ranks.
const SOURCES: usize = u16::MAX as usize;

/// How a topology is run.
pub struct Config {
    /// Threads that work on the dataflow.
    pub workers: usize,
    /// Where manifests are kept; without it a run begins anew each time.
    pub state: Option<Store>,
    /// Whether to go on after what was there at the start.
    pub follow: bool,
    /// The least time between two commits; while nothing comes, a change is committed at once.
    pub commit_every: Duration,
    /// How to end it early.
    pub stop: Stop,
    /// Told about ten times a second how it goes.
    pub progress: Option<Box<dyn FnMut(&Progress) + Send>>,
    /// Told at once what the answers know and what the sinks show.
    pub milestone: Option<Box<dyn FnMut(Milestone) + Send>>,
}

impl Default for Config {
    /// All cores, no state, to the end of what is there, a commit a second.
    fn default() -> Self {
        Config {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            state: None,
            follow: false,
            commit_every: Duration::from_secs(1),
            stop: Stop::default(),
            progress: None,
            milestone: None,
        }
    }
}

/// Ends a run in good order: what is read is committed.
#[derive(Clone, Default)]
pub struct Stop(Arc<Mutex<(bool, Option<Sender<coordinator::Message>>)>>);

impl Stop {
    /// Asks for the end. It may be called before the run has begun, and more than once.
    pub fn stop(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = true;
        if let Some(run) = &state.1 {
            // A run that is over needs no end.
            let _ = run.send(coordinator::Message::Stop);
        }
    }

    /// Whether the end was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn tell(&self, run: &Sender<coordinator::Message>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 = Some(run.clone());
        if state.0 {
            let _ = run.send(coordinator::Message::Stop);
        }
    }
}

/// A topology and what its topics are bound to.
pub struct Streams {
    topology: Topology,
    sources: Vec<(String, Box<dyn Source>)>,
    sinks: Vec<(String, Box<dyn Sink>)>,
    pub(crate) stores: Stores,
}

impl Streams {
    /// Nothing is bound yet.
    pub fn new(topology: Topology) -> Self {
        Streams { topology, sources: Vec::new(), sinks: Vec::new(), stores: Stores::default() }
    }

    /// Binds a topic that is read. It may be bound to several sources: of one key, the records of
    /// those bound later are later.
    #[must_use]
    pub fn source(mut self, topic: &str, source: impl Source + 'static) -> Self {
        self.sources.push((topic.to_string(), Box::new(source)));
        self
    }

    /// Binds a topic that is written. Dead letters are written to [`DEAD_LETTERS`]; if that is not
    /// bound they are only counted and logged.
    #[must_use]
    pub fn sink(mut self, topic: &str, sink: impl Sink + 'static) -> Self {
        self.sinks.push((topic.to_string(), Box::new(sink)));
        self
    }

    /// Runs it to its end: of what was there at the start, or until it is stopped.
    ///
    /// # Errors
    /// One error for all that is wrong with topology and bindings, before anything is touched;
    /// later, the first failure of a connector or a worker: what was committed before stands.
    pub fn run(self, config: Config) -> Result<Summary> {
        let (coordinator, _) = coordinator::Coordinator::start(self, config, false)?;
        let summary = coordinator.run()?;
        // Housekeeping that fails is tried again and warned of; a sync that has failed is final,
        // whose it ever was.
        disk::sound().map_err(|e| {
            Error::connect("can't say that all of the run is on the disk")
                .because(e)
                .hint("See to the disk and run it again: it goes on from what is there.")
        })?;
        Ok(summary)
    }

    /// What is wrong between the topology and what is bound, all of it.
    fn check(&self, plan: &Plan, state: bool) -> Result<()> {
        let mut wrong = plan.errors.clone();
        if state {
            let volatile =
                |step: &String| format!("{step} can't be rebuilt from a state: run it without one");
            wrong.extend(plan.volatile.iter().map(volatile));
        }
        let read: BTreeSet<&str> = plan.sources.iter().map(String::as_str).collect();
        let written: BTreeSet<&str> = plan.sinks.iter().map(|s| s.topic.as_str()).collect();
        let mut bound: BTreeMap<&str, usize> = BTreeMap::new();
        let mut twice: BTreeSet<(&str, String)> = BTreeSet::new();
        let mut ranks: BTreeMap<&str, usize> = BTreeMap::new();
        for (topic, source) in &self.sources {
            *ranks.entry(topic).or_default() += 1;
            if !read.contains(topic.as_str()) {
                wrong.push(format!("topic {topic} is bound to a source but never read"));
            }
            if !twice.insert((topic, source.describe())) {
                wrong.push(format!("topic {topic} is bound twice to {}", source.describe()));
            }
        }
        let many = ranks.iter().filter(|(_, sources)| **sources > SOURCES);
        wrong.extend(many.map(|(topic, n)| {
            format!("topic {topic} is bound to {n} sources, but may be bound to {SOURCES}")
        }));
        for (topic, _) in &self.sinks {
            if !written.contains(topic.as_str()) {
                wrong.push(format!("topic {topic} is bound to a sink but never written"));
            }
            *bound.entry(topic).or_default() += 1;
        }
        wrong.extend(
            bound
                .iter()
                .filter(|(_, n)| **n > 1)
                .map(|(topic, _)| format!("topic {topic} is bound to two sinks")),
        );
        let sourced = |topic: &str| self.sources.iter().any(|(t, _)| t == topic);
        wrong.extend(
            read.iter()
                .filter(|t| !sourced(t))
                .map(|t| format!("topic {t} is read but bound to no source")),
        );
        let unbound = written.iter().filter(|t| **t != DEAD_LETTERS && !bound.contains_key(*t));
        wrong.extend(unbound.map(|t| format!("topic {t} is written but bound to no sink")));
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::config(format!(
            "topology {} can't run: {}",
            self.topology.name(),
            wrong.join("; ")
        )))
    }
}
