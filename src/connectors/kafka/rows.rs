//! Encodes rows as records. Writers collect changes and stage them as lines `[key,value]`.
//!
//! Key and value remain JSON texts until they are sent. Parsing them would round numbers.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::connect::{FoundRows, Mode, Part, Recovered, Recovering, Schema, Writer};
use crate::error::{Error, Result};
use crate::row::{Row, RowKey, write_object};
use crate::secret::Secret;

/// Row count and checksum of a topic: the sum of its rows' digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) rows: u64,
    pub(super) digest: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: Totals) {
        self.rows = self.rows.wrapping_add(other.rows);
        self.digest = self.digest.wrapping_add(other.digest);
    }

    pub(super) fn put(&mut self, digest: u64) {
        self.add(Totals { rows: 1, digest });
    }

    pub(super) fn take(&mut self, digest: u64) {
        self.add(Totals { rows: u64::MAX, digest: digest.wrapping_neg() });
    }
}

/// The rows of one worker.
struct Rows {
    schema: Arc<Schema>,
    hasher: RowKey,
    /// The row of each slot; empty in append mode.
    slots: Vec<Option<Slot>>,
    /// The change of the topic's total since the last part, modulo 2^64.
    more: Totals,
}

/// The key and digest of a row: enough to remove it.
#[derive(Clone)]
struct Slot {
    key: Box<[u8]>,
    digest: u64,
}

impl Rows {
    fn json(&self, fields: usize, row: &dyn Row, out: &mut Vec<u8>) -> Result<()> {
        write_object(&self.schema.columns, fields, row, out).map_err(|error| {
            Error::data(format!("can't write a row of {} as JSON: {error}", self.schema.topic))
        })
    }

    fn digest(&mut self, row: &dyn Row) -> u64 {
        self.hasher.of(self.schema.columns.len(), row) as u64
    }

    /// Puts a row into `slot`. Returns its key, and the key of the row before.
    fn put(&mut self, slot: u32, row: &dyn Row) -> Result<(Box<[u8]>, Option<Box<[u8]>>)> {
        let (digest, mut key) = (self.digest(row), Vec::new());
        self.json(self.schema.key, row, &mut key)?;
        let before = self.take(slot);
        let key: Box<[u8]> = key.into();
        self.more.put(digest);
        self.slots[slot as usize] = Some(Slot { key: key.clone(), digest });
        Ok((key, before))
    }

    /// Removes the row of `slot`. Returns its key.
    fn take(&mut self, slot: u32) -> Option<Box<[u8]>> {
        let slot = slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        let Slot { key, digest } = self.slots[slot].take()?;
        self.more.take(digest);
        Some(key)
    }
}

/// The rows of one worker during recovery: they are counted, and their digests added up.
pub(super) struct Recovery {
    rows: Rows,
    /// The number of rows that were skipped.
    skipped: u64,
}

impl Recovery {
    pub(super) fn new(schema: Arc<Schema>, secret: Secret) -> Self {
        let hasher = RowKey::new(secret);
        let rows = Rows { schema, hasher, slots: Vec::new(), more: Totals::default() };
        Recovery { rows, skipped: 0 }
    }
}

impl Recovering for Recovery {
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        match self.rows.schema.mode {
            Mode::Snapshot => drop(self.rows.put(slot, row)?),
            Mode::Append => {
                let digest = self.rows.digest(row);
                self.rows.more.put(digest);
            }
        }
        Ok(())
    }

    fn remove(&mut self, slot: u32) {
        self.rows.take(slot);
    }

    fn skip(&mut self, rows: u64) -> Result<()> {
        self.skipped += rows;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Recovered> {
        let Totals { rows, digest } = mem::take(&mut self.rows.more);
        let mut found = FoundRows { rows, digest, skipped: 0 };
        found.add(FoundRows::skipped(self.skipped));
        let writer = Encoder { rows: self.rows, changes: BTreeMap::new(), appended: Vec::new() };
        Ok(Recovered { writer: Box::new(writer), found })
    }
}

/// The writer of one worker's rows.
struct Encoder {
    rows: Rows,
    /// The new value of each key that has changed since the last part; `None` if its row is gone.
    changes: BTreeMap<Box<[u8]>, Option<Vec<u8>>>,
    /// Lines of the rows that were appended since the last part.
    appended: Vec<u8>,
}

impl Encoder {
    fn append(&mut self, row: &dyn Row) -> Result<()> {
        let (start, columns) = (self.appended.len(), self.rows.schema.columns.len());
        self.appended.extend(b"[null,");
        let written = self.rows.json(columns, row, &mut self.appended);
        match &written {
            Ok(()) => self.appended.extend(b"]\n"),
            Err(_) => self.appended.truncate(start),
        }
        written
    }
}

impl Writer for Encoder {
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        match self.rows.schema.mode {
            Mode::Snapshot => {
                let mut value = Vec::new();
                self.rows.json(self.rows.schema.columns.len(), row, &mut value)?;
                let (key, before) = self.rows.put(slot, row)?;
                self.changes.extend(before.map(|key| (key, None)));
                self.changes.insert(key, Some(value));
                Ok(())
            }
            Mode::Append => {
                self.append(row)?;
                let digest = self.rows.digest(row);
                self.rows.more.put(digest);
                Ok(())
            }
        }
    }

    fn remove(&mut self, slot: u32) {
        let before = self.rows.take(slot);
        self.changes.extend(before.map(|key| (key, None)));
    }

    /// The note of the part is the change of the totals; its lines follow.
    fn stage(&mut self) -> Result<Option<Part>> {
        let (mut lines, more) = (mem::take(&mut self.appended), mem::take(&mut self.rows.more));
        for (key, value) in mem::take(&mut self.changes) {
            let value = value.as_deref().unwrap_or(b"null");
            for piece in [&b"["[..], &key, b",", value, b"]\n"] {
                lines.extend_from_slice(piece);
            }
        }
        (!lines.is_empty()).then(|| Part::new(&more, &lines)).transpose()
    }
}

/// Returns key and value of each line, or the error of a damaged line.
pub(super) fn records(
    lines: &[u8],
) -> impl Iterator<Item = Result<(Option<&RawValue>, Option<&RawValue>), serde_json::Error>> {
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(serde_json::from_slice)
}
