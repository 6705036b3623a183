//! [`Windowed`]: a key in a window of event time.

use serde::{Deserialize, Serialize};

use super::{ColumnType, Put, Row};
use crate::time::Timestamp;

/// A key in a window. Its columns are those of the key, then start and end of the window.
///
/// The end is exclusive in time windows, and inclusive in sessions and sliding windows, as in
/// Kafka. A window without an end ends at [`Timestamp::MAX`].
///
/// ```
/// use watershed::row::{Row, Value};
/// use watershed::{Timestamp, Windowed};
///
/// let visits = Windowed { key: 7_i64, start: Timestamp(0), end: Timestamp(60_000_000) };
/// let mut values: Vec<Value> = Vec::new();
/// visits.put(&mut values);
/// let expected = [Value::Long(7), Value::Timestamp(0), Value::Timestamp(60_000_000)];
/// assert_eq!(values, expected);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Windowed<K> {
    /// The key.
    pub key: K,
    /// The start of the window, inclusive.
    pub start: Timestamp,
    /// The end of the window.
    pub end: Timestamp,
}

impl<K: Row> Row for Windowed<K> {
    fn columns() -> Vec<(ColumnType, bool)> {
        let bounds = [(ColumnType::Timestamp, false); 2];
        K::columns().into_iter().chain(bounds).collect()
    }

    fn put(&self, out: &mut dyn Put) {
        self.key.put(out);
        out.timestamp(Some(self.start.0));
        out.timestamp(Some(self.end.0));
    }
}
