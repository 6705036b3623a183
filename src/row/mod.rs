//! Rows of sinks: typed values that are passed column by column, so that no row is copied on its
//! way to a file.

mod bits;
mod double;
#[cfg(any(feature = "archive", feature = "kafka", feature = "kinesis"))]
mod json;
mod key;
mod named;
mod windowed;

pub use crate::time::Windowed;
pub use double::Double;
#[cfg(any(feature = "kafka", feature = "program"))]
pub(crate) use json::read_object;
#[cfg(any(feature = "archive", feature = "kafka", feature = "kinesis"))]
pub(crate) use json::write_object;
pub use key::RowKey;
pub(crate) use key::RowSum;
#[doc(hidden)]
pub use named::column_name;
#[doc(hidden)]
pub use serde;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// The type of a column, which every sink can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// 64-bit signed integer.
    Long,
    /// 64-bit float.
    Double,
    /// True or false.
    Boolean,
    /// UTF-8 string.
    Text,
    /// Microseconds since 1970 in UTC.
    Timestamp,
    /// Array of 64-bit floats.
    Doubles,
    /// Bytes.
    Binary,
}

/// A named column of a sink.
///
/// ```
/// use watershed::row::{Column, ColumnType};
///
/// let column = Column { name: "count".into(), ty: ColumnType::Long, nullable: false };
/// assert_eq!(column.ty, ColumnType::Long);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// Name in the table.
    pub name: String,
    /// Type of its values.
    pub ty: ColumnType,
    /// True if null is allowed.
    pub nullable: bool,
}

/// Receives the values of a row, column by column, in order. `None` is null.
///
/// ```
/// use watershed::row::{Put, Row, Value};
///
/// let mut values: Vec<Value> = Vec::new(); // a `Vec<Value>` receives values too
/// (7_i64, Some("river".to_string())).put(&mut values);
/// values.boolean(None);
/// assert_eq!(values, [Value::Long(7), Value::Text("river".into()), Value::Null]);
/// ```
pub trait Put {
    /// Next column: an integer.
    fn long(&mut self, value: Option<i64>);
    /// Next column: a float.
    fn double(&mut self, value: Option<f64>);
    /// Next column: true or false.
    fn boolean(&mut self, value: Option<bool>);
    /// Next column: a string.
    fn text(&mut self, value: Option<&str>);
    /// Next column: microseconds since 1970 in UTC.
    fn timestamp(&mut self, value: Option<i64>);
    /// Next column: an array of floats.
    fn doubles(&mut self, value: Option<&[f64]>);
    /// Next column: bytes.
    fn binary(&mut self, value: Option<&[u8]>);
}

/// A value that consists of columns: a scalar of one, a tuple of those of its parts, `()` of none.
///
/// ```
/// use watershed::row::{ColumnType, Put, Row, Value};
///
/// struct Point {
///     x: i64,
///     y: i64,
/// }
///
/// impl Row for Point {
///     fn columns() -> Vec<(ColumnType, bool)> {
///         vec![(ColumnType::Long, false); 2]
///     }
///     fn put(&self, out: &mut dyn Put) {
///         out.long(Some(self.x));
///         out.long(Some(self.y));
///     }
/// }
///
/// let mut values: Vec<Value> = Vec::new();
/// ("a".to_string(), Point { x: 1, y: 2 }).put(&mut values);
/// assert_eq!(values, [Value::Text("a".into()), Value::Long(1), Value::Long(2)]);
/// assert_eq!(<(String, Point)>::columns().len(), 3);
/// ```
///
/// The macro [`row!`](crate::row!) implements it for a struct of named fields.
pub trait Row {
    /// Returns the types of its columns, in order; the flag is true if null is allowed.
    fn columns() -> Vec<(ColumnType, bool)>
    where
        Self: Sized;

    /// Passes its values to `out`, exactly one for each column.
    fn put(&self, out: &mut dyn Put);
}

macro_rules! scalar {
    ($($ty:ty, $column:ident, $method:ident, |$v:ident| $get:expr;)*) => {$(
        impl Row for $ty {
            fn columns() -> Vec<(ColumnType, bool)> {
                vec![(ColumnType::$column, false)]
            }
            fn put(&self, out: &mut dyn Put) {
                let $v = self;
                out.$method(Some($get));
            }
        }
        impl Row for Option<$ty> {
            fn columns() -> Vec<(ColumnType, bool)> {
                vec![(ColumnType::$column, true)]
            }
            fn put(&self, out: &mut dyn Put) {
                out.$method(self.as_ref().map(|$v| $get));
            }
        }
    )*};
}

scalar! {
    bool, Boolean, boolean, |v| *v;
    f64, Double, double, |v| *v;
    Double, Double, double, |v| v.get();
    i64, Long, long, |v| *v;
    i32, Long, long, |v| i64::from(*v);
    u32, Long, long, |v| i64::from(*v);
    String, Text, text, |v| v.as_str();
    crate::time::Timestamp, Timestamp, timestamp, |v| v.0;
    Vec<u8>, Binary, binary, |v| v.as_slice();
    crate::serdes::Word, Text, text, |v| v.as_str();
}

macro_rules! tuple {
    ($($name:ident)*) => {
        #[allow(non_snake_case, reason = "type parameters name the parts")]
        impl<$($name: Row),*> Row for ($($name,)*) {
            fn columns() -> Vec<(ColumnType, bool)> {
                [$($name::columns()),*].concat()
            }
            fn put(&self, out: &mut dyn Put) {
                let ($($name,)*) = self;
                $($name.put(out);)*
            }
        }
    };
}

tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);

impl Row for () {
    fn columns() -> Vec<(ColumnType, bool)> {
        Vec::new()
    }
    fn put(&self, _out: &mut dyn Put) {}
}

/// One value of a row, where rows are kept or compared.
///
/// ```
/// use watershed::row::Value;
///
/// let mut values = [Value::Long(2), Value::Null, Value::Long(-1)];
/// values.sort();
/// assert_eq!(values, [Value::Null, Value::Long(-1), Value::Long(2)]);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Value {
    /// Null of any type.
    Null,
    /// An integer.
    Long(i64),
    /// A float.
    Double(#[serde(with = "bits::one")] f64),
    /// A string.
    Text(String),
    /// Microseconds since 1970 in UTC.
    Timestamp(i64),
    /// An array of floats.
    Doubles(#[serde(with = "bits::many")] Vec<f64>),
    /// Bytes.
    Binary(Vec<u8>),
    /// True or false.
    Boolean(bool),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Orders null first, then by type, then by value; floats have the total order of IEEE 754.
impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        use Value::{Binary, Boolean, Double, Doubles, Long, Null, Text, Timestamp};
        let rank = |value: &Value| match value {
            Null => 0,
            Long(_) => 1,
            Double(_) => 2,
            Text(_) => 3,
            Timestamp(_) => 4,
            Doubles(_) => 5,
            Binary(_) => 6,
            Boolean(_) => 7,
        };
        match (self, other) {
            (Long(a), Long(b)) | (Timestamp(a), Timestamp(b)) => a.cmp(b),
            (Double(a), Double(b)) => a.total_cmp(b),
            (Boolean(a), Boolean(b)) => a.cmp(b),
            (Text(a), Text(b)) => a.cmp(b),
            (Binary(a), Binary(b)) => a.cmp(b),
            (Doubles(a), Doubles(b)) => {
                let each = a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne());
                each.unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            _ => rank(self).cmp(&rank(other)),
        }
    }
}

impl Put for Vec<Value> {
    fn long(&mut self, value: Option<i64>) {
        self.push(value.map_or(Value::Null, Value::Long));
    }
    fn double(&mut self, value: Option<f64>) {
        self.push(value.map_or(Value::Null, Value::Double));
    }
    fn boolean(&mut self, value: Option<bool>) {
        self.push(value.map_or(Value::Null, Value::Boolean));
    }
    fn text(&mut self, value: Option<&str>) {
        self.push(value.map_or(Value::Null, |v| Value::Text(v.into())));
    }
    fn timestamp(&mut self, value: Option<i64>) {
        self.push(value.map_or(Value::Null, Value::Timestamp));
    }
    fn doubles(&mut self, value: Option<&[f64]>) {
        self.push(value.map_or(Value::Null, |v| Value::Doubles(v.into())));
    }
    fn binary(&mut self, value: Option<&[u8]>) {
        self.push(value.map_or(Value::Null, |v| Value::Binary(v.into())));
    }
}

/// A row as a list of its values.
impl Row for Vec<Value> {
    fn columns() -> Vec<(ColumnType, bool)> {
        Vec::new()
    }
    fn put(&self, out: &mut dyn Put) {
        for value in self {
            match value {
                Value::Null => out.long(None),
                Value::Long(v) => out.long(Some(*v)),
                Value::Double(v) => out.double(Some(*v)),
                Value::Boolean(v) => out.boolean(Some(*v)),
                Value::Text(v) => out.text(Some(v)),
                Value::Timestamp(v) => out.timestamp(Some(*v)),
                Value::Doubles(v) => out.doubles(Some(v)),
                Value::Binary(v) => out.binary(Some(v)),
            }
        }
    }
}
