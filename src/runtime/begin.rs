//! The beginning of a run. State, sinks and sources may refuse the run, so all of them are examined
//! before anything is changed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::adoption::{self, Adoption, FreshSinks};
use super::config::{Config, RunMode, TopologyChange};
use super::recover::{Replay, Restored, SnapshotNeeds, check_position, check_sink, check_sources};
use super::reset::Reset;
use super::secret::secret;
use super::topics::Topic;
use crate::connect::{Identity, Partition, Sink, SinkContext, Source};
use crate::durable::{Claim, LastRecord, Ledger, Manifest};
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::plan::Plan;
use crate::record::PartitionId;
use crate::secret::Secret;
use crate::sync::{lock, side_by_side, wall_clock};
use crate::topology::Topology;

/// Number of partitions that are opened at once. Opening one of an archive lists all its objects.
const OPENING_THREADS: usize = 16;

/// The number of sinks that are examined, and later opened, at once.
pub(super) const SINKS_AT_ONCE: usize = 8;

/// Secret of runs under the test driver. It is fixed, so that tests are repeatable.
const TEST_SECRET: Secret = Secret::new(*b"known to a test.");

/// A partition to be opened, with its recorded range.
struct Unopened<'a> {
    id: PartitionId,
    replay: Option<Replay>,
    /// The offset of the first record to read; none for that of the log.
    from: Option<u64>,
    /// The record before it, by which the log is recognised.
    last: Option<LastRecord>,
    source: &'a dyn Source,
    /// The topic, if no snapshot has the rows of its first records.
    reread: Option<&'a str>,
}

impl Unopened<'_> {
    fn open(&self, follow: bool, secret: Secret) -> Result<OpenPartition> {
        if let Some(last) = self.last.filter(|_| !self.source.verifies_positions()) {
            check_position(self.source, self.id.partition, last, secret)?;
        }
        // A partition with a range to replay is opened again behind that range, and only then
        // followed.
        let follow = follow && self.replay.is_none();
        let partition = self.source.open(self.id.partition, self.from, follow);
        let partition = partition.map_err(|error| match self.reread {
            Some(topic) if error.kind() == ErrorKind::Data => lost(error, topic),
            _ => error,
        })?;
        Ok(OpenPartition { id: self.id, replay: self.replay, partition })
    }
}

/// An open partition, with the recorded range that is read first.
pub(super) struct OpenPartition {
    pub(super) id: PartitionId,
    pub(super) replay: Option<Replay>,
    pub(super) partition: Box<dyn Partition>,
}

/// The plan of a run in which the `fresh` sinks get all rows.
#[derive(Clone, Copy)]
pub(super) struct PlannedRun<'a> {
    pub(super) plan: &'a Plan,
    pub(super) fresh: &'a FreshSinks,
}

/// Everything that a run begins with.
pub(super) struct Beginning {
    pub(super) ledger: Option<Ledger>,
    pub(super) context: SinkContext,
    /// The identity of each sink.
    pub(super) identities: Vec<Identity>,
    /// The changes to the state, if the run adopts it.
    pub(super) adoption: Option<Adoption>,
    /// The reset of the state: its sinks are to be emptied.
    pub(super) reset: Option<Reset>,
    /// The snapshot from which the run continues.
    pub(super) restored: Option<Restored>,
    /// Every partition of every source; empty under the test driver.
    pub(super) partitions: Vec<OpenPartition>,
}

impl Beginning {
    /// Takes over the state, once it is proved that state, sinks and sources are the recorded ones.
    /// `workers` is the number of those of all processes.
    ///
    /// # Errors
    /// When one of them is not the recorded one or can't be reached, or another run has adopted the
    /// state meanwhile. Nothing is changed then.
    pub(super) fn make(
        topology: &Topology,
        PlannedRun { plan, fresh }: PlannedRun<'_>,
        topics: &mut [Topic],
        sinks: &[(String, Box<dyn Sink>)],
        config: &Config,
        workers: usize,
        mode: RunMode,
    ) -> Result<Self> {
        let id = format!("{:016x}", wall_clock().as_nanos() as u64);
        let drawn = match mode {
            RunMode::Sources => secret()?,
            RunMode::TestDriver => TEST_SECRET,
        };
        let record = adoption::record(plan);
        let examination = Examination { plan, sinks, config, mode };
        let (mut claim, mut claims) = (None::<Claim>, 0);
        loop {
            let mut ledger = match config.state.clone() {
                Some(store) => Some(Ledger::find(store, topology.name(), &record, &id, drawn)?),
                None => None,
            };
            let found = ledger.as_ref();
            let own_name = || format!("{}-{id}", topology.name());
            let reset = found.map(|ledger| Reset::of(ledger, config, own_name(), drawn));
            let reset = reset.transpose()?.flatten();
            let context = SinkContext {
                app: found.map_or_else(own_name, |ledger| ledger.app.clone()),
                generation: found.map_or(1, |ledger| ledger.generation + 1),
                committed: found.and_then(|it| it.last.as_ref()).map_or(0, |last| last.n),
                workers,
                secret: found.map_or(drawn, |ledger| ledger.secret),
                staging: config.state.as_ref().map(|state| state.below("staged")),
                clock: Arc::new(|| wall_clock().as_millis() as i64),
            };
            let context = reset.iter().fold(context, |context, reset| reset.context(context));
            let examined = match (&reset, found) {
                (Some(reset), Some(ledger)) => {
                    examination.of_reset(reset, topics, ledger, &context)
                }
                _ => {
                    let mut renew = || claim.as_mut().map_or(Ok(()), Claim::renew);
                    examination.of_state(topics, found, &context, &mut renew)
                }
            };
            // Another run may take over the state while this one examines it. Then it is examined
            // again, also after a refusal: the tables and the snapshots may be those of a later
            // commit. A claim lets the other run wait meanwhile; it ends with this function.
            match (examined, &mut ledger) {
                (Ok(Examined { identities, adoption, mut restored, partitions }), ledger) => {
                    // Another run has adopted the state since the plan was made.
                    if let Some(ledger) = ledger.as_ref()
                        && FreshSinks::of(adoption.as_ref()) != *fresh
                    {
                        return Err(ledger.fence().superseded());
                    }
                    if ledger.as_mut().map_or(Ok(true), Ledger::begin)? {
                        let mut ledger = ledger.take();
                        if let (Some(reset), Some(ledger)) = (&reset, &mut ledger)
                            && !reset.decide(ledger, sinks)?
                        {
                            continue;
                        }
                        let layers = restored.as_mut().zip(config.state.as_ref());
                        let pruned = layers.map_or(Ok(()), |(restored, store)| {
                            restored.prune(store, context.generation, plan)
                        });
                        pruned.map_err(|error| explained(error, ledger.as_ref()))?;
                        return Ok(Beginning {
                            ledger,
                            context,
                            identities,
                            adoption,
                            reset,
                            restored,
                            partitions,
                        });
                    }
                }
                (Err(_), Some(ledger)) if ledger.has_changed()? => {
                    claim = Some(ledger.claim(&format!("{id}-{claims}"))?);
                    claims += 1;
                }
                (Err(error), _) => return Err(error),
            }
        }
    }
}

/// The state, the sinks and the sources, as they are without a change.
struct Examined {
    identities: Vec<Identity>,
    adoption: Option<Adoption>,
    restored: Option<Restored>,
    partitions: Vec<OpenPartition>,
}

/// The examination of everything that may refuse a run.
struct Examination<'a> {
    plan: &'a Plan,
    sinks: &'a [(String, Box<dyn Sink>)],
    config: &'a Config,
    mode: RunMode,
}

impl Examination<'_> {
    /// Examines the last commit, the sinks and the sources. `go_on` is called after some sinks.
    fn of_state(
        &self,
        topics: &mut [Topic],
        ledger: Option<&Ledger>,
        context: &SinkContext,
        go_on: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Examined> {
        let Examination { plan, sinks, config, mode } = *self;
        let last = ledger.and_then(|ledger| ledger.last.as_ref());
        let adopted = match (ledger, last) {
            (Some(ledger), Some(last)) => adopted(ledger, last, plan, sinks, config)?,
            _ => None,
        };
        let (adoption, needs) = adopted.unzip();
        let is_new = &|topic| adoption.as_ref().is_some_and(|it| it.new.contains(topic));
        let mut identities = Vec::new();
        for some in sinks.chunks(SINKS_AT_ONCE) {
            let check = some.iter().map(|(topic, sink)| {
                move || {
                    let identity = sink.identity()?;
                    let recorded = last.and_then(|last| last.sinks.get(topic));
                    check_sink(topic, recorded, &**sink, &identity)?;
                    sink.check(plan.sink(topic)?, &adoption::context_for(context, is_new(topic)))?;
                    Ok(identity)
                }
            });
            for identity in side_by_side("a thread that examines a sink", check) {
                identities.push(identity?);
            }
            go_on()?;
        }
        let restored = match (&config.state, last) {
            (Some(store), Some(last)) => {
                let needs = needs.unwrap_or_else(|| SnapshotNeeds::of_all(plan, sinks));
                Restored::find(store, last, plan, &needs)?
            }
            _ => None,
        };
        let partitions = match mode {
            RunMode::Sources => {
                identify(topics)?;
                let unopened = to_open(topics, last, restored.as_ref())?;
                open_side_by_side(&unopened, config.follow, context.secret)?
            }
            RunMode::TestDriver => Vec::new(),
        };
        Ok(Examined { identities, adoption, restored, partitions })
    }

    /// Examines the sinks and the sources of a run that resets the state. Each partition is read
    /// from its earliest record.
    fn of_reset(
        &self,
        reset: &Reset,
        topics: &mut [Topic],
        ledger: &Ledger,
        context: &SinkContext,
    ) -> Result<Examined> {
        let Examination { plan, sinks, config, .. } = *self;
        let identities = sinks.iter().map(|(_, sink)| sink.identity()).collect::<Result<_>>()?;
        reset.check_sinks(plan, sinks, context)?;
        identify(topics)?;
        reset.check_sources(topics, &ledger.program)?;
        let partitions =
            open_side_by_side(&to_open(topics, None, None)?, config.follow, context.secret)?;
        Ok(Examined { identities, adoption: None, restored: None, partitions })
    }
}

/// Returns the changes to a state and the needed parts of its snapshot, if the run adopts it.
///
/// # Errors
/// When the state is that of another topology, and the run does not or can't adopt it.
fn adopted(
    ledger: &Ledger,
    last: &Manifest,
    plan: &Plan,
    sinks: &[(String, Box<dyn Sink>)],
    config: &Config,
) -> Result<Option<(Adoption, SnapshotNeeds)>> {
    // A state that is to be reset has no last commit here.
    if config.topology_change != TopologyChange::Adopt {
        return ledger.check_topology().map(|()| None);
    }
    let is_recorded = |(topic, _): &(String, _)| last.sinks.contains_key(topic);
    if ledger.is_same_topology() && sinks.iter().all(is_recorded) {
        return Ok(None);
    }
    adoption::check(ledger, last, plan, sinks).map(Some)
}

/// Requests the identities of each source, and refuses a topic that reads one log twice under two
/// URLs.
fn identify(topics: &mut [Topic]) -> Result<()> {
    for topic in topics {
        topic.identities.clear();
        for source in &topic.sources {
            let identities = source.identities()?;
            let is_known = |new: &&Identity| {
                topic.identities.iter().flatten().any(|earlier| earlier.is_surely(new))
            };
            if let Some(twice) = identities.iter().find(is_known) {
                let message = format!("topic {} is bound twice to {twice}", topic.name);
                return Err(Error::config(message)
                    .hint("Bind each log once: two lists of brokers may belong to one cluster."));
            }
            topic.identities.push(identities);
        }
    }
    Ok(())
}

/// Returns every partition: recorded ones behind the snapshot or at the beginning of their range,
/// others at their earliest record.
fn to_open<'a>(
    topics: &'a [Topic],
    last: Option<&Manifest>,
    restored: Option<&Restored>,
) -> Result<Vec<Unopened<'a>>> {
    let mut unopened = Vec::new();
    let has_snapshots = last.is_some_and(|last| !last.snapshots.is_empty());
    for (number, topic) in topics.iter().enumerate() {
        check_sources(topic, last, restored)?;
        let states = last.and_then(|last| last.sources.get(&topic.name));
        for (rank, source) in topic.sources.iter().enumerate() {
            let state = states.and_then(|states| states.get(rank));
            let bounds = state.map(|state| state.partitions.clone()).unwrap_or_default();
            let mut partitions: BTreeSet<u32> = source.partitions()?.into_iter().collect();
            partitions.extend(bounds.keys());
            for partition in partitions {
                let id = PartitionId::new(number, rank, partition)?;
                let recorded = bounds.get(&partition);
                let saved = restored.and_then(|it| it.bound(&topic.name, rank, partition));
                let from = recorded.map(|recorded| saved.map_or(recorded.from, |it| it.to));
                let last = saved.and_then(|it| it.last);
                let replay = recorded.zip(from).filter(|(recorded, from)| *from < recorded.to);
                let replay = replay.map(|(recorded, from)| Replay::new(*recorded, from));
                let is_reread = saved.is_none() && recorded.is_some();
                let reread = (is_reread && has_snapshots).then_some(&*topic.name);
                unopened.push(Unopened { id, replay, from, last, source: &**source, reread });
            }
        }
    }
    Ok(unopened)
}

/// Returns the error of a topic that must be read again from its beginning, and can't be.
fn lost(error: Error, topic: &str) -> Error {
    let message = format!("can't read topic {topic} again from its beginning");
    Error::data(message)
        .because(error)
        .hint(
            "No sound snapshot has all rows that the program needs of it. Restore its records, or \
             run the version of the program that made the state.",
        )
        .advise(Advice::OtherPlaces)
}

/// Returns the cause of an error of a run that has begun.
fn explained(error: Error, ledger: Option<&Ledger>) -> Error {
    match ledger {
        Some(ledger) => ledger.fence().explain(error),
        None => error,
    }
}

/// Opens partitions side by side, and stops after a failure. If several fail, it returns the error
/// of the first one in the order of partitions.
fn open_side_by_side(
    unopened: &[Unopened<'_>],
    follow: bool,
    secret: Secret,
) -> Result<Vec<OpenPartition>> {
    let rest = Mutex::new(unopened.iter().enumerate());
    let next = || lock(&rest).next();
    let stop = || lock(&rest).by_ref().for_each(drop);
    let open = || {
        let mut opened = Vec::new();
        while let Some((number, partition)) = next() {
            let result = partition.open(follow, secret);
            if result.is_err() {
                stop();
            }
            opened.push((number, result));
        }
        Ok(opened)
    };
    let count = OPENING_THREADS.min(unopened.len());
    let opened = side_by_side("a thread that opens partitions", (0..count).map(|_| open));
    let opened: Result<Vec<_>> = opened.into_iter().collect();
    let mut opened: Vec<_> = opened?.into_iter().flatten().collect();
    opened.sort_unstable_by_key(|(number, _)| *number);
    opened.into_iter().map(|(_, result)| result).collect()
}
