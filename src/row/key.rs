//! Hashes of a row's values that are the same in every process, unlike those of `Hash`.

use xxhash_rust::xxh3::xxh3_64;

use super::{Put, Row};
use crate::secret::Secret;

/// Computes keyed 128-bit hashes of the leading values of a row. They are the same in every run
/// from one state, and for a row of the dataflow and the same row in a file.
///
/// ```
/// use watershed::Secret;
/// use watershed::row::{RowKey, Value};
///
/// let mut keys = RowKey::new(Secret::new(*b"0123456789abcdef"));
/// let row = keys.of(1, &("river".to_string(), 7_i64));
/// assert_eq!(row, keys.of(1, &("river".to_string(), 8_i64)));
/// assert_eq!(row, keys.of(1, &vec![Value::Text("river".into())]));
/// assert_ne!(row, keys.of(2, &("river".to_string(), 7_i64)));
/// ```
pub struct RowKey {
    secret: Secret,
    values: Values,
}

impl RowKey {
    /// Returns a hasher with the key `secret`.
    pub fn new(secret: Secret) -> Self {
        RowKey { secret, values: Values::default() }
    }

    /// Returns the hash of the first `columns` values that `put` passes.
    pub fn hash(&mut self, columns: usize, put: impl FnOnce(&mut dyn Put)) -> u128 {
        self.secret.digest_of(self.values.collect(columns, put))
    }

    /// Returns the hash of the first `columns` values of `row`.
    pub fn of(&mut self, columns: usize, row: &dyn Row) -> u128 {
        self.hash(columns, |out| row.put(out))
    }
}

/// Computes checksums of rows, without a key. They find accidents, such as a program that makes
/// other rows of the same records. Nobody can bring in other records, because keyed digests
/// identify those.
#[derive(Default)]
pub(crate) struct RowSum(Values);

impl RowSum {
    /// Returns the checksum of all values of `row`, the same in every run.
    pub(crate) fn of(&mut self, row: &dyn Row) -> u64 {
        xxh3_64(self.0.collect(usize::MAX, |out| row.put(out)))
    }
}

/// Collects the bytes of the leading values of a row.
#[derive(Default)]
struct Values {
    left: usize,
    bytes: Vec<u8>,
}

impl Values {
    fn collect(&mut self, columns: usize, put: impl FnOnce(&mut dyn Put)) -> &[u8] {
        self.left = columns;
        self.bytes.clear();
        put(self);
        &self.bytes
    }

    fn add<const N: usize>(&mut self, tag: u8, value: Option<[u8; N]>) {
        self.add_bytes(tag, value.as_ref().map(|v| v.as_slice()));
    }

    /// Adds tag, length and bytes, so that no two rows have the same bytes. Null has no type.
    fn add_bytes(&mut self, tag: u8, value: Option<&[u8]>) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        match value {
            None => self.bytes.push(0),
            Some(value) => {
                self.bytes.push(tag);
                self.bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
                self.bytes.extend_from_slice(value);
            }
        }
    }
}

impl Put for Values {
    fn long(&mut self, value: Option<i64>) {
        self.add(1, value.map(i64::to_le_bytes));
    }
    fn double(&mut self, value: Option<f64>) {
        self.add(2, value.map(f64::to_le_bytes));
    }
    fn boolean(&mut self, value: Option<bool>) {
        self.add(7, value.map(|v| [u8::from(v)]));
    }
    fn text(&mut self, value: Option<&str>) {
        self.add_bytes(3, value.map(str::as_bytes));
    }
    fn timestamp(&mut self, value: Option<i64>) {
        self.add(4, value.map(i64::to_le_bytes));
    }
    fn doubles(&mut self, value: Option<&[f64]>) {
        let bytes: Option<Vec<u8>> =
            value.map(|v| v.iter().flat_map(|v| v.to_le_bytes()).collect());
        self.add_bytes(5, bytes.as_deref());
    }
    fn binary(&mut self, value: Option<&[u8]>) {
        self.add_bytes(6, value);
    }
}
