//! Credit: the bound on the memory of batches that are read and not yet decoded. Readers get it in
//! the order in which they request it.

use std::sync::{Mutex, TryLockError};

use crate::faults;
use crate::sync::{Condvar, lock, lock_in_turn};

/// Bounds the memory of batches that are read and not yet decoded. Readers block here while the
/// workers are behind.
pub(crate) struct Credit {
    limit: usize,
    state: Mutex<State>,
    /// Wakes the reader that holds `turn` once there is enough credit for it.
    enough: Condvar,
    /// Held by one waiting reader; the others block on it. So a release wakes a single thread.
    turn: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The cost of all batches in flight.
    used: usize,
    /// The cost that the waiting reader has requested.
    requested: Option<usize>,
    closed: bool,
}

impl State {
    fn has(&self, limit: usize, cost: usize) -> bool {
        self.closed || self.used == 0 || self.used + cost <= limit
    }
}

impl Credit {
    pub(crate) fn new(limit: usize) -> Self {
        Credit {
            limit,
            state: Mutex::default(),
            enough: Condvar::default(),
            turn: Mutex::default(),
        }
    }

    /// Blocks until `cost` more may be in flight. A batch may always be the only one. Returns false
    /// after [`close`](Self::close).
    pub(crate) fn acquire(&self, cost: usize) -> bool {
        let _turn = lock_in_turn(&self.turn);
        let mut state = lock(&self.state);
        while !state.has(self.limit, cost) {
            state.requested = Some(cost);
            state = self.enough.wait(&self.state, state);
        }
        state.requested = None;
        state.used += cost;
        !state.closed
    }

    /// Returns true while the workers are behind: more than half of the limit is in use.
    pub(crate) fn is_short(&self) -> bool {
        lock(&self.state).used * 2 > self.limit
    }

    /// Returns true while a reader is blocked.
    pub(crate) fn is_waited_for(&self) -> bool {
        matches!(self.turn.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Unblocks every reader, now and later.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.enough.notify_one();
    }

    /// Returns the credit of a batch.
    pub(crate) fn release(&self, cost: usize) {
        let mut state = lock(&self.state);
        // The test driver sends batches for which no reader has acquired credit.
        state.used = state.used.saturating_sub(cost);
        let is_enough = state.requested.is_some_and(|cost| state.has(self.limit, cost));
        if is_enough && !faults::bug("lost_wakeup") {
            drop(state);
            self.enough.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::record::{Batch, Span};

    /// A batch of `records` records without a byte.
    fn empty(records: u64) -> Batch {
        let mut batch = Batch { next: records, ..Batch::default() };
        batch.records = (0..records)
            .map(|offset| Span { value: None, ..Span::of_value(offset, 0..0) })
            .collect();
        batch
    }

    #[test]
    fn credit_bounds_records_without_bytes_too() {
        let credit = Credit::new(1 << 20);
        let cost = empty(1000).cost();
        assert!(cost >= 1000 * size_of::<Span>());
        let (in_flight, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            let read = || {
                for _ in 0..50 {
                    assert!(credit.acquire(cost));
                    most.fetch_max(in_flight.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    in_flight.fetch_sub(1, Ordering::SeqCst);
                    credit.release(cost);
                }
            };
            (0..40).for_each(|_| drop(scope.spawn(read)));
        });
        assert!(most.load(Ordering::SeqCst) <= (1 << 20) / cost, "{most:?} of {cost} bytes");
        assert!(!credit.is_short() && !credit.is_waited_for());
    }

    #[test]
    fn a_close_unblocks_every_reader() {
        let credit = Credit::new(100);
        assert!(credit.acquire(1000));
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| credit.acquire(1))).collect();
            while !credit.is_waited_for() {
                thread::yield_now();
            }
            credit.close();
            assert!(waiting.into_iter().all(|waiting| !waiting.join().unwrap()));
        });
    }
}
