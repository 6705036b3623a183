//! A row as a JSON object whose fields are its columns, for connectors whose records are text.

#[cfg(any(feature = "kafka", feature = "program"))]
mod read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use serde::Serialize;

use super::{Column, Put, Row};
#[cfg(any(feature = "kafka", feature = "program"))]
pub(crate) use read::read_object;

/// Appends the object of the first `fields` columns of `row` to `out`: times as RFC 3339 in
/// microseconds, bytes in base64.
///
/// # Errors
/// When a value has no form in JSON: the value and its column. Then `out` is unchanged.
pub(crate) fn write_object(
    columns: &[Column],
    fields: usize,
    row: &dyn Row,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let start = out.len();
    let mut object = Object { columns, fields, out, column: 0, problem: None };
    row.put(&mut object);
    let problem = object.end();
    if let Some(problem) = problem {
        out.truncate(start);
        return Err(problem);
    }
    Ok(())
}

/// A row that is being written to `out`.
struct Object<'a> {
    columns: &'a [Column],
    fields: usize,
    out: &'a mut Vec<u8>,
    column: usize,
    problem: Option<String>,
}

impl<'a> Object<'a> {
    fn field(&mut self, value: &impl Serialize) {
        self.column += 1;
        if self.column > self.fields {
            return;
        }
        self.out.push(if self.column == 1 { b'{' } else { b',' });
        let json = |value: serde_json::Result<()>| value.err().map(|e| e.to_string());
        let name = self.name(self.column - 1);
        let name = json(serde_json::to_writer(&mut *self.out, name));
        self.out.push(b':');
        let value = json(serde_json::to_writer(&mut *self.out, value));
        self.problem = self.problem.take().or(name).or(value);
    }

    fn name(&self, column: usize) -> &'a str {
        self.columns.get(column).map_or("", |column| &column.name)
    }

    fn refuse(&mut self, value: String) {
        if self.column < self.fields && self.problem.is_none() {
            self.problem = Some(format!("{} is {value}", self.name(self.column)));
        }
    }

    fn finite(&mut self, value: f64) {
        // JSON has no word for such a float, and null would be another value.
        if !value.is_finite() {
            self.refuse(value.to_string());
        }
    }

    fn end(self) -> Option<String> {
        if self.column.min(self.fields) == 0 {
            self.out.push(b'{');
        }
        self.out.push(b'}');
        let columns = self.columns.len();
        self.problem.or_else(|| {
            (self.column != columns)
                .then(|| format!("{} values for {columns} columns", self.column))
        })
    }
}

impl Put for Object<'_> {
    fn long(&mut self, value: Option<i64>) {
        self.field(&value);
    }
    fn double(&mut self, value: Option<f64>) {
        value.into_iter().for_each(|v| self.finite(v));
        self.field(&value);
    }
    fn boolean(&mut self, value: Option<bool>) {
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
