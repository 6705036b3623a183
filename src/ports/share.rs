//! One worker's share of a sink, from its recovery on.

use crate::connect::{FoundRows, Part, Recovered, Recovering, Writer};
use crate::error::{Error, Result};
use crate::row::Row;

/// The start of a sink in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SinkStart {
    /// The sink finds the rows of epoch 0 again.
    Recovery,
    /// The sink has no rows yet, so those of epoch 0 are written too.
    WithoutRows,
}

/// The worker's share of the sink.
pub(super) enum Share {
    Recovering(Box<dyn Recovering>),
    /// The sink has no rows yet, and the recovery of the run is not over.
    WithoutRows(Box<dyn Writer>, FoundRows),
    Writing(Box<dyn Writer>),
    /// The recovery has failed.
    Failed,
}

impl Share {
    /// Returns the share of a sink that has no rows yet.
    ///
    /// # Errors
    /// When the sink can't end its recovery.
    pub(super) fn without_rows(recovering: Box<dyn Recovering>) -> Result<Self> {
        let Recovered { writer, found } = recovering.finish()?;
        Ok(Share::WithoutRows(writer, found))
    }

    pub(super) fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        match self {
            Share::Recovering(recovering) => recovering.insert(slot, row),
            Share::Writing(writer) | Share::WithoutRows(writer, _) => writer.insert(slot, row),
            Share::Failed => Err(failed()),
        }
    }

    pub(super) fn remove(&mut self, slot: u32) {
        match self {
            Share::Recovering(recovering) => recovering.remove(slot),
            Share::Writing(writer) | Share::WithoutRows(writer, _) => writer.remove(slot),
            Share::Failed => {}
        }
    }

    /// Finds a row by its key alone.
    pub(super) fn restore(&mut self, slot: u32, key: &dyn Row) -> Result<()> {
        match self {
            Share::Recovering(recovering) => recovering.restore(slot, key),
            Share::WithoutRows(..) | Share::Writing(_) | Share::Failed => Err(late()),
        }
    }

    /// Passes over rows that were appended by earlier runs.
    pub(super) fn skip(&mut self, rows: u64) -> Result<()> {
        match self {
            Share::Recovering(recovering) => recovering.skip(rows),
            Share::WithoutRows(..) | Share::Writing(_) | Share::Failed => Err(late()),
        }
    }

    /// Ends the recovery, if it is not over yet: from here on rows are written.
    pub(super) fn finish(&mut self) -> Result<Option<FoundRows>> {
        match std::mem::replace(self, Share::Failed) {
            Share::Recovering(recovering) => {
                let Recovered { writer, found } = recovering.finish()?;
                *self = Share::Writing(writer);
                Ok(Some(found))
            }
            Share::WithoutRows(writer, found) => {
                *self = Share::Writing(writer);
                Ok(Some(found))
            }
            share => {
                *self = share;
                Ok(None)
            }
        }
    }

    pub(super) fn stage(&mut self) -> Result<Option<Part>> {
        match self {
            Share::Writing(writer) => writer.stage(),
            Share::Recovering(_) | Share::WithoutRows(..) | Share::Failed => Err(failed()),
        }
    }
}

fn late() -> Error {
    Error::internal("can't restore rows of a sink after its recovery")
}

fn failed() -> Error {
    Error::internal("can't write to a sink before its rows were found again")
}
