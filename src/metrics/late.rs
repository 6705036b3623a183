//! The numbers of late records, by step and epoch. A commit records those up to its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::sync::lock;
use crate::time::Epoch;

/// The numbers of late records of all steps. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct LateCounts(Arc<Mutex<BTreeMap<usize, LateCount>>>);

/// Workers count ahead of a commit, so each epoch has a number of its own until it is committed.
#[derive(Debug, Default)]
struct LateCount {
    /// The number up to the last call of `through`, with those of earlier runs.
    through: u64,
    later: BTreeMap<Epoch, u64>,
}

impl LateCounts {
    /// Adds to the number of a step in an epoch. A worker must add before it completes the epoch.
    pub(crate) fn add(&self, step: usize, epoch: Epoch, n: u64) {
        *lock(&self.0).entry(step).or_default().later.entry(epoch).or_default() += n;
    }

    /// Takes the numbers by step and epoch, to add them in another process.
    pub(crate) fn take(&self) -> Vec<(usize, Epoch, u64)> {
        let mut taken = Vec::new();
        for (step, count) in lock(&self.0).iter_mut() {
            let later = std::mem::take(&mut count.later).into_iter();
            taken.extend(later.map(|(epoch, n)| (*step, epoch, n)));
        }
        taken
    }

    /// Begins with the number of a step up to a snapshot.
    pub(crate) fn restore(&self, step: usize, earlier: u64) {
        lock(&self.0).entry(step).or_default().through = earlier;
    }

    /// Returns by step the number up to the end of `epoch` since the beginning of the state. Every
    /// worker must have completed the epoch. Epochs must not descend from call to call.
    pub(crate) fn through(&self, epoch: Epoch) -> Vec<(usize, u64)> {
        let mut through = Vec::new();
        for (step, count) in lock(&self.0).iter_mut() {
            while let Some(first) = count.later.first_entry()
                && *first.key() <= epoch
            {
                count.through += first.remove();
            }
            through.push((*step, count.through));
        }
        through
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_records_ahead_of_a_commit_belong_to_a_later_one() {
        let counts = LateCounts::default();
        counts.restore(3, 10);
        for (step, epoch, n) in [(3, 2, 5), (3, 1, 1), (4, 2, 7), (3, 2, 1)] {
            counts.add(step, epoch, n);
        }
        assert_eq!(counts.through(1), [(3, 11), (4, 0)]);
        assert_eq!(counts.take(), [(3, 2, 6), (4, 2, 7)]);
        counts.add(3, 2, 6);
        assert_eq!(counts.through(2), [(3, 17), (4, 0)]);
    }
}
