//! The sink: writers keep the text of each row, and the committer adds up and prints their changes.

use std::collections::BTreeMap;
use std::io::Write;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use chrono::DateTime;
use serde_json::json;

use crate::connect::{
    Committer, CountRows, FoundRows, Mode, Part, Recovered, Recovering, Schema, Sink, SinkContext,
    Writer,
};
use crate::error::{Error, Result};
use crate::row::{Row, Value};
use crate::sync::lock;

use super::Console;

/// The change in the number of each row, by the row's text.
type Changes = BTreeMap<String, i64>;

impl Sink for Console {
    fn describe(&self) -> String {
        format!("console {}", self.name)
    }

    /// Accepts every reset: printed lines stay, and the rows are printed again.
    fn check_clear(&self, _: &Schema, _: &SinkContext, _replaced: &str) -> Result<()> {
        Ok(())
    }

    fn open(&self, schema: &Schema, _context: &SinkContext) -> Result<Box<dyn Committer>> {
        Ok(Box::new(Printer {
            console: self.clone(),
            topic: schema.topic.clone(),
            mode: schema.mode,
            staged: BTreeMap::new(),
        }))
    }

    fn writers(
        &self,
        schema: &Schema,
        _context: &SinkContext,
        _brief: &serde_json::Value,
        workers: Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>> {
        let columns: Arc<[String]> =
            schema.columns.iter().map(|column| column.name.clone()).collect();
        let lines = || Lines { columns: columns.clone(), slots: Vec::new() };
        let recovery = || -> Box<dyn Recovering> {
            match schema.mode {
                Mode::Snapshot => Box::new(lines()),
                Mode::Append => {
                    let (columns, changes) = (columns.clone(), Changes::new());
                    Box::new(CountRows::before(AppendedLines { columns, changes }))
                }
            }
        };
        Ok(workers.map(|_| recovery()).collect())
    }
}

/// Returns a row as one line.
fn line(columns: &[String], row: &dyn Row) -> String {
    let mut values = Vec::new();
    row.put(&mut values);
    let cell = |(name, value): (&String, &Value)| format!("{name}={}", text(value));
    columns.iter().zip(&values).map(cell).collect::<Vec<_>>().join(" ")
}

/// Takes the changes as a part; `None` if there are none.
fn take_part(changes: &mut Changes) -> Result<Option<Part>> {
    let changes = mem::take(changes);
    (!changes.is_empty()).then(|| Part::new(&changes, &[])).transpose()
}

/// The text of each row of a table, by slot. It is printed again when the row is removed.
struct Lines {
    columns: Arc<[String]>,
    slots: Vec<Option<String>>,
}

impl Lines {
    /// Sets or clears the row at `slot`. Returns the earlier and the new line.
    fn put(&mut self, slot: u32, row: Option<&dyn Row>) -> [Option<String>; 2] {
        let slot = slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        let line = row.map(|row| line(&self.columns, row));
        [mem::replace(&mut self.slots[slot], line.clone()), line]
    }
}

impl Recovering for Lines {
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        self.put(slot, Some(row));
        Ok(())
    }

    fn remove(&mut self, slot: u32) {
        self.put(slot, None);
    }

    fn skip(&mut self, _rows: u64) -> Result<()> {
        Err(Error::internal("can't skip rows of a table on the console"))
    }

    fn finish(self: Box<Self>) -> Result<Recovered> {
        let found = FoundRows::count(self.slots.iter().flatten().count() as u64);
        let writer = TableLines { lines: *self, changes: Changes::new() };
        Ok(Recovered { writer: Box::new(writer), found })
    }
}

/// The writer of a table.
struct TableLines {
    lines: Lines,
    changes: Changes,
}

impl TableLines {
    fn put(&mut self, slot: u32, row: Option<&dyn Row>) {
        let [before, now] = self.lines.put(slot, row);
        for (line, by) in [(before, -1), (now, 1)] {
            if let Some(line) = line {
                *self.changes.entry(line).or_default() += by;
            }
        }
    }
}

impl Writer for TableLines {
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        self.put(slot, Some(row));
        Ok(())
    }

    fn remove(&mut self, slot: u32) {
        self.put(slot, None);
    }

    fn stage(&mut self) -> Result<Option<Part>> {
        take_part(&mut self.changes)
    }
}

/// The writer of a stream, whose rows are all kept.
struct AppendedLines {
    columns: Arc<[String]>,
    changes: Changes,
}

impl Writer for AppendedLines {
    fn insert(&mut self, _slot: u32, row: &dyn Row) -> Result<()> {
        *self.changes.entry(line(&self.columns, row)).or_default() += 1;
        Ok(())
    }

    fn remove(&mut self, _slot: u32) {}

    fn stage(&mut self) -> Result<Option<Part>> {
        take_part(&mut self.changes)
    }
}

/// Returns a value on one line. Different values of a type have different texts.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Long(v) => v.to_string(),
        Value::Double(v) => format!("{v:?}"),
        Value::Boolean(v) => v.to_string(),
        Value::Text(v) => format!("{v:?}"),
        Value::Timestamp(v) => match DateTime::from_timestamp_micros(*v) {
            Some(time) => time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
            None => format!("{v}us"),
        },
        Value::Doubles(v) => format!("{v:?}"),
        Value::Binary(v) => format!("b\"{}\"", v.escape_ascii()),
    }
}

struct Printer {
    console: Console,
    topic: String,
    mode: Mode,
    /// The changes that are not printed yet, by commit.
    staged: BTreeMap<u64, Changes>,
}

impl Committer for Printer {
    fn recovered(&mut self, _found: FoundRows) -> Result<()> {
        Ok(())
    }

    fn stage(&mut self, n: u64, parts: Vec<Part>) -> Result<Option<serde_json::Value>> {
        let mut all = Changes::new();
        for part in parts {
            for (line, by) in part.read::<Changes>()?.0 {
                *all.entry(line).or_default() += by;
            }
        }
        all.retain(|_, by| *by != 0);
        if all.is_empty() {
            return Ok(None);
        }
        let sum = |sign: i64| all.values().map(|by| (by * sign).max(0)).sum::<i64>();
        let content = json!({ "added": sum(1), "removed": sum(-1) });
        self.staged.insert(n, all);
        Ok(Some(content))
    }

    fn commit(&mut self, n: u64, _content: &serde_json::Value) -> Result<()> {
        let Some(changes) = self.staged.remove(&n) else { return Ok(()) };
        let mut lines = format!("{}, commit {n}\n", self.topic);
        for (line, by) in changes {
            let sign = match self.mode {
                Mode::Append => "",
                Mode::Snapshot if by < 0 => "- ",
                Mode::Snapshot => "+ ",
            };
            (0..by.abs()).for_each(|_| lines.extend(["  ", sign, &line, "\n"]));
        }
        let mut out = lock(&self.console.out);
        let printed = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
        printed.map_err(|e| {
            Error::connect(format!("can't print commit {n} of {}", self.topic)).because(e)
        })
    }
}
