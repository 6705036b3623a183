//! The stream time of an operator: the greatest timestamp that has reached it.

use crate::operators::cut::StateCut;
use crate::time::{Epoch, ProcessingMode, Timestamp};

/// The measure of stream time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamTime {
    /// The times of partitions, which depend on positions only.
    Partitions,
    /// The greatest timestamp that has reached the operator, as in Kafka.
    Arrival,
}

impl StreamTime {
    /// Returns the measure of a mode.
    pub(crate) fn of(mode: ProcessingMode) -> Self {
        match mode {
            ProcessingMode::Consistent => StreamTime::Partitions,
            ProcessingMode::PerRecord => StreamTime::Arrival,
        }
    }
}

/// The stream time of an operator on one worker. It depends on the order of arrival, so it is saved
/// where it decides about records.
pub(crate) struct StreamClock {
    now: Timestamp,
    saved: Timestamp,
    cut: Option<StateCut>,
    /// The key under which this worker saves it.
    key: u64,
}

impl StreamClock {
    /// Returns the clock that was saved in `cut`: the latest of all workers.
    pub(crate) fn new(cut: Option<StateCut>) -> Self {
        let mut now = Timestamp::MIN;
        if let Some(cut) = &cut {
            cut.load_of_all_workers(|_: u64, (), at: Timestamp| now = now.max(at));
        }
        let key = cut.as_ref().map_or(0, StateCut::own_key);
        StreamClock { now, saved: now, cut, key }
    }

    /// Returns the stream time.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Advances the stream time to that of a record.
    pub(crate) fn observe(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
    }

    /// Saves the stream time of an epoch if it has advanced.
    pub(crate) fn save(&mut self, epoch: Epoch) {
        if let Some(cut) = self.cut.as_ref().filter(|_| self.now > self.saved) {
            cut.put(epoch, &self.key, std::iter::once(((), Some(self.now))));
            self.saved = self.now;
        }
    }
}
