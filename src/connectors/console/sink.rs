//! Printing: writers keep the text of each row, the committer adds up their changes.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::Write;
use std::mem;
use std::sync::{Arc, PoisonError};

use chrono::DateTime;
use serde_json::json;

use crate::connect::{Committer, Mode, Opened, Schema, Sink, SinkContext, Writer};

use crate::error::{Error, Result};
use crate::row::{Row, Value};

use super::Console;

/// Rows as text, each with how many more of it there are.
type Changes = BTreeMap<String, i64>;

impl Sink for Console {
    fn describe(&self) -> String {
        format!("console {}", self.name)
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Opened> {
        let columns: Arc<[String]> =
            schema.columns.iter().map(|column| column.name.clone()).collect();
        let writer = || Lines {
            columns: columns.clone(),
            mode: schema.mode,
            slots: Vec::new(),
            changes: Changes::new(),
            recovering: true,
            found: 0,
        };
        let committer = Printer {
            console: self.clone(),
            topic: schema.topic.clone(),
            mode: schema.mode,
            staged: BTreeMap::new(),
        };
        Ok(Opened {
            writers: (0..context.workers).map(|_| Box::new(writer()) as _).collect(),
            committer: Box::new(committer),
        })
    }
}

struct Lines {
    columns: Arc<[String]>,
    mode: Mode,
    /// The rows that are there, to be printed when they go; empty in append mode.
    slots: Vec<Option<String>>,
    changes: Changes,
    recovering: bool,
    found: u64,
}

impl Lines {
    fn put(&mut self, slot: u32, line: Option<String>) {
        let slot = slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        let gone = mem::replace(&mut self.slots[slot], line.clone());
        self.change(gone, -1);
        self.change(line, 1);
    }

    fn change(&mut self, line: Option<String>, by: i64) {
        let Some(line) = line else { return };
        if self.recovering {
            self.found = self.found.saturating_add_signed(by);
        } else {
            *self.changes.entry(line).or_default() += by;
        }
    }
}

impl Writer for Lines {
    fn insert(&mut self, slot: u32, row: &dyn Row) -> Result<()> {
        let mut values = Vec::new();
        row.put(&mut values);
        let cells: Vec<String> = self
            .columns
            .iter()
            .zip(&values)
            .map(|(name, value)| format!("{name}={}", text(value)))
            .collect();
        let line = Some(cells.join(" "));
        match self.mode {
            Mode::Snapshot => self.put(slot, line),
            Mode::Append => self.change(line, 1),
        }
        Ok(())
    }

    fn remove(&mut self, slot: u32) {
        self.put(slot, None);
    }

    fn recovered(&mut self) -> Result<u64> {
        self.recovering = false;
        Ok(self.found)
    }

    fn stage(&mut self) -> Result<Option<Box<dyn Any + Send>>> {
        let changes = mem::take(&mut self.changes);
        Ok((!changes.is_empty()).then(|| Box::new(changes) as _))
    }
}

/// A value on one line, told apart from every other of its type.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Long(v) => v.to_string(),
        Value::Double(v) => format!("{v:?}"),
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
    /// What is to be printed, by commit.
    staged: BTreeMap<u64, Changes>,
}

impl Committer for Printer {
    fn recovered(&mut self, _rows: u64) -> Result<()> {
        Ok(())
    }

    fn stage(
        &mut self,
        n: u64,
        parts: Vec<Box<dyn Any + Send>>,
    ) -> Result<Option<serde_json::Value>> {
        let mut all = Changes::new();
        for part in parts {
            let part = part
                .downcast::<Changes>()
                .map_err(|_| Error::internal("the console was handed another sink's rows"))?;
            part.into_iter().for_each(|(line, by)| *all.entry(line).or_default() += by);
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
        let mut out = self.console.out.lock().unwrap_or_else(PoisonError::into_inner);
        let printed = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
        printed.map_err(|e| {
            Error::connect(format!("can't print commit {n} of {}", self.topic)).because(e)
        })
    }
}
