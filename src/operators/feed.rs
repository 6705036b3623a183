//! The queue between the threads that read a topic and the workers that decode it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use timely::scheduling::SyncActivator;

use crate::record::Batch;
use crate::time::Epoch;

/// Batches of one topic, each stamped with its epoch, for whichever worker comes first.
///
/// Invariant: epochs ascend along the queue, and a later push is never stamped below [`open`](State::open). So a worker that
/// takes a batch may forget all epochs before that batch's, and one that finds the queue empty all before the open one:
/// what other workers still hold is covered by their own capabilities.
pub(crate) struct Feed {
    state: Mutex<State>,
    credit: Arc<Credit>,
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
        Feed { state: Mutex::default(), credit }
    }

    /// Gives back the credit of a batch that is decoded.
    pub(crate) fn decoded(&self, bytes: usize) {
        self.credit.release(bytes);
    }

    /// Adds a batch to the open epoch.
    pub(crate) fn push(&self, source: u16, batch: Batch) {
        let mut state = self.lock();
        let epoch = state.open;
        state.queue.push_back((epoch, source, batch));
        wake(&state);
    }

    /// Closes every epoch before `epoch`.
    pub(crate) fn open(&self, epoch: Epoch) {
        let mut state = self.lock();
        state.open = epoch;
        wake(&state);
    }

    /// Ends the stream after what is queued.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        state.done = true;
        wake(&state);
    }

    pub(crate) fn next(&self) -> Next {
        let mut state = self.lock();
        match state.queue.pop_front() {
            Some((epoch, source, batch)) => Next::Batch(epoch, source, batch),
            None if state.done => Next::Done,
            None => Next::Empty(state.open),
        }
    }

    /// Has `activator` called whenever there is something new.
    pub(crate) fn wakes(&self, activator: SyncActivator) {
        self.lock().wake.push(activator);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(state: &State) {
    for activator in &state.wake {
        // A worker that is gone needs no waking.
        let _ = activator.activate();
    }
}

/// Bounds the bytes that are read and not yet decoded: readers wait here while workers are behind.
pub(crate) struct Credit {
    limit: usize,
    state: Mutex<(usize, bool)>,
    freed: Condvar,
}

impl Credit {
    pub(crate) fn new(limit: usize) -> Self {
        Credit { limit, state: Mutex::default(), freed: Condvar::new() }
    }

    /// Waits until `bytes` more may be in flight; one batch always may. False once it is closed.
    pub(crate) fn acquire(&self, bytes: usize) -> bool {
        let mut state = self.lock();
        while !state.1 && state.0 > 0 && state.0 + bytes > self.limit {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.0 += bytes;
        !state.1
    }

    /// Whether readers are waiting for workers.
    pub(crate) fn is_short(&self) -> bool {
        self.lock().0 * 2 > self.limit
    }

    /// Lets every reader go.
    pub(crate) fn close(&self) {
        self.lock().1 = true;
        self.freed.notify_all();
    }

    fn release(&self, bytes: usize) {
        // A test hands over batches that no reader asked credit for.
        let mut state = self.lock();
        state.0 = state.0.saturating_sub(bytes);
        drop(state);
        self.freed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, (usize, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
