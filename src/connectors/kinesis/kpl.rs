//! Unpacks aggregated records of the Kinesis Producer Library. Their format is a magic number, a
//! message in Protocol Buffers, and its MD5 sum.
//!
//! ```text
//! F3 89 9A C2 · message · MD5 of the message
//!
//! message: 1 = keys (repeated string) · 3 = records (repeated)
//! record:  1 = index of its key · 3 = data
//! ```

use md5::{Digest, Md5};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const MD5_BYTES: usize = 16;

/// Returns key and data of each record in `raw`. Returns `None` if it is not an aggregated record
/// or damaged; it is then a plain record, as for the KCL.
pub(super) fn unpack(raw: &[u8]) -> Option<Vec<(&str, &[u8])>> {
    let packed = raw.strip_prefix(&MAGIC)?;
    let (message, sum) = packed.split_at_checked(packed.len().checked_sub(MD5_BYTES)?)?;
    if Md5::digest(message)[..] != *sum {
        return None;
    }
    let (mut keys, mut records) = (Vec::new(), Vec::new());
    let mut fields = Fields(message);
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Bytes(key)) => keys.push(std::str::from_utf8(key).ok()?),
            (3, Field::Bytes(record)) => records.push(record),
            _ => {}
        }
    }
    let open = |record| {
        let (mut key, mut data) = (None, None);
        let mut fields = Fields(record);
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Number(index)) => key = usize::try_from(index).ok(),
                (3, Field::Bytes(bytes)) => data = Some(bytes),
                _ => {}
            }
        }
        Some((*keys.get(key?)?, data?))
    };
    records.into_iter().map(open).collect()
}

/// The remaining fields of a message.
struct Fields<'a>(&'a [u8]);

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// Returns number and content of the next field, or `Some(None)` at the end. Returns `None` if
    /// the message is damaged.
    fn next(&mut self) -> Option<Option<(u64, Field<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Number(self.varint()?),
            1 => self.fixed(8)?,
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(usize::try_from(length).ok()?)?)
            }
            5 => self.fixed(4)?,
            _ => return None,
        };
        Some(Some((tag >> 3, field)))
    }

    fn fixed(&mut self, length: usize) -> Option<Field<'a>> {
        self.take(length).map(|_| Field::Number(0))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}
