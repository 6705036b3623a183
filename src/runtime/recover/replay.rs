//! The replay of one partition: the recorded range is read again, no less and no more.

use crate::durable::Bound;
use crate::error::{Advice, Error, Result};
use crate::record::Batch;

/// Progress of a partition through its recorded range.
#[derive(Clone, Copy)]
pub(in super::super) struct Replay {
    /// Offset of the next record to read.
    next: u64,
    /// Offset after the last recorded one.
    end: u64,
}

impl Replay {
    /// Begins at the offset `from` of the recorded range.
    pub(in super::super) fn new(recorded: Bound, from: u64) -> Self {
        Replay { next: from, end: recorded.to }
    }

    /// Returns the offset of the next record to read again; none at the end of the range.
    pub(in super::super) fn next(&self) -> Option<u64> {
        (self.next < self.end).then_some(self.next)
    }

    /// Returns the offset after the range, where the live records begin.
    pub(in super::super) fn end(&self) -> u64 {
        self.end
    }

    /// Moves behind `batch`, and removes its records after the range: those are read again when the
    /// run is live.
    pub(in super::super) fn take(&mut self, batch: &mut Batch) {
        self.next = batch.next;
        batch.split_off(self.end);
    }

    /// Refuses a partition that has ended within the range.
    ///
    /// # Errors
    /// Always.
    pub(in super::super) fn ended_early<T>(&self, name: &str) -> Result<T> {
        let (next, end) = (self.next, self.end);
        Err(Error::data(format!("{name} ends at {next}, but was read up to {end} before"))
            .hint("Restore the missing records, or begin anew.")
            .advise(Advice::BeginAnew))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_reads_the_recorded_range_and_no_more() {
        let mut replay = Replay::new(Bound { from: 0, to: 5, ..Bound::default() }, 2);
        assert_eq!((replay.next(), replay.end()), (Some(2), 5));
        let mut batch = Batch { first: 2, next: 8, ..Batch::default() };
        (2..8).for_each(|offset| batch.push(offset, None, None, Some(b"value")));
        let mut rest = batch.split_off(4);
        replay.take(&mut batch);
        assert_eq!((batch.records.len(), replay.next()), (2, Some(4)));
        let error = replay.ended_early::<()>("log").unwrap_err();
        assert!(error.to_string().starts_with("log ends at 4, but was read up to 5 before"));
        replay.take(&mut rest);
        assert_eq!((rest.records.len(), rest.next, replay.next()), (1, 5, None));
    }
}
