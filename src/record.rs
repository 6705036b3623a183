//! A record is bytes at a position: batches of them, and the order that decides which is later.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Where a record stands among all records of its topic; the greater is the later.
///
/// Between partitions the greater `(offset, partition)` is later; between sources bound to one topic the one bound later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Order {
    /// Rank of the source: of its topic among those of the topology, then among those bound to the topic.
    pub source: u16,
    /// Offset in the partition.
    pub offset: u64,
    /// Partition of the topic.
    pub partition: u32,
}

/// Where one record lies in the bytes of its [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the record in its partition.
    pub offset: u64,
    /// Timestamp of the record in microseconds, where the connector has one.
    pub timestamp: Option<i64>,
    /// Bytes of the key; `None` is a null key.
    pub key: Option<Range<u32>>,
    /// Bytes of the value; `None` is a null value (a tombstone).
    pub value: Option<Range<u32>>,
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
    /// Its timestamp in microseconds, where the connector has one.
    pub timestamp: Option<i64>,
    /// Its key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is null (a tombstone).
    pub value: Option<&'a [u8]>,
}

impl Batch {
    /// The records, each with its place in the topic's order; `source` is the rank of the source they come from.
    pub fn iter(&self, source: u16) -> impl Iterator<Item = Record<'_>> {
        let slice = |r: &Range<u32>| &self.bytes[r.start as usize..r.end as usize];
        self.records.iter().map(move |span| Record {
            order: Order { source, offset: span.offset, partition: self.partition },
            timestamp: span.timestamp,
            key: span.key.as_ref().map(slice),
            value: span.value.as_ref().map(slice),
        })
    }

    /// Appends a record, copying its bytes; what comes after it is the caller's to say.
    pub fn push(&mut self, offset: u64, timestamp: Option<i64>, key: Option<&[u8]>, value: Option<&[u8]>) {
        let mut range = |bytes: &[u8]| {
            let start = self.bytes.len() as u32;
            self.bytes.extend_from_slice(bytes);
            start..self.bytes.len() as u32
        };
        let (key, value) = (key.map(&mut range), value.map(&mut range));
        self.records.push(Span { offset, timestamp, key, value });
    }

    /// Cuts the batch at `offset`: what is before stays, what is from there on is returned.
    pub fn split_off(&mut self, offset: u64) -> Batch {
        let at = self.records.partition_point(|span| span.offset < offset);
        let mut records = self.records.split_off(at);
        let start = records.iter().flat_map(|s| s.key.iter().chain(&s.value)).map(|range| range.start).min();
        let start = start.unwrap_or(self.bytes.len() as u32);
        for range in records.iter_mut().flat_map(|s| s.key.iter_mut().chain(&mut s.value)) {
            *range = range.start - start..range.end - start;
        }
        let (first, next) = (offset.max(self.first), self.next.max(offset));
        let rest = Batch { partition: self.partition, first, next, bytes: self.bytes.split_off(start as usize), records };
        self.next = self.next.min(offset);
        rest
    }
}
