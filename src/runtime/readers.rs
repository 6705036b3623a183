//! The partitions that a run reads, with the bytes that each has left, and their end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use super::begin::OpenPartition;
use super::bindings::Bindings;
use super::discovery::{Gate, discover};
use super::ingest::{Backlog, Reader, ReaderState};
use super::message::Message;
use super::pool::ReaderPool;
use super::recover::Replay;
use super::topics::Topics;
use crate::connect::Partition;
use crate::error::{Error, Result};
use crate::ports::Credit;
use crate::record::PartitionId;
use crate::secret::Secret;
use crate::sync::{JoinHandle, Sender};
use crate::time::ProcessingMode;

/// Owner of the readers, of their credit, and of partition discovery.
pub(super) struct Readers {
    topics: Topics,
    follow: bool,
    mode: ProcessingMode,
    /// Key of the digests of records.
    secret: Secret,
    credit: Arc<Credit>,
    coordinator: Sender<Message>,
    pool: ReaderPool,
    /// Partitions that are not read to their end, each with the bytes it has left.
    reading: BTreeMap<PartitionId, Arc<AtomicU64>>,
    /// Bytes that all partitions have left.
    remaining: Arc<AtomicU64>,
    gate: Arc<Gate>,
    discovery: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Returns an owner without readers.
    pub(super) fn new(
        topics: Topics,
        follow: bool,
        secret: Secret,
        credit: Arc<Credit>,
        coordinator: Sender<Message>,
    ) -> Self {
        Readers {
            topics,
            follow,
            mode: ProcessingMode::default(),
            secret,
            pool: ReaderPool::new(credit.clone(), coordinator.clone()),
            credit,
            coordinator,
            reading: BTreeMap::new(),
            remaining: Arc::default(),
            gate: Arc::default(),
            discovery: Vec::new(),
        }
    }

    /// Sets the mode of the readers that are started from now on.
    pub(super) fn set_mode(&mut self, mode: ProcessingMode) {
        self.mode = mode;
    }

    /// Returns the bytes that all partitions have left, kept up to date by the readers.
    pub(super) fn remaining(&self) -> Arc<AtomicU64> {
        self.remaining.clone()
    }

    /// Returns the bytes that all partitions have left now.
    pub(super) fn remaining_bytes(&self) -> u64 {
        self.remaining.load(Ordering::Relaxed)
    }

    /// Starts the discovery of new partitions of every source, if sources are followed.
    ///
    /// # Errors
    /// When the system provides no thread.
    pub(super) fn start_discovery(&mut self) -> Result<()> {
        for (id, source) in self.topics.sources().filter(|_| self.follow) {
            let (gate, coordinator) = (self.gate.clone(), self.coordinator.clone());
            self.discovery.push(discover(id, source.clone(), gate, coordinator)?);
        }
        Ok(())
    }

    /// Starts to read a partition that was opened at the start of the run.
    ///
    /// # Errors
    /// When the system provides no thread.
    pub(super) fn read(
        &mut self,
        OpenPartition { id, replay, partition }: OpenPartition,
    ) -> Result<()> {
        self.add(id, replay, Some(partition))
    }

    /// Starts to read a partition that was discovered during the run; its reader opens it.
    ///
    /// # Errors
    /// When the system provides no thread.
    pub(super) fn read_discovered(&mut self, id: PartitionId) -> Result<()> {
        self.add(id, None, None)
    }

    fn add(
        &mut self,
        id: PartitionId,
        replay: Option<Replay>,
        partition: Option<Box<dyn Partition>>,
    ) -> Result<()> {
        let own = self.reading.entry(id).or_default().clone();
        self.pool.add(Reader {
            id,
            name: self.topics.describe(id),
            source: self.topics.source(id).clone(),
            replay,
            partition,
            follow: self.follow,
            mode: self.mode,
            credit: self.credit.clone(),
            backlog: Backlog { own, total: self.remaining.clone() },
            coordinator: self.coordinator.clone(),
            secret: self.secret,
            state: ReaderState::default(),
            waker: Waker::noop().clone(),
        })
    }

    /// Returns true if the partition is not read to its end.
    pub(super) fn is_reading(&self, id: PartitionId) -> bool {
        self.reading.contains_key(&id)
    }

    /// Returns true if sources are read on behind the records of the start.
    pub(super) fn is_following(&self) -> bool {
        self.follow
    }

    /// Returns true if records of the partition are known to be unread.
    pub(super) fn is_behind(&self, id: PartitionId) -> bool {
        self.reading.get(&id).is_some_and(|left| left.load(Ordering::Relaxed) > 0)
    }

    /// Notes that a partition is read to its end.
    pub(super) fn ended(&mut self, id: PartitionId) {
        self.reading.remove(&id);
    }

    /// Returns true if every partition is read to its end and no source is followed.
    pub(super) fn are_done(&self) -> bool {
        self.reading.is_empty() && !self.follow
    }

    /// Lets every reader read beyond its recorded range.
    pub(super) fn go_live(&self) {
        self.pool.go_live();
    }

    /// Starts one more thread if all are blocked.
    ///
    /// # Errors
    /// When the pool has no thread, and none can be started.
    pub(super) fn relieve(&mut self) -> Result<()> {
        self.pool.add_thread_if_blocked()
    }

    /// Returns the credit of a batch that another process has decoded.
    pub(super) fn decoded(&self, cost: usize) {
        self.credit.release(cost);
    }

    /// Returns true while workers are behind the readers.
    pub(super) fn is_credit_short(&self) -> bool {
        self.credit.is_short()
    }

    /// Returns the partition with the most bytes left. Among equals, one that has delivered no
    /// batch yet comes first. A partition that is followed never ends, so it counts only while it
    /// has bytes left.
    pub(super) fn furthest_behind(&self, bindings: &Bindings) -> Option<PartitionId> {
        let left = self.reading.iter().map(|(id, left)| (left.load(Ordering::Relaxed), *id));
        let behind = left.filter(|(left, _)| *left > 0 || !self.follow);
        behind.max_by_key(|(left, id)| (*left, !bindings.contains(*id), *id)).map(|(_, id)| id)
    }

    /// Ends all reading and discovery.
    pub(super) fn end(&self) {
        self.gate.open();
        self.pool.end();
        self.credit.close();
    }

    /// Waits for the threads after [`end`](Self::end).
    ///
    /// # Errors
    /// When one has panicked.
    pub(super) fn join(&mut self) -> Result<()> {
        let discovered = self.discovery.drain(..).all(|thread| thread.join().is_ok());
        if discovered && self.pool.join() {
            Ok(())
        } else {
            Err(Error::internal("a thread of the run panicked"))
        }
    }
}
