//! Housekeeping beside commits: checkpoints, the end of what nothing refers to any more, and when
//! it is time to compact.

use std::any::Any;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::connect::MaintenanceTask;
use crate::error::{Error, Result};

use super::committer::DeltaCommitter;
use super::compaction::Rearranged;
use super::file::FileEntry;
use super::files::{self, Moved};
use super::{retention, snapshot, vectors};

/// Checkpoints between two searches for what can be deleted.
const TIDY: u64 = 64;
/// How long a version stays readable, in milliseconds: a week, as Delta has it.
const KEEP: i64 = 7 * 24 * 3600 * 1000;

/// What was done last, and when.
pub(super) struct Upkeep {
    /// Whether this run has made a commit: until then an older one may still be about to.
    begun: bool,
    checkpoint_every: u64,
    /// Version of the last checkpoint, once it is known.
    checkpoint: Option<u64>,
    checkpoints: u64,
    /// How many files were made of others.
    pub(super) compacted: u64,
    /// What the folder held a while ago: what was on its way into the table by then is part of it
    /// now, or was.
    there: Option<Vec<String>>,
    /// A version that may have been made, and what it makes of the files.
    pub(super) doubt: Option<(Vec<u8>, Rearranged)>,
}

/// What a chore has done.
pub(super) enum Done {
    /// Wrote the living rows of some files to a new one. It comes without its bytes; then, of each
    /// old file, the way of its rows, and the vector it had.
    Merged(FileEntry, Vec<(u32, Moved)>, Vec<Option<Value>>),
    Listed(Vec<String>),
    /// Summed up the log to this version.
    Checkpointed(u64),
}

impl Upkeep {
    pub(super) fn new(checkpoint_every: u64) -> Self {
        Upkeep {
            begun: false,
            checkpoint_every,
            checkpoint: None,
            checkpoints: 0,
            compacted: 0,
            there: None,
            doubt: None,
        }
    }

    /// Allows housekeeping.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }
}

/// `work` as a chore.
pub(super) fn task(
    work: impl FnOnce() -> Result<Done> + Send + 'static,
) -> Option<MaintenanceTask> {
    Some(Box::new(move || Ok(Box::new(work()?))))
}

impl DeltaCommitter {
    /// What is due.
    ///
    /// # Errors
    /// When the last checkpoint can't be found.
    pub(super) fn due(&mut self) -> Result<Option<MaintenanceTask>> {
        if !self.upkeep.begun || !self.staged.is_empty() || self.log.superseded {
            return Ok(None);
        }
        self.settle()?;
        let chosen = self.crowd();
        if chosen.is_empty() { self.checkpoint() } else { self.merge(&chosen) }
    }

    /// Takes over what was done.
    ///
    /// # Errors
    /// When it fails; the table is as right as before.
    pub(super) fn done(&mut self, done: Box<dyn Any + Send>) -> Result<()> {
        match *done.downcast::<Done>().map_err(|_| Error::internal("a chore is not of a table"))? {
            Done::Merged(file, moves, vectors) => return self.rearrange(file, moves, vectors),
            Done::Listed(there) => self.upkeep.there = Some(there),
            Done::Checkpointed(version) => {
                self.upkeep.checkpoint = Some(version);
                self.upkeep.checkpoints += 1;
            }
        }
        Ok(())
    }

    /// Sums the log up, if it has grown enough since it was last; now and then with a search for
    /// what can be deleted.
    fn checkpoint(&mut self) -> Result<Option<MaintenanceTask>> {
        let (store, version) = (self.log.store.clone(), self.log.version);
        let last = match self.upkeep.checkpoint {
            Some(version) => version,
            None => snapshot::last_checkpoint(&store)?,
        };
        self.upkeep.checkpoint = Some(last);
        if version < last + self.upkeep.checkpoint_every {
            return Ok(None);
        }
        let there = self.upkeep.there.take();
        if there.is_none() && self.upkeep.checkpoints.is_multiple_of(TIDY) {
            return Ok(task(move || {
                Ok(Done::Listed(store.list("")?.into_iter().map(|(name, _)| name).collect()))
            }));
        }
        let (doubtful, since) =
            (there.map(|there| self.doubtful(there)).transpose()?, (self.log.now)() - KEEP);
        Ok(task(move || {
            snapshot::checkpoint(&store, version)?;
            if let Some(doubtful) = doubtful {
                retention::clean(&store, version, since, doubtful)?;
            }
            Ok(Done::Checkpointed(version))
        }))
    }

    /// What of the files that were `there` the table does not need: written by this run or earlier
    /// ones, and not part of it. Files of a later run are known by its number and left alone.
    fn doubtful(&self, there: Vec<String>) -> Result<Vec<String>> {
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
        Ok(there.into_iter().filter(old).collect())
    }
}
