//! The coordinator: one thread that handles all messages, closes epochs, and starts commits.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use super::commits::{Commits, SnapshotPart};
use super::config::RunMode;
use super::earliest;
use super::epochs::Epochs;
use super::message::Message;
use super::progress::{Holds, Milestone, Summary};
use super::readers::Readers;
use super::recover::{Recovery, SinkRows, Step};
use super::reporter::{PROGRESS_INTERVAL, Reporter, Status};
use super::snapshots::Snapshots;
use super::stores::Stores;
use super::topics::Topics;
use super::worker::Workers;
use crate::durable::Fence;
use crate::error::{Error, ErrorKind, Result};
use crate::faults;
use crate::ports::Report;
use crate::record::PartitionId;
use crate::sync::Receiver;
use crate::time::Epoch;

/// Shortest time for which the coordinator waits for a message.
const WAIT_MIN: Duration = Duration::from_micros(100);

/// The loop of a run, and the owners of its state.
pub(crate) struct Coordinator {
    pub(super) inbox: Receiver<Message>,
    pub(super) mode: RunMode,
    /// The generation of the run; none without a state.
    pub(super) fence: Option<Fence>,
    pub(super) topics: Topics,
    pub(super) epochs: Epochs,
    pub(super) commits: Commits,
    pub(super) snapshots: Snapshots,
    pub(super) readers: Readers,
    pub(super) recovery: Recovery,
    pub(super) reporter: Reporter,
    pub(super) stores: Stores,
    pub(super) workers: Workers,
    /// The end was requested.
    pub(super) stopping: bool,
}

/// State of the inbox when a step is decided.
#[derive(Clone, Copy, PartialEq)]
enum Inbox {
    /// Every message was handled.
    Empty,
    /// More messages may be available, but the open epoch is full.
    Filled,
}

impl Coordinator {
    /// Runs to the end, and waits for all threads of the run.
    ///
    /// # Errors
    /// The first failure of a connector or a worker.
    pub(crate) fn run(mut self) -> Result<Summary> {
        let result = self.drive();
        self.readers.end();
        self.epochs.finish();
        let committed = self.commits.finish();
        let saved = self.snapshots.finish();
        let ended = result.and_then(|()| self.await_agents()).and_then(|()| self.workers.join());
        if let Err(error) = committed.and(saved).and(ended) {
            let error = self.explain(error);
            return Err(self.epochs.agents().fail(error));
        }
        self.epochs.agents().close()?;
        // The workers have finished every closed epoch; their last messages are not read any more.
        self.epochs.complete_all();
        self.publish();
        self.readers.join()?;
        Ok(self.reporter.summary(self.commits.committed(), self.recovery.records()))
    }

    /// Returns the cause of an error. Another run may have changed the tables, or deleted layers,
    /// that this one compares or reads. A log may have lost records while this run was paused.
    fn explain(&self, error: Error) -> Error {
        match (error.kind(), &self.fence) {
            (ErrorKind::Data | ErrorKind::Connect, Some(fence)) => fence.explain(error),
            _ => error,
        }
    }

    fn drive(&mut self) -> Result<()> {
        loop {
            self.reporter.renew_sign();
            let mut next = match self.inbox.recv_timeout(self.wait()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::internal("all senders to the coordinator are dropped"));
                }
            };
            // Handle all messages before an epoch is closed, but no more than fill it.
            let mut inbox = Inbox::Empty;
            while let Some(message) = next.take() {
                self.handle(message)?;
                if self.epochs.is_full() {
                    inbox = Inbox::Filled;
                    break;
                }
                next = self.inbox.try_recv().ok();
            }
            if self.advance(inbox)? {
                return Ok(());
            }
            self.epochs.agents().check()?;
            self.readers.relieve()?;
            if self.reporter.is_progress_due() {
                self.reporter.report_progress(self.status());
            }
        }
    }

    /// Returns the longest time to wait for a message, so that no timer is missed. An epoch that
    /// waits for the previous one needs no timer, because the end of that one is a message.
    fn wait(&self) -> Duration {
        let can_commit = self.mode == RunMode::Sources
            && self.epochs.is_caught_up()
            && self.epochs.has_uncommitted()
            && !self.commits.is_in_flight();
        let commit = can_commit.then(|| self.commits.until_due(self.epochs.bulk()));
        let timers = [commit, self.epochs.until_full()];
        timers.into_iter().flatten().fold(PROGRESS_INTERVAL, Duration::min).max(WAIT_MIN)
    }

    pub(super) fn handle(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Batch(fetched) => self.epochs.push(fetched),
            Message::Replayed(id) => self.recovery.replayed(id),
            Message::End(id) => {
                self.readers.ended(id);
                if self.readers.is_following() {
                    self.epochs.end_clock(id);
                }
                self.epochs.unfinished().end(id);
                self.recovery.replayed(id);
            }
            Message::Partitions(ids) => {
                ids.into_iter().try_for_each(|id| self.read_if_new(id))?;
            }
            Message::Completed { process, epoch } => self.complete(process, epoch)?,
            Message::Up { process, message } => self.receive(process, message)?,
            // Only other processes get these.
            Message::Down(_) => {}
            Message::Report(sink, report) => self.handle_report(sink, report)?,
            Message::Verified => {
                faults::point("recovery.verified");
                self.recovery.go_live();
                self.epochs.go_live(self.mode);
                self.publish();
                // Start the commit timer here, so that a short replay ends in a single commit.
                self.commits.restart_timer();
                self.commits.go_live(self.recovery.recorded(), self.recovery.replaced());
                self.readers.go_live();
                if self.recovery.adopts() {
                    // The commit that adopts the state has a snapshot of its own.
                    self.epochs.require_commit();
                } else {
                    self.save_if_due()?;
                }
            }
            Message::Committed(n) => {
                if let Some(records) = self.commits.complete(n) {
                    self.reporter.notify_milestone(Milestone::Committed(records));
                }
                self.snapshots.committed();
                self.snapshots.collect_if_named(self.commits.named());
                self.save_if_due()?;
                self.reply_if_committed();
            }
            Message::Saved(name) => self.snapshots.made(name),
            Message::Unsaved(error)
                if self.snapshots.is_needed() || error.kind() == ErrorKind::Superseded =>
            {
                return Err(error);
            }
            Message::Unsaved(error) => self.snapshots.failed(error)?,
            Message::Failed(error) => return Err(error),
            Message::Stop => {
                self.stopping = true;
                self.readers.end();
            }
            Message::Close(waiter) => self.commits.add_waiter(waiter),
            Message::Advance(time) => self.epochs.advance_clock(time),
        }
        Ok(())
    }

    pub(super) fn complete(&mut self, process: usize, epoch: Epoch) -> Result<()> {
        self.epochs.complete(process, epoch)?;
        self.publish();
        while let Some(records) = self.epochs.next_completed() {
            self.reporter.notify_milestone(Milestone::Answered(records));
        }
        self.epochs.dispatch();
        Ok(())
    }

    pub(super) fn handle_report(&mut self, sink: usize, report: Report) -> Result<()> {
        match report {
            Report::Failed(error) => return Err(self.recovery.explain(error, &self.epochs)),
            Report::Staged { part, rows, digest } => self.commits.add(sink, part, rows, digest),
            Report::Recovered { found, rows, digest } => {
                self.recovery.add(sink, SinkRows { found, rows, digest });
            }
        }
        Ok(())
    }

    fn read_if_new(&mut self, id: PartitionId) -> Result<()> {
        if self.mode == RunMode::TestDriver {
            self.epochs.join_clock(id);
            return Ok(());
        }
        if self.epochs.bindings().contains(id) || self.readers.is_reading(id) {
            return Ok(());
        }
        earliest::check_discovered(&self.topics, id)?;
        self.epochs.unfinished().begin(id);
        self.epochs.join_clock(id);
        self.recovery.start_replay(id);
        self.readers.read_discovered(id)
    }

    /// Takes the steps that are possible now. Returns true when the run is over.
    fn advance(&mut self, inbox: Inbox) -> Result<bool> {
        if self.recovery.is_live() {
            return self.advance_live(inbox);
        }
        if self.stopping {
            // An unfinished recovery has changed nothing, so there is nothing to commit.
            return Ok(true);
        }
        match self.recovery.advance(&self.epochs)? {
            Step::Close => {
                faults::point("recovery.replayed");
                self.epochs.close_recovery();
            }
            Step::Verify(found) => self.commits.submit_verification(found)?,
            Step::Wait => {}
        }
        Ok(false)
    }

    fn advance_live(&mut self, inbox: Inbox) -> Result<bool> {
        if faults::bug("fresh_bindings") {
            self.commits.bind_again(self.epochs.bindings());
        }
        let (completed, is_far_behind) = (self.epochs.completed(), self.epochs.is_far_behind());
        self.commits.submit_if_staged(completed, is_far_behind, &mut self.snapshots)?;
        let (quiet, queued) = (inbox == Inbox::Empty, self.epochs.has_queue());
        let by_clock = self.mode == RunMode::Sources;
        let ending = self.stopping || (by_clock && self.readers.are_done());
        let over = ending && quiet && !queued;
        if over && by_clock && !self.stopping {
            self.epochs.close_time();
        }
        let requested = self.commits.has_waiters() && !queued;
        let on_time = by_clock && self.commits.until_due(self.epochs.bulk()).is_zero();
        // A test reads the answers after each record in the commits.
        let each = !by_clock && self.epochs.is_by_record();
        let due = !self.commits.is_in_flight() && (over || requested || on_time || each);
        let close = by_clock
            && self.epochs.has_batches()
            && self.epochs.is_caught_up()
            && (quiet || self.epochs.is_full());
        // A commit begins at the end of an epoch. At the end of the run, or on request, it begins
        // without waiting for the previous epoch.
        let at_end = close || over || requested || each || !self.epochs.has_batches();
        let commits = self.epochs.has_uncommitted() && due && at_end;
        if commits || close {
            self.epochs.leave_out_idle(|id| self.readers.is_behind(id));
        }
        if commits {
            let clocks = self.epochs.take_clocks();
            if clocks.has_changed {
                self.snapshots.require();
            }
            // At the end nobody waits for the commit, so the snapshot of a restart is part of it.
            let own = self.snapshots.is_possible() && (self.snapshots.is_needed() || over);
            let part = if own { SnapshotPart::Own } else { SnapshotPart::Earlier };
            self.commits.begin(self.epochs.bindings(), clocks, self.epochs.open(), part);
            self.epochs.close_with_barrier();
        } else if close {
            self.epochs.close();
        }
        self.reply_if_committed();
        let idle = !self.epochs.has_batches() && self.is_committed();
        if idle && quiet && !queued && (over || on_time) {
            return Ok(self.name_snapshot(over)? && over);
        }
        Ok(false)
    }

    /// Makes a snapshot of the last commit, if so much was changed since the previous one.
    fn save_if_due(&mut self) -> Result<()> {
        match self.commits.last() {
            Some(last) if self.snapshots.is_due(self.epochs.is_far_behind()) => {
                self.snapshots.save(last.clone())
            }
            _ => Ok(()),
        }
    }

    /// Commits a snapshot that no other commit names, because no record comes. At the end of a run
    /// it first makes one, if a restart without it would take long. Returns true if nothing of
    /// this is left to do.
    fn name_snapshot(&mut self, over: bool) -> Result<bool> {
        if self.snapshots.is_saving() {
            return Ok(false);
        }
        if let Some(made) = self.snapshots.take_made() {
            let records = self.epochs.bindings().records();
            self.commits.commit_snapshot(made, self.epochs.completed(), records)?;
            return Ok(false);
        }
        match self.commits.last() {
            Some(last) if over && self.snapshots.is_worthwhile() => {
                self.snapshots.save(last.clone()).map(|()| false)
            }
            _ => Ok(true),
        }
    }

    /// Returns true if a visible commit contains every batch that was dispatched.
    fn is_committed(&self) -> bool {
        !self.epochs.has_uncommitted() && !self.commits.is_in_flight()
    }

    /// Replies to the test driver once both sinks and stores show all of its records.
    fn reply_if_committed(&mut self) {
        if self.is_committed() && !self.epochs.has_queue() && self.epochs.is_caught_up() {
            self.commits.reply_to_waiters();
        }
    }

    /// Publishes the completed epochs in the stores, committed or not. During the recovery nothing
    /// is published, because the state may still turn out not to be the recorded one.
    fn publish(&self) {
        if self.recovery.is_live() {
            self.stores.publish(self.epochs.completed());
        }
    }

    fn status(&self) -> Status {
        Status {
            remaining: self.readers.remaining_bytes(),
            recovering: !self.recovery.is_live(),
            committed: self.commits.committed(),
            holds: self.holds(),
        }
    }

    fn holds(&self) -> Holds {
        if !self.recovery.is_live() {
            return Holds::State;
        }
        if self.readers.is_credit_short() {
            return Holds::Workers;
        }
        match self.readers.furthest_behind(self.epochs.bindings()) {
            Some(id) => Holds::Partition(self.topics.of(id).name.clone(), id.partition),
            None if self.epochs.has_batches() || !self.epochs.is_caught_up() => Holds::Workers,
            None if !self.is_committed() => Holds::Commit,
            None => Holds::Records,
        }
    }
}
