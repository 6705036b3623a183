//! The contract of a worker's share of a sink: first it recovers, then it writes.

use serde::{Deserialize, Serialize};

use super::Part;
use crate::error::Result;
use crate::row::Row;

/// One worker's share of a sink while a run recovers: every row that it is given is already in the
/// sink, and is only found there again.
///
/// It runs on the worker's thread. A row identity is always given to the same worker.
pub trait Recovering: Send {
    /// Finds `row`, which is at `slot` in place of an earlier one. Slots are dense, from 0; append
    /// mode ignores them.
    ///
    /// # Errors
    /// When the sink can't be read.
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()>;

    /// Forgets the row at `slot`. Never called in append mode.
    fn remove(&mut self, slot: u32);

    /// Ends the recovery.
    ///
    /// # Errors
    /// When a row is missing in the sink.
    fn finish(self: Box<Self>) -> Result<Recovered>;
}

/// The result of a worker's recovery.
pub struct Recovered {
    /// The writer that goes on from the rows that were found.
    pub writer: Box<dyn Writer>,
    /// The rows that were found.
    pub found: FoundRows,
}

impl Recovered {
    /// Ends the recovery of all writers of a process, and adds up their rows.
    ///
    /// # Errors
    /// The first error of any.
    pub fn of_all(all: Vec<Box<dyn Recovering>>) -> Result<(Vec<Box<dyn Writer>>, FoundRows)> {
        let (mut writers, mut total) = (Vec::with_capacity(all.len()), FoundRows::default());
        for recovering in all {
            let Recovered { writer, found } = recovering.finish()?;
            writers.push(writer);
            total.add(found);
        }
        Ok((writers, total))
    }
}

/// The rows of a sink that were found again: by one worker, or by several in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundRows {
    /// The number of rows.
    pub rows: u64,
    /// The sum of their digests modulo 2^64, in a sink that compares content; else 0.
    pub digest: u64,
}

impl FoundRows {
    /// Returns `rows` rows without a digest.
    pub fn count(rows: u64) -> Self {
        FoundRows { rows, digest: 0 }
    }

    /// Adds the rows of another worker.
    pub fn add(&mut self, other: FoundRows) {
        self.rows = self.rows.wrapping_add(other.rows);
        self.digest = self.digest.wrapping_add(other.digest);
    }
}

/// One worker's share of a sink after the recovery. It runs on the worker's thread and does no
/// input or output.
pub trait Writer: Send {
    /// Puts `row` at `slot`, in place of the row there, if any. Slots are dense, from 0; append
    /// mode ignores them.
    ///
    /// # Errors
    /// When the row can't be encoded.
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()>;

    /// Takes away the row at `slot`. Never called in append mode.
    fn remove(&mut self, slot: u32);

    /// Hands over the changes since the last call; `None` if there are none.
    ///
    /// # Errors
    /// When the rows can't be encoded.
    fn stage(&mut self) -> Result<Option<Part>>;
}

/// The recovery of a writer that needs nothing of the rows before it, as in append mode: it counts
/// them.
pub struct CountRows<W> {
    writer: W,
    rows: u64,
}

impl<W: Writer> CountRows<W> {
    /// Counts rows until `writer` takes over.
    pub fn before(writer: W) -> Self {
        CountRows { writer, rows: 0 }
    }
}

impl<W: Writer + 'static> Recovering for CountRows<W> {
    fn insert(&mut self, _slot: u32, _row: &dyn Row) -> Result<()> {
        self.rows += 1;
        Ok(())
    }

    fn remove(&mut self, _slot: u32) {}

    fn finish(self: Box<Self>) -> Result<Recovered> {
        Ok(Recovered { writer: Box::new(self.writer), found: FoundRows::count(self.rows) })
    }
}
