//! Sliding windows: one for each different set of records that are at most a time apart.
//!
//! As in Kafka (KIP-450), each record at `t` has a window `[t - d, t]`, and one `[t + 1 ms, t + 1
//! ms + d]` if there are records in it. Records in the first `d` after 1970 share the window `[0,
//! d]`.

use super::accumulate::Accumulate;
use super::window::{Ends, PartOf, SavedWindow, Window, WindowRow, restore};
use super::{Call, Logic, Timed};
use crate::operators::datum::Datum;
use crate::time::Timestamp;

/// The resolution of the bounds, in microseconds.
const RESOLUTION_MICROS: i64 = 1_000;

/// Aggregates the values of each key by sliding windows.
pub(crate) struct Sliding<A> {
    pub(crate) aggregate: A,
    /// Microseconds.
    pub(crate) difference: i64,
    pub(crate) ends: Ends,
}

/// The windows of a key.
pub(crate) struct Windows<S> {
    /// In the order of their starts.
    open: Vec<Window<S>>,
    /// The timestamps of records, ascending and without duplicates.
    times: Vec<Timestamp>,
    /// The timestamps that were added or forgotten in this epoch.
    changed: Vec<Timestamp>,
}

impl<S> Default for Windows<S> {
    fn default() -> Self {
        Windows { open: Vec::new(), times: Vec::new(), changed: Vec::new() }
    }
}

impl<S> Windows<S> {
    fn find(&self, start: Timestamp) -> Result<usize, usize> {
        self.open.binary_search_by_key(&start, |window| window.start)
    }

    /// Returns the range of the timestamps within these bounds.
    fn within(&self, start: Timestamp, end: Timestamp) -> (usize, usize) {
        let first = self.times.partition_point(|at| *at < start);
        (first, self.times.partition_point(|at| *at <= end))
    }
}

impl<A> Sliding<A> {
    /// The time for which a timestamp may be the neighbour of one that is not late.
    pub(crate) fn linger(difference: i64) -> i64 {
        difference.saturating_add(RESOLUTION_MICROS).saturating_mul(2)
    }

    /// Returns the time at which the timestamp of a record is forgotten.
    fn forget(&self, at: Timestamp) -> Option<Timestamp> {
        Some(self.ends.close(at)?.plus(Self::linger(self.difference)).plus(self.difference))
    }

    /// Returns a new window with the records that are within it already.
    fn create<X, S>(&self, state: &Windows<S>, start: Timestamp) -> Window<S>
    where
        A: Accumulate<X, State = S>,
    {
        let end = start.plus(self.difference);
        let inner = state.within(start, end);
        if inner.0 == inner.1 {
            return Window::new(start, end, self.aggregate.fresh());
        }
        // Another window has the same records.
        let from = state.open.partition_point(|it| it.start < start.minus(self.difference));
        let to = state.open.partition_point(|it| it.start <= end);
        let equal = |it: &&Window<S>| state.within(it.start, it.end) == inner;
        match state.open[from..to].iter().rev().find(equal) {
            Some(same) => {
                let mut window = Window::new(start, end, self.aggregate.copy(&same.state));
                window.timestamp = same.timestamp;
                window
            }
            None => Window::new(start, end, self.aggregate.fresh()),
        }
    }
}

impl<K: Datum, X: Datum, A: Accumulate<X>> Logic<K, X> for Sliding<A> {
    type State = Windows<A::State>;
    type Part = PartOf<A::Part>;
    type Row = SavedWindow<A::Row>;
    type Out = WindowRow<K, A::Name, A::Out>;

    fn is_ordered(&self) -> bool {
        self.aggregate.is_ordered()
    }

    fn restore(&self, state: &mut Self::State, part: Self::Part, row: Self::Row, call: &mut Call) {
        let (start, end, _) = part;
        if end == Timestamp::MIN {
            // A saved timestamp has no end.
            if let Err(at) = state.times.binary_search(&start) {
                state.times.insert(at, start);
            }
            self.forget(start).into_iter().for_each(|at| call.wake_at(at));
            return;
        }
        restore(&mut state.open, &self.aggregate, &self.ends, part, row, call);
    }

    fn input(&self, _: &K, state: &mut Self::State, input: Timed<X>, call: &mut Call) {
        let at = input.timestamp;
        let is_late = |end: Timestamp| {
            self.ends.close(end).is_some_and(|close| close <= input.partition_time)
        };
        if is_late(at.plus(self.difference)) {
            call.late();
            return;
        }
        let is_early = at >= Timestamp(0) && at.0 < self.difference;
        let left = if is_early { Timestamp(0) } else { at.minus(self.difference) };
        let before = state.times.partition_point(|time| *time < at);
        let previous = before.checked_sub(1).map(|place| state.times[place]);
        let after_previous = previous.map(|time| time.plus(RESOLUTION_MICROS));
        let reaches = |start: &Timestamp| *start <= at && at <= start.plus(self.difference);
        let mut added = Vec::new();
        for start in [Some(left), after_previous.filter(reaches)].into_iter().flatten() {
            let is_new = state.find(start).is_err() && added.iter().all(|(_, it)| *it != start);
            if is_new {
                added.push((true, start));
            }
        }
        let right = at.plus(RESOLUTION_MICROS);
        let (first, last) = state.within(right, right.plus(self.difference));
        if first < last && state.find(right).is_err() {
            added.push((false, right));
        }
        let created: Vec<_> =
            added.iter().map(|(takes, start)| (*takes, self.create(state, *start))).collect();
        let from = state.open.partition_point(|it| it.end < at);
        for window in state.open[from..].iter_mut().take_while(|window| window.start <= at) {
            match is_late(window.end) {
                true => call.late(),
                false => window.add(&self.aggregate, &input),
            }
        }
        for (takes, mut window) in created {
            if is_late(window.end) {
                call.late();
                continue;
            }
            match takes {
                true => window.add(&self.aggregate, &input),
                false => window.touch(window.timestamp, input.partition_time),
            }
            window.wake(&self.ends, call);
            if let Err(place) = state.find(window.start) {
                state.open.insert(place, window);
            }
        }
        if state.times.get(before) != Some(&at) {
            state.times.insert(before, at);
            state.changed.push(at);
            self.forget(at).into_iter().for_each(|at| call.wake_at(at));
        }
    }

    fn expire(&self, _: &K, state: &mut Self::State, watermark: Timestamp, call: &mut Call) {
        state.open.iter_mut().for_each(|window| window.expire(&self.ends, watermark, call));
        let is_over = |at: &Timestamp| self.forget(*at).is_some_and(|over| over <= watermark);
        let over = state.times.partition_point(is_over);
        state.changed.extend(state.times.drain(..over));
    }

    fn close(
        &self,
        key: &K,
        state: &mut Self::State,
        emit: &mut dyn FnMut(Self::Out),
        save: &mut dyn FnMut(Self::Part, Option<Self::Row>),
    ) {
        for at in state.changed.drain(..) {
            let stands = state.times.binary_search(&at).is_ok();
            save((at, Timestamp::MIN, None), stands.then(SavedWindow::empty));
        }
        state.open.iter_mut().for_each(|it| it.close(&self.aggregate, &self.ends, key, emit, save));
        state.open.retain(|window| !window.forgets);
    }

    fn is_empty(&self, state: &Self::State) -> bool {
        state.open.is_empty() && state.times.is_empty()
    }
}
