//! The changed rows of a keyspace on one worker, by bucket, until they are taken.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BUCKETS;
use super::columns::{ColumnPart, KeyList};
use crate::error::Result;
use crate::faults;
use crate::time::Epoch;

/// The changed rows of one bucket of a keyspace on one worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChangedBucket {
    pub(crate) bucket: u8,
    pub(crate) keys: KeyList,
    /// By cut, in the order in which they were opened.
    pub(crate) columns: Vec<ColumnPart>,
}

impl ChangedBucket {
    /// Returns the memory of the rows in bytes.
    pub(crate) fn size(&self) -> usize {
        let columns = self.columns.iter().map(|column| column.bytes.len());
        self.keys.bytes.len() + columns.sum::<usize>()
    }
}

/// The changed rows of a worker: by keyspace, in the order of their changes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ChangedRows(pub(crate) Vec<Vec<ChangedBucket>>);

impl ChangedRows {
    /// Returns the memory of the rows in bytes.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().flatten().map(ChangedBucket::size).sum()
    }

    /// Returns true if there are no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }
}

/// A worker hands over its changed rows at a barrier, or earlier if they have this many bytes.
pub(crate) const PENDING_BYTES: u64 = 16 << 20;
/// Memory for shorter columns is not reserved in advance.
const SMALL_COLUMN_BYTES: usize = 256;

/// The changed rows of some successive epochs.
pub(super) struct Buckets {
    /// Distinguishes these rows from those of other epochs. It is never 0.
    pub(super) stamp: u32,
    last: Epoch,
    /// The size of the rows in bytes.
    pub(super) bytes: usize,
    /// By bucket.
    keys: Vec<KeyList>,
    /// By column and bucket.
    columns: Vec<Vec<ColumnPart>>,
}

impl Buckets {
    /// `expected` are the bytes of a bucket, by column.
    fn new(stamp: u32, epoch: Epoch, expected: &[usize]) -> Self {
        let columns = expected.iter().map(|bytes| {
            let part = || ColumnPart::with_capacity(*bytes);
            std::iter::repeat_with(part).take(usize::from(BUCKETS)).collect()
        });
        let keys = std::iter::repeat_with(KeyList::default).take(usize::from(BUCKETS));
        let (keys, columns) = (keys.collect(), columns.collect());
        Buckets { stamp, last: epoch, bytes: 0, keys, columns }
    }

    /// Returns the keys of a bucket.
    pub(super) fn keys(&mut self, bucket: u8) -> &mut KeyList {
        &mut self.keys[usize::from(bucket)]
    }

    /// Adds the value of a key to a column; none for a deleted row.
    pub(super) fn value<V: Serialize>(
        &mut self,
        column: usize,
        bucket: u8,
        place: u32,
        value: Option<&V>,
    ) -> Result<()> {
        self.columns[column][usize::from(bucket)].put(place, value)
    }

    /// Returns the size of the keys and of one column in bytes.
    pub(super) fn size(&self, column: usize) -> usize {
        let keys = self.keys.iter().map(|keys| keys.bytes.len());
        let values = self.columns[column].iter().map(|part| part.bytes.len());
        keys.chain(values).sum()
    }

    /// Returns by column a little more than the mean bytes of a bucket.
    fn means(&self) -> Vec<usize> {
        let mean = |column: &Vec<ColumnPart>| {
            let bytes = column.iter().map(|part| part.bytes.len()).sum::<usize>();
            let mean = bytes / usize::from(BUCKETS);
            if mean < SMALL_COLUMN_BYTES { 0 } else { mean + mean / 8 }
        };
        self.columns.iter().map(mean).collect()
    }

    /// Returns the buckets that have rows.
    fn into_changed(self) -> impl Iterator<Item = ChangedBucket> {
        let mut columns: Vec<_> = self.columns.into_iter().map(Vec::into_iter).collect();
        let buckets = (0..BUCKETS).zip(self.keys).map(move |(bucket, keys)| {
            let columns = columns.iter_mut().filter_map(Iterator::next).collect();
            ChangedBucket { bucket, keys, columns }
        });
        buckets.filter(|bucket| bucket.keys.count > 0)
    }
}

/// The changed rows of a keyspace that were not taken.
///
/// The rows of some epochs are together, so that small epochs need little memory. They end at a
/// barrier, or when they are many.
#[derive(Default)]
pub(super) struct Pending {
    /// By the first of their epochs.
    of: BTreeMap<Epoch, Buckets>,
    /// The last stamp.
    pub(super) stamp: u32,
    /// By column, the expected bytes in a bucket.
    expected: Vec<usize>,
}

impl Pending {
    /// Adds a column.
    pub(super) fn open(&mut self) -> usize {
        self.expected.push(0);
        self.expected.len() - 1
    }

    /// Returns the rows to which those of `epoch` are added. `is_apart` returns true if the rows
    /// of its two arguments, an epoch and a later one, must be apart.
    pub(super) fn at(
        &mut self,
        epoch: Epoch,
        is_apart: impl Fn(Epoch, Epoch) -> bool,
    ) -> &mut Buckets {
        let most = faults::limit("pending_bytes", PENDING_BYTES);
        let is_last = self.of.range(epoch + 1..).next().is_none();
        let before = self.of.range_mut(..=epoch).next_back();
        let first = match before {
            Some((first, rows)) if epoch <= rows.last => *first,
            Some((first, rows))
                if is_last && rows.bytes as u64 <= most / 2 && !is_apart(rows.last, epoch) =>
            {
                rows.last = epoch;
                *first
            }
            before => {
                if let Some((_, rows)) = before {
                    self.expected = rows.means();
                }
                self.stamp += 1;
                epoch
            }
        };
        let (stamp, expected) = (self.stamp, &self.expected);
        self.of.entry(first).or_insert_with(|| Buckets::new(stamp, first, expected))
    }

    /// Returns the first epoch that has rows.
    pub(super) fn first(&self) -> Option<Epoch> {
        self.of.first_key_value().map(|(first, _)| *first)
    }

    /// Takes the rows whose epochs are all up to `last`.
    pub(super) fn take(&mut self, last: Epoch) -> Vec<ChangedBucket> {
        let mut taken = Vec::new();
        while let Some(first) = self.of.first_entry().filter(|first| first.get().last <= last) {
            let rows = first.remove();
            self.expected = rows.means();
            taken.extend(rows.into_changed());
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a row whose key is the epoch.
    fn add(pending: &mut Pending, epoch: Epoch, barriers: &[Epoch]) {
        let is_apart = |from, to| barriers.iter().any(|barrier| from <= *barrier && *barrier < to);
        let rows = pending.at(epoch, is_apart);
        let place = rows.keys(1).push(&[epoch as u8]);
        rows.value(0, 1, place, Some(&epoch)).unwrap();
    }

    fn taken(pending: &mut Pending, last: Epoch) -> Vec<Vec<u8>> {
        let keys = |bucket: ChangedBucket| bucket.keys.bytes.chunks(2).map(|key| key[1]).collect();
        pending.take(last).into_iter().map(keys).collect()
    }

    #[test]
    fn rows_before_and_after_a_barrier_are_apart() {
        let mut pending = Pending::default();
        pending.open();
        let barriers = [3, 5, 8];
        for epoch in [1, 2, 6, 5, 3, 7, 4, 9] {
            add(&mut pending, epoch, &barriers);
        }
        assert_eq!(pending.first(), Some(1));
        assert_eq!(taken(&mut pending, 0), Vec::<Vec<u8>>::new());
        assert_eq!(taken(&mut pending, 3), [vec![1, 2], vec![3]]);
        assert_eq!(taken(&mut pending, 5), [[4], [5]]);
        assert_eq!(taken(&mut pending, 8), [[6, 7]]);
        assert_eq!(pending.first(), Some(9));
        // Rows of later epochs stay.
        add(&mut pending, 10, &barriers);
        assert_eq!(taken(&mut pending, 9), Vec::<Vec<u8>>::new());
        assert_eq!(taken(&mut pending, 10), [[9, 10]]);
    }

    #[test]
    fn many_rows_are_taken_without_a_barrier() {
        let mut pending = Pending::default();
        pending.open();
        add(&mut pending, 1, &[]);
        pending.at(1, |_, _| false).bytes = PENDING_BYTES as usize / 2 + 1;
        add(&mut pending, 1, &[]);
        add(&mut pending, 2, &[]);
        assert_eq!(taken(&mut pending, 1), [[1, 1]]);
        assert_eq!(taken(&mut pending, 2), [[2]]);
    }

    #[test]
    fn columns_get_memory_for_as_many_rows_as_before() {
        let mut pending = Pending::default();
        pending.open();
        for epoch in 0..3 {
            let rows = pending.at(epoch, |_, _| true);
            for number in 0..100_000_u32 {
                let bucket = (number % u32::from(BUCKETS)) as u8;
                let place = rows.keys(bucket).push(b"");
                rows.value(0, bucket, place, Some(&number)).unwrap();
            }
            let column = &pending.take(epoch)[0].columns[0].bytes;
            let spare = column.capacity() - column.len();
            assert!(epoch == 0 || spare <= column.len() / 7, "{spare} of {}", column.len());
        }
    }
}
