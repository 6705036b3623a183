//! Counts the rows of a topic. If the group has forgotten the last commit, the totals identify it.

use std::collections::BTreeMap;

use crate::connect::{Mode, Schema};
use crate::row::{Column, RowKey, read_object};
use crate::secret::Secret;

use super::rows::{Totals, records};

/// The rows of a topic, counted from its records.
pub(super) struct TopicScan {
    columns: Vec<Column>,
    mode: Mode,
    /// The digest of each key's row; empty in append mode.
    rows: BTreeMap<Vec<u8>, u64>,
    secret: Secret,
    pub(super) totals: Totals,
}

impl TopicScan {
    pub(super) fn new(schema: &Schema, secret: Secret) -> Self {
        let (columns, mode) = (schema.columns.clone(), schema.mode);
        TopicScan { columns, mode, rows: BTreeMap::new(), secret, totals: Totals::default() }
    }

    /// Counts a record; `None` if it is neither a row nor a tombstone.
    pub(super) fn add(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Option<()> {
        let digest = match value {
            Some(value) => Some(self.digest(value)?),
            None => None,
        };
        let before = match (self.mode, key, digest) {
            (Mode::Append, None, Some(_)) => None,
            (Mode::Snapshot, Some(key), Some(digest)) => self.rows.insert(key.to_vec(), digest),
            (Mode::Snapshot, Some(key), None) => self.rows.remove(key),
            _ => return None,
        };
        before.into_iter().for_each(|digest| self.totals.take(digest));
        digest.into_iter().for_each(|digest| self.totals.put(digest));
        Some(())
    }

    /// Returns the totals after the records of `lines`; `None` if these are damaged. Each key is in
    /// them at most once.
    pub(super) fn with(&self, lines: &[u8]) -> Option<Totals> {
        let mut totals = self.totals;
        for record in records(lines) {
            let (key, value) = record.ok()?;
            if let Some(digest) = key.and_then(|key| self.rows.get(key.get().as_bytes())) {
                totals.take(*digest);
            }
            if let Some(value) = value {
                totals.put(self.digest(value.get().as_bytes())?);
            }
        }
        Some(totals)
    }

    /// Returns the digest of a row in JSON.
    fn digest(&self, object: &[u8]) -> Option<u64> {
        let row = read_object(&self.columns, object)?;
        Some(RowKey::new(self.secret).of(row.len(), &row) as u64)
    }
}
