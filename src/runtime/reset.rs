//! The reset of a state: the run begins from nothing although a state exists.
//!
//! Everything is examined first: the sinks can be emptied, and each source still has the first
//! records that the state was made of. Without them the results would differ from those of the
//! state. Then the manifest of the reset is made, and after it the sinks are emptied. Until a
//! commit is made, each later run completes the reset.

use super::config::{Config, TopologyChange};
use super::recover::first_batch;
use super::topics::Topic;
use crate::connect::{Identity, Sink, SinkContext, Source};
use crate::durable::{Bound, Ledger, Manifest, SourceState};
use crate::error::{Advice, Error, ErrorKind, Result};
use crate::faults;
use crate::plan::Plan;
use crate::secret::Secret;
use crate::sync::side_by_side;

/// The number of partitions whose first records are read at once.
const READING_THREADS: usize = 16;

/// A reset that a run makes or completes.
pub(super) struct Reset {
    /// The name of the application that made the rows of the sinks.
    replaced: String,
    /// Its last manifest.
    last: Option<Manifest>,
    /// The new application, until a manifest names it.
    new: Option<(String, Secret)>,
}

impl Reset {
    /// Returns the reset that the run has to make, if it is requested and there is a state, or to
    /// complete, if an earlier run has begun it. `app` and `secret` name and key a new application.
    ///
    /// # Errors
    /// When the state can't be read.
    pub(super) fn of(
        ledger: &Ledger,
        config: &Config,
        app: String,
        secret: Secret,
    ) -> Result<Option<Self>> {
        let is_state = ledger.generation > 0 || ledger.last.is_some();
        let is_requested = config.topology_change == TopologyChange::Reset && is_state;
        let (replaced, new) = match ledger.pending_reset() {
            Some(pending) => (pending.replaced.clone(), None),
            None if is_requested => (ledger.app.clone(), Some((app, secret))),
            None => return Ok(None),
        };
        Ok(Some(Reset { replaced, last: ledger.replaced()?, new }))
    }

    /// Returns the context of the sinks, which belong to the new application. They are empty at the
    /// manifest of the reset.
    pub(super) fn context(&self, context: SinkContext) -> SinkContext {
        match &self.new {
            Some((app, secret)) => SinkContext {
                app: app.clone(),
                secret: *secret,
                committed: context.committed + 1,
                ..context
            },
            None => context,
        }
    }

    /// Makes the manifest of the reset, unless it is made. The run must have begun. Returns false
    /// if the previous run has committed since the state was examined; then examine it again.
    ///
    /// # Errors
    /// When a newer run has begun, or it is unknown whether the manifest exists.
    pub(super) fn decide(
        &self,
        ledger: &mut Ledger,
        sinks: &[(String, Box<dyn Sink>)],
    ) -> Result<bool> {
        let Some((app, secret)) = &self.new else { return Ok(true) };
        let topics = sinks.iter().map(|(topic, _)| topic.clone()).collect();
        match ledger.reset(app.clone(), *secret, topics) {
            Err(error) if error.kind() == ErrorKind::Connect && ledger.has_changed()? => Ok(false),
            Err(error) => Err(error),
            Ok(()) => {
                tracing::info!(earlier = self.replaced, app, "the state is reset");
                Ok(true)
            }
        }
    }

    /// Fails if a sink can't be emptied.
    ///
    /// # Errors
    /// When one can't be emptied or reached.
    pub(super) fn check_sinks(
        &self,
        plan: &Plan,
        sinks: &[(String, Box<dyn Sink>)],
        context: &SinkContext,
    ) -> Result<()> {
        sinks.iter().try_for_each(|(topic, sink)| {
            sink.check_clear(plan.sink(topic)?, context, &self.replaced)
        })
    }

    /// Empties all sinks.
    ///
    /// # Errors
    /// When it is unknown whether one is empty.
    pub(super) fn clear(
        &self,
        plan: &Plan,
        sinks: &[(String, Box<dyn Sink>)],
        context: &SinkContext,
    ) -> Result<()> {
        sinks.iter().try_for_each(|(topic, sink)| {
            faults::point("reset.sink.before");
            sink.clear(plan.sink(topic)?, context, &self.replaced)?;
            faults::point("reset.sink.after");
            Ok(())
        })
    }

    /// Fails if a source has lost the beginning of the records that the state was made of. A source
    /// that the state has not read begins with the records that it has.
    ///
    /// # Errors
    /// When it has, or can't be read.
    pub(super) fn check_sources(&self, topics: &[Topic], program: &str) -> Result<()> {
        let Some(last) = &self.last else { return Ok(()) };
        let read: Vec<_> = topics.iter().flat_map(|topic| sources(topic, last)).collect();
        read.iter().try_for_each(|(_, source, state)| source.restore(&state.memory))?;
        let partitions = read.iter().flat_map(|(topic, source, state)| {
            let partitions = state.partitions.iter();
            partitions.map(move |(number, bound)| (&topic.name, *source, *number, *bound))
        });
        let partitions: Vec<_> = partitions.collect();
        for some in partitions.chunks(READING_THREADS) {
            let check = some.iter().map(|(_, source, number, bound)| {
                move || check_beginning(*source, *number, *bound)
            });
            let checked = side_by_side("a thread that reads a partition", check);
            for ((topic, ..), result) in some.iter().zip(checked) {
                result.map_err(|error| lost(error, topic, program))?;
            }
        }
        // The new application numbers and finds its records anew.
        read.iter().try_for_each(|(_, source, _)| source.restore(&serde_json::Value::Null))
    }
}

/// Returns the sources of a topic that a manifest records.
fn sources<'a>(
    topic: &'a Topic,
    last: &'a Manifest,
) -> impl Iterator<Item = (&'a Topic, &'a dyn Source, &'a SourceState)> {
    let states = last.sources.get(&topic.name).map_or(&[][..], Vec::as_slice);
    let bound = topic.sources.iter().zip(&topic.identities).zip(states);
    bound.filter_map(move |((source, identities), state)| {
        let is_bound = |was: &Identity| identities.iter().any(|is| is.matches(was));
        let is_same = !state.identities.is_empty() && state.identities.iter().all(is_bound);
        is_same.then_some((topic, &**source, state))
    })
}

/// Fails if a partition has lost the beginning of its recorded range.
fn check_beginning(source: &dyn Source, partition: u32, bound: Bound) -> Result<()> {
    let mut reader = source.open(partition, Some(bound.from), false)?;
    let name = || format!("partition {partition} of {}", source.describe());
    let timed_out = || {
        let message = format!("can't read offset {} of {}", bound.from, name());
        Error::connect(message).hint("Run it again once the log responds.")
    };
    if bound.from == bound.to || first_batch(&mut *reader, timed_out)?.is_some() {
        return Ok(());
    }
    Err(Error::data(format!("{} has no records from offset {} on", name(), bound.from)))
}

/// Returns the error of a topic whose first records are lost.
fn lost(error: Error, topic: &str, program: &str) -> Error {
    if error.kind() != ErrorKind::Data {
        return error;
    }
    let message =
        format!("can't reset the state of {program}: topic {topic} lacks its first records");
    Error::data(message)
        .because(error)
        .hint("Restore them: without them the results would differ. Nothing is changed.")
        .advise(Advice::OtherPlaces)
}
