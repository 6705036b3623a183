//! Snapshots of a run: when they are made, and the manifest that names them.
//!
//! A snapshot is made of a commit, beside the commits that follow, and the next manifest names it.
//! At the end of a run, and at each commit of a volatile topology, it is part of the commit: the
//! manifest of the commit names it, so a restart reads no record again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::content::CommitContent;
use super::message::Message;
use super::panic_guard::spawn;
use super::releases::{Clock, Releases};
use super::saver::{Saver, Task};
use super::topics::Topics;
use crate::durable::{Snapshot, SnapshotName};
use crate::error::{Error, Result};
use crate::faults;
use crate::sync::{JoinHandle, Sender, channel};

/// A snapshot is due when its rows have this many bytes.
const DUE_BYTES: u64 = 16 << 20;
/// A snapshot is also due after this many bytes of records: so many are read again in about a
/// second.
const DUE_RECORD_BYTES: u64 = 64 << 20;
/// While a run is far behind its sources, snapshots are this many times rarer.
const BEHIND_FACTOR: u64 = 8;
/// At the end of a run, a restart should read fewer bytes of changed rows again than this.
const WORTHWHILE_BYTES: u64 = 1 << 20;
/// The same for bytes of records.
const WORTHWHILE_RECORD_BYTES: u64 = 8 << 20;
/// The run fails if it can't save rows of more than this many bytes.
const MAX_UNSAVED_BYTES: u64 = 512 << 20;

/// The commits that need a snapshot of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SnapshotNeed {
    /// None, unless it is the last commit of a run.
    WhenDue,
    /// The next commit.
    NextCommit,
    /// Each commit: records can't rebuild the results, or the program wants it.
    EachCommit,
}

/// Owner of the snapshots of a run.
pub(super) struct Snapshots {
    topics: Topics,
    need: SnapshotNeed,
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
    releases: Option<Releases>,
    /// Bytes of changed rows that no snapshot has.
    unsaved: Arc<AtomicU64>,
    /// Bytes of the records up to the last snapshot.
    saved_records: u64,
    is_saving: bool,
    /// A snapshot that no manifest names.
    made: Option<SnapshotName>,
    /// The youngest snapshot of the last collection.
    collected: Option<SnapshotName>,
    /// The last attempt has failed.
    has_failed: bool,
}

impl Snapshots {
    /// Returns the owner for a run without a state.
    pub(super) fn none(topics: Topics) -> Self {
        Snapshots {
            topics,
            need: SnapshotNeed::WhenDue,
            tasks: None,
            thread: None,
            releases: None,
            unsaved: Arc::default(),
            saved_records: 0,
            is_saving: false,
            made: None,
            collected: None,
            has_failed: false,
        }
    }

    /// Starts the saver's thread, and the one that releases records.
    ///
    /// # Errors
    /// When the system provides no thread.
    pub(super) fn start(
        topics: Topics,
        clock: Clock,
        saver: impl FnOnce(Arc<AtomicU64>) -> Saver,
        coordinator: &Sender<Message>,
    ) -> Result<Self> {
        let mut snapshots = Self::none(topics);
        let ((tasks, inbox), replies) = (channel(), coordinator.clone());
        let saver = saver(snapshots.unsaved.clone());
        let topics = snapshots.topics.clone();
        let (releases, released) = Releases::start(topics, clock, coordinator)?;
        let work = move || saver.run(&inbox, &replies, &released);
        snapshots.thread = Some(spawn("saver", "save".into(), coordinator, work)?);
        (snapshots.tasks, snapshots.releases) = (Some(tasks), Some(releases));
        Ok(snapshots)
    }

    pub(super) fn set_need(&mut self, need: SnapshotNeed) {
        self.need = need;
    }

    /// Requires that the next commit has a snapshot of its own.
    pub(super) fn require(&mut self) {
        if self.need == SnapshotNeed::WhenDue {
            self.need = SnapshotNeed::NextCommit;
        }
    }

    /// Returns true if the next commit needs a snapshot of its own.
    pub(super) fn is_needed(&self) -> bool {
        self.need != SnapshotNeed::WhenDue
    }

    /// Notes a commit.
    pub(super) fn committed(&mut self) {
        if self.need == SnapshotNeed::NextCommit {
            self.need = SnapshotNeed::WhenDue;
        }
    }

    /// Returns the sender of changed rows; none in a run without a state.
    pub(super) fn tasks(&self) -> Option<Sender<Task>> {
        self.tasks.clone()
    }

    /// Submits a task to the saver, in a run with a state.
    pub(super) fn submit(&self, task: Task) {
        if let Some(tasks) = &self.tasks {
            // The saver ends at a failure only, which is a message too.
            let _ = tasks.send(task);
        }
    }

    /// Returns true while a snapshot is made.
    pub(super) fn is_saving(&self) -> bool {
        self.is_saving
    }

    /// Returns true if a snapshot should be made of the last commit. `is_behind` is true while much
    /// is unread.
    pub(super) fn is_due(&self, is_behind: bool) -> bool {
        let factor = if is_behind { BEHIND_FACTOR } else { 1 };
        let records = self.topics.bytes().saturating_sub(self.saved_records);
        let unsaved = self.unsaved.load(Ordering::Relaxed);
        let due_bytes = faults::limit("snapshot_bytes", DUE_BYTES);
        let is_much = unsaved >= due_bytes * factor || records >= DUE_RECORD_BYTES * factor;
        self.tasks.is_some() && !self.is_saving && is_much && unsaved > 0
    }

    /// Makes a snapshot of a commit.
    ///
    /// # Errors
    /// When the saver has ended.
    pub(super) fn save(&mut self, commit: CommitContent) -> Result<()> {
        let Some(tasks) = &self.tasks else { return Ok(()) };
        let CommitContent { n, barrier, sources, sinks, topics, late, time: _ } = commit;
        let (cuts, layers) = (Vec::new(), Vec::new());
        let snapshot = Snapshot { n, cuts, layers, sources, sinks, topics, late };
        (self.is_saving, self.saved_records) = (true, self.topics.bytes());
        let ended = |_| Error::internal("the saver has ended");
        tasks.send(Task::Save { barrier, snapshot }).map_err(ended)
    }

    /// Notes the snapshot that was made.
    pub(super) fn made(&mut self, name: SnapshotName) {
        (self.is_saving, self.made, self.has_failed) = (false, Some(name), false);
    }

    /// Notes that a snapshot could not be made. Its rows become part of the next one.
    ///
    /// # Errors
    /// When so many rows are unsaved that the run must end.
    pub(super) fn failed(&mut self, error: Error) -> Result<()> {
        self.is_saving = false;
        if self.unsaved.load(Ordering::Relaxed) > MAX_UNSAVED_BYTES {
            return Err(error);
        }
        let message = "can't save a snapshot, it will be tried again";
        // The same cause often stops the next commit too, and one report is enough.
        if self.has_failed {
            tracing::warn!(%error, message);
        } else {
            tracing::info!(%error, message);
        }
        self.has_failed = true;
        Ok(())
    }

    /// Returns true in a run with a state.
    pub(super) fn is_possible(&self) -> bool {
        self.tasks.is_some()
    }

    /// Returns true if a snapshot at the end of the run would shorten the next start.
    pub(super) fn is_worthwhile(&self) -> bool {
        let unsaved = self.unsaved.load(Ordering::Relaxed);
        let records = self.topics.bytes().saturating_sub(self.saved_records);
        let is_much = unsaved >= WORTHWHILE_BYTES || records >= WORTHWHILE_RECORD_BYTES;
        self.is_possible() && !self.has_failed && unsaved > 0 && is_much
    }

    /// Takes the snapshot for the next manifest, if there is one.
    pub(super) fn take_made(&mut self) -> Option<SnapshotName> {
        self.made.take()
    }

    /// Deletes old snapshots, if the last manifest names a new one.
    pub(super) fn collect_if_named(&mut self, named: &[SnapshotName]) {
        if let Some(tasks) = &self.tasks
            && self.collected.as_ref() != named.first()
        {
            self.collected = named.first().cloned();
            // The saver ends at a failure only, and then deletes nothing more.
            let _ = tasks.send(Task::Collect(named.to_vec()));
        }
    }

    /// Ends the saver, and then the release of records.
    ///
    /// # Errors
    /// When it has panicked.
    pub(super) fn finish(&mut self) -> Result<()> {
        if let Some(tasks) = self.tasks.take() {
            // It may have ended with the run.
            let _ = tasks.send(Task::End);
        }
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            return Err(Error::internal("the saver panicked"));
        }
        if let Some(releases) = self.releases.take() {
            releases.finish();
        }
        Ok(())
    }
}
