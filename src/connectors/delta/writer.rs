//! One worker's part of a table: it knows the place of every row it put there, so nothing is read
//! to replace one.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::row::{Column, Row, RowKey, Value};

use crate::connect::{Mode, Schema, Writer};
use crate::error::{Error, Result};

use super::file::{NewFile, OpenFile};
use super::index::{Index, Place, Places};

/// No row is here.
const NONE: Place = Place { file: u32::MAX, row: u32::MAX };
/// A row is here that is in no file: a small table's, until it is staged; or, in a recovery, one
/// that the table lacks.
const NOWHERE: Place = Place { file: u32::MAX, row: 0 };

/// Most bytes of a table that is written anew at each change, however few rows they are: 10 ms.
pub(super) const SMALL: usize = 4 << 20;

/// Most rows of a file: what Parquet makes one row group of.
pub(super) const ROWS: u32 = 1 << 20;

/// What all writers of a table and its committer know.
pub(super) struct Layout {
    pub(super) schema: Schema,
    pub(super) generation: u64,
    pub(super) workers: usize,
    /// The number of the next file in this run.
    pub(super) files: AtomicU32,
    pub(super) target_file_size: usize,
    pub(super) rewrite_below: u64,
}

impl Layout {
    pub(super) fn columns(&self) -> &[Column] {
        &self.schema.columns
    }

    pub(super) fn next_file(&self) -> u32 {
        self.files.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a file of this size has had its fill.
    pub(super) fn full(&self, file: &OpenFile) -> bool {
        file.rows() >= ROWS || file.size() >= self.target_file_size
    }
}

/// What a writer hands to the committer.
pub(super) struct Part {
    /// Files to add.
    pub(super) files: Vec<NewFile>,
    /// Rows to take away.
    pub(super) kills: Vec<Place>,
    /// Files of which nothing is left.
    pub(super) replaces: Vec<u32>,
    /// True if the writer has written all its rows anew.
    pub(super) small: bool,
}

/// See the module.
pub(super) struct DeltaWriter {
    layout: Arc<Layout>,
    worker: usize,
    /// How many files it has begun.
    begun: u32,
    places: Vec<Place>,
    rows: u64,
    kills: Vec<Place>,
    open: Option<OpenFile>,
    closed: Vec<NewFile>,
    small: Option<Small>,
    recovery: Option<Recovery>,
}

/// The rows of a table that is so small that it is written anew at each change, rather than leave a
/// file and a vector each time.
#[derive(Default)]
struct Small {
    rows: Vec<Option<Vec<Value>>>,
    /// How many bytes their values have.
    bytes: usize,
    changed: bool,
    /// The files that hold rows of this writer only.
    own: Vec<u32>,
}

impl Small {
    fn set(&mut self, slot: usize, row: &dyn Row) {
        let mut values = Vec::new();
        row.put(&mut values);
        if self.rows.len() <= slot {
            self.rows.resize(slot + 1, None);
        }
        self.bytes += bytes(&values);
        let old = self.rows[slot].replace(values);
        self.bytes -= old.map_or(0, |old| bytes(&old));
        self.changed = true;
    }

    fn remove(&mut self, slot: usize) {
        self.bytes -= self.rows[slot].take().map_or(0, |old| bytes(&old));
        self.changed = true;
    }
}

fn bytes(row: &[Value]) -> usize {
    let heap = |value: &Value| match value {
        Value::Text(v) => v.len(),
        Value::Binary(v) => v.len(),
        Value::Doubles(v) => size_of_val(v.as_slice()),
        _ => 0,
    };
    size_of_val(row) + row.iter().map(heap).sum::<usize>()
}

struct Recovery {
    index: Arc<Index>,
    places: Option<Places>,
    key: RowKey,
}

impl DeltaWriter {
    pub(super) fn new(layout: Arc<Layout>, worker: usize, index: Arc<Index>) -> Self {
        let snapshot = layout.schema.mode == Mode::Snapshot;
        let small = (snapshot && layout.rewrite_below > 0).then(Small::default);
        let key = index.hasher();
        let recovery = Some(Recovery { index, places: None, key });
        let (places, kills, closed) = (Vec::new(), Vec::new(), Vec::new());
        DeltaWriter {
            layout,
            worker,
            begun: 0,
            places,
            rows: 0,
            kills,
            open: None,
            closed,
            small,
            recovery,
        }
    }

    /// Adds a row to the open file and says where it is.
    fn append(&mut self, row: &dyn Row) -> Result<Place> {
        let mut file = match self.open.take() {
            Some(file) => file,
            None => {
                let path = format!(
                    "part-{}-{}-{}.parquet",
                    self.layout.generation, self.begun, self.worker
                );
                self.begun += 1;
                OpenFile::new(self.layout.next_file(), path, self.layout.columns())?
            }
        };
        let place = Place { file: file.id(), row: file.push(row)? };
        if self.layout.full(&file) {
            self.closed.push(file.finish()?);
        } else {
            self.open = Some(file);
        }
        Ok(place)
    }

    fn place(&self, slot: u32) -> Place {
        self.places.get(slot as usize).copied().unwrap_or(NONE)
    }

    fn set(&mut self, slot: u32, place: Place) {
        let slot = slot as usize;
        if self.places.len() <= slot {
            self.places.resize(slot + 1, NONE);
        }
        self.rows += u64::from(self.places[slot] == NONE && place != NONE);
        self.rows -= u64::from(self.places[slot] != NONE && place == NONE);
        self.places[slot] = place;
    }

    /// Kills the row at `slot` in its file, if it is in one.
    fn kill(&mut self, slot: u32) {
        let place = self.place(slot);
        if place != NONE && place != NOWHERE && self.recovery.is_none() {
            self.kills.push(place);
        }
    }

    /// Looks up where the table has a row that is put during the recovery.
    fn find(&mut self, row: &dyn Row) -> Result<Place> {
        let Some(recovery) = &mut self.recovery else { return Ok(NOWHERE) };
        let places = match &recovery.places {
            Some(places) => places,
            None => recovery.places.insert(recovery.index.places()?),
        };
        let key = recovery.key.of(self.layout.schema.key, row);
        Ok(places.get(&key).copied().unwrap_or(NOWHERE))
    }

    /// Gives up writing everything anew, for good: from here on rows are appended and killed one by
    /// one.
    fn outgrow(&mut self) -> Result<()> {
        let Some(small) = self.small.take() else { return Ok(()) };
        if self.recovery.is_none() {
            for (slot, row) in (0..).zip(&small.rows) {
                if let (Some(row), NOWHERE) = (row, self.place(slot)) {
                    self.places[slot as usize] = self.append(row)?;
                }
            }
        }
        Ok(())
    }

    /// Writes everything anew if anything changed; returns the files that are replaced by that.
    fn rewrite(&mut self) -> Result<Vec<u32>> {
        let Some(mut small) = self.small.take_if(|s| s.changed) else { return Ok(Vec::new()) };
        let elsewhere = |place: &Place| *place != NONE && *place != NOWHERE;
        self.kills.extend(self.places.iter().filter(|p| elsewhere(p)));
        self.kills.retain(|kill| !small.own.contains(&kill.file));
        for (slot, row) in (0..).zip(&small.rows) {
            if let Some(row) = row {
                self.places[slot] = self.append(row)?;
            }
        }
        self.close()?;
        small.changed = false;
        let replaced =
            std::mem::replace(&mut small.own, self.closed.iter().map(|f| f.id).collect());
        self.small = Some(small);
        Ok(replaced)
    }

    fn close(&mut self) -> Result<()> {
        if let Some(file) = self.open.take() {
            self.closed.push(file.finish()?);
        }
        Ok(())
    }
}

impl Writer for DeltaWriter {
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        if self.layout.schema.mode == Mode::Append {
            if self.recovery.is_some() {
                self.rows += 1;
                return Ok(());
            }
            return self.append(row).map(|_| ());
        }
        self.kill(slot);
        let place = match &mut self.small {
            _ if self.recovery.is_some() => self.find(row)?,
            Some(_) => NOWHERE,
            None => self.append(row)?,
        };
        self.set(slot, place);
        if let Some(small) = &mut self.small {
            small.set(slot as usize, row);
            if self.rows > self.layout.rewrite_below || small.bytes > SMALL {
                self.outgrow()?;
            }
        }
        Ok(())
    }

    fn remove(&mut self, slot: u32) {
        self.kill(slot);
        if self.place(slot) != NONE {
            self.set(slot, NONE);
            if let Some(small) = &mut self.small {
                small.remove(slot as usize);
            }
        }
    }

    fn recovered(&mut self) -> Result<u64> {
        self.recovery = None;
        if let Some(small) = &mut self.small {
            small.changed = false;
        }
        let missing = self.places.iter().filter(|p| **p == NOWHERE).count();
        if missing > 0 {
            let message = format!(
                "the table of {} lacks {missing} rows that were written to it",
                self.layout.schema.topic
            );
            return Err(Error::data(message)
                .hint("Something else has changed the table. Restore it, or start again with an empty table and a new state."));
        }
        Ok(self.rows)
    }

    fn stage(&mut self) -> Result<Option<Box<dyn Any + Send>>> {
        let replaces = self.rewrite()?;
        self.close()?;
        let (files, kills) = (std::mem::take(&mut self.closed), std::mem::take(&mut self.kills));
        if files.is_empty() && kills.is_empty() && replaces.is_empty() {
            return Ok(None);
        }
        Ok(Some(Box::new(Part { files, kills, replaces, small: self.small.is_some() })))
    }
}
