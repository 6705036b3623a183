//! The queue between the threads that read a topic and the workers that decode it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use timely::scheduling::SyncActivator;

use super::credit::Credit;
use super::times::PartitionTimes;
use crate::metrics::TopicCounters;
use crate::operators::Earliest;
use crate::record::Batch;
use crate::sync::lock;
use crate::time::Epoch;

/// The input queue of one topic: batches, each stamped with its epoch. Any worker may take the next
/// one.
///
/// Invariant: epochs ascend along the queue, and a later push is never stamped below
/// [`open`](State::open). So a worker that takes a batch may downgrade its capability to the epoch
/// of the batch, and a worker that finds the queue empty to the open epoch. A batch that another
/// worker still decodes is covered by the capability of that worker.
pub(crate) struct InputQueue {
    state: Mutex<State>,
    credit: Arc<Credit>,
    /// The greatest timestamps of the batches that were decoded.
    pub(crate) times: PartitionTimes,
    earliest: Arc<Earliest>,
}

/// The input of a topic, the same for all workers.
#[derive(Clone)]
pub(crate) struct TopicInput {
    pub(crate) queue: Arc<InputQueue>,
    pub(crate) counters: Arc<TopicCounters>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Stamped>,
    open: Epoch,
    done: bool,
    wake: Vec<SyncActivator>,
}

/// A batch in the queue.
pub(crate) struct Stamped {
    pub(crate) epoch: Epoch,
    /// The rank of its source.
    pub(crate) source: u16,
    pub(crate) batch: Batch,
}

/// The answer of an [`InputQueue`] to a worker that requests a batch.
pub(crate) enum Next {
    Batch(Stamped),
    /// No batch now; this epoch is open.
    Empty(Epoch),
    /// No batch ever again.
    Done,
}

impl InputQueue {
    pub(crate) fn new(credit: Arc<Credit>) -> Self {
        let (times, earliest) = (PartitionTimes::default(), Arc::default());
        InputQueue { state: Mutex::default(), credit, times, earliest }
    }

    /// Returns the earliest position from which the topic may still deliver records.
    pub(crate) fn earliest(&self) -> &Arc<Earliest> {
        &self.earliest
    }

    /// Returns the credit of a batch that was decoded.
    pub(crate) fn decoded(&self, cost: usize) {
        self.credit.release(cost);
    }

    /// Adds a batch to the open epoch.
    pub(crate) fn push(&self, source: u16, batch: Batch) {
        let mut state = lock(&self.state);
        let epoch = state.open;
        state.queue.push_back(Stamped { epoch, source, batch });
        wake(&state);
    }

    /// Closes every epoch before `epoch`.
    pub(crate) fn open(&self, epoch: Epoch) {
        let mut state = lock(&self.state);
        state.open = epoch;
        wake(&state);
    }

    /// Ends the stream after the batches in the queue.
    pub(crate) fn finish(&self) {
        let mut state = lock(&self.state);
        state.done = true;
        wake(&state);
    }

    pub(crate) fn next(&self) -> Next {
        let mut state = lock(&self.state);
        match state.queue.pop_front() {
            Some(stamped) => Next::Batch(stamped),
            None if state.done => Next::Done,
            None => Next::Empty(state.open),
        }
    }

    /// Activates an operator at every change of the queue.
    pub(crate) fn activate_on_change(&self, activator: SyncActivator) {
        lock(&self.state).wake.push(activator);
    }
}

fn wake(state: &State) {
    for activator in &state.wake {
        // A worker that has ended can't be activated.
        let _ = activator.activate();
    }
}
