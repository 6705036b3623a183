//! Tallies: the outcomes of a topic's records by epoch. They balance at the end of every epoch.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::sync::lock;
use crate::time::Epoch;

/// Numbers of records by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) read: u64,
    pub(crate) applied: u64,
    pub(crate) duplicates: u64,
    pub(crate) superseded: u64,
    pub(crate) dead: u64,
    /// Bytes of the records that were read.
    pub(crate) bytes: u64,
    /// Applied records that replaced another row.
    pub(crate) replaced: u64,
}

impl Tally {
    /// Returns true if every record that was read has an outcome.
    pub(crate) fn balances(&self) -> bool {
        self.read == self.applied + self.duplicates + self.superseded + self.dead
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.read += other.read;
        self.applied += other.applied;
        self.duplicates += other.duplicates;
        self.superseded += other.superseded;
        self.dead += other.dead;
        self.bytes += other.bytes;
        self.replaced += other.replaced;
    }
}

/// The tallies of a topic. Workers count ahead of a commit, so each epoch has a tally of its own
/// until it is committed.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    /// The tally of earlier runs up to the snapshot from which this one continues.
    earlier: Tally,
    /// The sum of the epochs up to the last call of `through`.
    through: Tally,
    later: BTreeMap<Epoch, Tally>,
}

impl Tallies {
    /// Adds to the tally of an epoch. A worker must add before it completes the epoch.
    pub(crate) fn add(&self, epoch: Epoch, tally: Tally) {
        *lock(&self.0).later.entry(epoch).or_default() += tally;
    }

    /// Takes the tallies of all epochs, to add them in another process.
    pub(crate) fn take(&self) -> Vec<(Epoch, Tally)> {
        std::mem::take(&mut lock(&self.0).later).into_iter().collect()
    }

    /// Begins with the tally up to a snapshot.
    pub(crate) fn restore(&self, earlier: Tally) {
        lock(&self.0).earlier = earlier;
    }

    /// Returns the tally up to the end of `epoch` since the beginning of the state. The conditions
    /// are those of [`through`](Self::through).
    pub(crate) fn total(&self, epoch: Epoch) -> Tally {
        let mut total = self.through(epoch);
        total += lock(&self.0).earlier;
        total
    }

    /// Returns the tally of this run up to the end of `epoch`, which every worker must have
    /// completed. Epochs must not descend from call to call.
    pub(crate) fn through(&self, epoch: Epoch) -> Tally {
        let mut sums = lock(&self.0);
        while let Some(first) = sums.later.first_entry()
            && *first.key() <= epoch
        {
            let tally = first.remove();
            sums.through += tally;
        }
        sums.through
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_ahead_of_an_epoch_belong_to_a_later_one() {
        let tallies = Tallies::default();
        let (read, applied) =
            (Tally { read: 2, ..Tally::default() }, Tally { applied: 2, ..Tally::default() });
        tallies.add(1, read);
        tallies.add(2, read);
        tallies.add(1, applied);
        assert!(tallies.through(1).balances());
        assert!(!tallies.through(2).balances(), "its records have no outcome yet");
        tallies.add(3, applied);
        assert_eq!(tallies.through(9), Tally { read: 4, applied: 4, ..Tally::default() });
    }
}
