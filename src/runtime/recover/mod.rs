//! Recovery: the state is rebuilt from a snapshot and the records behind it, and then compared with
//! the last manifest.
//!
//! Sources and sinks are compared by identity before the run changes anything ([`recorded`]), and
//! the youngest sound snapshot is chosen ([`restore`]). Its rows are loaded as epoch 0, and the
//! recorded ranges behind it are read again ([`replay`]): all of them, if there is no snapshot. If
//! it lacks rows of some topics, only these are read again from their beginning ([`rereads`]).
//! Then the digests of all records and of all rows are compared with the manifest. In the end the
//! committers check that their tables hold no other rows.

mod position;
mod recorded;
mod replay;
mod rereads;
mod restore;

use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) use position::{check_position, first_batch};
pub(super) use recorded::{check_sink, check_sources};
pub(super) use replay::Replay;
pub(super) use rereads::{Rereads, SnapshotNeeds};
pub(super) use restore::Restored;

use super::bindings::Bindings;
use super::epochs::Epochs;
use super::times;
use super::topics::Topics;
use crate::connect::FoundRows;
use crate::durable::{Layers, Manifest};
use crate::error::{Error, Result};
use crate::record::PartitionId;

/// Phases from the start of a run until its state is known to be the recorded one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Readers read the recorded ranges again.
    Replaying,
    /// All of them are dispatched. Writers look up the rebuilt rows in their sinks.
    Matching,
    /// All rows are found. The committers check that their sinks hold no others.
    Verifying,
    Live,
}

/// Step of the recovery that is ready to be taken.
pub(super) enum Step {
    /// Close epoch 0: all recorded ranges are dispatched.
    Close,
    /// Have the committers verify the rows found again, by sink.
    Verify(Vec<FoundRows>),
    /// Wait for a message.
    Wait,
}

/// Rows that the writers of one sink report at the end of epoch 0.
#[derive(Clone, Copy, Default)]
pub(super) struct SinkRows {
    /// Rows found again in the sink.
    pub(super) found: FoundRows,
    /// Rows that should be there.
    pub(super) rows: u64,
    /// Sum of the digests of these.
    pub(super) digest: u64,
}

/// Owner of the phase and of the comparison with the last manifest.
pub(super) struct Recovery {
    topics: Topics,
    recorded: Option<Manifest>,
    phase: Phase,
    /// Partitions that have not reached their recorded position.
    replaying: BTreeSet<PartitionId>,
    /// The topics of the sinks with their rows, in the order of binding.
    sinks: Vec<(String, SinkRows)>,
    /// Number of reports that have not arrived: one for each sink and worker.
    missing: usize,
    /// Number of records up to the last manifest.
    records: u64,
    /// The run adopts the state of another topology.
    adopts: bool,
    /// The topics whose rows are replaced, and so differ from the record.
    replaced: BTreeSet<String>,
    /// The layers of the snapshot, until their rows are loaded.
    layers: Option<Arc<Layers>>,
}

impl Recovery {
    pub(super) fn new(
        topics: Topics,
        recorded: Option<Manifest>,
        sinks: Vec<String>,
        workers: usize,
    ) -> Self {
        Recovery {
            topics,
            recorded,
            phase: Phase::Replaying,
            replaying: BTreeSet::new(),
            missing: sinks.len() * workers,
            sinks: sinks.into_iter().map(|topic| (topic, SinkRows::default())).collect(),
            records: 0,
            adopts: false,
            replaced: BTreeSet::new(),
            layers: None,
        }
    }

    /// Returns the last manifest of earlier runs.
    pub(super) fn recorded(&self) -> Option<&Manifest> {
        self.recorded.as_ref()
    }

    /// Notes the layers whose rows the workers load in epoch 0.
    pub(super) fn load_from(&mut self, layers: Arc<Layers>) {
        self.layers = Some(layers);
    }

    /// Notes that the run adopts the state of another topology, which makes other rows of the
    /// `replaced` topics.
    pub(super) fn adopt(&mut self, replaced: BTreeSet<String>) {
        (self.adopts, self.replaced) = (true, replaced);
    }

    /// Returns the topics whose rows the first commit replaces.
    pub(super) fn replaced(&self) -> &BTreeSet<String> {
        &self.replaced
    }

    /// Returns true if the run adopts the state of another topology.
    pub(super) fn adopts(&self) -> bool {
        self.adopts
    }

    /// Returns true once the state is known to be the recorded one.
    pub(super) fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Returns the number of records up to the last manifest.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Keeps epoch 0 open until the partition is [replayed](Self::replayed).
    pub(super) fn start_replay(&mut self, id: PartitionId) {
        if self.phase == Phase::Replaying {
            self.replaying.insert(id);
        }
    }

    /// Notes that a partition is at its recorded position, or at its end.
    pub(super) fn replayed(&mut self, id: PartitionId) {
        self.replaying.remove(&id);
    }

    /// Adds the rows that one worker reports of a sink.
    pub(super) fn add(&mut self, sink: usize, part: SinkRows) {
        let (_, whole) = &mut self.sinks[sink];
        whole.found.add(part.found);
        whole.rows += part.rows;
        whole.digest = whole.digest.wrapping_add(part.digest);
        self.missing -= 1;
    }

    /// Moves to the next phase if its condition holds.
    ///
    /// # Errors
    /// When the records or rows are not the recorded ones.
    pub(super) fn advance(&mut self, epochs: &Epochs) -> Result<Step> {
        match self.phase {
            Phase::Replaying if self.replaying.is_empty() => {
                self.phase = Phase::Matching;
                Ok(Step::Close)
            }
            Phase::Matching if self.missing == 0 && epochs.completed() >= 1 => {
                self.records = self.topics.records();
                self.compare_records(epochs.bindings())?;
                self.compare_rows()?;
                self.compare_times()?;
                self.phase = Phase::Verifying;
                Ok(Step::Verify(self.sinks.iter().map(|(_, rows)| rows.found).collect()))
            }
            _ => Ok(Step::Wait),
        }
    }

    /// Ends the recovery, after the committers have verified their sinks.
    pub(super) fn go_live(&mut self) {
        if let Some(layers) = self.layers.take() {
            layers.release();
        }
        self.phase = Phase::Live;
    }

    /// Returns the cause of a writer's `error`. A row may be missing because a source has changed,
    /// and then the error about the source is returned.
    pub(super) fn explain(&self, error: Error, epochs: &Epochs) -> Error {
        match self.phase {
            Phase::Matching => self.compare_records(epochs.bindings()).err().unwrap_or(error),
            _ => error,
        }
    }

    fn compare_records(&self, bindings: &Bindings) -> Result<()> {
        let Some(recorded) = &self.recorded else { return Ok(()) };
        bindings.iter().try_for_each(|(id, bound)| {
            let sources = recorded.sources.get(&self.topics.of(id).name);
            let state = sources.and_then(|sources| sources.get(usize::from(id.source)));
            let before = state.and_then(|state| state.partitions.get(&id.partition));
            recorded::check_records(before, bound, || self.topics.describe(id))
        })
    }

    fn compare_times(&self) -> Result<()> {
        self.recorded.as_ref().map_or(Ok(()), |recorded| times::compare(&self.topics, recorded))
    }

    fn compare_rows(&self) -> Result<()> {
        let Some(recorded) = &self.recorded else { return Ok(()) };
        let compared = self.sinks.iter().filter(|(topic, _)| !self.replaced.contains(topic));
        compared.into_iter().try_for_each(|(topic, now)| {
            recorded::check_rows(
                topic,
                recorded.sinks.get(topic),
                now.rows,
                now.digest,
                self.adopts,
            )
        })
    }
}
