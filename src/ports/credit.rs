//! Credit: what is read and not yet decoded is bounded, and who reads waits in the order of
//! arrival.

use std::sync::{Condvar, Mutex, TryLockError};

use crate::sync::{ignore_poison, lock};

/// Bounds the memory of batches that are read and not yet decoded: readers wait here while workers
/// are behind.
pub(crate) struct Credit {
    limit: usize,
    state: Mutex<State>,
    /// Tells the one that waits that there is enough.
    enough: Condvar,
    /// Held by the one that waits: of many that do, a release wakes one.
    turn: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The cost of all that is in flight.
    used: usize,
    /// The cost that the one that waits has asked for.
    asked: Option<usize>,
    closed: bool,
}

impl State {
    fn has(&self, limit: usize, cost: usize) -> bool {
        self.closed || self.used == 0 || self.used + cost <= limit
    }
}

impl Credit {
    pub(crate) fn new(limit: usize) -> Self {
        Credit { limit, state: Mutex::default(), enough: Condvar::new(), turn: Mutex::default() }
    }

    /// Waits until `cost` more may be in flight; one batch always may. False once it is closed.
    pub(crate) fn acquire(&self, cost: usize) -> bool {
        let _turn = lock(&self.turn);
        let mut state = lock(&self.state);
        while !state.has(self.limit, cost) {
            state.asked = Some(cost);
            state = ignore_poison(self.enough.wait(state));
        }
        state.asked = None;
        state.used += cost;
        !state.closed
    }

    /// True while workers are behind: more than half is used.
    pub(crate) fn is_short(&self) -> bool {
        lock(&self.state).used * 2 > self.limit
    }

    /// True while anyone waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        matches!(self.turn.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Lets every reader go.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.enough.notify_one();
    }

    /// Gives back what a batch has cost.
    pub(crate) fn release(&self, cost: usize) {
        let mut state = lock(&self.state);
        // A test hands over batches that no reader asked credit for.
        state.used = state.used.saturating_sub(cost);
        if state.asked.is_some_and(|asked| state.has(self.limit, asked)) {
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
    fn records_without_bytes_are_bounded_as_others_are() {
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
    fn a_close_ends_all_waiting_for_credit() {
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
