//! The versions of the rows of a table in a sink: 16 bits for each row, of which a manifest has the
//! sum. Sixteen are enough, because a changed program changes many rows.

use super::share::SinkStart;
use crate::error::{Error, Result};
use crate::operators::{Column, TableCut, saved_digests};
use crate::row::{Row, RowSum};
use crate::time::Epoch;

/// The cuts that have the versions of the rows after a restart.
#[derive(Clone, Default)]
pub(crate) struct SinkCuts {
    /// The cut of the versions that are digests of rows.
    pub(crate) own: Option<TableCut>,
    /// The cut of the table's versions, if its rows are the values of records.
    pub(crate) source: Option<TableCut>,
}

/// If rows are the values of records, the version of most rows is the digest of the value, which is
/// known. The version of one row in so many is the digest of the row, a multiple of this number: so
/// a change of the conversion to a row is found too.
const SAMPLE: u16 = 16;

/// The current versions of the rows of a table.
pub(super) struct Versions {
    /// By key number, 0 without a row.
    bits: Column<u16>,
    rows: u64,
    /// The sum of the versions of all rows.
    sum: u64,
    hasher: RowSum,
    cuts: SinkCuts,
    /// By key number, the digests of saved values that reach the sink without one: a new sink gets
    /// the saved rows.
    saved: Option<Column<u16>>,
    changed: Vec<(u32, Option<u16>)>,
}

impl Versions {
    pub(super) fn new(cuts: SinkCuts) -> Self {
        let (bits, hasher, changed) = (Column::new(), RowSum::default(), Vec::new());
        Versions { bits, rows: 0, sum: 0, hasher, cuts, saved: None, changed }
    }

    /// Loads the versions from the snapshot. Calls `each` with the key number of each row.
    ///
    /// # Errors
    /// When they can't be read, and those of `each`.
    pub(super) fn load(
        &mut self,
        start: SinkStart,
        mut each: impl FnMut(u32) -> Result<()>,
    ) -> Result<()> {
        let SinkCuts { own: Some(own), source } = &self.cuts else { return Ok(()) };
        for bucket in own.buckets() {
            let digests = match source {
                Some(source) => saved_digests(source, bucket)?,
                None => Vec::new(),
            };
            if start == SinkStart::WithoutRows {
                let saved = self.saved.get_or_insert_with(Column::new);
                digests.into_iter().for_each(|(number, digest)| *saved.at(number) = digest);
                continue;
            }
            let known = digests.into_iter().filter(|(_, digest)| digest % SAMPLE != 0);
            let mut numbers = Vec::new();
            for (number, version) in known.chain(own.load(bucket)?) {
                let before = std::mem::replace(self.bits.at(number), version);
                self.sum = self.sum.wrapping_add(version.into()).wrapping_sub(before.into());
                if before == 0 {
                    numbers.push(number);
                }
            }
            self.rows += numbers.len() as u64;
            numbers.into_iter().try_for_each(&mut each)?;
        }
        Ok(())
    }

    /// Ends the run.
    pub(super) fn fail(&self, error: Error) {
        if let Some(own) = &self.cuts.own {
            (own.fail())(error);
        }
    }

    /// Sets the current row of a key. `digest` is that of the value, 0 if it is unknown. Returns
    /// true if there was a row.
    pub(super) fn set(&mut self, number: u32, digest: u16, row: Option<&dyn Row>) -> bool {
        let now = row.map_or(0, |row| self.of(number, digest, row));
        let before = std::mem::replace(self.bits.at(number), now);
        self.rows = self.rows + u64::from(now > 0) - u64::from(before > 0);
        self.sum = self.sum.wrapping_add(now.into()).wrapping_sub(before.into());
        if self.cuts.own.is_some() {
            let of_source = self.cuts.source.is_some();
            let own = |version: u16| {
                (version > 0 && (!of_source || version.is_multiple_of(SAMPLE))).then_some(version)
            };
            if own(before) != own(now) {
                self.changed.push((number, own(now)));
            }
        }
        before > 0
    }

    fn of(&mut self, number: u32, digest: u16, row: &dyn Row) -> u16 {
        if self.cuts.source.is_none() {
            return (self.hasher.of(row) as u16).max(1);
        }
        let digest = match &mut self.saved {
            Some(saved) if digest == 0 => *saved.at(number),
            _ => digest,
        };
        if digest % SAMPLE != 0 {
            return digest;
        }
        let version = self.hasher.of(row) as u16;
        (version - version % SAMPLE).max(SAMPLE)
    }

    /// Saves the changed versions of an epoch. The dictionary of the keys must not be open.
    pub(super) fn save(&mut self, epoch: Epoch) {
        if let Some(own) = &self.cuts.own
            && !self.changed.is_empty()
        {
            own.put_all(epoch, self.changed.drain(..));
        }
    }

    /// Returns the number of rows, and the sum of their versions.
    pub(super) fn count(&self) -> (u64, u64) {
        (self.rows, self.sum)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::operators::{CutId, Cuts, Keys, Merge, Owners, Seeds};

    fn versions(is_of_source: bool) -> Versions {
        let owners = Owners::new(Seeds::of_a_plan(), Rc::new(|error| panic!("{error}")));
        let (cuts, keys) = (Cuts::new(None, 0, 1, |_, _| false), Keys::new(owners, Rc::default()));
        let cut = |name: &str| {
            let (name, types, space) = (name.to_string(), String::new(), "i64".to_string());
            cuts.open_table::<i64>(CutId { name, types, space, merge: Merge::Latest }, keys.clone())
        };
        let (own, source) = (Some(cut("own")), is_of_source.then(|| cut("source")));
        Versions::new(SinkCuts { own, source })
    }

    #[test]
    fn a_changed_conversion_to_rows_is_found() {
        for is_of_source in [false, true] {
            let made = |added: i64| {
                let mut versions = versions(is_of_source);
                for number in 1..=160_u16 {
                    let row = i64::from(number) + added;
                    assert!(!versions.set(number.into(), number, Some(&row)));
                }
                versions
            };
            let (before, same, other) = (made(0), made(0), made(1));
            assert_eq!(before.count(), same.count());
            assert_eq!((before.rows, other.rows), (160, 160));
            assert_ne!(before.sum, other.sum);
            assert_eq!(before.changed.len(), if is_of_source { 10 } else { 160 });
        }
    }

    #[test]
    fn a_row_that_was_saved_has_the_version_of_its_record() {
        let (mut of_records, mut restored) = (versions(true), versions(true));
        let mut saved = Column::new();
        for number in 1..=160_u16 {
            let row = i64::from(number);
            *saved.at(number.into()) = number;
            of_records.set(number.into(), number, Some(&row));
        }
        restored.saved = Some(saved);
        for number in 1..=160_u16 {
            restored.set(number.into(), 0, Some(&i64::from(number)));
        }
        assert_eq!(of_records.count(), restored.count());
        assert_eq!(of_records.changed, restored.changed);
        // A later version, and no row.
        for versions in [&mut of_records, &mut restored] {
            assert!(versions.set(1, 16, Some(&7)) && versions.set(16, 1, Some(&7)));
            assert!(versions.set(2, 0, None) && !versions.set(2, 0, None));
            let changed = &versions.changed[10..];
            assert!(matches!(changed, [(1, Some(_)), (16, None)]), "{changed:?}");
        }
        assert_eq!(of_records.count(), restored.count());
        assert_eq!(of_records.rows, 159);
    }
}
