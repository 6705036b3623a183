//! Commits: their timer, and the progress of the commit in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::bindings::Bindings;
use super::clocks::ClocksOfCommit;
use super::committer::{CommitThread, Job, SinkPart};
use super::content::CommitContent;
use super::epochs::Bulk;
use super::message::Message;
use super::panic_guard::spawn;
use super::snapshots::Snapshots;
use super::times;
use super::topics::Topics;
use crate::connect::{FoundRows, Part};
use crate::durable::{CommitTime, Manifest, SnapshotName, SourceState};
use crate::error::{Error, Result};
use crate::sync::{JoinHandle, Sender, channel, elapsed, now};
use crate::time::Epoch;

/// A commit that awaits many records is due after this time, however few have come.
const BULK_COMMIT_AGE: Duration = Duration::from_secs(10);
/// Divides the interval of a commit that has many records.
const BULK_INTERVAL_DIVISOR: u32 = 4;

/// A commit after its barrier, until all sinks show it.
struct InFlight {
    sources: BTreeMap<String, Vec<SourceState>>,
    /// The clocks up to its barrier, until the commit is submitted.
    clocks: Option<ClocksOfCommit>,
    /// The last epoch before its barrier.
    epoch: Epoch,
    /// Number of records dispatched up to its barrier.
    records: u64,
    /// Parts that the workers have staged; none after they were sent to the committer.
    staged: Option<Staged>,
    snapshot: SnapshotPart,
}

/// The snapshot as a part of a commit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SnapshotPart {
    /// The manifest names the last snapshot that was made, if any.
    Earlier,
    /// A snapshot of the commit itself must be made before its manifest.
    Own,
    /// The snapshot of the commit is being made.
    Saving,
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
    /// The topics of the sinks, in the order of binding.
    sinks: Vec<String>,
    workers: usize,
    /// Least time between two barriers.
    interval: Duration,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    in_flight: Option<InFlight>,
    last_barrier: Option<Instant>,
    /// Number of the last commit.
    committed: u64,
    /// Content of the last commit; none before the first.
    last: Option<CommitContent>,
    /// The event time of the last commit that was submitted.
    time: CommitTime,
    /// The snapshots that the last manifest names, from the youngest to the oldest.
    named: Vec<SnapshotName>,
    /// Senders of [`Message::Close`] that have no reply yet.
    waiters: Vec<Sender<()>>,
}

impl Commits {
    /// Starts the committer's thread. `restored` is the number of the snapshot from which the run
    /// continues.
    ///
    /// # Errors
    /// When the system provides no thread.
    pub(super) fn start(
        committer: CommitThread,
        recorded: Option<&Manifest>,
        restored: Option<u64>,
        topics: Topics,
        workers: usize,
        interval: Duration,
        coordinator: &Sender<Message>,
    ) -> Result<Self> {
        let (sinks, committed) = (committer.topics(), committer.last());
        let mut named = recorded.map(|last| last.snapshots.clone()).unwrap_or_default();
        // Younger ones were passed over.
        named.retain(|name| restored.is_some_and(|n| name.n <= n));
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
            last: None,
            time: recorded.map(|last| last.time.clone()).unwrap_or_default(),
            named,
            waiters: Vec::new(),
        })
    }

    /// Returns the number of sinks.
    pub(super) fn sinks(&self) -> usize {
        self.sinks.len()
    }

    /// Returns the number of the last commit; 0 before the first.
    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Returns the time until the next commit is due.
    pub(super) fn until_due(&self, bulk: Bulk) -> Duration {
        let least = match bulk {
            Bulk::None => self.interval,
            Bulk::Partial => self.interval.max(BULK_COMMIT_AGE),
            Bulk::Whole => self.interval / BULK_INTERVAL_DIVISOR,
        };
        let elapsed = self.last_barrier.map(elapsed);
        elapsed.map_or(Duration::ZERO, |elapsed| least.saturating_sub(elapsed))
    }

    /// Restarts the time until the next commit is due.
    pub(super) fn restart_timer(&mut self) {
        self.last_barrier = Some(now());
    }

    /// Begins a commit of the records in `bindings`, up to the end of `epoch`. The barrier must be
    /// set right after this call.
    pub(super) fn begin(
        &mut self,
        bindings: &Bindings,
        clocks: ClocksOfCommit,
        epoch: Epoch,
        snapshot: SnapshotPart,
    ) {
        let sinks = self.sinks.iter().map(|_| SinkPart::default()).collect();
        let mut sources = bindings.source_states(&self.topics);
        clocks.record(&self.topics, &mut sources);
        self.in_flight = Some(InFlight {
            sources,
            clocks: Some(clocks),
            epoch,
            records: bindings.records(),
            staged: Some(Staged { missing: self.sinks.len() * self.workers, sinks }),
            snapshot,
        });
        self.restart_timer();
    }

    /// Replaces the ranges of a commit in flight by the present ones: a bug to be planted.
    pub(super) fn bind_again(&mut self, bindings: &Bindings) {
        if let Some(commit) = &mut self.in_flight {
            commit.sources = bindings.source_states(&self.topics);
        }
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
    /// When the committer has ended, or records of the commit have no outcome.
    pub(super) fn submit_if_staged(
        &mut self,
        completed: Epoch,
        is_far_behind: bool,
        snapshots: &mut Snapshots,
    ) -> Result<()> {
        let Some(commit) = self.in_flight.as_mut().filter(|commit| commit.epoch < completed) else {
            return Ok(());
        };
        let Some(staged) = commit.staged.take_if(|staged| staged.missing == 0) else {
            return Ok(());
        };
        self.topics.check_tallies(commit.epoch, commit.records)?;
        if commit.snapshot != SnapshotPart::Earlier && snapshots.is_saving() {
            commit.staged = Some(staged);
            return Ok(());
        }
        times::bind(&self.topics, commit.epoch, &mut commit.sources);
        if let Some(clocks) = commit.clocks.take() {
            self.time.watermarks = clocks.watermarks(&self.topics, commit.epoch);
            if clocks.has_changed {
                self.time.changed = self.committed + 1;
            }
        }
        let totals = staged.sinks.iter().map(|sink| (sink.rows, sink.digest));
        let content = CommitContent {
            n: self.committed + 1,
            barrier: commit.epoch,
            sources: commit.sources.clone(),
            time: self.time.clone(),
            sinks: self.sinks.iter().cloned().zip(totals).collect(),
            topics: self.topics.totals(commit.epoch),
            late: self.topics.late(commit.epoch),
        };
        if commit.snapshot == SnapshotPart::Own {
            (commit.staged, commit.snapshot) = (Some(staged), SnapshotPart::Saving);
            return snapshots.save(content);
        }
        self.last = Some(content);
        let sources = commit.sources.clone();
        self.name(snapshots.take_made());
        let (sinks, snapshots) = (staged.sinks, self.named.clone());
        let time = self.time.clone();
        self.send(Job::Commit { sources, time, sinks, snapshots, is_far_behind })
    }

    /// Adds a snapshot to those that the next manifest names.
    fn name(&mut self, made: Option<SnapshotName>) {
        if let Some(made) = made {
            let kept = made.kept_with(&self.named);
            self.named = [vec![made], kept].concat();
        }
    }

    /// Begins with the last commit of earlier runs, whose rows the recovery has rebuilt, except
    /// those of `replaced` sinks.
    pub(super) fn go_live(&mut self, recorded: Option<&Manifest>, replaced: &BTreeSet<String>) {
        self.last = recorded.map(|last| CommitContent::recorded(last, &self.topics, replaced));
    }

    /// Returns the content of the last commit, of which a snapshot can be made.
    pub(super) fn last(&self) -> Option<&CommitContent> {
        self.last.as_ref()
    }

    /// Returns the snapshots that the last manifest names.
    pub(super) fn named(&self) -> &[SnapshotName] {
        &self.named
    }

    /// Commits a snapshot that was made, without any change of the sinks.
    ///
    /// # Errors
    /// When the committer has ended.
    pub(super) fn commit_snapshot(
        &mut self,
        made: SnapshotName,
        epoch: Epoch,
        records: u64,
    ) -> Result<()> {
        let Some(last) = &mut self.last else { return Ok(()) };
        last.n = self.committed + 1;
        let (sources, time) = (last.sources.clone(), last.time.clone());
        let rows = |topic| last.sinks.get(topic).copied().unwrap_or_default();
        let part = |(rows, digest)| SinkPart { parts: Vec::new(), rows, digest };
        let sinks = self.sinks.iter().map(|topic| part(rows(topic))).collect();
        let (sent, snapshot) = (sources.clone(), SnapshotPart::Earlier);
        let (clocks, staged) = (None, None);
        self.in_flight = Some(InFlight { sources, clocks, epoch, records, staged, snapshot });
        self.restart_timer();
        self.name(Some(made));
        let snapshots = self.named.clone();
        let is_far_behind = false;
        self.send(Job::Commit { sources: sent, time, sinks, snapshots, is_far_behind })
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
        self.topics.for_each_source(committed, |source, ends| source.committed(ends));
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
