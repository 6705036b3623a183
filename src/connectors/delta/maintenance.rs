//! Maintenance beside commits: checkpoints, deletion of unreferenced files, and compaction.

use std::any::Any;
use std::collections::BTreeSet;

use crate::connect::MaintenanceTask;
use crate::error::{Error, Result};
use crate::faults;

use super::compaction::{Compactor, Merged};
use super::files;
use super::state::TableState;
use super::{retention, snapshot, vectors};

/// The number of checkpoints between two searches for files that can be deleted.
const CHECKPOINTS_PER_CLEANUP: u64 = 64;
/// The time that a version stays readable: a week, Delta's default.
const RETENTION_MILLIS: i64 = 7 * 24 * 3600 * 1000;

/// The state of a table's maintenance.
pub(super) struct Maintenance {
    /// True once this run has made a commit. Until then an older run may still make one.
    begun: bool,
    checkpoint_every: u64,
    /// Version of the last checkpoint, once that was read.
    checkpoint: Option<u64>,
    checkpoints: u64,
    /// An earlier listing of the folder. A file in it that was being written then has since been
    /// committed or abandoned.
    listed: Option<Vec<String>>,
    pub(super) compactor: Compactor,
}

/// The result of a maintenance task.
enum TaskResult {
    /// Wrote the live rows of several files to a new one.
    Merged(Merged),
    /// Listed the folder.
    Listed(Vec<String>),
    /// Wrote a checkpoint of this version.
    Checkpointed(u64),
}

impl Maintenance {
    pub(super) fn new(checkpoint_every: u64) -> Self {
        Maintenance {
            begun: false,
            checkpoint_every,
            checkpoint: None,
            checkpoints: 0,
            listed: None,
            compactor: Compactor::default(),
        }
    }

    /// Allows maintenance, after a commit of this run.
    pub(super) fn begin(&mut self) {
        self.begun = true;
        self.compactor.resume();
    }

    /// Returns the task that is due, if any.
    ///
    /// # Errors
    /// When the last checkpoint can't be found.
    pub(super) fn due_task(&mut self, table: &mut TableState) -> Result<Option<MaintenanceTask>> {
        if !self.begun || !table.staged.is_empty() || table.log.superseded {
            return Ok(None);
        }
        self.compactor.resolve(table)?;
        let chosen = self.compactor.candidates(table);
        if chosen.is_empty() {
            return self.checkpoint(table);
        }
        let merge = self.compactor.merge(table, &chosen)?;
        Ok(task(move || merge().map(TaskResult::Merged)))
    }

    /// Applies the result of a task.
    ///
    /// # Errors
    /// When it fails; the table is as correct as before.
    pub(super) fn take_result(
        &mut self,
        table: &mut TableState,
        result: Box<dyn Any + Send>,
    ) -> Result<()> {
        match *result.downcast::<TaskResult>().map_err(|_| {
            Error::internal("the result of a task of another sink was passed to a table")
        })? {
            TaskResult::Merged(merged) => return self.compactor.commit(table, merged),
            TaskResult::Listed(listed) => self.listed = Some(listed),
            TaskResult::Checkpointed(version) => {
                self.checkpoint = Some(version);
                self.checkpoints += 1;
            }
        }
        Ok(())
    }

    /// Returns the task that writes a checkpoint, if the log has grown enough. Every
    /// [`CHECKPOINTS_PER_CLEANUP`] checkpoints it also searches for files that can be deleted.
    fn checkpoint(&mut self, table: &TableState) -> Result<Option<MaintenanceTask>> {
        let (store, version) = (table.log.store.clone(), table.log.version);
        let last = match self.checkpoint {
            Some(version) => version,
            None => snapshot::last_checkpoint(&store)?,
        };
        self.checkpoint = Some(last);
        if version < last + self.checkpoint_every {
            return Ok(None);
        }
        let listed = self.listed.take();
        if listed.is_none() && self.checkpoints.is_multiple_of(CHECKPOINTS_PER_CLEANUP) {
            return Ok(task(move || {
                Ok(TaskResult::Listed(store.list("")?.into_iter().map(|(name, _)| name).collect()))
            }));
        }
        let (orphans, since) = (
            listed.map(|listed| orphans(table, listed)).transpose()?,
            (table.log.now)() - RETENTION_MILLIS,
        );
        Ok(task(move || {
            faults::point("checkpoint.before");
            snapshot::checkpoint(&store, version)?;
            faults::point("checkpoint.after");
            if let Some(orphans) = orphans {
                retention::clean(&store, version, since, orphans)?;
            }
            Ok(TaskResult::Checkpointed(version))
        }))
    }
}

/// Returns `work` as a task.
fn task(work: impl FnOnce() -> Result<TaskResult> + Send + 'static) -> Option<MaintenanceTask> {
    Some(Box::new(move || Ok(Box::new(work()?))))
}

/// Returns the `listed` files that this run or an earlier one wrote and that the table does not
/// need. Files of a later run, recognised by its number, are kept.
fn orphans(table: &TableState, listed: Vec<String>) -> Result<Vec<String>> {
    let mut needed = BTreeSet::new();
    for file in table.files.files.values() {
        needed.insert(file.path.clone());
        if let Some(vector) = &file.vector {
            needed.extend(vectors::path(vector)?);
        }
    }
    let ours = |name: &str| files::generation(name).or_else(|| vectors::generation(name));
    let old = |name: &String| {
        ours(name).is_some_and(|g| g <= table.layout.generation) && !needed.contains(name)
    };
    Ok(listed.into_iter().filter(old).collect())
}
