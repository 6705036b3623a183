//! The committer's thread. For each commit it stages the changes, creates the manifest, and makes
//! the changes visible in the sinks.
//!
//! Maintenance moves files that a commit names, so it is fenced like commits. After a failed commit
//! there is no maintenance, because a later run may still make that commit visible. There is none
//! either once a newer run has begun, because that run has read the tables as they were.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};

use super::message::Message;
use crate::connect::{Committer, FoundRows, Identity, MaintenanceTask, Part};
use crate::durable::{
    CommitTime, Ledger, Manifest, ROW_DIGESTS, SinkState, SnapshotName, SourceState,
};
use crate::error::{Error, Result};
use crate::faults;
use crate::sync::{Receiver, Sender, channel, scope, side_by_side};

/// Changes of a sink up to a barrier, from all workers together.
#[derive(Default)]
pub(super) struct SinkPart {
    pub(super) parts: Vec<Part>,
    /// Number of rows in the sink after the commit.
    pub(super) rows: u64,
    /// Sum of the digests of these rows.
    pub(super) digest: u64,
}

/// A task for the committer.
pub(super) enum Job {
    /// Compare the rows found again, by sink, with the rows that the sinks hold.
    Verify(Vec<FoundRows>),
    /// Commit the ranges that were read and the changes by sink, and name snapshots.
    Commit {
        sources: BTreeMap<String, Vec<SourceState>>,
        time: CommitTime,
        sinks: Vec<SinkPart>,
        snapshots: Vec<SnapshotName>,
        is_far_behind: bool,
    },
}

/// While a run is far behind, maintenance comes after each commit of this many only: files that are
/// compacted early are compacted again and again.
const BULK_MAINTENANCE: u64 = 16;

/// A sink that is open for commits.
pub(super) struct Target {
    pub(super) topic: String,
    pub(super) name: String,
    pub(super) identity: Identity,
    pub(super) committer: Box<dyn Committer>,
    /// The next commit replaces all rows.
    pub(super) is_replaced: bool,
}

fn warn_of_maintenance(target: &Target, error: &Error) {
    tracing::warn!(topic = target.topic, %error, "maintenance failed, it will be tried again");
}

/// Returns true if the ledger confirms that no newer run has begun.
fn is_newest(ledger: &Option<Ledger>) -> bool {
    let newest = ledger.as_ref().map_or(Ok(true), Ledger::newest);
    newest.unwrap_or_else(|error| {
        tracing::warn!(%error, "no maintenance: can't find out if a newer run has begun");
        false
    })
}

/// The sinks of a run, and the ledger whose manifest decides each commit.
pub(super) struct CommitThread {
    targets: Vec<Target>,
    ledger: Option<Ledger>,
    /// The number of the last commit.
    last: u64,
}

impl CommitThread {
    /// Makes the last manifest visible in every sink: the previous run may have died after it
    /// created the manifest and before all sinks showed it.
    ///
    /// # Errors
    /// When a sink can't make it visible.
    pub(super) fn catch_up(mut targets: Vec<Target>, ledger: Option<Ledger>) -> Result<Self> {
        let recorded = ledger.as_ref().and_then(|ledger| ledger.last.as_ref());
        for target in &mut targets {
            let state = recorded.and_then(|recorded| recorded.sinks.get(&target.topic));
            if let (Some(recorded), Some(SinkState { content: Some(content), .. })) =
                (recorded, state)
            {
                faults::point("recovery.forward.before");
                target.committer.commit(recorded.n, content)?;
                faults::point("recovery.forward.after");
            }
        }
        let last = recorded.map_or(0, |recorded| recorded.n);
        Ok(CommitThread { targets, ledger, last })
    }

    /// Lets the next commit replace all rows of the sinks of these topics. All sinks must show the
    /// last manifest.
    ///
    /// # Errors
    /// When a sink can't do it.
    pub(super) fn replace(&mut self, topics: &BTreeSet<String>) -> Result<()> {
        for target in self.targets.iter_mut().filter(|target| topics.contains(&target.topic)) {
            target.committer.replace()?;
            target.is_replaced = true;
        }
        Ok(())
    }

    /// Returns the number of the last commit.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Returns the brief of each sink for its writers. All sinks must show the last manifest.
    ///
    /// # Errors
    /// When a sink can't make one.
    pub(super) fn briefs(&mut self) -> Result<Vec<serde_json::Value>> {
        self.targets.iter_mut().map(|target| target.committer.brief()).collect()
    }

    /// Returns the topics of the sinks, in the order of binding.
    pub(super) fn topics(&self) -> Vec<String> {
        self.targets.iter().map(|target| target.topic.clone()).collect()
    }

    /// Runs jobs until their sender is dropped. Meanwhile another thread runs maintenance tasks,
    /// one at a time.
    pub(super) fn run(mut self, jobs: &Receiver<Job>, coordinator: &Sender<Message>) {
        let (task_sender, tasks) = channel::<(usize, MaintenanceTask)>();
        let (done_sender, done) = channel();
        scope(|scope| {
            let maintenance = move || {
                // The committer may be over already.
                let _ = tasks.iter().try_for_each(|(sink, task)| done_sender.send((sink, task())));
            };
            if let Err(error) = scope.spawn("maintain", maintenance) {
                let error = Error::no_thread("a thread for maintenance", error);
                // The run may be over already.
                let _ = coordinator.send(Message::Failed(error));
                return;
            }
            let mut busy = false;
            while let Ok(job) = jobs.recv() {
                let mut can_wait = false;
                let result = match job {
                    Job::Verify(found) => self.verify(&found).map(|()| Message::Verified),
                    Job::Commit { sources, time, sinks, snapshots, is_far_behind } => {
                        can_wait = is_far_behind && !self.last.is_multiple_of(BULK_MAINTENANCE);
                        self.commit(sources, time, sinks, snapshots)
                            .map(|()| Message::Committed(self.last))
                    }
                };
                let failed = result.is_err();
                if coordinator.send(result.unwrap_or_else(Message::Failed)).is_err() || failed {
                    return;
                }
                if let Ok((sink, result)) = done.try_recv() {
                    self.finish_maintenance(sink, result);
                    busy = false;
                }
                busy = busy || (!can_wait && self.start_maintenance(&task_sender));
            }
            drop(task_sender);
            done.iter().for_each(|(sink, result)| self.finish_maintenance(sink, result));
        });
    }

    /// Starts the maintenance task of the first sink that has one, and returns false if none has.
    /// After each commit the search begins at another sink, so that every sink gets its turn.
    fn start_maintenance(&mut self, tasks: &Sender<(usize, MaintenanceTask)>) -> bool {
        let sinks = self.targets.len();
        (0..sinks).map(|i| (self.last as usize + i) % sinks).any(|sink| {
            let target = &mut self.targets[sink];
            match target.committer.maintain() {
                Ok(task) => task.is_some_and(|task| {
                    is_newest(&self.ledger) && tasks.send((sink, task)).is_ok()
                }),
                Err(error) => {
                    warn_of_maintenance(target, &error);
                    false
                }
            }
        })
    }

    fn finish_maintenance(&mut self, sink: usize, result: Result<Box<dyn Any + Send>>) {
        if !is_newest(&self.ledger) {
            return;
        }
        let target = &mut self.targets[sink];
        if let Err(error) = result.and_then(|done| target.committer.maintained(done)) {
            warn_of_maintenance(target, &error);
        }
    }

    fn verify(&mut self, found: &[FoundRows]) -> Result<()> {
        let mut targets = self.targets.iter_mut().zip(found);
        targets.try_for_each(|(target, found)| target.committer.recovered(*found))
    }

    fn commit(
        &mut self,
        sources: BTreeMap<String, Vec<SourceState>>,
        time: CommitTime,
        sinks: Vec<SinkPart>,
        snapshots: Vec<SnapshotName>,
    ) -> Result<()> {
        let n = self.last + 1;
        faults::point("commit.begin");
        let staged = self.stage(n, sinks)?;
        faults::point("commit.staged");
        if faults::bug("offsets_after_commit") {
            self.show(n, &staged)?;
        }
        if let Some(ledger) = &mut self.ledger {
            let mut manifest = Manifest::after(ledger);
            (manifest.sources, manifest.snapshots) = (sources, snapshots);
            manifest.time = time;
            let topics = self.targets.iter().map(|target| target.topic.clone());
            manifest.sinks = topics.zip(staged.iter().cloned()).collect();
            faults::point("commit.manifest.before");
            ledger.commit(manifest)?;
            faults::point("commit.manifest.after");
        }
        self.last = n;
        self.show(n, &staged)?;
        faults::point("commit.end");
        Ok(())
    }

    /// Stages commit `n` in all sinks at the same time, because staging mostly waits for disks.
    fn stage(&mut self, n: u64, sinks: Vec<SinkPart>) -> Result<Vec<SinkState>> {
        let staging = self.targets.iter_mut().zip(sinks).map(|(target, part)| {
            move || {
                let SinkPart { parts, rows, digest } = part;
                let changed = !parts.is_empty() || std::mem::take(&mut target.is_replaced);
                let content = if changed { target.committer.stage(n, parts)? } else { None };
                let (sink, identity) = (target.name.clone(), target.identity.clone());
                Ok(SinkState { sink, identity, rows, digest, rule: ROW_DIGESTS, content })
            }
        });
        side_by_side("the thread of a sink", staging).into_iter().collect()
    }

    /// Makes commit `n` visible in all sinks that it changes, at the same time.
    fn show(&mut self, n: u64, staged: &[SinkState]) -> Result<()> {
        let showing = self.targets.iter_mut().zip(staged).filter_map(|(target, state)| {
            let content = state.content.as_ref()?;
            Some(move || {
                faults::point("commit.sink.before");
                target.committer.commit(n, content)?;
                faults::point("commit.sink.after");
                Ok(())
            })
        });
        side_by_side("the thread of a sink", showing).into_iter().collect()
    }
}
