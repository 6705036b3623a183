//! A row parsed from a JSON object, as [`write_object`](super::write_object) writes it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDateTime;
use serde_json::value::RawValue;

use crate::row::{Column, ColumnType, Value};

/// Returns the values of `columns` in a JSON object. `None` if it has other fields than these, or a
/// value of another type.
pub(crate) fn read_object(columns: &[Column], object: &[u8]) -> Option<Vec<Value>> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(object).ok()?;
    let value = |column: &Column| value(fields.get(&column.name)?.get(), column.ty);
    let row = columns.iter().map(value).collect::<Option<Vec<Value>>>()?;
    (fields.len() == columns.len()).then_some(row)
}

fn value(json: &str, ty: ColumnType) -> Option<Value> {
    let text = || serde_json::from_str::<String>(json).ok();
    // `str::parse` rounds correctly; the parser of serde_json is less exact.
    let double = |json: &str| json.parse::<f64>().ok();
    match ty {
        _ if json == "null" => Some(Value::Null),
        ColumnType::Long => json.parse().ok().map(Value::Long),
        ColumnType::Double => double(json).map(Value::Double),
        ColumnType::Boolean => json.parse().ok().map(Value::Boolean),
        ColumnType::Text => text().map(Value::Text),
        ColumnType::Timestamp => {
            let time = NaiveDateTime::parse_from_str(&text()?, "%Y-%m-%dT%H:%M:%S%.fZ").ok()?;
            Some(Value::Timestamp(time.and_utc().timestamp_micros()))
        }
        ColumnType::Doubles => {
            let doubles: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            doubles
                .into_iter()
                .map(|json| double(json.get()))
                .collect::<Option<Vec<f64>>>()
                .map(Value::Doubles)
        }
        ColumnType::Binary => STANDARD.decode(text()?).ok().map(Value::Binary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::write_object;

    fn columns() -> Vec<Column> {
        use ColumnType::{Binary, Boolean, Double, Doubles, Long, Text, Timestamp};
        let types = [Long, Double, Boolean, Text, Timestamp, Doubles, Binary];
        let column = |(n, ty)| Column { name: format!("\"c{n}\""), ty, nullable: true };
        (0..).zip(types).map(column).collect()
    }

    #[test]
    fn a_written_row_is_read_as_it_was() {
        let full = |sign: i64| {
            vec![
                Value::Long(i64::MAX * sign),
                Value::Double(0.1 * sign as f64),
                Value::Boolean(sign > 0),
                Value::Text("a \"b\"\n\u{1b}é".into()),
                Value::Timestamp(1_598_586_767_250_001 * sign),
                Value::Doubles(vec![f64::MIN_POSITIVE, -0.0, 1e300 * sign as f64]),
                Value::Binary(vec![0, 255, 10]),
            ]
        };
        let columns = columns();
        for row in [full(1), full(-1), vec![Value::Null; columns.len()]] {
            let mut object = Vec::new();
            write_object(&columns, columns.len(), &row, &mut object).unwrap();
            assert_eq!(read_object(&columns, &object), Some(row));
        }
    }

    #[test]
    fn an_object_with_other_fields_is_not_a_row() {
        let column =
            |name: &str| Column { name: name.into(), ty: ColumnType::Long, nullable: true };
        let columns = [column("a"), column("b")];
        let read = |object: &str| read_object(&columns, object.as_bytes());
        assert_eq!(read(r#"{"b":2,"a":1}"#), Some(vec![Value::Long(1), Value::Long(2)]));
        for other in [r#"{"a":1}"#, r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"b":"2"}"#, "[1,2]", ""] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
