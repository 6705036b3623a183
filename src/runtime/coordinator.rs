//! The coordinator: stamps batches, closes epochs, asks for commits, and knows when it is over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use timely::communication::WorkerGuards;

use super::begin::Beginning;
use super::commit::{Commits, Job, Parts, Target};
use super::ingest::{Control, Place};
use super::readers::Readers;
use super::worker::{self, Shared};
use super::{Config, Stores, Streams};
use crate::connect::{Identity, Source};
use crate::durable::{Bound, Manifest, SourceState};
use crate::error::{Error, Result};
use crate::metrics::TopicCounters;
use crate::operators::Seeds;
use crate::ports::{Credit, Feed, Gauges, Marks, Report};
use crate::record::Batch;
use crate::secret::Secret;
use crate::time::Epoch;

/// Bytes of memory for what is read and not yet decoded.
const IN_FLIGHT: usize = 64 << 20;

/// What the coordinator hears from readers, workers, the committer and people.
pub(crate) enum Message {
    Batch(Place, Batch, u64),
    Recovered(Place),
    End(Place),
    Partitions(usize, u16, Vec<u32>),
    Through(Epoch),
    Report(usize, Report),
    Settled,
    Committed(u64),
    Failed(Error),
    Stop,
    /// From a test: close the epoch, commit, and answer.
    Close(Sender<()>),
}

/// A topic that is read.
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) feed: Arc<Feed>,
    pub(super) counters: Arc<TopicCounters>,
    pub(super) sources: Vec<Arc<dyn Source>>,
    /// By source, its identities; none if the run is driven by hand.
    pub(super) identities: Vec<Vec<Identity>>,
}

impl Topic {
    /// The sources with their ranks.
    pub(super) fn ranked(&self) -> impl Iterator<Item = (u16, &Arc<dyn Source>)> {
        (0..=u16::MAX).zip(&self.sources)
    }
}

/// What workers report of a mark, or of the recovery, until all have.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) missing: usize,
    pub(super) sinks: Vec<Parts>,
    pub(super) found: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// Reading again what was committed.
    Recovering,
    /// All of it is handed out; sinks are finding their rows.
    Settling,
    /// All rows are found; the committer looks whether there are others.
    Checking,
    Live,
}

/// A commit on its way: what it binds, and whether it is already with the committer.
pub(super) struct Marked {
    pub(super) sources: BTreeMap<String, Vec<SourceState>>,
    pub(super) handed: bool,
    /// Records handed out up to its end.
    pub(super) records: u64,
}

/// One thread's view of a run.
pub(crate) struct Coordinator {
    pub(super) topics: Vec<Topic>,
    pub(super) sinks: Vec<String>,
    pub(super) stores: Stores,
    pub(super) workers: usize,
    pub(super) config: Config,
    /// Whether epochs are closed only when asked.
    pub(super) manual: bool,
    pub(super) inbox: Receiver<Message>,
    pub(super) outbox: Sender<Message>,
    pub(super) jobs: Option<Sender<Job>>,
    pub(super) control: Arc<Control>,
    pub(super) credit: Arc<Credit>,
    pub(super) marks: Arc<Marks>,
    /// Shows the workers which epoch is open.
    pub(super) opening: Arc<AtomicU64>,
    pub(super) remaining: Arc<AtomicU64>,
    /// For the digests of records.
    pub(super) secret: Secret,
    pub(super) readers: Readers,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) committer: Option<JoinHandle<()>>,
    pub(super) guards: Option<WorkerGuards<()>>,
    pub(super) last: Option<Manifest>,
    pub(super) committed: u64,

    pub(super) phase: Phase,
    pub(super) bounds: BTreeMap<Place, Bound>,
    /// The partitions that are read, each with the bytes that it has still to read.
    pub(super) reading: BTreeMap<Place, Arc<AtomicU64>>,
    pub(super) recovering: BTreeSet<Place>,
    pub(super) open: Epoch,
    pub(super) through: Epoch,
    pub(super) opened: Instant,
    /// Records handed out so far.
    pub(super) records: u64,
    /// Of each closed epoch that is not through, the records handed out up to its end.
    pub(super) ends: VecDeque<(Epoch, u64)>,
    /// The cost of what was handed out to the open epoch.
    pub(super) ahead: usize,
    /// Batches that wait until the epoch before is through, oldest first.
    pub(super) waiting: VecDeque<(Place, Batch, u64)>,
    /// Whether the open epoch has batches.
    pub(super) dirty: bool,
    /// Whether something is closed or open that no mark covers.
    pub(super) unmarked: bool,
    pub(super) marked: Option<Marked>,
    pub(super) last_mark: Option<Instant>,
    pub(super) gathered: Gathered,
    pub(super) stopping: bool,
    pub(super) asked: Vec<Sender<()>>,
    pub(super) started: Instant,
    pub(super) recovered: u64,
    pub(super) gauges: Gauges,
    pub(super) told: Instant,
}

impl Coordinator {
    /// Lets nothing more be read.
    pub(super) fn end_reading(&self) {
        self.control.end();
        self.readers.end();
        self.credit.close();
    }

    /// Tells each source how far it is committed.
    pub(super) fn tell_sources(&self, committed: &BTreeMap<String, Vec<SourceState>>) {
        for topic in &self.topics {
            for (source, state) in
                topic.sources.iter().zip(committed.get(&topic.name).into_iter().flatten())
            {
                source.committed(
                    &state
                        .partitions
                        .iter()
                        .map(|(partition, bound)| (*partition, bound.to))
                        .collect(),
                );
            }
        }
    }

    /// Checks, opens and starts everything; returns it with the way to reach it. `manual` leaves
    /// closing epochs to messages.
    pub(crate) fn start(
        streams: Streams,
        config: Config,
        manual: bool,
    ) -> Result<(Self, Sender<Message>)> {
        let started = Instant::now();
        let plan = streams.topology.plan();
        streams.check(&plan, config.state.is_some())?;
        let workers = config.workers.max(1);
        let (outbox, inbox) = channel();
        let credit = Arc::new(Credit::new(IN_FLIGHT));
        let mut topics = topics(streams.sources, &credit);
        let Beginning { ledger, context, sinks: identities, places } = Beginning::make(
            &streams.topology,
            &plan,
            &mut topics,
            &streams.sinks,
            &config,
            manual,
        )?;
        let last = ledger.as_ref().and_then(|ledger| ledger.last.clone());

        let mut by_worker: Vec<BTreeMap<_, _>> = (0..workers).map(|_| BTreeMap::new()).collect();
        let mut targets = Vec::new();
        for (number, ((topic, sink), identity)) in streams.sinks.iter().zip(identities).enumerate()
        {
            let opened = sink.open(plan.sink(topic)?, &context)?;
            for (index, writer) in opened.writers.into_iter().enumerate() {
                by_worker[index].insert(topic.clone(), (number, writer));
            }
            let (topic, name, committer) = (topic.clone(), sink.describe(), opened.committer);
            targets.push(Target { topic, name, identity, committer });
        }
        let mut commits = Commits { targets, ledger, last: 0 };
        commits.catch_up()?;
        let committed = commits.last;

        let marks = Arc::new(Marks::default());
        let feeds =
            topics.iter().map(|t| (t.name.clone(), (t.feed.clone(), t.counters.clone()))).collect();
        let sinks = commits.targets.iter().map(|target| target.topic.clone()).collect();
        let mut coordinator = Coordinator {
            topics,
            sinks,
            stores: streams.stores.clone(),
            workers,
            manual,
            inbox,
            outbox: outbox.clone(),
            jobs: None,
            control: Arc::default(),
            secret: context.secret,
            readers: Readers::new(credit.clone(), outbox.clone()),
            credit,
            marks: marks.clone(),
            opening: Arc::default(),
            remaining: Arc::default(),
            threads: Vec::new(),
            committer: None,
            guards: None,
            last,
            committed,
            phase: Phase::Recovering,
            bounds: BTreeMap::new(),
            reading: BTreeMap::new(),
            recovering: BTreeSet::new(),
            open: 0,
            through: 0,
            opened: started,
            records: 0,
            ends: VecDeque::new(),
            ahead: 0,
            waiting: VecDeque::new(),
            dirty: false,
            unmarked: false,
            marked: None,
            last_mark: None,
            gathered: Gathered::default(),
            stopping: false,
            asked: Vec::new(),
            started,
            recovered: 0,
            gauges: Gauges::default(),
            told: started,
            config,
        };
        coordinator.gather();
        coordinator.read_all(places)?;
        let shared = Shared {
            topology: streams.topology,
            feeds,
            marks,
            open: coordinator.opening.clone(),
            stores: streams.stores,
            gauges: coordinator.gauges.clone(),
            seeds: Seeds::new(context.secret),
            writers: Mutex::new(by_worker),
            coordinator: Mutex::new(outbox.clone()),
        };
        coordinator.guards = Some(worker::start(workers, shared)?);
        coordinator.config.stop.tell(&outbox);
        coordinator.start_committer(commits)?;
        Ok((coordinator, outbox))
    }
}

/// The topics that are read, each with its sources in their order.
fn topics(sources: Vec<(String, Box<dyn Source>)>, credit: &Arc<Credit>) -> Vec<Topic> {
    let mut topics: Vec<Topic> = Vec::new();
    for (name, source) in sources {
        let source: Arc<dyn Source> = source.into();
        match topics.iter_mut().find(|topic| topic.name == name) {
            Some(topic) => topic.sources.push(source),
            None => {
                let feed = Arc::new(Feed::new(credit.clone()));
                topics.push(Topic {
                    name,
                    feed,
                    counters: Arc::default(),
                    sources: vec![source],
                    identities: Vec::new(),
                });
            }
        }
    }
    topics
}
