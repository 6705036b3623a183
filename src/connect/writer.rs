//! The contract of one worker's part of a sink: it first recovers and then writes.

use serde::{Deserialize, Serialize};

use super::Part;
use crate::error::{Error, Result};
use crate::row::Row;

/// One worker's part of a sink while a run recovers. Every row that it receives was written before;
/// the recovery only finds it again.
///
/// It runs on the worker's thread. A row identity always goes to the same worker.
///
/// A run that continues from a saved state has the rows up to the commit of that state, and reads
/// the records after it. The sink is already at the last commit. So the recovery has two steps:
///
/// 1. The rows of the state come first. In snapshot mode they come by [`insert`](Self::insert), or
///    by [`restore`](Self::restore) if the sink [needs no rows](super::Sink::needs_rows). In append
///    mode their number comes by [`skip`](Self::skip).
/// 2. The changes after the state come by [`insert`](Self::insert) and [`remove`](Self::remove).
///
/// Only [`finish`](Self::finish) can report a row that the sink lacks: until then a later change
/// may still remove it.
///
/// A sink that keeps the text of each row by its slot, so that a removal can name it:
///
/// ```
/// use std::collections::BTreeMap;
///
/// use watershed::connect::{FoundRows, Part, Recovered, Recovering, Writer};
/// use watershed::prelude::*;
///
/// #[derive(Default)]
/// struct Rows(BTreeMap<u32, Vec<Value>>);
///
/// struct Removals {
///     rows: Rows,
///     removed: Vec<Vec<Value>>,
/// }
///
/// fn values(row: &dyn Row) -> Vec<Value> {
///     let mut values = Vec::new();
///     row.put(&mut values);
///     values
/// }
///
/// impl Recovering for Rows {
///     fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
///         self.0.insert(slot, values(row));
///         Ok(())
///     }
///     fn remove(&mut self, slot: u32) {
///         self.0.remove(&slot);
///     }
///     fn skip(&mut self, _rows: u64) -> Result<()> {
///         Err(Error::internal("can't skip rows of a table"))
///     }
///     fn finish(self: Box<Self>) -> Result<Recovered> {
///         let found = FoundRows::count(self.0.len() as u64);
///         let writer = Box::new(Removals { rows: *self, removed: Vec::new() });
///         Ok(Recovered { writer, found })
///     }
/// }
///
/// impl Writer for Removals {
///     fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
///         self.removed.extend(self.rows.0.insert(slot, values(row)));
///         Ok(())
///     }
///     fn remove(&mut self, slot: u32) {
///         self.removed.extend(self.rows.0.remove(&slot));
///     }
///     fn stage(&mut self) -> Result<Option<Part>> {
///         Part::new(&std::mem::take(&mut self.removed), &[]).map(Some)
///     }
/// }
///
/// let mut recovering = Box::new(Rows::default());
/// recovering.insert(0, &("a".to_string(), 1_i64))?;
/// let Recovered { mut writer, found } = recovering.finish()?;
/// assert_eq!(found, FoundRows::count(1));
/// writer.remove(0);
/// let part = writer.stage()?.expect("a row was removed");
/// let removed = part.read::<Vec<Vec<Value>>>()?.0;
/// assert_eq!(removed, [[Value::Text("a".into()), Value::Long(1)]]);
/// # Ok::<(), Error>(())
/// ```
pub trait Recovering: Send {
    /// Recovers `row` at `slot`, in place of an earlier row there. Slots are dense, from 0. Append
    /// mode ignores them.
    ///
    /// # Errors
    /// When the sink can't be read.
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()>;

    /// Removes the row at `slot`. Never called in append mode.
    fn remove(&mut self, slot: u32);

    /// Recovers the row at `slot` by `key`, which has only the [key columns](super::Schema::key).
    /// The later changes may replace or remove the row, so the sink may lack it.
    ///
    /// It is called in snapshot mode only, before any [`insert`](Self::insert) and
    /// [`remove`](Self::remove), and only if [`Sink::needs_rows`](super::Sink::needs_rows) returns
    /// false. By default it fails.
    ///
    /// # Errors
    /// When the sink can't be read.
    fn restore(&mut self, _slot: u32, _key: &dyn Row) -> Result<()> {
        Err(Error::internal("can't recover a row by its key: this sink needs whole rows"))
    }

    /// Recovers `rows` rows that earlier runs appended and that are not presented again. They count
    /// as [found](FoundRows::rows).
    ///
    /// It is called in append mode only, at most once, before any [`insert`](Self::insert). `rows`
    /// is not 0. Workers of the earlier runs may have written the rows.
    ///
    /// # Errors
    /// When the sink needs each row.
    fn skip(&mut self, rows: u64) -> Result<()>;

    /// Ends the recovery.
    ///
    /// # Errors
    /// When a recovered row is missing in the sink.
    fn finish(self: Box<Self>) -> Result<Recovered>;
}

/// The result of a worker's recovery.
pub struct Recovered {
    /// The writer that continues after the recovered rows.
    pub writer: Box<dyn Writer>,
    /// The recovered rows.
    pub found: FoundRows,
}

impl Recovered {
    /// Ends the recovery of all writers of a process, and sums up their rows.
    ///
    /// # Errors
    /// The first error of a writer.
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

/// The number and the digest of recovered rows: of one worker, or of several together.
///
/// ```
/// use watershed::connect::FoundRows;
///
/// let mut all = FoundRows::count(2);
/// all.add(FoundRows { rows: 1, digest: 7, skipped: 0 });
/// assert_eq!(all, FoundRows { rows: 3, digest: 7, skipped: 0 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundRows {
    /// The number of rows.
    pub rows: u64,
    /// The sum of their digests modulo 2^64 in a sink that compares content, otherwise 0. Skipped
    /// rows are not in it.
    pub digest: u64,
    /// The number of rows among them that were [skipped](Recovering::skip).
    pub skipped: u64,
}

impl FoundRows {
    /// Returns `rows` rows without a digest.
    pub fn count(rows: u64) -> Self {
        FoundRows { rows, ..FoundRows::default() }
    }

    /// Returns `rows` rows that were [skipped](Recovering::skip).
    pub fn skipped(rows: u64) -> Self {
        FoundRows { rows, digest: 0, skipped: rows }
    }

    /// Adds the rows of another worker.
    pub fn add(&mut self, other: FoundRows) {
        self.rows = self.rows.wrapping_add(other.rows);
        self.digest = self.digest.wrapping_add(other.digest);
        self.skipped = self.skipped.wrapping_add(other.skipped);
    }
}

/// One worker's part of a sink after the recovery. It runs on the worker's thread and performs no
/// input or output. [`Recovering`] has an example.
pub trait Writer: Send {
    /// Puts `row` at `slot`, in place of any row there. Slots are dense, from 0. Append mode
    /// ignores them.
    ///
    /// # Errors
    /// When the row can't be encoded.
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()>;

    /// Removes the row at `slot`. Never called in append mode.
    fn remove(&mut self, slot: u32);

    /// Returns the changes since the last call; `None` if there are none.
    ///
    /// # Errors
    /// When the rows can't be encoded.
    fn stage(&mut self) -> Result<Option<Part>>;
}

/// The recovery of a writer that needs no earlier rows, as in append mode. It counts the rows.
/// [`Sink`](super::Sink) has an example.
pub struct CountRows<W> {
    writer: W,
    found: FoundRows,
}

impl<W: Writer> CountRows<W> {
    /// Counts rows until `writer` takes over.
    pub fn before(writer: W) -> Self {
        CountRows { writer, found: FoundRows::default() }
    }
}

impl<W: Writer + 'static> Recovering for CountRows<W> {
    fn insert(&mut self, _slot: u32, _row: &dyn Row) -> Result<()> {
        self.found.add(FoundRows::count(1));
        Ok(())
    }

    fn remove(&mut self, _slot: u32) {}

    fn skip(&mut self, rows: u64) -> Result<()> {
        self.found.add(FoundRows::skipped(rows));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Recovered> {
        Ok(Recovered { writer: Box::new(self.writer), found: self.found })
    }
}
