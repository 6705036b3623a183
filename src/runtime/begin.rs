//! The beginning of a run: all that may refuse it is looked at before anything is changed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{slice, thread};

use super::Config;
use super::coordinator::Topic;
use super::ingest::Place;
use super::secret::secret;
use crate::connect::{Identity, Partition, Sink, SinkContext, Source};
use crate::durable::{Bound, Ledger, Manifest};
use crate::error::{Error, Result};
use crate::graph::Plan;
use crate::secret::Secret;
use crate::topology::Topology;

/// How many partitions are opened at once: to open one of an archive is to list all its objects.
const AT_ONCE: usize = 16;

/// The secret of runs that are driven by hand: their tests do the same each time.
const KNOWN: Secret = Secret::new(*b"known to a test.");

/// A partition to be opened.
type Asked<'a> = (Place, Option<Bound>, &'a dyn Source);

/// A partition that is open, and what was committed of it: that is read again first.
pub(super) type Found = (Place, Option<Bound>, Box<dyn Partition>);

/// What a run begins with.
pub(super) struct Beginning {
    pub(super) ledger: Option<Ledger>,
    pub(super) context: SinkContext,
    /// The identity of each sink.
    pub(super) sinks: Vec<Identity>,
    /// Every partition of every source; none if the run is driven by hand.
    pub(super) places: Vec<Found>,
}

impl Beginning {
    /// Takes the state over, once state, sinks and sources are found to be those it was made with.
    /// `manual` reads no source.
    ///
    /// # Errors
    /// When one of them is not, or can't be reached: then nothing is changed.
    pub(super) fn make(
        topology: &Topology,
        plan: &Plan,
        topics: &mut [Topic],
        sinks: &[(String, Box<dyn Sink>)],
        config: &Config,
        manual: bool,
    ) -> Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "this is the clock that is injected")]
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = format!("{:016x}", now().as_nanos() as u64);
        let drawn = if manual { KNOWN } else { secret()? };
        let fingerprint = Topology::fingerprint(plan);
        loop {
            let found = config
                .state
                .clone()
                .map(|store| Ledger::find(store, topology.name(), &fingerprint, &id, drawn));
            let mut ledger = found.transpose()?;
            let last = ledger.as_ref().and_then(|ledger| ledger.last.as_ref());
            let context = SinkContext {
                app: ledger.as_ref().map_or_else(
                    || format!("{}-{id}", topology.name()),
                    |ledger| ledger.app.clone(),
                ),
                generation: ledger.as_ref().map_or(1, |ledger| ledger.generation + 1),
                committed: last.map_or(0, |last| last.n),
                workers: config.workers.max(1),
                secret: ledger.as_ref().map_or(drawn, |ledger| ledger.secret),
                staging: config.state.as_ref().map(|state| state.below("staged")),
                clock: Arc::new(move || now().as_millis() as i64),
            };
            let mut identities = Vec::new();
            for (topic, sink) in sinks {
                let identity = sink.identity()?;
                let state = last.and_then(|last| last.sinks.get(topic));
                if let Some(state) = state.filter(|state| !state.identity.matches(&identity)) {
                    let was = labelled(&state.sink, slice::from_ref(&state.identity));
                    let is = labelled(&sink.describe(), slice::from_ref(&identity));
                    return Err(Error::data(format!("{topic} was written to {was}, not to {is}"))
                        .hint("Give the --lake it was written to, or begin anew with another --state and --lake."));
                }
                sink.check(plan.sink(topic)?, &context)?;
                identities.push(identity);
            }
            if !manual {
                identify(topics)?;
            }
            let places = if manual { Vec::new() } else { places(topics, last, config.follow)? };
            if ledger.as_mut().map_or(Ok(true), Ledger::begin)? {
                return Ok(Beginning { ledger, context, sinks: identities, places });
            }
        }
    }
}

/// Asks each source for its identities, and refuses a topic that reads one log twice under two
/// URLs.
fn identify(topics: &mut [Topic]) -> Result<()> {
    for topic in topics {
        topic.identities.clear();
        for source in &topic.sources {
            let identities = source.identities()?;
            let earlier = || topic.identities.iter().flatten();
            if let Some(twice) =
                identities.iter().find(|new| earlier().any(|old| old.is_surely(new)))
            {
                return Err(Error::config(format!(
                    "topic {} is bound twice to {twice}",
                    topic.name
                ))
                .hint("Name each log once: two lists of brokers may be of one cluster."));
            }
            topic.identities.push(identities);
        }
    }
    Ok(())
}

/// Describes a log or a sink with the ids by which it is known.
fn labelled(description: &str, identities: &[Identity]) -> String {
    let ids: Vec<&str> = identities.iter().filter_map(Identity::id).collect();
    if ids.is_empty() {
        description.to_string()
    } else {
        format!("{description} ({})", ids.join(", "))
    }
}

/// Opens every partition: those that were read before from their beginning again, and what there is
/// besides.
fn places(topics: &[Topic], last: Option<&Manifest>, follow: bool) -> Result<Vec<Found>> {
    let mut asked = Vec::new();
    for (number, topic) in topics.iter().enumerate() {
        let recorded = last.and_then(|last| last.sources.get(&topic.name));
        for (rank, state) in recorded.into_iter().flatten().enumerate() {
            let identities = topic.identities.get(rank).map_or(&[][..], Vec::as_slice);
            let known = |was: &Identity| identities.iter().any(|is| is.matches(was));
            if state.identities.is_empty() || !state.identities.iter().all(known) {
                let now =
                    topic.sources.get(rank).map_or_else(|| "nothing".into(), |s| s.describe());
                let (was, is) =
                    (labelled(&state.source, &state.identities), labelled(&now, identities));
                return Err(Error::data(format!("{} was read from {was}, not from {is}", topic.name)).hint(
                    "Give the same sources in the same order (more may follow), or begin anew with another --state and --lake.",
                ));
            }
            topic.sources[rank].recall(&state.memory)?;
        }
        for (rank, source) in topic.ranked() {
            let state = recorded.and_then(|recorded| recorded.get(usize::from(rank)));
            let bounds = state.map(|state| state.partitions.clone()).unwrap_or_default();
            let partitions: BTreeSet<u32> =
                source.partitions()?.into_iter().chain(bounds.keys().copied()).collect();
            for partition in partitions {
                asked.push(((number, rank, partition), bounds.get(&partition).copied(), &**source));
            }
        }
    }
    open(&asked, follow)
}

/// Opens partitions side by side; after a failure no more, and of several that of the first counts.
fn open(asked: &[Asked<'_>], follow: bool) -> Result<Vec<Found>> {
    let rest = Mutex::new(asked.iter().enumerate());
    let rest = || rest.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        let mut found = Vec::new();
        let next = || rest().next();
        while let Some((number, (place, bound, source))) = next() {
            let opened =
                source.open(place.2, bound.map(|bound| bound.from), follow && bound.is_none());
            if opened.is_err() {
                rest().by_ref().for_each(drop);
            }
            found.push((number, opened.map(|opened| (*place, *bound, opened))));
        }
        found
    };
    let mut found = thread::scope(|scope| {
        let start = |_| thread::Builder::new().spawn_scoped(scope, work);
        let threads: Result<Vec<_>, _> = (0..AT_ONCE.min(asked.len())).map(start).collect();
        let threads = threads.map_err(|e| {
            rest().by_ref().for_each(drop);
            Error::no_thread("a thread that opens partitions", e)
        })?;
        let panicked =
            || vec![(0, Err(Error::internal("a thread that opens partitions has panicked")))];
        Ok::<_, Error>(
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap_or_else(|_| panicked()))
                .collect::<Vec<_>>(),
        )
    })?;
    found.sort_unstable_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, found)| found).collect()
}
