//! A screen with the console's output, parsed back into rows: all additions minus all deletions.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use watershed::row::{ColumnType, Value};

use watershed::connect::Sink;
use watershed::connectors::console::Console;

use super::contract::{Place, columns};

/// The output of all runs.
#[derive(Clone, Default)]
pub(super) struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Place for Screen {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(Console::to(Box::new(self.clone())))
    }

    fn rows(&self) -> Vec<Vec<Value>> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let mut rows: BTreeMap<Vec<Value>, i32> = BTreeMap::new();
        for line in text.lines() {
            let Some(line) = line.strip_prefix("  ") else {
                assert!(line.starts_with("topic, commit "), "{line:?} is no header");
                continue;
            };
            let (count, line) = match line.split_at(2) {
                ("+ ", row) => (1, row),
                ("- ", row) => (-1, row),
                _ => (1, line),
            };
            *rows.entry(row(line)).or_default() += count;
        }
        let repeated = |(row, count): (Vec<Value>, i32)| {
            let count =
                usize::try_from(count).unwrap_or_else(|_| panic!("{row:?} went and never came"));
            std::iter::repeat_n(row, count)
        };
        rows.into_iter().flat_map(repeated).collect()
    }
}

/// Parses the row of a line.
fn row(mut line: &str) -> Vec<Value> {
    let mut row = Vec::new();
    for column in columns() {
        let shown = line
            .strip_prefix(&format!("{}=", column.name))
            .unwrap_or_else(|| panic!("no {} in {line:?}", column.name));
        let (value, rest) = value(shown, column.ty);
        row.push(value);
        line = rest.strip_prefix(' ').unwrap_or(rest);
    }
    assert_eq!(line, "");
    row
}

/// Parses a value, and returns the rest of the text.
fn value(text: &str, ty: ColumnType) -> (Value, &str) {
    if let Some(rest) = text.strip_prefix("null") {
        return (Value::Null, rest);
    }
    let (word, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    match ty {
        ColumnType::Long => (Value::Long(word.parse().unwrap()), rest),
        ColumnType::Double => (Value::Double(word.parse().unwrap()), rest),
        ColumnType::Boolean => (Value::Boolean(word.parse().unwrap()), rest),
        ColumnType::Timestamp => (
            Value::Timestamp(
                word.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros(),
            ),
            rest,
        ),
        ColumnType::Doubles => {
            let (list, rest) = text.strip_prefix('[').unwrap().split_once(']').unwrap();
            let numbers = list
                .split(", ")
                .filter(|number| !number.is_empty())
                .map(|number| number.parse().unwrap());
            (Value::Doubles(numbers.collect()), rest)
        }
        ColumnType::Text => {
            let (text, rest) = quoted(text);
            (Value::Text(text), rest)
        }
        ColumnType::Binary => {
            let (text, rest) = quoted(text.strip_prefix('b').unwrap());
            (Value::Binary(text.chars().map(|c| u8::try_from(c).unwrap()).collect()), rest)
        }
    }
}

/// Parses a quoted text with Rust's escapes, and returns the rest of the text.
fn quoted(text: &str) -> (String, &str) {
    let mut chars = text.strip_prefix('"').unwrap().chars();
    let mut found = String::new();
    let number = |digits: &str| char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap();
    loop {
        let next = match chars.next().unwrap() {
            '"' => return (found, chars.as_str()),
            '\\' => match chars.next().unwrap() {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '0' => '\0',
                'x' => number(&chars.by_ref().take(2).collect::<String>()),
                'u' => {
                    number(&chars.by_ref().skip(1).take_while(|c| *c != '}').collect::<String>())
                }
                other => other,
            },
            plain => plain,
        };
        found.push(next);
    }
}
