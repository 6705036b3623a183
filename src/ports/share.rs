//! One worker's share of a sink, from its recovery on.

use crate::connect::{FoundRows, Part, Recovered, Recovering, Writer};
use crate::error::{Error, Result};
use crate::row::Row;

/// The worker's share of the sink.
pub(super) enum Share {
    Recovering(Box<dyn Recovering>),
    Writing(Box<dyn Writer>),
    /// The recovery has failed.
    Failed,
}

impl Share {
    pub(super) fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        match self {
            Share::Recovering(recovering) => recovering.insert(slot, row),
            Share::Writing(writer) => writer.insert(slot, row),
            Share::Failed => Err(failed()),
        }
    }

    pub(super) fn remove(&mut self, slot: u32) {
        match self {
            Share::Recovering(recovering) => recovering.remove(slot),
            Share::Writing(writer) => writer.remove(slot),
            Share::Failed => {}
        }
    }

    /// Finds a row by its key alone.
    pub(super) fn restore(&mut self, slot: u32, key: &dyn Row) -> Result<()> {
        match self {
            Share::Recovering(recovering) => recovering.restore(slot, key),
            Share::Writing(_) | Share::Failed => Err(late()),
        }
    }

    /// Passes over rows that were appended by earlier runs.
    pub(super) fn skip(&mut self, rows: u64) -> Result<()> {
        match self {
            Share::Recovering(recovering) => recovering.skip(rows),
            Share::Writing(_) | Share::Failed => Err(late()),
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
            share => {
                *self = share;
                Ok(None)
            }
        }
    }

    pub(super) fn stage(&mut self) -> Result<Option<Part>> {
        match self {
            Share::Writing(writer) => writer.stage(),
            Share::Recovering(_) | Share::Failed => Err(failed()),
        }
    }
}

fn late() -> Error {
    Error::internal("can't restore rows of a sink after its recovery")
}

fn failed() -> Error {
    Error::internal("can't write to a sink before its rows were found again")
}
