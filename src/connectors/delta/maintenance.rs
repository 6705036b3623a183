//! Maintenance beside commits: checkpoints, deletion of unreferenced files, and compaction.

use std::any::Any;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::connect::MaintenanceTask;
use crate::error::{Error, Result};

use super::committer::DeltaCommitter;
use super::compaction::Compacted;
use super::file::FileEntry;
use super::files::{self, Moved};
use super::{retention, snapshot, vectors};

/// Checkpoints between two searches for files that can be deleted.
const CLEAN_EVERY_CHECKPOINTS: u64 = 64;
/// How long a version stays readable, in milliseconds: a week, Delta's default.
const RETENTION_MS: i64 = 7 * 24 * 3600 * 1000;

/// The state of a table's maintenance.
pub(super) struct Maintenance {
    /// True once this run has made a commit: until then an older one may still be about to.
    begun: bool,
    checkpoint_every: u64,
    /// Version of the last checkpoint, once it is known.
    checkpoint: Option<u64>,
    checkpoints: u64,
    /// The number of files that were made of others.
    pub(super) compacted: u64,
    /// An earlier listing of the folder. A file in it that was being written then has since been
    /// committed or abandoned.
    listed: Option<Vec<String>>,
    /// A compaction of unknown outcome.
    pub(super) unresolved: Option<Unresolved>,
}

/// A compaction that may be in the log.
pub(super) struct Unresolved {
    /// The bytes of its version.
    pub(super) body: Vec<u8>,
    pub(super) compacted: Compacted,
}

/// The result of a maintenance task.
pub(super) enum TaskResult {
    /// Wrote the living rows of some files to a new one. Then, of each old file, the way of its
    /// rows, and the vector that it had.
    Merged(FileEntry, Vec<(u32, Moved)>, Vec<Option<Value>>),
    /// Listed the folder.
    Listed(Vec<String>),
    /// Summed up the log to this version.
    Checkpointed(u64),
}

impl Maintenance {
    pub(super) fn new(checkpoint_every: u64) -> Self {
        Maintenance {
            begun: false,
            checkpoint_every,
            checkpoint: None,
            checkpoints: 0,
            compacted: 0,
            listed: None,
            unresolved: None,
        }
    }

    /// Allows maintenance.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }
}

/// Returns `work` as a task.
pub(super) fn task(
    work: impl FnOnce() -> Result<TaskResult> + Send + 'static,
) -> Option<MaintenanceTask> {
    Some(Box::new(move || Ok(Box::new(work()?))))
}

impl DeltaCommitter {
    /// Returns the task that is due, if any.
    ///
    /// # Errors
    /// When the last checkpoint can't be found.
    pub(super) fn due_task(&mut self) -> Result<Option<MaintenanceTask>> {
        if !self.maintenance.begun || !self.staged.is_empty() || self.log.superseded {
            return Ok(None);
        }
        self.resolve()?;
        let chosen = self.compaction_candidates();
        if chosen.is_empty() { self.checkpoint() } else { self.merge(&chosen) }
    }

    /// Takes over the result of a task.
    ///
    /// # Errors
    /// When it fails; the table is as correct as before.
    pub(super) fn take_over_result(&mut self, result: Box<dyn Any + Send>) -> Result<()> {
        match *result
            .downcast::<TaskResult>()
            .map_err(|_| Error::internal("a task of another sink ended at a table"))?
        {
            TaskResult::Merged(file, moves, vectors) => {
                return self.commit_compaction(file, moves, vectors);
            }
            TaskResult::Listed(listed) => self.maintenance.listed = Some(listed),
            TaskResult::Checkpointed(version) => {
                self.maintenance.checkpoint = Some(version);
                self.maintenance.checkpoints += 1;
            }
        }
        Ok(())
    }

    /// Returns the task that sums up the log, if the log has grown enough. Now and then it also
    /// searches for files that can be deleted.
    fn checkpoint(&mut self) -> Result<Option<MaintenanceTask>> {
        let (store, version) = (self.log.store.clone(), self.log.version);
        let last = match self.maintenance.checkpoint {
            Some(version) => version,
            None => snapshot::last_checkpoint(&store)?,
        };
        self.maintenance.checkpoint = Some(last);
        if version < last + self.maintenance.checkpoint_every {
            return Ok(None);
        }
        let listed = self.maintenance.listed.take();
        if listed.is_none() && self.maintenance.checkpoints.is_multiple_of(CLEAN_EVERY_CHECKPOINTS)
        {
            return Ok(task(move || {
                Ok(TaskResult::Listed(store.list("")?.into_iter().map(|(name, _)| name).collect()))
            }));
        }
        let (orphans, since) = (
            listed.map(|listed| self.orphans(listed)).transpose()?,
            (self.log.now)() - RETENTION_MS,
        );
        Ok(task(move || {
            snapshot::checkpoint(&store, version)?;
            if let Some(orphans) = orphans {
                retention::clean(&store, version, since, orphans)?;
            }
            Ok(TaskResult::Checkpointed(version))
        }))
    }

    /// Returns the `listed` files that this run or an earlier one wrote and that the table does not
    /// need. Files of a later run are recognised by its number, and are left alone.
    fn orphans(&self, listed: Vec<String>) -> Result<Vec<String>> {
        let mut needed = BTreeSet::new();
        for file in self.files.files.values() {
            needed.insert(file.path.clone());
            if let Some(vector) = &file.vector {
                needed.extend(vectors::path(vector)?);
            }
        }
        let ours = |name: &str| files::generation(name).or_else(|| vectors::generation(name));
        let old = |name: &String| {
            ours(name).is_some_and(|g| g <= self.layout.generation) && !needed.contains(name)
        };
        Ok(listed.into_iter().filter(old).collect())
    }
}
