//! Rows as records: writers keep what changed, and hand it over as lines `[key,value]` of JSON
//! texts that stay as they are.

use std::any::Any;
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::connect::{Mode, Schema, Writer};

use crate::error::{Error, Result};
use crate::row::{Row, RowKey, write_object};
use crate::secret::Secret;

/// What a topic holds: how many rows, and the sum of their digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) rows: u64,
    pub(super) digest: u64,
}

impl Held {
    pub(super) fn add(&mut self, other: Held) {
        self.rows = self.rows.wrapping_add(other.rows);
        self.digest = self.digest.wrapping_add(other.digest);
    }

    pub(super) fn put(&mut self, digest: u64) {
        self.add(Held { rows: 1, digest });
    }

    pub(super) fn take(&mut self, digest: u64) {
        self.add(Held { rows: u64::MAX, digest: digest.wrapping_neg() });
    }
}

/// What one worker hands over: the records, and by how much the topic holds more, modulo 2^64.
pub(super) struct Part {
    pub(super) lines: Vec<u8>,
    pub(super) more: Held,
}

/// One worker's rows.
pub(super) struct Encoder {
    schema: Arc<Schema>,
    /// Key and digest of the row at each slot; nothing in append mode.
    slots: Vec<Option<(Box<[u8]>, u64)>>,
    /// What became of each key since the last commit.
    changes: BTreeMap<Box<[u8]>, Option<Vec<u8>>>,
    appended: Vec<u8>,
    more: Held,
    recovering: bool,
    /// The sum of the digests of the rows that all writers found again.
    found: Arc<AtomicU64>,
    hasher: RowKey,
}

impl Encoder {
    pub(super) fn new(schema: Arc<Schema>, found: Arc<AtomicU64>, secret: Secret) -> Self {
        Encoder {
            schema,
            slots: Vec::new(),
            changes: BTreeMap::new(),
            appended: Vec::new(),
            more: Held::default(),
            recovering: true,
            found,
            hasher: RowKey::new(secret),
        }
    }

    fn json(&self, fields: usize, row: &dyn Row, out: &mut Vec<u8>) -> Result<()> {
        write_object(&self.schema.columns, fields, row, out).map_err(|trouble| {
            Error::data(format!("can't write a row of {} as JSON: {trouble}", self.schema.topic))
        })
    }

    /// Puts a row or nothing at `slot`.
    fn replace(&mut self, slot: u32, row: Option<(Box<[u8]>, u64, Vec<u8>)>) {
        let slot = slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        if let Some((key, digest)) = self.slots[slot].take() {
            self.more.take(digest);
            if !self.recovering {
                self.changes.insert(key, None);
            }
        }
        if let Some((key, digest, value)) = row {
            self.more.put(digest);
            if !self.recovering {
                self.changes.insert(key.clone(), Some(value));
            }
            self.slots[slot] = Some((key, digest));
        }
    }
}

impl Writer for Encoder {
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        let columns = self.schema.columns.len();
        let digest = self.hasher.of(columns, row) as u64;
        match self.schema.mode {
            Mode::Snapshot => {
                let (mut key, mut value) = (Vec::new(), Vec::new());
                self.json(self.schema.key, row, &mut key)?;
                if !self.recovering {
                    self.json(columns, row, &mut value)?;
                }
                self.replace(slot, Some((key.into(), digest, value)));
            }
            Mode::Append => {
                self.more.put(digest);
                if !self.recovering {
                    let mut lines = mem::take(&mut self.appended);
                    let start = lines.len();
                    lines.extend(b"[null,");
                    let written = self.json(columns, row, &mut lines);
                    match &written {
                        Ok(()) => lines.extend(b"]\n"),
                        Err(_) => lines.truncate(start),
                    }
                    self.appended = lines;
                    written?;
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, slot: u32) {
        self.replace(slot, None);
    }

    fn recovered(&mut self) -> Result<u64> {
        self.recovering = false;
        let found = mem::take(&mut self.more);
        self.found.fetch_add(found.digest, Ordering::SeqCst);
        Ok(found.rows)
    }

    fn stage(&mut self) -> Result<Option<Box<dyn Any + Send>>> {
        let (mut lines, more) = (mem::take(&mut self.appended), mem::take(&mut self.more));
        for (key, value) in mem::take(&mut self.changes) {
            let value = value.as_deref().unwrap_or(b"null");
            for piece in [&b"["[..], &key, b",", value, b"]\n"] {
                lines.extend_from_slice(piece);
            }
        }
        Ok((!lines.is_empty()).then(|| Box::new(Part { lines, more }) as _))
    }
}

/// The key and the value of each line; what was wrong with one that can't be read.
pub(super) fn records(
    lines: &[u8],
) -> impl Iterator<Item = Result<(Option<&RawValue>, Option<&RawValue>), serde_json::Error>> {
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(serde_json::from_slice)
}
