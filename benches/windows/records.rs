//! Records that are made in memory, in the order of their times.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use watershed::connect::{Partition, Poll};
use watershed::prelude::*;
use watershed::record::Batch;

use crate::Outcome;

/// Records of a batch.
const BATCH_RECORDS: u64 = 4_096;
/// The records by which one of two readers at the same pace may be ahead.
const AHEAD_RECORDS: u64 = 4 * BATCH_RECORDS;

/// Records of random keys, so many of them in a second of event time.
#[derive(Clone)]
pub(crate) struct Generated {
    pub(crate) records: u64,
    pub(crate) keys: u64,
    pub(crate) rate: u64,
    /// The side of a join, of which both are read at the same pace.
    side: Option<(usize, Arc<Pace>)>,
}

/// The numbers of the next records of two readers.
#[derive(Default)]
struct Pace {
    next: Mutex<[u64; 2]>,
    moved: Condvar,
}

impl Pace {
    fn next(&self) -> MutexGuard<'_, [u64; 2]> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the next record of a side. Returns true if the side is not too far ahead.
    fn may_read(&self, side: usize, next: u64) -> bool {
        let mut all = self.next();
        all[side] = next;
        self.moved.notify_all();
        next < all[1 - side].saturating_add(AHEAD_RECORDS)
    }

    /// Waits until the other side has moved, or `patience` has passed.
    fn wait(&self, side: usize, patience: Duration) {
        let all = self.next();
        let is_ahead =
            |all: &mut [u64; 2]| all[side] >= all[1 - side].saturating_add(AHEAD_RECORDS);
        drop(self.moved.wait_timeout_while(all, patience, is_ahead));
    }
}

/// A reader of the only partition.
pub(crate) struct Reader {
    of: Generated,
    next: u64,
}

impl Generated {
    pub(crate) fn new(records: u64, keys: u64, rate: u64) -> Self {
        Generated { records, keys, rate, side: None }
    }

    /// Returns two topics of half the records each, which are read at the same pace.
    pub(crate) fn sides(&self) -> [Self; 2] {
        let pace = Arc::<Pace>::default();
        [0, 1].map(|side| {
            let (records, side) = (self.records / 2, Some((side, pace.clone())));
            Generated { records, side, ..self.clone() }
        })
    }

    /// Returns a reader from the first record on.
    pub(crate) fn reader(&self) -> Reader {
        Reader { of: self.clone(), next: 0 }
    }

    /// Calls `each` with key, time and value of each record.
    pub(crate) fn for_each(&self, mut each: impl FnMut(i64, i64, i64)) -> Outcome {
        let mut reader = self.reader();
        while reader.for_each(&mut each)? {}
        Ok(())
    }

    /// Returns the key and the time of a record.
    fn record(&self, number: u64) -> (i64, Timestamp) {
        // SplitMix64 (prng.di.unimi.it/splitmix64.c): the distances of a key's records are random.
        let mut key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32;
        let at = number * (1_000_000 / self.rate);
        ((key % self.keys).cast_signed(), Timestamp(at.cast_signed()))
    }
}

impl Source for Generated {
    fn describe(&self) -> String {
        format!("{} generated records", self.records)
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        Ok(vec![0])
    }

    fn open(&self, _: u32, from: Option<u64>, _: bool) -> Result<Box<dyn Partition>> {
        Ok(Box::new(Reader { next: from.unwrap_or(0), ..self.reader() }))
    }
}

impl Reader {
    /// Returns the next records; none at the end.
    fn batch(&mut self) -> Option<Batch> {
        let end = self.of.records.min(self.next + BATCH_RECORDS);
        if self.next >= end {
            return None;
        }
        let mut batch = Batch { partition: 0, first: self.next, next: end, ..Batch::default() };
        for offset in self.next..end {
            let (key, at) = self.of.record(offset);
            let value = (offset % 1_000).to_be_bytes();
            batch.push(offset, Some(at), Some(&key.to_be_bytes()), Some(&value));
        }
        self.next = end;
        Some(batch)
    }

    /// Calls `each` with key, time and value of the records of the next batch. Returns false at the
    /// end.
    pub(crate) fn for_each(&mut self, mut each: impl FnMut(i64, i64, i64)) -> Outcome<bool> {
        let Some(batch) = self.batch() else { return Ok(false) };
        for record in batch.iter(0) {
            let at = record.timestamp.unwrap_or_default().0;
            each(number(record.key)?, at, number(record.value)?);
        }
        Ok(true)
    }
}

/// Decodes a key or a value.
fn number(bytes: Option<&[u8]>) -> Outcome<i64> {
    Ok(i64::from_be_bytes(bytes.unwrap_or_default().try_into()?))
}

impl Partition for Reader {
    fn poll(&mut self) -> Result<Poll> {
        if let Some((side, pace)) = &self.of.side {
            let next = if self.next < self.of.records { self.next } else { u64::MAX };
            if !pace.may_read(*side, next) && next < u64::MAX {
                return Ok(Poll::Idle);
            }
        }
        Ok(self.batch().map_or(Poll::End, Poll::Batch))
    }

    fn wait(&mut self, patience: Duration) -> bool {
        let Some((side, pace)) = &self.of.side else { return false };
        pace.wait(*side, patience);
        true
    }
}
