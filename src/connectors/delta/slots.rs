//! The rows of one writer by slot: their places in the table's files, and their values if they are
//! few.

use crate::row::{Row, Value};

use super::index::Place;
use super::layout::{Layout, REWRITE_MAX_BYTES};

/// The slot has no row.
const VACANT: Place = Place { file: u32::MAX, row: u32::MAX };
/// The slot has a row that is in no file.
pub(super) const UNPLACED: Place = Place { file: u32::MAX, row: 0 };

/// The number of places in a chunk.
const CHUNK: usize = 4096;

/// The place of the row at each slot.
#[derive(Default)]
pub(super) struct Slots {
    /// In chunks, so that they grow without a copy.
    places: Vec<Box<[Place]>>,
    rows: u64,
}

impl Slots {
    /// Returns the number of rows.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns the number of rows that are in no file.
    pub(super) fn unplaced(&self) -> usize {
        self.places.iter().flatten().filter(|place| **place == UNPLACED).count()
    }

    /// Returns true if a row is at `slot` that is in no file.
    pub(super) fn is_unplaced(&self, slot: u32) -> bool {
        self.get(slot) == Some(UNPLACED)
    }

    /// Returns the place of the row at `slot`, if it is in a file.
    pub(super) fn in_file(&self, slot: u32) -> Option<Place> {
        self.get(slot).filter(placed)
    }

    /// Returns the slots and places of all rows that are in files.
    pub(super) fn all_in_files(&self) -> impl Iterator<Item = (u32, Place)> {
        (0..).zip(self.places.iter().flatten().copied()).filter(|(_, place)| placed(place))
    }

    /// Puts a row at `slot`.
    pub(super) fn put(&mut self, slot: u32, place: Place) {
        let (chunk, at) = (slot as usize / CHUNK, slot as usize % CHUNK);
        while self.places.len() <= chunk {
            self.places.push(vec![VACANT; CHUNK].into());
        }
        let before = std::mem::replace(&mut self.places[chunk][at], place);
        self.rows += u64::from(before == VACANT);
    }

    /// Removes the row at `slot`; false if there is none.
    pub(super) fn take(&mut self, slot: u32) -> bool {
        let chunk = self.places.get_mut(slot as usize / CHUNK);
        let Some(place) = chunk.map(|places| &mut places[slot as usize % CHUNK]) else {
            return false;
        };
        let was_there = std::mem::replace(place, VACANT) != VACANT;
        self.rows -= u64::from(was_there);
        was_there
    }

    fn get(&self, slot: u32) -> Option<Place> {
        Some(self.places.get(slot as usize / CHUNK)?[slot as usize % CHUNK])
    }
}

fn placed(place: &Place) -> bool {
    *place != VACANT && *place != UNPLACED
}

/// The rows of a writer that has so few of them that it rewrites all at each change. Otherwise each
/// change would leave a file and a vector.
#[derive(Default)]
pub(super) struct RewriteBuffer {
    rows: Vec<Option<Vec<Value>>>,
    /// The size of their values in bytes.
    bytes: usize,
    pub(super) changed: bool,
    /// The files that hold rows of this writer only.
    pub(super) own: Vec<u32>,
}

impl RewriteBuffer {
    /// Returns the rows with their slots.
    pub(super) fn rows(&self) -> impl Iterator<Item = (u32, &Vec<Value>)> {
        (0..).zip(&self.rows).filter_map(|(slot, row)| Some((slot, row.as_ref()?)))
    }

    /// Returns true if it has the row at `slot`.
    pub(super) fn holds(&self, slot: u32) -> bool {
        self.rows.get(slot as usize).is_some_and(Option::is_some)
    }

    /// Returns true if the rows have too many bytes, or if the writer has too many `rows`.
    pub(super) fn outgrown(&self, rows: u64, layout: &Layout) -> bool {
        rows > layout.rewrite_below || self.bytes > REWRITE_MAX_BYTES
    }

    pub(super) fn put(&mut self, slot: u32, row: &dyn Row) {
        let mut values = Vec::new();
        row.put(&mut values);
        let slot = slot as usize;
        if self.rows.len() <= slot {
            self.rows.resize(slot + 1, None);
        }
        self.bytes += bytes(&values);
        let old = self.rows[slot].replace(values);
        self.bytes -= old.map_or(0, |old| bytes(&old));
        self.changed = true;
    }

    pub(super) fn take(&mut self, slot: u32) {
        let old = self.rows.get_mut(slot as usize).and_then(Option::take);
        self.bytes -= old.map_or(0, |old| bytes(&old));
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
