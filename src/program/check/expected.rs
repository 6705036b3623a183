//! The rows that a batch program expects in each table.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::plan::DEAD_LETTERS;
use crate::program::answers::line;
use crate::record::{Order, Record};
use crate::row::{Row, Value};
use crate::secret::Secret;
use crate::serdes::{Digest, Reject};

/// The rows of all tables, filled by a batch program. A row may be in a table more than once.
///
/// ```
/// use watershed::program::Expected;
///
/// let mut expected = Expected::new(watershed::runtime::secret()?);
/// expected.row("counts", &("be".to_string(), 2));
/// assert_eq!(expected.held("counts").len(), 1);
/// # Ok::<(), watershed::Error>(())
/// ```
pub struct Expected {
    secret: Secret,
    tables: BTreeMap<&'static str, Vec<(Digest, Origin)>>,
}

/// The origin of an expected row, by which a missing row can be found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The row itself. Use it for small tables.
    Row(Vec<Value>),
    /// The record from which the row comes. It takes little memory.
    Record {
        /// The logical topic.
        topic: &'static str,
        /// The position of the record.
        order: Order,
    },
}

impl Expected {
    /// Returns an empty list of rows. Their digests are keyed by `secret`.
    pub fn new(secret: Secret) -> Self {
        Expected { secret, tables: BTreeMap::new() }
    }

    /// Adds a row to a table, and holds the row.
    pub fn row(&mut self, table: &'static str, row: &(impl Row + ?Sized)) {
        let row = values(row);
        self.digest(table, row_digest(self.secret, &row), Origin::Row(row));
    }

    /// Adds rows to a table, and holds them.
    pub fn rows<R: Row>(&mut self, table: &'static str, rows: impl IntoIterator<Item = R>) {
        rows.into_iter().for_each(|row| self.row(table, &row));
    }

    /// Adds a row to a table by its digest.
    pub fn digest(&mut self, table: &'static str, digest: Digest, origin: Origin) {
        self.tables.entry(table).or_default().push((digest, origin));
    }

    /// Returns the digest of a row, for [`digest`](Expected::digest).
    pub fn digest_of(&self, row: &(impl Row + ?Sized)) -> Digest {
        row_digest(self.secret, &values(row))
    }

    /// Adds the dead letter of a record that can't be used.
    pub fn dead_letter(&mut self, topic: &'static str, record: &Record<'_>, reject: Reject) {
        let Reject { reason, detail } = reject;
        let order = record.order;
        let row = [
            Value::Text(topic.to_string()),
            Value::Long(order.partition.into()),
            Value::Text(order.offset.to_string()),
            Value::Text(reason.into_owned()),
            Value::Text(detail),
            Value::Binary(record.value.unwrap_or_default().to_vec()),
        ];
        self.digest(DEAD_LETTERS, row_digest(self.secret, &row), Origin::Record { topic, order });
    }

    /// Returns the rows of a table that are held, in the order in which they were added.
    pub fn held(&self, table: &str) -> Vec<&[Value]> {
        let rows = self.tables.get(table).into_iter().flatten();
        let held = rows.filter_map(|(_, origin)| match origin {
            Origin::Row(row) => Some(row.as_slice()),
            Origin::Record { .. } => None,
        });
        held.collect()
    }

    pub(super) fn secret(&self) -> Secret {
        self.secret
    }

    /// Removes and returns the rows of a table.
    pub(super) fn take(&mut self, table: &str) -> Vec<(Digest, Origin)> {
        self.tables.remove(table).unwrap_or_default()
    }

    /// Returns a table whose rows were not taken.
    pub(super) fn left(&self) -> Option<&'static str> {
        self.tables.keys().next().copied()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Row(row) => f.write_str(&line(row)),
            Origin::Record { topic, order: Order { offset, partition, source, .. } } => {
                write!(f, "the {topic} record at offset {offset} of partition {partition}")?;
                if *source > 0 { write!(f, " of source {}", source + 1) } else { Ok(()) }
            }
        }
    }
}

fn values(row: &(impl Row + ?Sized)) -> Vec<Value> {
    let mut values = Vec::new();
    row.put(&mut values);
    values
}

/// Returns the digest of a row. Equal rows have equal digests; floats are compared bit by bit.
pub(super) fn row_digest(secret: Secret, row: &[Value]) -> Digest {
    struct Canonical<'a>(&'a Value);
    impl Hash for Canonical<'_> {
        fn hash<H: Hasher>(&self, state: &mut H) {
            match self.0 {
                Value::Null => 0.hash(state),
                Value::Long(value) => (1, value).hash(state),
                Value::Double(value) => (2, value.to_bits()).hash(state),
                Value::Text(value) => (3, value).hash(state),
                Value::Timestamp(value) => (4, value).hash(state),
                Value::Doubles(values) => {
                    (5, values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()).hash(state)
                }
                Value::Binary(value) => (6, value).hash(state),
                Value::Boolean(value) => (7, value).hash(state),
            }
        }
    }
    secret.digest(&row.iter().map(Canonical).collect::<Vec<_>>())
}
