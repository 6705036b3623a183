//! The three formats, and a value as text.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat};
use comfy_table::CellAlignment;

use super::Answer;
use crate::row::{ColumnType, Value};

/// Rows of each answer that are printed if all answers are printed.
const ROWS_MAX: usize = 20;
/// Characters of a cell that are printed.
const CELL_MAX_CHARS: usize = 60;
/// A line below the header and no other.
const STYLE: &str = "     ──            ";

/// Prints aligned columns below the title. If `all` answers are printed, only its first rows.
pub(super) fn table(answer: &Answer, all: bool, out: &mut dyn Write) -> io::Result<()> {
    match answer.output.title {
        Some(title) => writeln!(out, "{title} ({})", answer.output.topic)?,
        None => writeln!(out, "{}", answer.output.topic)?,
    }
    let mut table = comfy_table::Table::new();
    table.load_preset(STYLE);
    table.set_header(answer.columns.iter().map(|column| &column.name));
    let shown = if all { ROWS_MAX.min(answer.rows.len()) } else { answer.rows.len() };
    for row in &answer.rows[..shown] {
        table.add_row(row.iter().map(cell));
    }
    for (column, aligned) in answer.columns.iter().zip(table.column_iter_mut()) {
        if matches!(column.ty, ColumnType::Long | ColumnType::Double) {
            aligned.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{}", table.trim_fmt())?;
    match answer.rows.len() - shown {
        0 => Ok(()),
        rest => writeln!(out, " … and {rest} more rows ({})", answer.command),
    }
}

/// Prints one object per row. If `all` answers are printed, its first field is the view.
pub(super) fn json(answer: &Answer, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let quoted = |text: &str| serde_json::Value::from(text);
    for row in &answer.rows {
        let view = all.then(|| format!("\"view\":{}", quoted(answer.output.topic)));
        let fields = answer.columns.iter().zip(row).map(|(column, value)| {
            let value = match value {
                Value::Null => serde_json::Value::Null,
                Value::Long(number) => (*number).into(),
                Value::Double(number) => (*number).into(),
                Value::Boolean(truth) => (*truth).into(),
                Value::Doubles(numbers) => numbers.as_slice().into(),
                Value::Text(_) | Value::Timestamp(_) | Value::Binary(_) => text(value).into(),
            };
            format!("{}:{value}", quoted(&column.name))
        });
        writeln!(out, "{{{}}}", view.into_iter().chain(fields).collect::<Vec<_>>().join(","))?;
    }
    Ok(())
}

/// Prints a header and the rows. If `all` answers are printed, the first column is the view. Null
/// is printed as nothing, an empty text as `""`.
pub(super) fn csv(answer: &Answer, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let quoted = |value: &Value| match text(value) {
        text if text.is_empty() && *value != Value::Null => "\"\"".to_string(),
        text if text.contains(['"', ',', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        text => text,
    };
    let first = |text: &str| all.then(|| text.to_string()).into_iter();
    let names = answer.columns.iter().map(|column| column.name.clone());
    writeln!(out, "{}", first("view").chain(names).collect::<Vec<_>>().join(","))?;
    for row in &answer.rows {
        writeln!(
            out,
            "{}",
            first(answer.output.topic).chain(row.iter().map(quoted)).collect::<Vec<_>>().join(",")
        )?;
    }
    Ok(())
}

/// Returns a row on one line, for people.
pub(in crate::program) fn line(row: &[Value]) -> String {
    row.iter()
        .map(|value| if *value == Value::Null { "null".into() } else { cell(value) })
        .collect::<Vec<_>>()
        .join(" | ")
}

/// Returns a value on one line and of limited length, without control characters for the terminal.
fn cell(value: &Value) -> String {
    let text = text(value);
    let shown = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    match text.char_indices().nth(CELL_MAX_CHARS) {
        Some((cut, _)) => text[..cut].chars().map(shown).chain(["…".to_string()]).collect(),
        None => text.chars().map(shown).collect(),
    }
}

/// Returns a value as text: timestamps in ISO 8601 and UTC, bytes in base64, null as nothing.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Long(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Text(text) => text.clone(),
        Value::Timestamp(micros) => match DateTime::from_timestamp_micros(*micros) {
            Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            None => micros.to_string(),
        },
        Value::Doubles(numbers) => format!("{numbers:?}"),
        Value::Binary(bytes) => STANDARD.encode(bytes),
    }
}
