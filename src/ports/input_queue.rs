//! The queue between the threads that read a topic and the workers that decode it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};

use serde::{Deserialize, Serialize};
use timely::scheduling::SyncActivator;

use super::times::PartitionTimes;
use crate::metrics::TopicCounters;
use crate::operators::Earliest;
use crate::record::{Batch, Order};
use crate::simulation;
use crate::sync::lock;
use crate::time::{Epoch, Timestamp};

/// The input queue of one topic: batches, each stamped with its epoch. A [`Deal`] decides which
/// worker takes a batch.
///
/// Invariant: epochs ascend along each lane of the queue, and a later push is never stamped below
/// [`open`](State::open). So a worker that takes a batch may downgrade its capability to the epoch
/// of the batch, and a worker that finds its lane empty to the open epoch. A batch that another
/// worker still decodes is covered by the capability of that worker.
pub(crate) struct InputQueue {
    deal: Deal,
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

/// The deal of a topic's batches among the workers of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deal {
    /// Any worker takes the next batch.
    ToAnyWorker,
    /// The topic is timed: one worker decodes all batches of a partition, so that it finds the
    /// partition time of each record. `first` is the number of partition 0 in the deal.
    ByPartition { first: usize, workers: usize },
}

impl Deal {
    /// Returns the number of a partition in the deal among workers and processes; none if any
    /// worker of any process may take its batches.
    pub(crate) fn number(self, source: u16, partition: u32) -> Option<usize> {
        match self {
            Deal::ToAnyWorker => None,
            // The sum deals consecutive numbers evenly.
            Deal::ByPartition { first, .. } => {
                Some(first + usize::from(source) + partition as usize)
            }
        }
    }

    /// Returns the number of a partition's process among so many.
    pub(crate) fn process(self, source: u16, partition: u32, processes: usize) -> Option<usize> {
        let Deal::ByPartition { workers, .. } = self else { return None };
        Some(self.number(source, partition)? / workers.max(1) % processes.max(1))
    }

    fn lanes(self) -> usize {
        match self {
            Deal::ToAnyWorker => 1,
            Deal::ByPartition { workers, .. } => workers.max(1),
        }
    }
}

struct State {
    /// By local worker if the topic is timed; otherwise one lane for all workers.
    lanes: Vec<VecDeque<Stamped>>,
    open: Epoch,
    done: bool,
    wake: Vec<SyncActivator>,
}

/// An item of the queue.
pub(crate) struct Stamped {
    pub(crate) epoch: Epoch,
    /// The rank of its source.
    pub(crate) source: u16,
    pub(crate) item: Item,
}

/// A batch, or an event of a partition's clock, in their order.
pub(crate) enum Item {
    /// `cost` is the credit of the batch. Another process may have read it, where it took other
    /// memory.
    Batch {
        cost: usize,
        batch: Batch,
    },
    Clock {
        partition: u32,
        event: ClockEvent,
    },
}

/// An event of a partition's clock in a timed topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ClockEvent {
    /// The partition counts in the watermarks from now on, and its time is at least `floor`. Before
    /// it came, windows were closed up to `closed`.
    Join { floor: Option<Timestamp>, closed: Option<Timestamp> },
    /// The partition is left out of the watermarks, until it joins again.
    Idle,
}

/// The answer of an [`InputQueue`] to a worker that requests an item.
pub(crate) enum Next {
    Item(Stamped),
    /// No item now; this epoch is open.
    Empty(Epoch),
    /// No item ever again.
    Done,
}

impl InputQueue {
    /// Returns an empty queue, which passes the cost of each decoded batch to `decoded`.
    pub(crate) fn new(deal: Deal, decoded: Decoded) -> Self {
        let (times, earliest) = (PartitionTimes::default(), Arc::default());
        let lanes = (0..deal.lanes()).map(|_| VecDeque::new()).collect();
        let state = Mutex::new(State { lanes, open: 0, done: false, wake: Vec::new() });
        let written_letters = OnceLock::new();
        InputQueue { deal, state, decoded, times, earliest, written_letters }
    }

    /// Returns the deal of the topic's batches.
    pub(crate) fn deal(&self) -> Deal {
        self.deal
    }

    /// Returns true if steps behind the topic use time.
    pub(crate) fn is_timed(&self) -> bool {
        self.deal != Deal::ToAnyWorker
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
        self.add(source, batch.partition, Item::Batch { cost, batch });
    }

    /// Adds an event of a partition's clock to the open epoch, behind the batches in the queue. The
    /// topic must be timed.
    pub(crate) fn push_clock(&self, source: u16, partition: u32, event: ClockEvent) {
        self.add(source, partition, Item::Clock { partition, event });
    }

    fn add(&self, source: u16, partition: u32, item: Item) {
        let mut state = lock(&self.state);
        let (epoch, lanes) = (state.open, state.lanes.len());
        let lane = self.deal.number(source, partition).unwrap_or(0) % lanes;
        state.lanes[lane].push_back(Stamped { epoch, source, item });
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

    /// Returns the next item for a worker.
    pub(crate) fn next(&self, worker: usize) -> Next {
        let mut state = lock(&self.state);
        let lane = worker % state.lanes.len();
        match state.lanes[lane].pop_front() {
            Some(stamped) => Next::Item(stamped),
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
