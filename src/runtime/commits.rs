//! Commits: their timer, and the progress of the commit in flight.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::bindings::Bindings;
use super::committer::{CommitThread, Job, SinkPart};
use super::message::Message;
use super::panic_guard::spawn;
use super::times;
use super::topics::Topics;
use crate::connect::{FoundRows, Part};
use crate::durable::SourceState;
use crate::error::{Error, Result};
use crate::time::Epoch;

/// A commit after its barrier, until all sinks show it.
struct InFlight {
    sources: BTreeMap<String, Vec<SourceState>>,
    /// The last epoch before its barrier.
    epoch: Epoch,
    /// Number of records dispatched up to its barrier.
    records: u64,
    /// Parts that the workers have staged; none after they were sent to the committer.
    staged: Option<Staged>,
}

/// Parts staged up to a barrier.
struct Staged {
    /// Number of reports that have not arrived: one for each sink and worker.
    missing: usize,
    sinks: Vec<SinkPart>,
}

/// Owner of the commit in flight and of the committer's thread. There is at most one commit at a
/// time; meanwhile epochs continue, and their changes stay in the writers.
pub(super) struct Commits {
    topics: Topics,
    /// Number of sinks.
    sinks: usize,
    workers: usize,
    /// Least time between two barriers.
    interval: Duration,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    in_flight: Option<InFlight>,
    last_barrier: Option<Instant>,
    /// Number of the last commit.
    committed: u64,
    /// Senders of [`Message::Close`] that have no reply yet.
    waiters: Vec<Sender<()>>,
}

impl Commits {
    /// Starts the committer's thread.
    ///
    /// # Errors
    /// When the system provides no thread.
    pub(super) fn start(
        committer: CommitThread,
        topics: Topics,
        workers: usize,
        interval: Duration,
        coordinator: &Sender<Message>,
    ) -> Result<Self> {
        let (sinks, committed) = (committer.topics().len(), committer.last());
        let ((jobs, inbox), replies) = (channel(), coordinator.clone());
        let work = move || committer.run(&inbox, &replies);
        let thread = spawn("committer", "commit".into(), coordinator, work)?;
        Ok(Commits {
            topics,
            sinks,
            workers,
            interval,
            jobs: Some(jobs),
            thread: Some(thread),
            in_flight: None,
            last_barrier: None,
            committed,
            waiters: Vec::new(),
        })
    }

    /// Returns the number of the last commit; 0 before the first.
    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Returns the time until the next commit is due.
    pub(super) fn until_due(&self) -> Duration {
        let elapsed = self.last_barrier.map(|last| last.elapsed());
        elapsed.map_or(Duration::ZERO, |elapsed| self.interval.saturating_sub(elapsed))
    }

    /// Restarts the time until the next commit is due.
    pub(super) fn restart_timer(&mut self) {
        self.last_barrier = Some(Instant::now());
    }

    /// Begins a commit of the records in `bindings`, up to the end of `epoch`. The barrier must be
    /// set right after this call.
    pub(super) fn begin(&mut self, bindings: &Bindings, epoch: Epoch) {
        let sinks = (0..self.sinks).map(|_| SinkPart::default()).collect();
        self.in_flight = Some(InFlight {
            sources: bindings.source_states(&self.topics),
            epoch,
            records: bindings.records(),
            staged: Some(Staged { missing: self.sinks * self.workers, sinks }),
        });
        self.restart_timer();
    }

    /// Adds the part of a sink that one worker has staged.
    pub(super) fn add(&mut self, sink: usize, part: Option<Part>, rows: u64, digest: u64) {
        let staged = self.in_flight.as_mut().and_then(|commit| commit.staged.as_mut());
        let Some(Staged { missing, sinks }) = staged else { return };
        let whole = &mut sinks[sink];
        whole.parts.extend(part);
        whole.rows += rows;
        whole.digest = whole.digest.wrapping_add(digest);
        *missing -= 1;
    }

    /// Submits the commit in flight to the committer, once all of it is staged and its last epoch
    /// is before the `completed` frontier. From then on the timestamps of all its records are
    /// known.
    ///
    /// # Errors
    /// When the committer has ended.
    pub(super) fn submit_if_staged(&mut self, completed: Epoch) -> Result<()> {
        let Some(commit) = self.in_flight.as_mut().filter(|commit| commit.epoch < completed) else {
            return Ok(());
        };
        match commit.staged.take_if(|staged| staged.missing == 0) {
            Some(staged) => {
                times::bind(&self.topics, commit.epoch, &mut commit.sources);
                let job = Job::Commit(commit.sources.clone(), staged.sinks);
                self.send(job)
            }
            None => Ok(()),
        }
    }

    /// Has the committer compare the rows found again with the rows of the sinks.
    ///
    /// # Errors
    /// When the committer has ended.
    pub(super) fn submit_verification(&self, found: Vec<FoundRows>) -> Result<()> {
        self.send(Job::Verify(found))
    }

    fn send(&self, job: Job) -> Result<()> {
        let ended = || Error::internal("the committer has ended");
        self.jobs.as_ref().ok_or_else(ended)?.send(job).map_err(|_| ended())
    }

    /// Completes the commit in flight, which is visible now, and notifies the sources. Returns the
    /// number of records that it covers.
    pub(super) fn complete(&mut self, n: u64) -> Option<u64> {
        self.committed = n;
        let commit = self.in_flight.take()?;
        self.notify_sources(&commit.sources);
        Some(commit.records)
    }

    /// Passes the ends of the partitions in a commit to their sources.
    pub(super) fn notify_sources(&self, committed: &BTreeMap<String, Vec<SourceState>>) {
        for topic in self.topics.iter() {
            let states = committed.get(&topic.name).into_iter().flatten();
            for (source, state) in topic.sources.iter().zip(states) {
                let ends = state.partitions.iter().map(|(partition, bound)| (*partition, bound.to));
                source.committed(&ends.collect());
            }
        }
    }

    /// Adds a sender that expects a reply after the next commit.
    pub(super) fn add_waiter(&mut self, waiter: Sender<()>) {
        self.waiters.push(waiter);
    }

    pub(super) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    pub(super) fn reply_to_waiters(&mut self) {
        for waiter in self.waiters.drain(..) {
            // The test may have ended already.
            let _ = waiter.send(());
        }
    }

    /// Waits for a commit in flight, so that it can't complete after the caller has the result.
    ///
    /// # Errors
    /// When the committer has panicked.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.jobs = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(Error::internal("the committer panicked")),
            _ => Ok(()),
        }
    }
}
