//! Records: bytes at a position, in batches, and the order that decides which record is later.

mod order;

use std::hash::Hasher;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::time::Timestamp;

pub use order::Order;
pub(crate) use order::{Ordinal, PartitionId};

/// The maximal size of a value in a log that has no limit of its own.
#[cfg(feature = "archive")]
pub(crate) const VALUE_MAX_BYTES: usize = 64 << 20;
/// The size of the beginning that is kept of a longer value.
#[cfg(feature = "archive")]
pub(crate) const CUT_VALUE_BYTES: usize = 2 << 20;

/// The location of one record in the bytes of its [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Offset of the record in its partition.
    pub offset: u64,
    /// Timestamp of the record, if the connector has one.
    pub timestamp: Option<Timestamp>,
    /// Bytes of the key; `None` is a null key.
    pub key: Option<Range<u32>>,
    /// Bytes of the value; `None` is a null value (a tombstone).
    pub value: Option<Range<u32>>,
    /// Bytes of the headers, written by [`Batch::push_header`]; empty if there are none.
    pub headers: Range<u32>,
    /// The full size of the value in bytes, if only its beginning is kept. The record becomes a
    /// dead letter.
    pub cut: Option<u64>,
}

impl Span {
    /// Returns the record at `offset` that has only a value.
    pub fn of_value(offset: u64, value: Range<u32>) -> Self {
        Span {
            offset,
            timestamp: None,
            key: None,
            headers: value.end..value.end,
            value: Some(value),
            cut: None,
        }
    }
}

/// Consecutive records of one partition, as read.
///
/// ```
/// use watershed::record::Batch;
///
/// let mut batch = Batch { partition: 3, first: 7, next: 9, ..Batch::default() };
/// batch.push(7, None, Some(b"key"), Some(b"value"));
/// batch.push(8, None, Some(b"key"), None);
/// let rest = batch.split_off(8);
/// assert_eq!((batch.next, rest.first, rest.records.len()), (8, 8, 1));
/// let record = rest.iter(0).next().expect("one record");
/// assert_eq!((record.key, record.value), (Some(&b"key"[..]), None));
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Batch {
    /// Partition of the topic.
    pub partition: u32,
    /// Offset of the first record.
    pub first: u64,
    /// Offset after the last record, at which the next batch begins.
    pub next: u64,
    /// The bytes that were read: those of a record before those of the next.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// The records, by ascending offset.
    pub records: Vec<Span>,
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its order among the records of the topic.
    pub order: Order,
    /// Its timestamp, if the connector has one.
    pub timestamp: Option<Timestamp>,
    /// Its key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is null (a tombstone).
    pub value: Option<&'a [u8]>,
    /// Its headers, if the connector has any.
    pub headers: Headers<'a>,
    /// The full size of its value in bytes, if only the beginning is kept.
    pub cut: Option<u64>,
}

impl Record<'_> {
    /// Returns a keyed digest of everything but partition and source, to be added up. Manifests
    /// record such sums, so the digest must stay the same in every version.
    pub(crate) fn digest(&self, secret: Secret) -> u64 {
        let headers = self.headers.bytes();
        let present = [
            self.timestamp.is_some(),
            self.key.is_some(),
            self.value.is_some(),
            self.cut.is_some(),
        ];
        let present = present.into_iter().fold(0, |bits, some| bits << 1 | u64::from(some));
        let lengths = (self.key.map_or(0, <[u8]>::len) as u64) << 32 | headers.len() as u64;
        // All lengths but the value's come first, so that no two records have the same bytes.
        let mut front = [0; 40];
        let words = [
            self.order.offset,
            self.timestamp.unwrap_or_default().0.cast_unsigned(),
            lengths,
            self.cut.unwrap_or(0),
            present,
        ];
        for (bytes, word) in front.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        let mut hasher = secret.hasher();
        for part in [&front, self.key.unwrap_or_default(), headers, self.value.unwrap_or_default()]
        {
            hasher.write(part);
        }
        hasher.finish()
    }
}

/// Headers of a record, in their order: names, which may repeat, with bytes or null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// Returns the value of the last header of this name, which is the one that counts. `None` if
    /// there is no such header, or its value is null.
    pub fn last(self, name: &str) -> Option<&'a [u8]> {
        self.filter(|(other, _)| *other == name).last().and_then(|(_, value)| value)
    }

    /// Returns all headers as bytes; equal bytes are equal headers.
    fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Takes a length and that many bytes. A length of `u32::MAX` means null.
    fn take(&mut self) -> Option<Option<&'a [u8]>> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = u32::from_le_bytes(*length);
        let (taken, rest) =
            rest.split_at_checked(if length == u32::MAX { 0 } else { length as usize })?;
        self.0 = rest;
        Some((length != u32::MAX).then_some(taken))
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.take()??;
        Some((std::str::from_utf8(name).unwrap_or_default(), self.take()?))
    }
}

impl Batch {
    /// Returns the bytes of memory that the batch occupies, however few of them are bytes of
    /// records.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Batch>() + self.bytes.capacity() + self.records.capacity() * size_of::<Span>()
    }

    /// Returns true if the bytes of all records are within those of the batch. A batch from another
    /// process may be malformed.
    pub(crate) fn is_whole(&self) -> bool {
        let is_within =
            |range: &Range<u32>| self.bytes.get(range.start as usize..range.end as usize).is_some();
        self.records.iter().all(|span| {
            let parts = [span.key.as_ref(), span.value.as_ref(), Some(&span.headers)];
            parts.into_iter().flatten().all(is_within)
        })
    }

    /// Returns the records, each with its order in the topic; `source` is the rank of their source.
    pub fn iter(&self, source: u16) -> impl DoubleEndedIterator<Item = Record<'_>> {
        let slice = |r: &Range<u32>| &self.bytes[r.start as usize..r.end as usize];
        self.records.iter().map(move |span| Record {
            order: Order { topic: 0, source, offset: span.offset, partition: self.partition },
            timestamp: span.timestamp,
            key: span.key.as_ref().map(slice),
            value: span.value.as_ref().map(slice),
            headers: Headers(slice(&span.headers)),
            cut: span.cut,
        })
    }

    /// Appends a record and copies its bytes. The caller sets [`next`](Batch::next).
    pub fn push(
        &mut self,
        offset: u64,
        timestamp: Option<Timestamp>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        let mut range = |bytes: &[u8]| {
            let start = self.bytes.len() as u32;
            self.bytes.extend_from_slice(bytes);
            start..self.bytes.len() as u32
        };
        let (key, value) = (key.map(&mut range), value.map(&mut range));
        let end = self.bytes.len() as u32;
        self.records.push(Span { offset, timestamp, key, value, headers: end..end, cut: None });
    }

    /// Appends a header to the last record; there must be one.
    pub fn push_header(&mut self, name: &str, value: Option<&[u8]>) {
        for part in [Some(name.as_bytes()), value] {
            let length = part.map_or(u32::MAX, |part| part.len() as u32);
            self.bytes.extend_from_slice(&length.to_le_bytes());
            self.bytes.extend_from_slice(part.unwrap_or_default());
        }
        let end = self.bytes.len() as u32;
        if let Some(span) = self.records.last_mut() {
            span.headers.end = end;
        }
    }

    /// Splits the batch into batches of one record each, which cover the same offsets. A batch
    /// without records stays one.
    pub(crate) fn into_records(self) -> Vec<Batch> {
        if self.records.len() < 2 {
            return vec![self];
        }
        let one = |(n, span): (usize, &Span)| {
            let first = if n == 0 { self.first } else { span.offset };
            let next = self.records.get(n + 1).map_or(self.next, |next| next.offset);
            let mut bytes = Vec::new();
            let mut copy = |range: &Range<u32>| {
                let start = bytes.len() as u32;
                bytes.extend_from_slice(&self.bytes[range.start as usize..range.end as usize]);
                start..bytes.len() as u32
            };
            let (key, value) =
                (span.key.as_ref().map(&mut copy), span.value.as_ref().map(&mut copy));
            let headers = copy(&span.headers);
            let records = vec![Span { key, value, headers, ..span.clone() }];
            Batch { partition: self.partition, first, next, bytes, records }
        };
        self.records.iter().enumerate().map(one).collect()
    }

    /// Splits the batch at `offset`: earlier records stay, and the rest is returned.
    pub fn split_off(&mut self, offset: u64) -> Batch {
        let at = self.records.partition_point(|span| span.offset < offset);
        let mut records = self.records.split_off(at);
        let starts = |s: &Span| {
            [s.key.as_ref(), s.value.as_ref(), Some(&s.headers)]
                .into_iter()
                .flatten()
                .map(|r| r.start)
                .min()
        };
        let start = records.first().and_then(starts).unwrap_or(self.bytes.len() as u32);
        for span in &mut records {
            let ranges = span
                .key
                .iter_mut()
                .chain(&mut span.value)
                .chain(std::iter::once(&mut span.headers));
            ranges.for_each(|range| *range = range.start - start..range.end - start);
        }
        let (first, next) = (offset.max(self.first), self.next.max(offset));
        let rest = Batch {
            partition: self.partition,
            first,
            next,
            bytes: self.bytes.split_off(start as usize),
            records,
        };
        self.next = self.next.min(offset);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_crosses_processes_unchanged() {
        let mut batch = Batch { partition: 3, first: 7, next: 9, ..Batch::default() };
        batch.push(7, Some(Timestamp(5)), Some(b"key"), Some(&[7; 70_000]));
        batch.push_header("tenant", Some(b"north"));
        batch.push(8, None, None, None);
        let sent = postcard::to_stdvec(&batch).unwrap();
        assert!(sent.len() < 70_100, "bytes are sent as they are");
        let received: Batch = postcard::from_bytes(&sent).unwrap();
        assert_eq!((received.partition, received.first, received.next), (3, 7, 9));
        assert_eq!((&received.bytes, &received.records), (&batch.bytes, &batch.records));
        let json = serde_json::to_string(&batch).unwrap();
        assert_eq!(serde_json::from_str::<Batch>(&json).unwrap().bytes, batch.bytes);
    }

    #[test]
    fn a_batch_splits_into_its_records() {
        let mut batch = Batch { partition: 3, first: 5, next: 20, ..Batch::default() };
        batch.push(7, Some(Timestamp(5)), Some(b"key"), Some(b"value"));
        batch.push_header("tenant", Some(b"north"));
        batch.push(9, None, None, Some(b"more"));
        let parts = batch.clone().into_records();
        let ranges: Vec<_> = parts.iter().map(|part| (part.first, part.next)).collect();
        assert_eq!(ranges, [(5, 9), (9, 20)]);
        let secret = Secret::new([1; 16]);
        let digests = |batch: &Batch| -> Vec<u64> {
            batch.iter(0).map(|record| record.digest(secret)).collect()
        };
        assert_eq!(parts.iter().flat_map(digests).collect::<Vec<_>>(), digests(&batch));
        let empty = Batch { records: Vec::new(), ..batch };
        assert_eq!(empty.into_records().len(), 1);
    }

    #[test]
    fn a_digest_of_a_record_is_the_same_in_every_version() {
        let mut batch = Batch { partition: 3, ..Batch::default() };
        batch.push(0, None, None, None);
        batch.push(7, None, None, Some(b""));
        batch.push(7, None, Some(b""), Some(b""));
        batch.push(7, None, Some(b"key"), Some(b"value"));
        batch.push(7, None, Some(b"key"), None);
        batch.push(8, Some(Timestamp(1_700_000_000_000_000)), Some(b"key"), Some(b"value"));
        batch.push_header("tenant", Some(b"north"));
        batch.records.push(Span { cut: Some(70 << 20), ..batch.records[3].clone() });
        let secret = Secret::new(*b"0123456789abcdef");
        let digests: Vec<u64> = batch.iter(0).map(|record| record.digest(secret)).collect();
        let before: [u64; 7] = [
            10_034_642_225_526_239_146,
            4_053_212_025_648_559_345,
            7_609_996_884_233_098_294,
            9_495_598_596_974_855_894,
            12_436_837_448_552_408_698,
            2_512_301_578_356_615_459,
            2_485_303_900_520_378_457,
        ];
        assert_eq!(digests, before);
        let elsewhere = Batch { partition: 4, ..batch };
        let again = elsewhere.iter(1).map(|record| record.digest(secret));
        assert!(again.eq(digests), "a digest does not depend on partition and source");
    }
}
