//! Epochs: the batches that belong to each, the times at which they close, and the completed
//! frontier.
//!
//! One thread stamps batches and closes epochs, and [`Bindings`] grow in the same step. So an epoch
//! consists of exactly the ranges that the next commit records.

mod timing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::agents::Agents;
use super::bindings::Bindings;
use super::clocks::Clocks;
use super::config::RunMode;
use super::earliest::Unfinished;
use super::message::Fetched;
use super::topics::Topics;
use crate::durable::SourceState;
use crate::error::{Error, Result};
use crate::faults;
use crate::ports::{Barriers, ClockEvent};
use crate::record::PartitionId;
use crate::sync::{elapsed, now};
use crate::time::{Epoch, ProcessingMode};

/// Under load an epoch is closed after this time. Longer epochs cost less, but delay answers and
/// commits, which begin at the end of an epoch.
const EPOCH_MAX_AGE: Duration = Duration::from_millis(100);
/// An epoch also closes after this many bytes, so that decoding never delays answers for long.
const EPOCH_MAX_BYTES: usize = 16 << 20;
/// Bytes of an epoch that may be dispatched while the previous one is still running. More would be
/// decoded early and be out of cache when needed.
const OVERLAP_BYTES: usize = 2 << 20;
/// While more than this is unread (bulk replay), nobody is waiting for fresh answers, so epochs may
/// be [`BULK_FACTOR`] times as long, and a commit waits for as many bytes of records, for at most
/// ten seconds. A machine that reads more than 13 MB a second reaches the bytes first.
const BULK_BYTES: u64 = 128 << 20;
const BULK_FACTOR: u32 = 4;

/// The epoch to which batches are dispatched.
struct OpenEpoch {
    number: Epoch,
    /// Time of its first batch.
    since: Instant,
    bytes: usize,
    has_batches: bool,
}

/// The size of the next commit so far.
#[derive(Clone, Copy)]
pub(super) enum Bulk {
    /// It comes after the normal interval, whatever its size.
    None,
    /// It should wait for more records: the run is far behind, so nobody waits for fresh tables,
    /// and commits of many records cost less.
    Partial,
    /// More records would only need more memory: the rows of a commit are kept until it begins.
    Whole,
}

/// The size of epochs.
#[derive(Clone, Copy, PartialEq)]
enum EpochSize {
    /// The recovery is one epoch. The mode is that of the epochs after it.
    Recovery(ProcessingMode),
    /// Bytes and age are limited.
    Limited,
    /// The test driver closes epochs: a commit of it is one epoch, of any size.
    Requested,
    /// Each record is an epoch of its own.
    Record,
}

/// The end of a closed epoch that is not completed yet.
struct EpochEnd {
    epoch: Epoch,
    /// Number of records dispatched up to this end.
    records: u64,
}

/// Owner of the open epoch, of the batches that wait for it, and of the completed frontier.
pub(super) struct Epochs {
    topics: Topics,
    agents: Agents,
    bindings: Bindings,
    clocks: Clocks,
    open: OpenEpoch,
    /// Every epoch before this one is completed on all workers, and the numbers of all processes
    /// are counted.
    completed: Epoch,
    /// The same, as each process has reported it.
    reports: Vec<Epoch>,
    ends: VecDeque<EpochEnd>,
    /// Batches that are not dispatched yet, oldest first.
    queue: VecDeque<Fetched>,
    /// The partitions that may still deliver batches.
    unfinished: Unfinished,
    /// Batches were dispatched after the last commit barrier.
    uncommitted: bool,
    /// Their size.
    uncommitted_bytes: u64,
    size: EpochSize,
    barriers: Arc<Barriers>,
    /// The number of the open epoch, for the workers.
    announced: Arc<AtomicU64>,
    /// Bytes that all readers have still to read.
    remaining: Arc<AtomicU64>,
}

impl Epochs {
    /// Opens epoch 0, the recovery.
    pub(super) fn new(
        topics: Topics,
        agents: Agents,
        clocks: Clocks,
        remaining: Arc<AtomicU64>,
        mode: ProcessingMode,
        now: Instant,
    ) -> Self {
        Epochs {
            topics,
            reports: vec![0; agents.processes()],
            agents,
            bindings: Bindings::default(),
            clocks,
            open: OpenEpoch { number: 0, since: now, bytes: 0, has_batches: false },
            completed: 0,
            ends: VecDeque::new(),
            queue: VecDeque::new(),
            unfinished: Unfinished::default(),
            uncommitted: false,
            uncommitted_bytes: 0,
            size: EpochSize::Recovery(mode),
            barriers: Arc::default(),
            announced: Arc::default(),
            remaining,
        }
    }

    /// Begins with the ranges of a snapshot, which hold so many `records`.
    pub(super) fn restore(&mut self, saved: &BTreeMap<String, Vec<SourceState>>, records: u64) {
        self.bindings.restore(&self.topics, saved, records);
    }

    /// Returns the other processes of the run.
    pub(super) fn agents(&mut self) -> &mut Agents {
        &mut self.agents
    }

    pub(super) fn barriers(&self) -> Arc<Barriers> {
        self.barriers.clone()
    }

    pub(super) fn announced(&self) -> Arc<AtomicU64> {
        self.announced.clone()
    }

    pub(super) fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    pub(super) fn completed(&self) -> Epoch {
        self.completed
    }

    /// Returns the number of the open epoch.
    pub(super) fn open(&self) -> Epoch {
        self.open.number
    }

    /// Returns the partitions that may still deliver batches.
    pub(super) fn unfinished(&mut self) -> &mut Unfinished {
        &mut self.unfinished
    }

    /// Returns true if all closed epochs are completed.
    pub(super) fn is_caught_up(&self) -> bool {
        self.completed >= self.open.number
    }

    /// Returns true if the open epoch has batches.
    pub(super) fn has_batches(&self) -> bool {
        self.open.has_batches
    }

    /// Returns true if batches wait for the previous epoch to complete.
    pub(super) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Returns true if any batch was dispatched after the last commit barrier.
    pub(super) fn has_uncommitted(&self) -> bool {
        self.uncommitted
    }

    /// Returns the size of the next commit so far.
    pub(super) fn bulk(&self) -> Bulk {
        if self.uncommitted_bytes >= BULK_BYTES {
            Bulk::Whole
        } else if self.is_far_behind() {
            Bulk::Partial
        } else {
            Bulk::None
        }
    }

    /// Returns true if the open epoch must be closed although more batches are available.
    pub(super) fn is_full(&self) -> bool {
        self.open.has_batches
            && match self.size {
                EpochSize::Requested => false,
                EpochSize::Record => true,
                EpochSize::Recovery(_) | EpochSize::Limited => {
                    self.open.bytes >= self.max_bytes()
                        || elapsed(self.open.since) >= self.max_time()
                }
            }
    }

    /// Returns the time until the open epoch must be closed; none while it can't be.
    pub(super) fn until_full(&self) -> Option<Duration> {
        let is_timed = self.size != EpochSize::Requested;
        let closable = is_timed && self.is_caught_up() && self.open.has_batches;
        closable.then(|| self.max_time().saturating_sub(elapsed(self.open.since)))
    }

    /// Adds a batch to the queue, and dispatches as many batches as possible.
    pub(super) fn push(&mut self, fetched: Fetched) {
        if self.is_live() {
            self.clocks.bring(fetched.id);
        }
        self.queue.push_back(fetched);
        self.dispatch();
    }

    /// Moves the completed frontier forward. The caller publishes the answers, and then
    /// [dispatches](Self::dispatch) the batches that waited for the frontier.
    ///
    /// # Errors
    /// When the frontier of a process moved backwards: a bug of this library.
    pub(super) fn complete(&mut self, process: usize, epoch: Epoch) -> Result<()> {
        let report = self.reports.get_mut(process).filter(|report| **report <= epoch);
        let backwards = || Error::internal("the frontier of the workers moved backwards");
        *report.ok_or_else(backwards)? = epoch;
        self.completed = self.reports.iter().copied().min().unwrap_or(epoch);
        self.barriers.complete(self.completed);
        Ok(())
    }

    /// Completes every epoch when the workers have ended, because their last messages are not read.
    pub(super) fn complete_all(&mut self) {
        self.completed = self.open.number;
    }

    /// Returns the records up to the end of the next completed epoch; none if all were returned.
    pub(super) fn next_completed(&mut self) -> Option<u64> {
        self.ends.pop_front_if(|end| end.epoch < self.completed).map(|end| end.records)
    }

    /// Closes the open epoch and opens the next one.
    pub(super) fn close(&mut self) {
        self.ends.push_back(EpochEnd { epoch: self.open.number, records: self.bindings.records() });
        self.open.number += 1;
        (self.open.bytes, self.open.has_batches) = (0, false);
        let waiting = self.queue.iter().map(|fetched| fetched.id);
        self.unfinished.publish(&self.topics, self.open.number, &self.bindings, waiting);
        self.agents.open(&self.topics, self.open.number);
        self.announced.store(self.open.number, Ordering::Release);
        self.topics.iter().for_each(|topic| topic.queue.open(self.open.number));
        self.dispatch();
    }

    /// Closes the open epoch with a commit barrier: the commit contains everything up to its end.
    pub(super) fn close_with_barrier(&mut self) {
        // Set it before the epoch closes, so that no sink can miss it.
        let (barrier, is_late) = (self.open.number, faults::bug("late_barrier"));
        if !is_late {
            self.set_barrier(barrier);
        }
        (self.uncommitted, self.uncommitted_bytes) = (false, 0);
        self.close();
        if is_late {
            faults::point("late_barrier");
            self.set_barrier(barrier);
        }
    }

    fn set_barrier(&mut self, barrier: Epoch) {
        self.barriers.set(barrier);
        self.agents.barrier(barrier);
    }

    /// Closes epoch 0. Its batches were committed by earlier runs.
    pub(super) fn close_recovery(&mut self) {
        (self.uncommitted, self.uncommitted_bytes) = (false, 0);
        let idle: Vec<PartitionId> = self.clocks.idle().collect();
        self.send(idle.into_iter().map(|id| (id, ClockEvent::Idle)));
        self.close();
    }

    /// Returns true once the recovery is over.
    fn is_live(&self) -> bool {
        !matches!(self.size, EpochSize::Recovery(_))
    }

    /// Returns true if each record is an epoch of its own.
    pub(super) fn is_by_record(&self) -> bool {
        self.size == EpochSize::Record
    }

    /// Limits the size of epochs from now on, because answers are published after each.
    pub(super) fn go_live(&mut self, run: RunMode) {
        self.size = match (self.size, run) {
            (EpochSize::Recovery(ProcessingMode::PerRecord), _) => EpochSize::Record,
            (_, RunMode::TestDriver) => EpochSize::Requested,
            (_, RunMode::Sources) => EpochSize::Limited,
        };
        self.clocks.go_live();
        self.agents.go_live();
        self.dispatch();
    }

    /// Requires a commit, also if no batch was dispatched since the last one.
    pub(super) fn require_commit(&mut self) {
        self.uncommitted = true;
    }

    /// Ends every topic after the batches that were dispatched.
    pub(super) fn finish(&mut self) {
        self.agents.finish();
        self.topics.iter().for_each(|topic| topic.queue.finish());
    }

    /// Dispatches batches from the queue to the open epoch, up to its present limit. Those of a
    /// partition that has yet to join wait for the completion of the closed epochs.
    pub(super) fn dispatch(&mut self) {
        if self.is_live() && self.is_caught_up() {
            let joined = self.clocks.join(self.open.number.checked_sub(1));
            self.send(joined);
        }
        let limit = match (self.size, self.is_caught_up()) {
            (EpochSize::Recovery(_) | EpochSize::Requested, _) => usize::MAX,
            (EpochSize::Limited, true) => self.max_bytes(),
            (EpochSize::Limited, false) => OVERLAP_BYTES,
            // A batch has one record, and is larger than this.
            (EpochSize::Record, _) => 1,
        };
        while self.open.bytes < limit
            && let Some(fetched) =
                self.queue.pop_front_if(|fetched| self.clocks.is_joined(fetched.id))
        {
            if !self.open.has_batches {
                self.open.since = now();
            }
            (self.open.has_batches, self.uncommitted) = (true, true);
            self.bindings.extend(&fetched);
            self.open.bytes += fetched.batch.cost();
            self.uncommitted_bytes += fetched.batch.cost() as u64;
            self.agents.deal(&self.topics, fetched.id, fetched.batch);
        }
    }

    /// Returns true while so much is unread that nobody waits for fresh answers.
    pub(super) fn is_far_behind(&self) -> bool {
        self.remaining.load(Ordering::Relaxed) > BULK_BYTES
    }

    fn factor(&self) -> u32 {
        if self.is_far_behind() { BULK_FACTOR } else { 1 }
    }

    fn max_time(&self) -> Duration {
        EPOCH_MAX_AGE * self.factor()
    }

    fn max_bytes(&self) -> usize {
        EPOCH_MAX_BYTES * self.factor() as usize
    }
}
