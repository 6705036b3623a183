//! The messages between process 0 and the other processes of a run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::unwritten::SavedLayer;
use crate::durable::LayerFile;
use crate::error::Error;
use crate::operators::Advance;
use crate::ports::{ClockEvent, Report};
use crate::record::{Batch, Order};
use crate::secret::Secret;
use crate::time::{Epoch, Timestamp};

/// The beginning of a run, as process 0 decides it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(super) app: String,
    /// Number of the last manifest.
    pub(super) committed: u64,
    pub(super) secret: Secret,
    /// A digest of the object that began the generation; none without a state.
    pub(super) state: Option<String>,
    /// The sinks in the order of binding.
    pub(super) sinks: Vec<SinkWelcome>,
    /// The stores that the program has requested.
    pub(super) stores: Vec<String>,
    /// The topics in the order of the plan.
    pub(super) topics: Vec<TopicWelcome>,
    /// The layers of the snapshot from which the run continues.
    pub(super) layers: Option<Vec<LayerFile>>,
    /// The watermarks of the last commit, by the ranks of the topics before a step.
    pub(super) watermarks: Vec<(BTreeSet<u16>, Timestamp)>,
}

/// The beginning of a sink.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SinkWelcome {
    pub(super) topic: String,
    /// The brief of its committer, in JSON.
    pub(super) brief: String,
    /// It gets all rows in the first commit.
    pub(super) is_fresh: bool,
}

/// The beginning of a topic.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TopicWelcome {
    pub(super) advance: Option<Advance>,
    /// By source and partition, the end of the records whose dead letters are written.
    pub(super) written_letters: Vec<((u16, u32), u64)>,
}

/// A message from process 0.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Down {
    /// A batch of the open epoch. `cost` is its memory in process 0.
    Push { topic: u16, source: u16, cost: u64, batch: Batch },
    /// An event of the clock of a partition in a timed topic, in the open epoch.
    Clock { topic: u16, source: u16, partition: u32, event: ClockEvent },
    /// A commit barrier after an epoch. It comes before the next epoch is opened.
    Barrier(Epoch),
    /// An epoch is open, and each earlier one is closed. By topic, the earliest position of its
    /// later records.
    Open { epoch: Epoch, earliest: Vec<Option<Order>> },
    /// Write all rows up to a barrier as layers.
    Save(Epoch),
    /// The recovery is over.
    Live,
    /// No batch follows.
    Finish,
}

/// A message to process 0.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Up {
    /// A batch of this cost is decoded.
    Decoded(u64),
    /// A report of one worker's part of a sink. Files of parts are stored.
    Report { sink: usize, report: Report },
    /// Workers have changed rows of so many bytes, which are in no layer.
    Changed { bytes: u64 },
    /// Layers are durable. They complete the rows up to a barrier, if there is one.
    Layers { barrier: Option<Epoch>, layers: Vec<SavedLayer> },
    /// A layer could not be written. The next one gets its rows.
    Unsaved(Error),
    /// Every worker has completed all epochs before this one. All their numbers are counted.
    Completed { epoch: Epoch, counts: Counts },
    /// Numbers that were counted meanwhile.
    Counted(Counts),
    /// Request to end the run in good order.
    Stop,
    /// The workers have ended.
    Done(Counts),
}
