//! A record is bytes at a position: batches of them, and the order that decides which is later.

use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Range;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::time::Timestamp;

/// The most bytes of a value that are read where a log has no limit of its own, and how many are
/// kept of a longer one.
pub(crate) const LONGEST: usize = 64 << 20;
pub(crate) const BEGINNING: usize = 2 << 20;

/// Where a record stands among all records of its topic; the greater is the later.
///
/// Between partitions the greater `(offset, partition)` is later; between sources bound to one
/// topic the one bound later; between topics that are merged the one that the topology names later.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Order {
    /// Rank of the topic among those of the topology.
    pub topic: u16,
    /// Rank of the source among those bound to the topic.
    pub source: u16,
    /// Offset in the partition.
    pub offset: u64,
    /// Partition of the topic.
    pub partition: u32,
}

impl Order {
    /// Returns the partition of the record.
    pub(crate) fn partition_id(&self) -> PartitionId {
        PartitionId { topic: self.topic, source: self.source, partition: self.partition }
    }
}

/// A partition of a source of a topic, by the numbers that they have in a run.
///
/// Topics are numbered in the order in which the topology reads them, sources in the order in which
/// they are bound to their topic. An [`Order`] has the same numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PartitionId {
    /// Number of the topic.
    pub(crate) topic: u16,
    /// Number of the source among those of the topic.
    pub(crate) source: u16,
    /// Partition of the source.
    pub(crate) partition: u32,
}

impl PartitionId {
    /// Returns the id of a partition.
    ///
    /// # Errors
    /// When the number of the topic or of the source is above 65,535: records of two of them would
    /// have one order.
    pub(crate) fn new(topic: usize, source: usize, partition: u32) -> Result<Self> {
        match (u16::try_from(topic), u16::try_from(source)) {
            (Ok(topic), Ok(source)) => Ok(PartitionId { topic, source, partition }),
            _ => Err(Error::internal(format!(
                "can't number partition {partition} of source {source} of topic {topic}: \
                 the numbers go up to {}",
                u16::MAX
            ))),
        }
    }

    /// Returns the id of another partition of the same source.
    pub(crate) fn with_partition(self, partition: u32) -> Self {
        PartitionId { partition, ..self }
    }

    /// Returns the order of the record at `offset`.
    pub(crate) fn at(self, offset: u64) -> Order {
        let PartitionId { topic, source, partition } = self;
        Order { topic, source, offset, partition }
    }
}

/// The ordinal of a row among all rows derived from one record; the greater is the later.
///
/// It has one number for each verb that may derive several rows from one, as SQL's `WITH ORDINALITY`
/// counts the rows of one call. A row that is the only one of its record has no numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Ordinal {
    /// The number given by the first such verb, counted from 1; 0 without any.
    number: u64,
    /// The numbers given by later verbs.
    next: Option<Box<Ordinal>>,
}

impl Ordinal {
    /// An ordinal for rows that share one position and differ by `key`: arbitrary, but the same in
    /// every run.
    pub(crate) fn of_key<K: Hash>(key: &K) -> Self {
        Ordinal { number: FixedState::with_seed(0x00de_c1de).hash_one(key) | 1, next: None }
    }

    /// Returns true without any number.
    pub(crate) fn is_empty(&self) -> bool {
        self.number == 0
    }

    /// The ordinal of row `index`, counted from 0, of those derived from this one.
    pub(crate) fn then(&self, index: usize) -> Self {
        let mut ordinal = self.clone();
        ordinal.push(index as u64 + 1);
        ordinal
    }

    fn push(&mut self, number: u64) {
        match &mut self.next {
            Some(next) => next.push(number),
            None if self.number == 0 => self.number = number,
            None => self.next = Some(Box::new(Ordinal { number, next: None })),
        }
    }

    /// The ordinal in a merged stream, where the rows of the same record from `earlier` other
    /// inputs precede this one.
    pub(crate) fn after(self, earlier: u64) -> Self {
        let next = (!self.is_empty()).then(|| Box::new(self));
        Ordinal { number: earlier + 1, next }
    }
}

/// Where one record lies in the bytes of its [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the record in its partition.
    pub offset: u64,
    /// Timestamp of the record, where the connector has one.
    pub timestamp: Option<Timestamp>,
    /// Bytes of the key; `None` is a null key.
    pub key: Option<Range<u32>>,
    /// Bytes of the value; `None` is a null value (a tombstone).
    pub value: Option<Range<u32>>,
    /// Bytes of the headers, written by [`Batch::push_header`]; empty if there are none.
    pub headers: Range<u32>,
    /// How many bytes the value has, if it has too many and these are only its beginning: it
    /// becomes a dead letter.
    pub cut: Option<u64>,
}

impl Span {
    /// The record at `offset` whose value is all it has.
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

/// Some consecutive records of one partition, as read.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Partition of the topic.
    pub partition: u32,
    /// Offset of the first record.
    pub first: u64,
    /// Offset after the last record: where the next batch begins.
    pub next: u64,
    /// What was read: the bytes of a record before those of the next.
    pub bytes: Vec<u8>,
    /// The records, by ascending offset.
    pub records: Vec<Span>,
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where it stands.
    pub order: Order,
    /// Its timestamp, where the connector has one.
    pub timestamp: Option<Timestamp>,
    /// Its key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is null (a tombstone).
    pub value: Option<&'a [u8]>,
    /// Its headers, where the connector has some.
    pub headers: Headers<'a>,
    /// How many bytes its value has, if these are only the beginning.
    pub cut: Option<u64>,
}

impl Record<'_> {
    /// Stands for it in a sum of records: a keyed digest of all it has but partition and source.
    /// Sums are kept, so it is the same in every version.
    pub(crate) fn digest(&self, secret: Secret) -> u64 {
        let headers = self.headers.bytes();
        let there = [
            self.timestamp.is_some(),
            self.key.is_some(),
            self.value.is_some(),
            self.cut.is_some(),
        ];
        let there = there.into_iter().fold(0, |bits, some| bits << 1 | u64::from(some));
        let lengths = (self.key.map_or(0, <[u8]>::len) as u64) << 32 | headers.len() as u64;
        // All lengths but the value's are in front, so that no two records are one text.
        let mut front = [0; 40];
        let words = [
            self.order.offset,
            self.timestamp.unwrap_or_default().0.cast_unsigned(),
            lengths,
            self.cut.unwrap_or(0),
            there,
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
    /// What the last header of this name says, which is the one that counts: none if there is no
    /// such header, or it is null.
    pub fn last(self, name: &str) -> Option<&'a [u8]> {
        self.filter(|(other, _)| *other == name).last().and_then(|(_, value)| value)
    }

    /// All of them as bytes: the same bytes are the same headers.
    fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Takes a length and that many bytes; a length of `u32::MAX` is null.
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
    /// The bytes of memory that it takes, however few of them are bytes of records.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Batch>() + self.bytes.capacity() + self.records.capacity() * size_of::<Span>()
    }

    /// The records, each with its place in the topic's order; `source` is the rank of the source
    /// they come from.
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

    /// Appends a record, copying its bytes; what comes after it is the caller's to say.
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

    /// Cuts the batch at `offset`: what is before stays, what is from there on is returned.
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
    fn an_order_and_its_partition_have_the_same_numbers() {
        let id = PartitionId::new(65_535, 65_534, 3).unwrap();
        assert_eq!(id.at(7), Order { topic: 65_535, source: 65_534, offset: 7, partition: 3 });
        assert_eq!(id.at(7).partition_id(), id);
        assert!(PartitionId::new(65_536, 0, 0).is_err() && PartitionId::new(0, 65_536, 0).is_err());
    }

    #[test]
    fn a_digest_is_what_it_was_when_manifests_were_written_with_it() {
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
        assert!(again.eq(digests), "a digest tells nothing of partition and source");
    }
}
