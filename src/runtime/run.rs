//! The start of a run: everything is checked, opened and started here.

use std::sync::{Arc, Mutex};

use super::adoption::{self, FreshSinks};
use super::agent;
use super::agents::Agents;
use super::begin::{Beginning, PlannedRun};
use super::clocks::{AtEnd, Clocks, WallClock};
use super::commits::Commits;
use super::config::{Config, RunMode};
use super::coordinator::Coordinator;
use super::earliest;
use super::epochs::Epochs;
use super::installed::installed;
use super::message::Message;
use super::network::{Cluster, Event, Leader, Mesh, Sharing};
use super::opening::Opening;
use super::progress::Summary;
use super::protocol::{SinkWelcome, TopicWelcome, Welcome};
use super::readers::Readers;
use super::recover::Recovery;
use super::reporter::Reporter;
use super::saver::{Saver, Task};
use super::snapshots::{SnapshotNeed, Snapshots};
use super::streams::Streams;
use super::topics::{self, Topic, Topics};
use super::worker::{self, Saving, Shared};
use super::writers::open_writers;
use crate::connect::Sink;
use crate::durable;
use crate::error::{Error, Result};
use crate::faults;
use crate::graph::Demand;
use crate::operators::Seeds;
use crate::ports::{Credit, TopicInput};
use crate::store::disk;
use crate::sync::{Receiver, Sender, channel, now};
use crate::topology::Topology;

/// Bytes of memory for batches that are read and not decoded yet.
const IN_FLIGHT_BYTES: u64 = 16 << 20;

impl Streams {
    /// Runs the topology until everything that existed at the start is read and committed, or until
    /// it is [stopped](super::Stop).
    ///
    /// ```
    /// use watershed::connect::memory::MemoryLog;
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("numbers", |builder: &StreamsBuilder<'_>| {
    ///     let numbers = builder.table::<i64, i64>("numbers", Consumed::with(Json, Json));
    ///     numbers.gauge("small", |_, n| *n < 10);
    /// });
    /// let numbers = MemoryLog::default();
    /// for (key, value) in [("1", "7"), ("2", "70"), ("3", "seven")] {
    ///     numbers.append(0, Some(key.as_bytes()), Some(value.as_bytes()));
    /// }
    /// let summary = Streams::new(topology).source("numbers", numbers).run(Config::default())?;
    /// let topic = &summary.topics["numbers"];
    /// assert_eq!((topic.read, topic.applied, topic.dead), (3, 2, 1));
    /// assert_eq!((summary.gauges["small"], summary.committed), (1, 1));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// After a failure the workers' threads are not joined. One of them may wait for another that
    /// has panicked, and joining it would block the caller for ever. Their handles are forgotten
    /// ([`std::mem::forget`]), because dropping them joins the threads. A program that runs the
    /// topology again in the same process keeps these threads, and their memory, until it ends.
    ///
    /// # Errors
    /// One error for all mistakes in the topology and its bindings, before anything is changed.
    /// Later the first failure of a connector or a worker; earlier commits remain.
    pub fn run(self, config: Config) -> Result<Summary> {
        let summary = match config.cluster {
            Some(cluster) if cluster.network.process() > 0 => {
                let config = Config { cluster: None, ..config };
                agent::run(self, &config, cluster.network)?
            }
            cluster => {
                let config = Config { cluster, ..config };
                let (coordinator, _) = Coordinator::start(self, config, RunMode::Sources)?;
                coordinator.run()?
            }
        };
        // A failed sync is final, even during maintenance, whose other failures are only logged and
        // tried again.
        disk::check_usable().map_err(|e| {
            Error::connect("can't confirm that all files of the run are on the disk")
                .because(e)
                .hint("Check the disk and run it again: it continues from the last commit.")
        })?;
        Ok(summary)
    }
}

impl Coordinator {
    /// Starts a run in process 0. Returns its coordinator, whose [loop](Self::run) the caller has
    /// to run, and a sender of messages to it.
    ///
    /// # Errors
    /// When topology and bindings don't match, or a source, a sink or the state refuses the run.
    pub(crate) fn start(
        streams: Streams,
        mut config: Config,
        mode: RunMode,
    ) -> Result<(Self, Sender<Message>)> {
        let (outbox, inbox) = channel();
        let processes = config.processes();
        let replies = outbox.clone();
        let deliver = move |event| {
            let message = match event {
                Event::Message { process, message } => Message::Up { process, message },
                Event::Failed(error) => Message::Failed(error),
            };
            // The run may be over already.
            let _ = replies.send(message);
        };
        let (leader, sharing) = match config.cluster.take() {
            Some(Cluster { network, sharing }) => {
                let installed = installed(&streams, &config);
                (Some(network.lead(installed, Box::new(deliver))?), sharing)
            }
            None => (None, Sharing::All),
        };
        let agents = Agents::new(leader.clone(), processes, sharing)?;
        let channel = (outbox.clone(), inbox);
        match Self::start_with(streams, config, mode, leader.as_deref(), agents, channel) {
            Ok(coordinator) => Ok((coordinator, outbox)),
            Err(error) => Err(match leader {
                Some(leader) => leader.fail(error),
                None => error,
            }),
        }
    }

    fn start_with(
        streams: Streams,
        config: Config,
        mode: RunMode,
        leader: Option<&dyn Leader>,
        agents: Agents,
        (outbox, inbox): (Sender<Message>, Receiver<Message>),
    ) -> Result<Self> {
        let started = now();
        let own = config.workers.max(1);
        let workers = own * agents.processes();
        let fresh = adoption::fresh(&streams, &config)?;
        let demand = Demand { mode: config.mode, ..adoption::demand(&streams, &fresh) };
        let plan = streams.topology.plan_for(demand.clone());
        let demand = Demand { timed: plan.time.asked.clone(), ..demand };
        streams.check(&plan)?;
        let metrics = streams.metrics.clone();
        metrics.describe(plan.nodes.iter().map(|node| (node.verb.clone(), node.name.clone())));
        let in_flight = faults::limit("in_flight_bytes", IN_FLIGHT_BYTES);
        let credit = Arc::new(Credit::new(in_flight as usize));
        let decoded = agents.decoded_here(credit.clone());
        let mut topics = topics::bound(&plan, streams.sources, own, &decoded, &metrics);
        let Opening { beginning, fence, recorded, committer, briefs } =
            Opening::make(&plan, &streams.sinks, &fresh, || {
                let (topology, sinks) = (&streams.topology, &streams.sinks);
                let planned = PlannedRun { plan: &plan, fresh: &fresh };
                Beginning::make(topology, planned, &mut topics, sinks, &config, workers, mode)
            })?;
        let Beginning { context, adoption, restored, partitions, .. } = beginning;
        let topics = Topics::new(topics, &plan, &metrics);
        let explain = |error| match &fence {
            Some(fence) => fence.explain(error),
            None => error,
        };
        let writers = open_writers(&streams.sinks, &briefs, &plan, &context, &fresh, 0..own);
        let writers = writers.map_err(explain)?;

        let names = committer.topics();
        let mut recovery = Recovery::new(topics.clone(), recorded.clone(), names, workers);
        if let Some(restored) = &restored {
            recovery.load_from(restored.layers.clone());
        }
        let mut snapshot_need = SnapshotNeed::WhenDue;
        if adoption.is_some() {
            // Without a snapshot of its own, the next run would read all records again.
            snapshot_need = SnapshotNeed::NextCommit;
            recovery.adopt(fresh.replaced.clone());
        }
        if let Some(restored) = restored.as_ref().filter(|restored| restored.is_partial()) {
            // The earlier snapshots lack rows.
            snapshot_need = SnapshotNeed::NextCommit;
            restored.pass_over_letters(&topics);
        }
        if plan.volatile || config.snapshot_each_commit {
            snapshot_need = SnapshotNeed::EachCommit;
        }
        let follow = config.follow;
        let mut readers =
            Readers::new(topics.clone(), follow, context.secret, credit, outbox.clone());
        readers.set_mode(config.mode);
        if mode == RunMode::Sources {
            readers.start_discovery()?;
        }
        let (clock, at_end) = (WallClock::of(mode), AtEnd::of(&config));
        let clocks = Clocks::new(topics.clone(), &plan.time, clock, at_end);
        let remaining = readers.remaining();
        let mut epochs =
            Epochs::new(topics.clone(), agents, clocks, remaining, config.mode, started);
        if let Some(restored) = &restored {
            restored.restore_counters(&topics);
            restored.restore_late(&plan, &metrics);
            epochs.restore(&restored.snapshot.sources, restored.records());
        }
        if mode == RunMode::Sources {
            // The test driver may send records in any order, so there positions are not published.
            earliest::announce(&topics, follow);
        }
        if let Some(last) = &recorded {
            let saved = restored.as_ref().map(|restored| restored.snapshot.sources.clone());
            epochs.restore_clocks(last, &saved.unwrap_or_default());
        }
        let restored_watermarks = epochs.clocks().restored();
        if mode == RunMode::TestDriver {
            topics.sources().for_each(|(id, _)| epochs.begin_clock(id));
        }
        for partition in partitions {
            epochs.begin_clock(partition.id);
            epochs.unfinished().begin(partition.id);
            recovery.start_replay(partition.id);
            readers.read(partition)?;
        }
        let reporter = Reporter::new(
            topics.clone(),
            metrics.clone(),
            started,
            config.progress,
            config.milestone,
            config.liveness.as_ref(),
        );
        let mut snapshots = match fence.clone() {
            Some(fence) => {
                let cuts = plan.cuts.iter().map(|cut| cut.id.clone()).collect();
                let layers = restored.as_ref().map(|it| it.snapshot.layers.clone());
                let layers = layers.unwrap_or_default();
                let outboxes = epochs.agents().outboxes()?;
                let saver = |unsaved| Saver::new(fence, cuts, layers, own, outboxes, unsaved);
                Snapshots::start(topics.clone(), context.clock.clone(), saver, &outbox)?
            }
            None => Snapshots::none(topics.clone()),
        };
        snapshots.set_need(snapshot_need);
        let commits = Commits::start(
            committer,
            recorded.as_ref(),
            restored.as_ref().filter(|it| !it.is_partial()).map(|it| it.snapshot.n),
            topics.clone(),
            workers,
            config.commit_every,
            &outbox,
        )?;
        let inputs = topics.iter().map(|topic| {
            let (queue, counters) = (topic.queue.clone(), topic.counters.clone());
            (topic.name.clone(), TopicInput { queue, counters })
        });
        let saving = snapshots.tasks().map(|tasks| Saving {
            layers: restored.as_ref().map(|restored| restored.layers.clone()),
            sinks: restored.as_ref().map(|it| it.snapshot.sinks.clone()).unwrap_or_default(),
            earlier_runs: context.generation - 1,
            watermarks: restored_watermarks.clone(),
            submit: Arc::new(move |taken| {
                // The saver may have ended with the run.
                let _ = tasks.send(Task::Take(taken));
            }),
        });
        let mesh = match leader {
            Some(leader) => {
                if workers > own {
                    streams.stores.gather_on(own);
                }
                let welcome = Welcome {
                    app: context.app.clone(),
                    committed: context.committed,
                    secret: context.secret,
                    state: fence
                        .as_ref()
                        .map_or(Ok(None), |it| durable::mark(&it.store, it.generation))?,
                    sinks: sink_welcomes(&streams.sinks, &briefs, &fresh),
                    stores: streams.stores.names().cloned().collect(),
                    topics: topics.iter().map(topic_welcome).collect(),
                    layers: restored.as_ref().map(|it| it.snapshot.layers.clone()),
                    watermarks: restored_watermarks.clone().into_iter().collect(),
                };
                leader.welcome(context.generation, &welcome)?
            }
            None => Mesh::of_one_process(own)?,
        };
        let shared = Shared {
            topology: streams.topology,
            fingerprint: Topology::fingerprint(&plan),
            inputs: inputs.collect(),
            barriers: epochs.barriers(),
            open: epochs.announced(),
            stores: streams.stores.clone(),
            metrics,
            seeds: Seeds::new(context.secret),
            demand,
            saving,
            writers: Mutex::new(writers),
            coordinator: outbox.clone(),
            liveness: config.liveness,
            profile: config.profile,
        };
        let workers = worker::start(0, mesh, shared)?;
        config.stop.connect(&outbox);
        Ok(Coordinator {
            inbox,
            mode,
            fence,
            topics,
            epochs,
            commits,
            snapshots,
            readers,
            recovery,
            reporter,
            stores: streams.stores,
            workers,
            stopping: false,
        })
    }
}

/// Returns the beginnings of the sinks in another process.
fn sink_welcomes(
    sinks: &[(String, Box<dyn Sink>)],
    briefs: &[serde_json::Value],
    fresh: &FreshSinks,
) -> Vec<SinkWelcome> {
    let welcome = |((topic, _), brief): (&(String, _), &serde_json::Value)| SinkWelcome {
        topic: topic.clone(),
        brief: brief.to_string(),
        is_fresh: fresh.contains(topic),
    };
    sinks.iter().zip(briefs).map(welcome).collect()
}

/// Returns the beginning of a topic in another process.
fn topic_welcome(topic: &Topic) -> TopicWelcome {
    let queue = &topic.queue;
    TopicWelcome { advance: queue.earliest().advance(), written_letters: queue.written_letters() }
}
