//! Rows as lines of JSON: one object each, the columns its fields.

use std::any::Any;
use std::mem;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use serde::Serialize;

use crate::connect::{Put, Row, Schema, Writer};
use crate::error::{Error, Result};

use super::source::LIMIT;

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
        Encoder { schema, lines: Lines { partition, ..Lines::default() }, recovering: true, found: 0 }
    }
}

impl Writer for Encoder {
    fn insert(&mut self, _slot: u32, row: &dyn Row) -> Result<()> {
        if self.recovering {
            self.found += 1;
            return Ok(());
        }
        let start = self.lines.bytes.len();
        let mut line = Line { schema: &self.schema, out: &mut self.lines.bytes, column: 0, trouble: None };
        row.put(&mut line);
        let trouble = line.end(start);
        if let Some(trouble) = trouble {
            self.lines.bytes.truncate(start);
            return Err(Error::data(format!("can't write a row of {} as JSON: {trouble}", self.schema.topic)));
        }
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

/// A row on its way into `out`.
struct Line<'a> {
    schema: &'a Schema,
    out: &'a mut Vec<u8>,
    column: usize,
    trouble: Option<String>,
}

impl Line<'_> {
    fn field(&mut self, value: &impl Serialize) {
        self.out.push(if self.column == 0 { b'{' } else { b',' });
        let name = self.schema.columns.get(self.column).map_or("", |column| &column.name);
        self.column += 1;
        let json = |value: serde_json::Result<()>| value.err().map(|e| e.to_string());
        let name = json(serde_json::to_writer(&mut *self.out, name));
        self.out.push(b':');
        let value = json(serde_json::to_writer(&mut *self.out, value));
        self.trouble = self.trouble.take().or(name).or(value);
    }

    fn refuse(&mut self, what: String) {
        let name = self.schema.columns.get(self.column).map_or("", |column| &column.name);
        self.trouble.get_or_insert(format!("{name} is {what}"));
    }

    fn finite(&mut self, value: f64) {
        // JSON has no word for it, and null would be another value.
        if !value.is_finite() {
            self.refuse(value.to_string());
        }
    }

    fn end(self, start: usize) -> Option<String> {
        if self.column == 0 {
            self.out.push(b'{');
        }
        self.out.extend(b"}\n");
        let (columns, length) = (self.schema.columns.len(), self.out.len() - start - 1);
        let trouble =
            self.trouble.or_else(|| (self.column != columns).then(|| format!("{} values for {columns} columns", self.column)));
        trouble.or_else(|| (length > LIMIT).then(|| format!("{length} bytes are too many for a record")))
    }
}

impl Put for Line<'_> {
    fn long(&mut self, value: Option<i64>) {
        self.field(&value);
    }
    fn double(&mut self, value: Option<f64>) {
        value.into_iter().for_each(|v| self.finite(v));
        self.field(&value);
    }
    fn text(&mut self, value: Option<&str>) {
        self.field(&value);
    }
    fn timestamp(&mut self, value: Option<i64>) {
        let time = value.and_then(DateTime::from_timestamp_micros);
        if let (Some(micros), None) = (value, time) {
            self.refuse(format!("{micros} microseconds from 1970"));
        }
        self.field(&time.map(|time| time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()));
    }
    fn doubles(&mut self, value: Option<&[f64]>) {
        value.into_iter().flatten().for_each(|v| self.finite(*v));
        self.field(&value);
    }
    fn binary(&mut self, value: Option<&[u8]>) {
        self.field(&value.map(|bytes| STANDARD.encode(bytes)));
    }
}
