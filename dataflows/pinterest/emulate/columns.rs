//! A row of MySQL as JSON: each value has exactly the digits that the database shows.

use std::fmt::Write;

use chrono::NaiveDate;
use mysql_async::consts::ColumnType;
use mysql_async::{Column, Row, Value};
use serde_json::Value as Json;

use super::dates::DateFormat;

/// Returns a row as a JSON object with its columns in order.
///
/// # Errors
/// The name of a column that holds bytes instead of text.
pub(super) fn record(row: &Row, dates: DateFormat) -> Result<String, String> {
    let columns = row.columns_ref().iter().enumerate();
    let field = |(at, column): (usize, &Column)| {
        let name = column.name_str();
        let value = row.as_ref(at).map_or_else(
            || Some("null".to_string()),
            |value| json(value, column.column_type(), dates),
        );
        value
            .map(|value| format!("{}: {value}", Json::from(&*name)))
            .ok_or_else(|| name.into_owned())
    };
    Ok(format!("{{{}}}", columns.map(field).collect::<Result<Vec<_>, _>>()?.join(", ")))
}

/// Returns a value as JSON; `None` for bytes that are no text.
fn json(value: &Value, kind: ColumnType, dates: DateFormat) -> Option<String> {
    Some(match value {
        Value::NULL => "null".to_string(),
        Value::Bytes(bytes) => match kind {
            ColumnType::MYSQL_TYPE_BIT => bits(bytes)?.to_string(),
            ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => {
                decimal(std::str::from_utf8(bytes).ok()?)
            }
            _ => Json::from(std::str::from_utf8(bytes).ok()?).to_string(),
        },
        Value::Int(n) => n.to_string(),
        Value::UInt(n) => n.to_string(),
        // A conversion to a double would add digits that were never stored.
        Value::Float(n) => serde_json::to_string(n).ok()?,
        Value::Double(n) => Json::from(*n).to_string(),
        Value::Date(year, month, day, hour, minute, second, micros) => {
            let date =
                NaiveDate::from_ymd_opt(i32::from(*year), u32::from(*month), u32::from(*day));
            let time = |day: NaiveDate| {
                day.and_hms_micro_opt((*hour).into(), (*minute).into(), (*second).into(), *micros)
            };
            // MySQL may hold dates that no calendar has, such as 0000-00-00.
            let shown = || {
                format!(
                    "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{}",
                    fraction(*micros)
                )
            };
            Json::from(date.and_then(time).map_or_else(shown, |date| dates.write(date))).to_string()
        }
        Value::Time(negative, days, hours, minutes, seconds, micros) => {
            let (sign, hours) = (if *negative { "-" } else { "" }, days * 24 + u32::from(*hours));
            Json::from(format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{}", fraction(*micros)))
                .to_string()
        }
    })
}

fn fraction(micros: u32) -> String {
    let mut text = String::new();
    if micros > 0 {
        let _ = write!(text, ".{micros:06}");
    }
    text
}

/// Returns the value of a BIT column as a number. It has at most 64 bits.
fn bits(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Returns a decimal number as JSON. The database sends its digits, and for ZEROFILL also leading
/// zeros, which JSON does not allow.
fn decimal(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let shorter = digits.trim_start_matches('0');
    let zero = if shorter.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "0" };
    format!("{sign}{zero}{shorter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &Value, kind: ColumnType) -> Option<String> {
        json(value, kind, DateFormat::Blank)
    }

    #[test]
    fn a_float_keeps_the_digits_that_were_stored() {
        for (number, text) in [
            (-89.9787f32, "-89.9787"),
            (0.1, "0.1"),
            (16_777_216.0, "16777216.0"),
            (1e30, "1e+30"),
            (1.0, "1.0"),
        ] {
            assert_eq!(
                shown(&Value::Float(number), ColumnType::MYSQL_TYPE_FLOAT).as_deref(),
                Some(text)
            );
        }
    }

    #[test]
    fn decimals_are_numbers_of_json() {
        for (text, number) in [
            ("0.10", "0.10"),
            ("-0.5", "-0.5"),
            ("000012.30", "12.30"),
            ("00.00", "0.00"),
            ("0", "0"),
            ("-007", "-7"),
        ] {
            let value = Value::Bytes(text.into());
            assert_eq!(shown(&value, ColumnType::MYSQL_TYPE_NEWDECIMAL).as_deref(), Some(number));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_no_value() {
        assert_eq!(shown(&Value::Bytes(vec![0xff, 0]), ColumnType::MYSQL_TYPE_BLOB), None);
        assert_eq!(
            shown(&Value::Bytes(vec![1, 0]), ColumnType::MYSQL_TYPE_BIT).as_deref(),
            Some("256")
        );
    }
}
