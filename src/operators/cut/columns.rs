//! The encoding of rows: a list of keys, and columns of their values.
//!
//! ```text
//! keys   = (length of the key, key)*
//! column = value*
//! value  = distance of its place from the one after the previous value, 0 or length + 1, bytes
//! ```
//!
//! The place of a key is its number in the list, from 0. A value has the place of its key, 0 for a
//! length stands for a deleted row, and of several values of a key in a column the last counts.
//! Numbers are unsigned LEB128, and distances are mapped to them by zigzag, as in the encoding of
//! Protocol Buffers (protobuf.dev/programming-guides/encoding).

use serde::Serialize;

use super::append;
use crate::error::Result;

/// Appends a number.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Appends `head` plus the number of bytes that `write` appends, and then these bytes.
fn put_sized(
    bytes: &mut Vec<u8>,
    head: u64,
    write: impl FnOnce(&mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let at = bytes.len();
    // Most lengths need one byte.
    bytes.push(0);
    write(bytes)?;
    let number = head + (bytes.len() - at - 1) as u64;
    if number < 0x80 {
        bytes[at] = number as u8;
    } else {
        let mut longer = Vec::new();
        put_number(&mut longer, number);
        bytes.splice(at..=at, longer);
    }
    Ok(())
}

/// A list of keys in the making.
#[derive(Debug, Default)]
pub(crate) struct KeyList {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u32,
}

impl KeyList {
    /// Appends the key that `write` appends, and returns its place.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<u32> {
        put_sized(&mut self.bytes, 0, write)?;
        self.count += 1;
        Ok(self.count - 1)
    }

    /// Appends a key and returns its place.
    pub(crate) fn push(&mut self, key: &[u8]) -> u32 {
        put_number(&mut self.bytes, key.len() as u64);
        self.bytes.extend_from_slice(key);
        self.count += 1;
        self.count - 1
    }

    /// Forgets the keys, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }
}

/// A column in the making.
#[derive(Debug, Default)]
pub(crate) struct ColumnPart {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u32,
    /// The place after that of the last value.
    next: u32,
}

impl ColumnPart {
    /// Forgets the values, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        (self.count, self.next) = (0, 0);
    }

    /// Keeps only the last value of each key, of which there are `keys`. The memory stays.
    pub(super) fn keep_last(&mut self, keys: u32) {
        let mut last: Vec<Option<Option<&[u8]>>> = vec![None; keys as usize];
        // The column is malformed only if a value could not be encoded, which ends the run.
        let _ = read_column(&self.bytes, |place, value| {
            if let Some(last) = last.get_mut(place as usize) {
                *last = Some(value);
            }
        });
        let mut kept = ColumnPart::default();
        for (place, value) in (0..).zip(last) {
            value.into_iter().for_each(|value| kept.push(place, value));
        }
        self.clear();
        self.bytes.extend_from_slice(&kept.bytes);
        (self.count, self.next) = (kept.count, kept.next);
    }

    fn put_place(&mut self, place: u32) {
        let distance = i64::from(place) - i64::from(self.next);
        put_number(&mut self.bytes, (distance << 1 ^ distance >> 63) as u64);
        self.next = place.wrapping_add(1);
        self.count += 1;
    }

    /// Appends the encoding of the value of a key; none for a deleted row.
    pub(super) fn put<V: Serialize>(&mut self, place: u32, value: Option<&V>) -> Result<()> {
        self.put_place(place);
        match value {
            Some(value) => put_sized(&mut self.bytes, 1, |bytes| append(bytes, value)),
            None => {
                self.bytes.push(0);
                Ok(())
            }
        }
    }

    /// Appends the value of a key; none for a deleted row.
    pub(crate) fn push(&mut self, place: u32, value: Option<&[u8]>) {
        self.put_place(place);
        put_number(&mut self.bytes, value.map_or(0, |value| value.len() as u64 + 1));
        self.bytes.extend_from_slice(value.unwrap_or_default());
    }
}

/// The unread rest of an encoded list or column.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Calls `each` with the keys of a list. Returns their number; none if the list is malformed.
pub(crate) fn read_keys<'a>(list: &'a [u8], mut each: impl FnMut(&'a [u8])) -> Option<u64> {
    let (mut rest, mut count) = (Rest(list), 0);
    while !rest.0.is_empty() {
        let length = rest.number()?;
        each(rest.take(length)?);
        count += 1;
    }
    Some(count)
}

/// Calls `each` with the place and the value of each row of a column; none stands for a deleted
/// row. Returns the number of rows; none if the column is malformed.
pub(crate) fn read_column<'a>(
    column: &'a [u8],
    mut each: impl FnMut(u32, Option<&'a [u8]>),
) -> Option<u64> {
    let (mut rest, mut count, mut next) = (Rest(column), 0, 0_i64);
    while !rest.0.is_empty() {
        let distance = rest.number()?;
        let distance = (distance >> 1) as i64 ^ -((distance & 1) as i64);
        let place = u32::try_from(next.checked_add(distance)?).ok()?;
        next = i64::from(place) + 1;
        match rest.number()?.checked_sub(1) {
            Some(length) => each(place, Some(rest.take(length)?)),
            None => each(place, None),
        }
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_as_they_were_written() {
        let mut keys = KeyList::default();
        let long = vec![7; 300];
        for key in [&b"a"[..], b"", &long] {
            keys.push(key);
        }
        let mut read = Vec::new();
        assert_eq!(read_keys(&keys.bytes, |key| read.push(key)), Some(3));
        assert_eq!(read, [&b"a"[..], b"", &long]);

        let rows =
            [(2, Some(&b"x"[..])), (0, None), (1, Some(b"")), (70_000, Some(&long)), (1, None)];
        let mut column = ColumnPart::default();
        rows.iter().for_each(|(place, value)| column.push(*place, *value));
        let mut read = Vec::new();
        let each = |place, value| read.push((place, value));
        assert_eq!(read_column(&column.bytes, each), Some(5));
        assert_eq!(read, rows);
        column.clear();
        assert!(column.bytes.is_empty());
    }

    #[test]
    fn values_are_encoded_in_place_as_they_are_appended() {
        for length in [0, 1, 100, 125, 126, 127, 128, 129, 20_000] {
            let value = "x".repeat(length);
            let (mut encoded, mut appended) = (ColumnPart::default(), ColumnPart::default());
            for (place, value) in [(3, Some(&value)), (1, None), (2, Some(&value))] {
                encoded.put(place, value).unwrap();
                let bytes = value.map(|value| postcard::to_stdvec(value).unwrap());
                appended.push(place, bytes.as_deref());
            }
            assert_eq!(encoded.bytes, appended.bytes, "{length}");
            assert_eq!(encoded.count, appended.count);
        }
    }

    #[test]
    fn the_last_value_of_each_key_is_kept() {
        let mut column = ColumnPart::default();
        let rows = [(1, Some(&b"a"[..])), (0, Some(b"b")), (1, None), (3, None), (3, Some(b"c"))];
        rows.iter().for_each(|(place, value)| column.push(*place, *value));
        column.keep_last(5);
        let mut expected = ColumnPart::default();
        for (place, value) in [(0, Some(&b"b"[..])), (1, None), (3, Some(b"c"))] {
            expected.push(place, value);
        }
        assert_eq!((&column.bytes, column.count), (&expected.bytes, 3));
        // A later value is appended behind them.
        column.push(4, Some(b"d"));
        expected.push(4, Some(b"d"));
        assert_eq!(column.bytes, expected.bytes);
    }

    #[test]
    fn malformed_bytes_are_refused_without_a_panic() {
        let mut column = ColumnPart::default();
        column.push(3, Some(b"value"));
        for length in 1..column.bytes.len() {
            assert_eq!(read_column(&column.bytes[..length], |_, _| ()), None);
        }
        for byte in 0..=255 {
            read_keys(&[byte; 40], |_| ());
            read_column(&[byte; 40], |_, _| ());
            read_column(&[1, byte, byte, byte, byte, byte, byte, byte, byte, byte], |_, _| ());
        }
    }
}
