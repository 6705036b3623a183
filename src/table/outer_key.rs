//! [`OuterKey`]: the key of a row that comes from the left table, from the right one, or from both.

use serde::{Deserialize, Serialize};

use crate::row::{ColumnType, Put, Row};

/// The key of a row of [`outer_join_on`](super::KTable::outer_join_on).
///
/// A left row keeps its key, with and without a match. A right row has a row of its own only while
/// no left row refers to it.
///
/// As a [`Row`] it has the columns of both keys, all of which may be null: those of the left key,
/// then those of the right one.
///
/// ```
/// use watershed::OuterKey;
/// use watershed::row::{Put, Row, Value};
///
/// let mut values: Vec<Value> = Vec::new();
/// OuterKey::<i64, String>::Left(7).put(&mut values);
/// OuterKey::<i64, String>::Right("river".to_string()).put(&mut values);
/// assert_eq!(values[..2], [Value::Long(7), Value::Null]);
/// assert_eq!(values[2..], [Value::Null, Value::Text("river".into())]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OuterKey<K, F> {
    /// The key of a left row.
    Left(K),
    /// The key of a right row to which no left row refers.
    Right(F),
}

impl<K: Row, F: Row> Row for OuterKey<K, F> {
    fn columns() -> Vec<(ColumnType, bool)> {
        let columns = K::columns().into_iter().chain(F::columns());
        columns.map(|(ty, _)| (ty, true)).collect()
    }

    fn put(&self, out: &mut dyn Put) {
        match self {
            OuterKey::Left(key) => {
                key.put(out);
                put_nulls(&F::columns(), out);
            }
            OuterKey::Right(key) => {
                put_nulls(&K::columns(), out);
                key.put(out);
            }
        }
    }
}

fn put_nulls(columns: &[(ColumnType, bool)], out: &mut dyn Put) {
    for (ty, _) in columns {
        match ty {
            ColumnType::Long => out.long(None),
            ColumnType::Double => out.double(None),
            ColumnType::Boolean => out.boolean(None),
            ColumnType::Text => out.text(None),
            ColumnType::Timestamp => out.timestamp(None),
            ColumnType::Doubles => out.doubles(None),
            ColumnType::Binary => out.binary(None),
        }
    }
}
