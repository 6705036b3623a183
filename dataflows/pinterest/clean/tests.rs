//! Tables of cases: every column, every format, every kind of dirt, each with its result.

mod columns;
mod dates;
mod dirt;
mod fuzz;
mod mutants;
mod quick;
mod wrapped;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use watershed::row::{Row, Value};

use super::*;
use crate::model::{GEO_COLUMNS, PIN_COLUMNS, USER_COLUMNS};

/// The text columns of a pin.
const PIN_TEXTS: [&str; 9] = [
    "unique_id",
    "title",
    "description",
    "poster_name",
    "tag_list",
    "is_image_or_video",
    "image_src",
    "save_location",
    "category",
];

/// A good pin that has only its `ind`, 1.
const BARE: &str = r#"{"index":1,"unique_id":null}"#;

/// Returns the value of column `name` in a record of its kind, which has `fields` and the fields
/// that are required.
fn column(name: &str, fields: &str) -> Result<Value, Reject> {
    let record = |kind: &str| match fields.contains(kind) {
        true => format!(r#"{{"ind":1,{fields}}}"#),
        false => format!(r#"{{"ind":1,"{kind}":null,{fields}}}"#),
    };
    if let Some(at) = PIN_COLUMNS[1..].iter().position(|c| *c == name) {
        pin(Some(record("unique_id").as_bytes())).map(|(_, row)| values(&row)[at].clone())
    } else if let Some(at) = GEO_COLUMNS[1..].iter().position(|c| *c == name) {
        geo(Some(record("timestamp").as_bytes())).map(|(_, row)| values(&row)[at].clone())
    } else {
        let at = USER_COLUMNS[1..].iter().position(|c| *c == name).unwrap();
        user(Some(record("date_joined").as_bytes())).map(|(_, row)| values(&row)[at].clone())
    }
}

fn values(row: &impl Row) -> Vec<Value> {
    let mut values = Vec::new();
    row.put(&mut values);
    values
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// Returns the reason and the detail of a rejection.
fn why<T>(result: Result<T, Reject>) -> Option<(String, String)> {
    result.err().map(|reject| (reject.reason.into_owned(), reject.detail))
}

fn reason_of<T>(result: Result<T, Reject>) -> Option<String> {
    why(result).map(|(reason, _)| reason)
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}
