//! Housekeeping between commits.

use crate::error::Result;

use super::committer::DeltaCommitter;

/// When what was last done.
pub(super) struct Upkeep {
    pub(super) checkpoint_every: u64,
    pub(super) checkpoint: u64,
}

impl Upkeep {
    pub(super) fn new(checkpoint_every: u64, version: u64) -> Self {
        Upkeep { checkpoint_every, checkpoint: version }
    }
}

impl DeltaCommitter {
    pub(super) fn keep_up(&mut self) -> Result<()> {
        Ok(())
    }
}
