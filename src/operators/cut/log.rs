//! The changed rows of a table on one worker, until they are taken.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;

use super::append;
use crate::error::Result;
use crate::time::Epoch;

/// The changed rows of a cut that were not taken, by epoch.
pub(super) type Log = Rc<RefCell<BTreeMap<Epoch, LoggedRows>>>;

/// Changed rows, in the order of the changes.
#[derive(Default)]
pub(super) struct LoggedRows {
    /// The number of each key, and the length of its value in `bytes`.
    heads: Vec<(u32, u32)>,
    bytes: Vec<u8>,
}

/// The length of the value of a deleted row.
const DELETED: u32 = u32::MAX;
const HEAD_BYTES: usize = size_of::<(u32, u32)>();

impl LoggedRows {
    /// Adds the row of the key with this number, or its deletion. Returns the added bytes.
    pub(super) fn put<V: Serialize>(&mut self, number: u32, value: Option<&V>) -> Result<usize> {
        let length = match value {
            Some(value) => append(&mut self.bytes, value)?,
            None => DELETED,
        };
        self.heads.push((number, length));
        Ok(HEAD_BYTES + value.map_or(0, |_| length as usize))
    }

    /// Returns the approximate bytes of the rows in a column.
    pub(super) fn encoded_size(&self) -> usize {
        self.bytes.len() + 2 * self.heads.len()
    }

    /// Returns the bytes of the rows.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.heads.len() * HEAD_BYTES
    }

    /// Calls `each` with the number and the value of each row; none is a deleted row.
    pub(super) fn for_each(
        &self,
        mut each: impl FnMut(u32, Option<&[u8]>) -> Result<()>,
    ) -> Result<()> {
        let mut rest = &self.bytes[..];
        for (number, length) in &self.heads {
            if *length == DELETED {
                each(*number, None)?;
            } else {
                let (value, behind) = rest.split_at(*length as usize);
                rest = behind;
                each(*number, Some(value))?;
            }
        }
        Ok(())
    }
}
