//! Rows as lines of JSON: one object each, the columns its fields.

use std::any::Any;
use std::mem;
use std::sync::Arc;

use crate::row::{Row, write_object};

use crate::connect::{Schema, Writer};
use crate::error::{Error, Result};

/// Lines of one partition that wait for their commit.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) partition: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) records: u64,
}

/// One worker's partition.
pub(super) struct Encoder {
    schema: Arc<Schema>,
    lines: Lines,
    recovering: bool,
    found: u64,
}

impl Encoder {
    pub(super) fn new(schema: Arc<Schema>, partition: u32) -> Self {
        Encoder {
            schema,
            lines: Lines { partition, ..Lines::default() },
            recovering: true,
            found: 0,
        }
    }
}

impl Writer for Encoder {
    fn insert(&mut self, _slot: u32, row: &dyn Row) -> Result<()> {
        if self.recovering {
            self.found += 1;
            return Ok(());
        }
        let columns = &self.schema.columns;
        if let Err(trouble) = write_object(columns, columns.len(), row, &mut self.lines.bytes) {
            return Err(Error::data(format!(
                "can't write a row of {} as JSON: {trouble}",
                self.schema.topic
            )));
        }
        self.lines.bytes.push(b'\n');
        self.lines.records += 1;
        Ok(())
    }

    fn remove(&mut self, _slot: u32) {}

    fn recovered(&mut self) -> Result<u64> {
        self.recovering = false;
        Ok(self.found)
    }

    fn stage(&mut self) -> Result<Option<Box<dyn Any + Send>>> {
        let next = Lines { partition: self.lines.partition, ..Lines::default() };
        let lines = mem::replace(&mut self.lines, next);
        Ok((lines.records > 0).then(|| Box::new(lines) as _))
    }
}
