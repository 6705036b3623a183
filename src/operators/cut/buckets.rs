//! The changed rows of a keyspace on one worker, by bucket, until they are taken.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BUCKETS;
use super::columns::{ColumnPart, KeyList};
use super::pack::{PackedRows, Packer};
use crate::error::Result;
use crate::faults;
use crate::time::Epoch;

/// The changed rows of a worker: by keyspace, in the order of their changes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ChangedRows(pub(crate) Vec<Vec<PackedRows>>);

impl ChangedRows {
    /// Returns the bytes of the rows before they were packed.
    pub(crate) fn size(&self) -> usize {
        let blocks = self.0.iter().flatten().flat_map(|rows| &rows.blocks);
        blocks.map(|block| block.raw as usize).sum()
    }

    /// Returns true if there are no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }
}

/// A worker hands over its changed rows at a barrier, or earlier if they have this many bytes.
pub(crate) const PENDING_BYTES: u64 = 4 << 20;
/// Packed rows with more bytes than this are divided between buckets.
const PACKED_BYTES: usize = 8 << 20;
/// The memory of so many lists of rows is used again.
const SPARE: usize = 2;

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
    fn new(columns: usize) -> Self {
        let column = || std::iter::repeat_with(ColumnPart::default).take(usize::from(BUCKETS));
        let keys = std::iter::repeat_with(KeyList::default).take(usize::from(BUCKETS)).collect();
        let columns = (0..columns).map(|_| column().collect()).collect();
        Buckets { stamp: 0, last: 0, bytes: 0, keys, columns }
    }

    /// Returns the keys of a bucket.
    pub(super) fn keys(&mut self, bucket: u8) -> &mut KeyList {
        &mut self.keys[usize::from(bucket)]
    }

    /// Adds keys and values of the first column to a bucket with `add`. Returns the added bytes.
    pub(super) fn add_to(
        &mut self,
        bucket: u8,
        add: impl FnOnce(&mut KeyList, &mut ColumnPart) -> Result<()>,
    ) -> Result<usize> {
        let bucket = usize::from(bucket);
        let (keys, column) = (&mut self.keys[bucket], &mut self.columns[0][bucket]);
        let before = keys.bytes.len() + column.bytes.len();
        add(keys, column)?;
        Ok(keys.bytes.len() + column.bytes.len() - before)
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

    /// Packs the rows, and forgets them.
    fn pack(&mut self) -> Result<Vec<PackedRows>> {
        let (mut packer, mut packed) = (Packer::new(self.bytes.min(PACKED_BYTES)), Vec::new());
        for (bucket, keys) in (0..BUCKETS).zip(&mut self.keys) {
            packer.add(None, bucket, keys.count, &keys.bytes)?;
            for (cut, parts) in self.columns.iter_mut().enumerate() {
                let part = &mut parts[usize::from(bucket)];
                // Only a key of a table can have several values, of which the last counts.
                if part.count > keys.count {
                    part.keep_last(keys.count);
                }
                packer.add(Some(cut), bucket, part.count, &part.bytes)?;
                part.clear();
            }
            keys.clear();
            if packer.size() >= PACKED_BYTES {
                packed.push(packer.take());
            }
        }
        if packer.size() > 0 {
            packed.push(packer.take());
        }
        self.bytes = 0;
        Ok(packed)
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
    /// The number of columns.
    columns: usize,
    /// Lists without rows, for later ones: their memory is large enough, and it is warm.
    spare: Vec<Buckets>,
}

impl Pending {
    /// Adds a column.
    pub(super) fn open(&mut self) -> usize {
        self.columns += 1;
        self.columns - 1
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
            _ => {
                self.stamp += 1;
                epoch
            }
        };
        let (stamp, columns, spare) = (self.stamp, self.columns, &mut self.spare);
        self.of.entry(first).or_insert_with(|| {
            let empty = spare.pop().unwrap_or_else(|| Buckets::new(columns));
            Buckets { stamp, last: first, ..empty }
        })
    }

    /// Returns the first epoch that has rows.
    pub(super) fn first(&self) -> Option<Epoch> {
        self.of.first_key_value().map(|(first, _)| *first)
    }

    /// Frees the memory of rows that were taken.
    pub(super) fn trim(&mut self) {
        self.spare.clear();
    }

    /// Takes the rows whose epochs are all up to `last`, packed. Also returns their size before.
    ///
    /// # Errors
    /// When a bucket has too many rows.
    pub(super) fn take(&mut self, last: Epoch) -> Result<(Vec<PackedRows>, usize)> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        let most = faults::limit("pending_bytes", PENDING_BYTES);
        while let Some(first) = self.of.first_entry().filter(|first| first.get().last <= last) {
            let mut rows = first.remove();
            let size = rows.bytes;
            bytes += size;
            taken.extend(rows.pack()?);
            // Much memory is kept only while it is needed again and again.
            if size as u64 >= most / 4 && self.spare.len() < SPARE {
                self.spare.push(rows);
            }
        }
        Ok((taken, bytes))
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
        let keys = |rows: PackedRows| {
            let [keys, _] = rows.blocks[..] else { panic!("{:?}", rows.blocks) };
            let keys = keys.unpack(&rows.bytes[..keys.packed as usize]).unwrap();
            keys.chunks(2).map(|key| key[1]).collect()
        };
        pending.take(last).unwrap().0.into_iter().map(keys).collect()
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
    fn many_rows_need_no_new_memory_after_the_first() {
        let mut pending = Pending::default();
        pending.open();
        for epoch in 0..3 {
            let rows = pending.at(epoch, |_, _| true);
            for number in 0..400_000_u32 {
                let bucket = (number % u32::from(BUCKETS)) as u8;
                let place = rows.keys(bucket).push(&number.to_le_bytes());
                rows.value(0, bucket, place, Some(&number)).unwrap();
            }
            rows.bytes = rows.size(0);
            let size = rows.bytes;
            let capacity = rows.columns[0][0].bytes.capacity();
            let (packed, bytes) = pending.take(epoch).unwrap();
            assert_eq!((packed.len(), bytes), (1, size));
            let [spare] = &pending.spare[..] else { panic!("nothing is kept") };
            assert_eq!((spare.size(0), spare.bytes), (0, 0));
            assert_eq!(spare.columns[0][0].bytes.capacity(), capacity);
        }
        pending.trim();
        assert!(pending.spare.is_empty());
    }
}
