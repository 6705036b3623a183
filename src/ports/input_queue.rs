//! The queue between the threads that read a topic and the workers that decode it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};

use timely::scheduling::SyncActivator;

use super::times::PartitionTimes;
use crate::metrics::TopicCounters;
use crate::operators::Earliest;
use crate::record::{Batch, Order};
use crate::simulation;
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
    decoded: Decoded,
    /// The greatest timestamps of the batches that were decoded.
    pub(crate) times: PartitionTimes,
    earliest: Arc<Earliest>,
    /// By source and partition, the end of the records that are read again, and whose dead letters
    /// are written.
    written_letters: OnceLock<BTreeMap<(u16, u32), u64>>,
}

/// Takes the cost of each batch that was decoded.
pub(crate) type Decoded = Arc<dyn Fn(usize) + Send + Sync>;

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
    /// The credit of the batch. Another process may have read it, where it took other memory.
    pub(crate) cost: usize,
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
    /// Returns an empty queue, which passes the cost of each decoded batch to `decoded`.
    pub(crate) fn new(decoded: Decoded) -> Self {
        let (times, earliest) = (PartitionTimes::default(), Arc::default());
        let written_letters = OnceLock::new();
        InputQueue { state: Mutex::default(), decoded, times, earliest, written_letters }
    }

    /// Returns the earliest position from which the topic may still deliver records.
    pub(crate) fn earliest(&self) -> &Arc<Earliest> {
        &self.earliest
    }

    /// Returns the ends of the records whose dead letters are written, by source and partition.
    pub(crate) fn written_letters(&self) -> Vec<((u16, u32), u64)> {
        let ends = self.written_letters.get().into_iter().flatten();
        ends.map(|(partition, end)| (*partition, *end)).collect()
    }

    /// Notes that the dead letters of earlier records are written, by source and partition. It is
    /// called once, before any batch is pushed.
    pub(crate) fn pass_over_letters(&self, ends: BTreeMap<(u16, u32), u64>) {
        self.written_letters.get_or_init(|| ends);
    }

    /// Returns true if the dead letter of a record is written.
    pub(crate) fn is_letter_written(&self, order: Order) -> bool {
        let end = self.written_letters.get();
        let end = end.and_then(|ends| ends.get(&(order.source, order.partition)));
        end.is_some_and(|end| order.offset < *end)
    }

    /// Returns the credit of a batch that was decoded.
    pub(crate) fn decoded(&self, cost: usize) {
        (self.decoded)(cost);
    }

    /// Adds a batch to the open epoch. `cost` is its credit.
    pub(crate) fn push(&self, source: u16, cost: usize, batch: Batch) {
        let mut state = lock(&self.state);
        let epoch = state.open;
        state.queue.push_back(Stamped { epoch, source, cost, batch });
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
    simulation::ring_workers();
}
