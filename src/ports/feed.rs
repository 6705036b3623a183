//! The queue between the threads that read a topic and the workers that decode it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use timely::scheduling::SyncActivator;

use super::credit::Credit;
use super::times::PartitionTimes;
use crate::record::Batch;
use crate::sync::lock;
use crate::time::Epoch;

/// Batches of one topic, each stamped with its epoch, for whichever worker comes first.
///
/// Invariant: epochs ascend along the queue, and a later push is never stamped below
/// [`open`](State::open). So a worker that takes a batch may forget all epochs before that batch's,
/// and one that finds the queue empty all before the open one: what other workers still hold is
/// covered by their own capabilities.
pub(crate) struct Feed {
    state: Mutex<State>,
    credit: Arc<Credit>,
    /// The greatest timestamps of the batches that are decoded.
    pub(crate) times: PartitionTimes,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Epoch, u16, Batch)>,
    open: Epoch,
    done: bool,
    wake: Vec<SyncActivator>,
}

/// What a worker finds in a [`Feed`].
pub(crate) enum Next {
    /// A batch of this epoch, from the source of this rank.
    Batch(Epoch, u16, Batch),
    /// Nothing now; this epoch is open.
    Empty(Epoch),
    /// Nothing ever again.
    Done,
}

impl Feed {
    pub(crate) fn new(credit: Arc<Credit>) -> Self {
        Feed { state: Mutex::default(), credit, times: PartitionTimes::default() }
    }

    /// Gives back the credit of a batch that is decoded.
    pub(crate) fn decoded(&self, cost: usize) {
        self.credit.release(cost);
    }

    /// Adds a batch to the open epoch.
    pub(crate) fn push(&self, source: u16, batch: Batch) {
        let mut state = lock(&self.state);
        let epoch = state.open;
        state.queue.push_back((epoch, source, batch));
        wake(&state);
    }

    /// Closes every epoch before `epoch`.
    pub(crate) fn open(&self, epoch: Epoch) {
        let mut state = lock(&self.state);
        state.open = epoch;
        wake(&state);
    }

    /// Ends the stream after what is queued.
    pub(crate) fn finish(&self) {
        let mut state = lock(&self.state);
        state.done = true;
        wake(&state);
    }

    pub(crate) fn next(&self) -> Next {
        let mut state = lock(&self.state);
        match state.queue.pop_front() {
            Some((epoch, source, batch)) => Next::Batch(epoch, source, batch),
            None if state.done => Next::Done,
            None => Next::Empty(state.open),
        }
    }

    /// Has `activator` called whenever there is something new.
    pub(crate) fn wakes(&self, activator: SyncActivator) {
        lock(&self.state).wake.push(activator);
    }
}

fn wake(state: &State) {
    for activator in &state.wake {
        // A worker that is gone needs no waking.
        let _ = activator.activate();
    }
}
