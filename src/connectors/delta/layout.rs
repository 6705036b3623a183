//! The settings of a table that its writers and its committer share, and the numbers of its files.

use crate::connect::Schema;
use crate::error::{Error, Result};
use crate::row::Column;

use super::file::OpenFile;

/// The maximal size of the values that a writer keeps to rewrite all of its rows at each change.
/// That takes 10 ms.
pub(super) const REWRITE_MAX_BYTES: usize = 4 << 20;

/// The maximal number of rows of a file. Parquet makes one row group of as many.
pub(super) const FILE_MAX_ROWS: u32 = 1 << 20;

/// The settings of a table, constant in one run.
pub(super) struct Layout {
    pub(super) schema: Schema,
    pub(super) generation: u64,
    /// The number of writers in all processes.
    pub(super) workers: usize,
    pub(super) target_file_size: usize,
    pub(super) rewrite_below: u64,
}

impl Layout {
    pub(super) fn columns(&self) -> &[Column] {
        &self.schema.columns
    }

    /// Returns true if a file has reached its maximal number of rows or its target size.
    pub(super) fn full(&self, file: &OpenFile) -> bool {
        file.rows() >= FILE_MAX_ROWS || file.size() >= self.target_file_size
    }

    /// Returns the path of the file that `maker` makes after `made` others. A maker is a worker, or
    /// the committer, whose number follows those of all workers.
    pub(super) fn path(&self, maker: usize, made: u64) -> String {
        format!("part-{}-{made}-{maker}.parquet", self.generation)
    }
}

/// The file numbers of one maker of files: its own number, then steps of the number of makers. So
/// processes need no common counter.
pub(super) struct FileNumbers {
    next: Option<u32>,
    makers: Option<u32>,
}

impl FileNumbers {
    /// Returns the numbers of `maker`: a worker, or the committer, whose number is `workers`.
    pub(super) fn of(maker: usize, workers: usize) -> Self {
        let makers = workers.checked_add(1).and_then(|makers| u32::try_from(makers).ok());
        FileNumbers { next: u32::try_from(maker).ok(), makers }
    }

    /// Takes the next number.
    ///
    /// # Errors
    /// After 4 billion files of all makers.
    pub(super) fn take(&mut self) -> Result<u32> {
        let none =
            || Error::internal("can't number a file: the table has 4 billion files of this run");
        // The greatest number means no file.
        let number = self.next.filter(|number| *number < u32::MAX).ok_or_else(none)?;
        self.next = self.makers.and_then(|makers| number.checked_add(makers));
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::FileNumbers;

    #[test]
    fn no_two_makers_of_files_use_the_same_number() {
        let mut taken = std::collections::BTreeSet::new();
        for maker in 0..=3 {
            let mut numbers = FileNumbers::of(maker, 3);
            (0..100).for_each(|_| assert!(taken.insert(numbers.take().unwrap())));
        }
        let mut last = FileNumbers { next: Some(u32::MAX - 3), makers: Some(4) };
        assert_eq!(last.take().unwrap(), u32::MAX - 3);
        assert!(last.take().is_err());
        assert!(FileNumbers::of(u32::MAX as usize, 1).take().is_err());
    }
}
