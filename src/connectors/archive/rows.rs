//! Rows as lines of JSON: one object for each row, whose fields are the columns.

use std::mem;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::connect::{Part, PartFile, Schema, Writer};
use crate::error::{Error, Result};
use crate::row::{Row, write_object};

/// A staged object, as its writer describes it to the committer.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Lines {
    /// The partition of the worker.
    pub(super) partition: u32,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Its name below `_staged`.
    pub(super) staged: String,
}

/// One worker's partition.
pub(super) struct Encoder {
    schema: Arc<Schema>,
    /// The generation of the run. It is part of the name, so that an older run never replaces an
    /// object of its successor.
    generation: u64,
    partition: u32,
    /// The number of parts so far.
    parts: u64,
    lines: Vec<u8>,
    records: u64,
}

impl Encoder {
    /// Makes the encoder of the worker with the number `partition`.
    pub(super) fn new(schema: Arc<Schema>, generation: u64, partition: u32) -> Self {
        Encoder { schema, generation, partition, parts: 0, lines: Vec::new(), records: 0 }
    }
}

impl Writer for Encoder {
    fn insert(&mut self, _slot: u32, row: &dyn Row) -> Result<()> {
        let columns = &self.schema.columns;
        if let Err(problem) = write_object(columns, columns.len(), row, &mut self.lines) {
            return Err(Error::data(format!(
                "can't write a row of {} as JSON: {problem}",
                self.schema.topic
            )));
        }
        self.lines.push(b'\n');
        self.records += 1;
        Ok(())
    }

    fn remove(&mut self, _slot: u32) {}

    fn stage(&mut self) -> Result<Option<Part>> {
        if self.records == 0 {
            return Ok(None);
        }
        self.parts += 1;
        let (bytes, records) = (mem::take(&mut self.lines), mem::take(&mut self.records));
        let staged = format!("{}-{}-{}.json", self.generation, self.parts, self.partition);
        let note = Lines {
            partition: self.partition,
            records,
            bytes: bytes.len() as u64,
            staged: staged.clone(),
        };
        let files = vec![PartFile { name: staged, bytes: bytes.into() }];
        Ok(Some(Part::new(&note, &[])?.with_files(files)))
    }
}
