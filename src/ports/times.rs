//! Partition time: the greatest timestamp of each partition, as its records are decoded.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::sync::lock;
use crate::time::{Epoch, Timestamp};

/// A partition of a topic: the rank of its source, and its number.
type Partition = (u16, u32);

/// The greatest timestamp of each partition of a topic, by epoch.
///
/// Workers decode batches in any order, and they go on while a commit is in flight. With a maximum
/// for each epoch, the time that a commit records depends only on the records that it covers, not
/// on the number of workers or the size of batches. Dead letters don't count, as in Kafka.
///
/// It holds at most one timestamp for each partition and each epoch since the last commit.
#[derive(Default)]
pub(crate) struct PartitionTimes(Mutex<BTreeMap<Partition, Times>>);

#[derive(Default)]
struct Times {
    /// The greatest timestamp of the epochs up to the last call of `through`.
    bound: Option<Timestamp>,
    /// By later epoch, its greatest timestamp, if that is greater than `bound`.
    later: BTreeMap<Epoch, Timestamp>,
}

impl PartitionTimes {
    /// Sets the greatest timestamp of the records that are not read again.
    pub(crate) fn restore(&self, partition: Partition, greatest: Option<Timestamp>) {
        lock(&self.0).entry(partition).or_default().bound = greatest;
    }

    /// Adds the greatest timestamp of a batch. A worker must add it before it downgrades its
    /// capability beyond the epoch.
    pub(crate) fn note(&self, epoch: Epoch, partition: Partition, greatest: Option<Timestamp>) {
        let Some(greatest) = greatest else { return };
        let mut partitions = lock(&self.0);
        let times = partitions.entry(partition).or_default();
        if times.bound < Some(greatest) {
            let before = times.later.entry(epoch).or_insert(greatest);
            *before = greatest.max(*before);
        }
    }

    /// Takes the greatest timestamps by epoch and partition, to note them in another process.
    pub(crate) fn take(&self) -> Vec<(Epoch, (u16, u32), Timestamp)> {
        let mut taken = Vec::new();
        for (partition, times) in lock(&self.0).iter_mut() {
            let later = std::mem::take(&mut times.later).into_iter();
            taken.extend(later.map(|(epoch, greatest)| (epoch, *partition, greatest)));
        }
        taken
    }

    /// Returns the greatest timestamp of a partition up to the end of `epoch`, like
    /// [`through`](Self::through), and drops nothing.
    pub(crate) fn up_to(&self, epoch: Epoch, partition: Partition) -> Option<Timestamp> {
        let partitions = lock(&self.0);
        let Times { bound, later } = partitions.get(&partition)?;
        later.range(..=epoch).map(|(_, greatest)| *greatest).max().max(*bound)
    }

    /// Returns the greatest timestamp of a partition up to the end of `epoch`; `None` if no record
    /// has one. Every worker must have completed the epoch. Epochs must not descend from call to
    /// call, because earlier maxima are dropped.
    pub(crate) fn through(&self, epoch: Epoch, partition: Partition) -> Option<Timestamp> {
        let mut partitions = lock(&self.0);
        let times = partitions.get_mut(&partition)?;
        while let Some(first) = times.later.first_entry()
            && *first.key() <= epoch
        {
            times.bound = times.bound.max(Some(first.remove()));
        }
        times.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_decoded_ahead_of_a_commit_belong_to_the_next() {
        let (times, partition) = (PartitionTimes::default(), (0, 7));
        assert_eq!(times.through(0, partition), None);
        times.note(2, partition, Some(Timestamp(50)));
        times.note(1, partition, Some(Timestamp(-3)));
        times.note(1, partition, None);
        times.note(3, partition, Some(Timestamp(40)));
        times.note(1, partition, Some(Timestamp(-9)));
        times.note(1, (1, 7), Some(Timestamp(99)));
        let seen = [1, 1, 2, 3, 9].map(|epoch| times.through(epoch, partition));
        assert_eq!(seen, [-3, -3, 50, 50, 50].map(|time| Some(Timestamp(time))));
    }

    #[test]
    fn epochs_without_a_greater_timestamp_cost_nothing() {
        let (times, partition) = (PartitionTimes::default(), (0, 0));
        times.note(1, partition, Some(Timestamp(5)));
        times.through(1, partition);
        (2..100).for_each(|epoch| times.note(epoch, partition, Some(Timestamp(5))));
        assert!(times.0.lock().unwrap().values().all(|times| times.later.is_empty()));
    }
}
