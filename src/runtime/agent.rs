//! A process other than process 0: it feeds its workers with the batches that process 0 sends, and
//! sends back their reports.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::adoption::{self, FreshSinks};
use super::config::Config;
use super::counts::Counts;
use super::installed::installed;
use super::liveness::{Liveness, Sign};
use super::message::Message;
use super::network::{Event, Member, Network, Outbox};
use super::panic_guard::spawn;
use super::progress::Summary;
use super::protocol::{Down, Up, Welcome};
use super::senders::{Sinks, Write, store_parts, write_layers};
use super::stores::Stores;
use super::streams::Streams;
use super::topics::{self, Topics};
use super::unwritten::Unwritten;
use super::worker::{self, Saving, Shared, Workers};
use super::writers::open_writers;
use crate::connect::SinkContext;
use crate::durable::{self, Layers};
use crate::error::{Error, Result};
use crate::faults;
use crate::graph::Demand;
use crate::metrics::{Metrics, MetricsSnapshot};
use crate::operators::Seeds;
use crate::plan::Plan;
use crate::ports::{Barriers, Decoded, Report, TopicInput};
use crate::sync::{JoinHandle, Receiver, Sender, channel, elapsed, now, wall_clock};
use crate::time::Epoch;
use crate::topology::Topology;

/// Longest time until numbers are sent to process 0.
const COUNTS_INTERVAL: Duration = Duration::from_millis(100);

/// Runs a process until process 0 ends the run. Returns the numbers that it has not sent: those of
/// its steps.
///
/// # Errors
/// The first failure of any process.
pub(super) fn run(streams: Streams, config: &Config, network: Box<dyn Network>) -> Result<Summary> {
    let (started, process) = (now(), network.process());
    let processes = network.processes();
    let (outbox, inbox) = channel();
    let from_leader = outbox.clone();
    let deliver = move |event| {
        let message = match event {
            Event::Message { message, .. } => Message::Down(message),
            Event::Failed(error) => Message::Failed(error),
        };
        // The run may be over already.
        let _ = from_leader.send(message);
    };
    let installed = installed(&streams, config);
    let member = network.join(installed, Box::new(deliver))?;
    let place = Place { process, processes, workers: config.workers.max(1) };
    let metrics = streams.metrics.clone();
    let ran = Agent::start(streams, config, &place, &*member, (outbox, inbox))
        .and_then(|mut agent| agent.run())
        .and_then(|()| member.finish());
    ran.map_err(|error| member.fail(error))?;
    let MetricsSnapshot { topics, gauges, steps, .. } = metrics.snapshot();
    let elapsed = elapsed(started);
    Ok(Summary { topics, gauges, steps, committed: 0, recovered: 0, elapsed })
}

/// The place of a process in the run.
struct Place {
    process: usize,
    processes: usize,
    /// Workers of each process.
    workers: usize,
}

/// The state of a process.
struct Agent {
    inbox: Receiver<Message>,
    leader: Arc<dyn Outbox<Up>>,
    topics: Topics,
    metrics: Metrics,
    barriers: Arc<Barriers>,
    /// The number of the open epoch, for the workers.
    open: Arc<AtomicU64>,
    layers: Option<Arc<Layers>>,
    workers: Workers,
    /// Stores the files of parts.
    parts: Option<Sender<(usize, Report)>>,
    /// Writes the layers; none without a state.
    writes: Option<Sender<Write>>,
    threads: Vec<JoinHandle<()>>,
    last_counts: Instant,
    sign: Option<Sign>,
}

impl Agent {
    fn start(
        mut streams: Streams,
        config: &Config,
        place: &Place,
        member: &dyn Member,
        (outbox, inbox): (Sender<Message>, Receiver<Message>),
    ) -> Result<Self> {
        let (generation, welcome) = member.welcomed()?;
        check_state(config, generation, &welcome)?;
        streams.stores = Stores::named(&streams.topology, &welcome.stores);
        streams.stores.gather_on(place.workers);
        let fresh = welcome.sinks.iter().filter(|sink| sink.is_fresh);
        // The first process replaces the rows of sinks.
        let new = fresh.map(|sink| sink.topic.clone()).collect();
        let fresh = FreshSinks { new, ..FreshSinks::default() };
        let demand = Demand { mode: config.mode, ..adoption::demand(&streams, &fresh) };
        let plan = streams.topology.plan_for(demand.clone());
        let demand = Demand { timed: plan.time.asked.clone(), ..demand };
        check_sinks(&streams, &plan, &welcome)?;
        let metrics = streams.metrics.clone();
        metrics.describe(plan.nodes.iter().map(|node| (node.verb.clone(), node.name.clone())));
        let leader = member.outbox()?;
        let to_leader = leader.clone();
        // A lost connection is an event too.
        let decoded = move |cost| drop(to_leader.send(&Up::Decoded(cost as u64)));
        let decoded: Decoded = Arc::new(decoded);
        let bound = topics::bound(&plan, Vec::new(), place.workers, &decoded, &metrics);
        let topics = Topics::new(bound, &plan, &metrics);
        for (topic, welcome) in topics.iter().zip(&welcome.topics) {
            if let Some(advance) = welcome.advance {
                topic.queue.earliest().announce(advance);
            }
            topic.queue.pass_over_letters(welcome.written_letters.iter().copied().collect());
        }
        let context = SinkContext {
            app: welcome.app.clone(),
            generation,
            committed: welcome.committed,
            workers: place.workers * place.processes,
            secret: welcome.secret,
            staging: config.state.as_ref().map(|state| state.below("staged")),
            clock: Arc::new(|| wall_clock().as_millis() as i64),
        };
        let first = place.process * place.workers;
        let briefs = welcome.sinks.iter().map(|sink| {
            serde_json::from_str(&sink.brief)
                .map_err(|e| Error::internal("can't read the brief of a sink").because(e))
        });
        let briefs = briefs.collect::<Result<Vec<_>>>()?;
        let own = first..first + place.workers;
        let writers = open_writers(&streams.sinks, &briefs, &plan, &context, &fresh, own.clone())?;
        let layers = match (&welcome.layers, &config.state) {
            (Some(files), Some(state)) => {
                faults::point("recover.load");
                Some(Arc::new(Layers::open(state, files)?))
            }
            _ => None,
        };
        let mut threads = Vec::new();
        let (mut saving, mut writes) = (None, None);
        if let Some(state) = &config.state {
            let (requests, inbox) = channel();
            let (to_leader, failed) = (leader.clone(), outbox.clone());
            let cuts = plan.cuts.iter().map(|cut| cut.id.clone()).collect();
            let rows = Unwritten::new(state.clone(), cuts, generation, place.process, own.clone());
            let work = move || write_layers(&inbox, rows, &*to_leader, &failed);
            threads.push(spawn("sender", "layers".into(), &outbox, work)?);
            writes = Some(requests.clone());
            let submit = Arc::new(move |taken| {
                // The thread may have ended with the run.
                let _ = requests.send(Write::Take(taken));
            });
            let (layers, sinks) = (layers.clone(), Default::default());
            let (earlier_runs, watermarks) = (generation - 1, welcome.watermarks.iter().cloned());
            let watermarks = watermarks.collect();
            saving = Some(Saving { layers, sinks, earlier_runs, watermarks, submit });
        }
        let (parts, staged) = channel();
        let (sinks, to_leader): (Sinks, _) = (Arc::new(streams.sinks), leader.clone());
        let failed = outbox.clone();
        let work = move || store_parts(&staged, &sinks, &*to_leader, &failed);
        threads.push(spawn("sender", "parts".into(), &outbox, work)?);
        let inputs = topics.iter().map(|topic| {
            let (queue, counters) = (topic.queue.clone(), topic.counters.clone());
            (topic.name.clone(), TopicInput { queue, counters })
        });
        let (barriers, open): (Arc<Barriers>, Arc<AtomicU64>) = Default::default();
        let shared = Shared {
            topology: streams.topology,
            fingerprint: Topology::fingerprint(&plan),
            inputs: inputs.collect(),
            barriers: barriers.clone(),
            open: open.clone(),
            stores: streams.stores,
            metrics: metrics.clone(),
            seeds: Seeds::new(welcome.secret),
            demand,
            saving,
            writers: Mutex::new(writers),
            coordinator: outbox.clone(),
            liveness: config.liveness.clone(),
            profile: config.profile.clone(),
        };
        let workers = worker::start(place.process, member.mesh()?, shared)?;
        config.stop.connect(&outbox);
        Ok(Agent {
            inbox,
            leader,
            topics,
            metrics,
            barriers,
            open,
            layers,
            workers,
            parts: Some(parts),
            writes,
            threads,
            last_counts: now(),
            sign: config.liveness.as_ref().map(Liveness::enter),
        })
    }

    /// Handles messages until the workers have ended.
    fn run(&mut self) -> Result<()> {
        loop {
            self.sign.iter().for_each(Sign::renew);
            match self.inbox.recv_timeout(COUNTS_INTERVAL) {
                Ok(message) => {
                    if self.handle(message)? {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::internal("all senders to the process are dropped"));
                }
            }
            if elapsed(self.last_counts) >= COUNTS_INTERVAL {
                let counts = self.counts().with_steps(&self.metrics);
                self.leader.send(&Up::Counted(counts))?;
            }
        }
        self.sign = None;
        self.workers.join()?;
        while let Ok(message) = self.inbox.try_recv() {
            self.handle(message)?;
        }
        (self.parts, self.writes) = (None, None);
        let joined = self.threads.drain(..).map(JoinHandle::join);
        if joined.filter(Result::is_err).count() > 0 {
            return Err(Error::internal("a thread of the process panicked"));
        }
        let counts = self.counts().with_steps(&self.metrics);
        self.leader.send(&Up::Done(counts))
    }

    /// Handles a message. Returns true if the workers have completed all epochs.
    fn handle(&mut self, message: Message) -> Result<bool> {
        match message {
            Message::Down(down) => self.obey(down)?,
            Message::Completed { epoch, .. } => {
                self.barriers.complete(epoch);
                let counts = self.counts();
                self.leader.send(&Up::Completed { epoch, counts })?;
                return Ok(epoch == Epoch::MAX);
            }
            Message::Report(sink, report) => {
                if let Some(parts) = &self.parts {
                    // The thread ends at a failure only, which is a message too.
                    let _ = parts.send((sink, report));
                }
            }
            Message::Failed(error) => return Err(error),
            Message::Stop => self.leader.send(&Up::Stop)?,
            _ => {}
        }
        Ok(false)
    }

    /// Carries out a message of process 0.
    fn obey(&self, down: Down) -> Result<()> {
        match down {
            Down::Push { topic, source, cost, batch } => {
                let found = self.topics.iter().nth(usize::from(topic));
                let topic = found.filter(|_| batch.is_whole()).ok_or_else(|| {
                    Error::internal("process 0 has sent a batch that is malformed")
                })?;
                topic.queue.push(source, cost as usize, batch);
            }
            Down::Clock { topic, source, partition, event } => {
                let found = self.topics.iter().nth(usize::from(topic));
                let timed = found.filter(|topic| topic.queue.is_timed());
                let topic = timed.ok_or_else(|| Error::internal("the topic has no clocks"))?;
                topic.queue.push_clock(source, partition, event);
            }
            Down::Barrier(epoch) if epoch < self.open.load(Ordering::Acquire) => {
                let message =
                    format!("the barrier of epoch {epoch} came after its epoch was closed");
                return Err(Error::internal(message));
            }
            Down::Barrier(epoch) => self.barriers.set(epoch),
            Down::Open { epoch, earliest } => {
                for (topic, position) in self.topics.iter().zip(earliest) {
                    if let Some(position) = position {
                        topic.queue.earliest().publish(epoch, position);
                    }
                }
                self.open.store(epoch, Ordering::Release);
                self.topics.iter().for_each(|topic| topic.queue.open(epoch));
                faults::point("process.opened");
            }
            Down::Save(barrier) => {
                if let Some(writes) = &self.writes {
                    // The thread ends at a failure only, which is a message too.
                    let _ = writes.send(Write::UpTo(barrier));
                }
            }
            Down::Live => {
                if let Some(layers) = &self.layers {
                    layers.release();
                }
            }
            Down::Finish => self.topics.iter().for_each(|topic| topic.queue.finish()),
        }
        Ok(())
    }

    fn counts(&mut self) -> Counts {
        self.last_counts = now();
        Counts::take(self.topics.iter(), &self.metrics)
    }
}

/// Refuses a state that is not the one of process 0.
fn check_state(config: &Config, generation: u64, welcome: &Welcome) -> Result<()> {
    let own = match &config.state {
        Some(state) => durable::mark(state, generation)?,
        None => None,
    };
    if own == welcome.state && config.state.is_some() == welcome.state.is_some() {
        return Ok(());
    }
    Err(Error::config("this process has another state than process 0")
        .hint("All processes must reach one store: one folder, or one place in an object store."))
}

/// Refuses sinks that are not those of process 0.
fn check_sinks(streams: &Streams, plan: &Plan, welcome: &Welcome) -> Result<()> {
    let own = streams.sinks.iter().map(|(topic, _)| topic);
    if own.eq(welcome.sinks.iter().map(|sink| &sink.topic))
        && plan.sources.len() == welcome.topics.len()
    {
        return Ok(());
    }
    Err(Error::config("this process has other topics than process 0")
        .hint("Start the same program with the same bindings in each process."))
}
