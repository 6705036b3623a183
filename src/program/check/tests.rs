//! Digests of rows: equal exactly where the rows are.

use super::*;
use crate::row::Value;

const SECRET: Secret = Secret::new([7; 16]);

#[test]
fn digests_differ_where_rows_do() {
    let text = |text: &str| Value::Text(text.into());
    let rows = [
        vec![],
        vec![Value::Null],
        vec![Value::Null, Value::Null],
        vec![Value::Long(0)],
        vec![Value::Timestamp(0)],
        vec![Value::Double(0.0)],
        vec![Value::Double(-0.0)],
        vec![Value::Doubles(vec![])],
        vec![Value::Doubles(vec![0.0])],
        vec![text("")],
        vec![Value::Binary(vec![])],
        vec![text("a"), text("b")],
        vec![text("ab"), text("")],
    ];
    let digests: std::collections::HashSet<Digest> =
        rows.iter().map(|row| row_digest(SECRET, row)).collect();
    assert_eq!(digests.len(), rows.len());
}

#[test]
fn rows_of_colliding_texts_are_kept_apart() {
    // Before its text, a row has its number of values and the kind of the first.
    let rows = crate::secret::twins::twins(12).map(|text| vec![Value::Text(text), Value::Long(7)]);
    assert_ne!(row_digest(SECRET, &rows[0]), row_digest(SECRET, &rows[1]));
}
