//! Sliding windows: one for each different set of records that are at most a time apart.
//!
//! As in Kafka (KIP-450), each record at `t` has a window `[t - d, t]`, and one `[t + 1 ms, t + 1
//! ms + d]` if there are records in it. Records in the first `d` after 1970 share the window `[0,
//! d]`.
//!
//! A record that is late for windows that end soon may be in time for those that end later. A
//! window has every record within its bounds that is not late for it. It exists if it has one, and
//! - if it ends at a record that is not late for it, or
//! - if it follows a record that is *known*: a window that exists spans the record, and has it or
//!   a later one. In Kafka too, a record that no window has makes none.
//!
//! So the windows depend on the set of records alone. Kafka copies the values of a new window from
//! another one, so there it lacks records that were late for that one.
//!
//! The state of each start, whether a window exists there or not, is that of the last window that
//! starts at or before it. A window that does not exist is *hidden*. A record adds two: where it
//! begins to be in windows, and behind its timestamp.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::accumulate::Accumulate;
use super::window::{Ends, PartOf, SavedWindow, Window, WindowRow, restore};
use super::{Call, Logic, StreamTime, Timed};
use crate::operators::datum::Datum;
use crate::time::Timestamp;

/// The resolution of the bounds, in microseconds.
pub(super) const RESOLUTION_MICROS: i64 = 1_000;

/// Aggregates the values of each key by sliding windows.
pub(crate) struct Sliding<A> {
    pub(crate) aggregate: A,
    /// Microseconds.
    pub(crate) difference: i64,
    pub(crate) ends: Ends,
    pub(crate) time: StreamTime,
}

/// Returns the start of the first window of a record.
pub(crate) fn sliding_start(at: Timestamp, difference: i64) -> Timestamp {
    match is_early(at, difference) {
        true => Timestamp(0),
        false => at.minus(difference),
    }
}

/// Returns true if a record shares its first window with all others so near to 1970.
pub(super) fn is_early(at: Timestamp, difference: i64) -> bool {
    (0..difference).contains(&at.0)
}

/// The saved part of the state of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum SavedSliding<R> {
    Window(SavedWindow<R>),
    Hidden(SavedWindow<R>),
    /// The timestamp of records. If they are not known, with the least start of windows for which
    /// one of them is not late.
    Time(Option<Timestamp>),
}

/// The windows of a key.
pub(crate) struct Windows<S> {
    /// In the order of their starts.
    pub(super) open: Vec<Window<S>>,
    /// The timestamps of known records, ascending and without duplicates.
    known: Vec<Timestamp>,
    /// The timestamps of other records, with the least start of windows for which one of them is
    /// not late.
    unknown: BTreeMap<Timestamp, Timestamp>,
    /// The timestamps that were added, became known or were forgotten in this epoch.
    changed: Vec<Timestamp>,
}

impl<S> Default for Windows<S> {
    fn default() -> Self {
        let (open, known) = (Vec::new(), Vec::new());
        Windows { open, known, unknown: BTreeMap::new(), changed: Vec::new() }
    }
}

impl<S> Windows<S> {
    pub(super) fn find(&self, start: Timestamp) -> Result<usize, usize> {
        self.open.binary_search_by_key(&start, |window| window.start)
    }

    /// Returns the places of the windows that start at these times or between them.
    pub(super) fn starting(&self, first: Timestamp, last: Timestamp) -> Range<usize> {
        let from = self.open.partition_point(|it| it.start < first);
        from..self.open.partition_point(|it| it.start <= last).max(from)
    }

    /// Returns the window with the records of a window that starts at `start`; none if it has no
    /// record. One that starts too early has only earlier records, although it may still be there.
    fn with_records_of(&self, start: Timestamp, difference: i64) -> Option<&Window<S>> {
        let before = self.open[self.starting(start.minus(difference), start)].last();
        before.filter(|it| it.timestamp > Timestamp::MIN)
    }

    /// Returns the starts, from `first` to `last`, of windows that follow known records and do not
    /// exist.
    fn missing(&self, first: Timestamp, last: Timestamp) -> Vec<Timestamp> {
        let from = self.known.partition_point(|at| at.plus(RESOLUTION_MICROS) < first);
        let starts = self.known[from..].iter().map(|at| at.plus(RESOLUTION_MICROS));
        let mut place = self.open.partition_point(|it| it.start < first);
        let is_missing = |start: &Timestamp| {
            while self.open.get(place).is_some_and(|it| it.start < *start) {
                place += 1;
            }
            self.open.get(place).is_none_or(|it| it.start != *start || it.is_hidden())
        };
        starts.take_while(|start| *start <= last).filter(is_missing).collect()
    }

    /// Returns true if a window that exists spans a timestamp, and has a later record, or starts
    /// at `first` or later and so has the record of the timestamp.
    fn is_known(&self, at: Timestamp, first: Timestamp, difference: i64) -> bool {
        let knows = |it: &Window<S>| !it.is_hidden() && (it.start >= first || it.timestamp > at);
        self.open[self.starting(at.minus(difference), at)].iter().any(knows)
    }

    fn add_known(&mut self, at: Timestamp) {
        if let Err(place) = self.known.binary_search(&at) {
            self.known.insert(place, at);
        }
    }
}

impl<A> Sliding<A> {
    /// The time for which the state of a closed window is of use, in microseconds: a record that is
    /// not late may begin in it.
    pub(crate) fn linger(difference: i64, time: StreamTime) -> i64 {
        match time {
            StreamTime::Partitions => difference,
            StreamTime::Arrival => difference.saturating_add(RESOLUTION_MICROS).saturating_mul(2),
        }
    }

    /// Returns true if a record is late for a window with this end.
    pub(super) fn is_late<X>(&self, input: &Timed<X>, end: Timestamp) -> bool {
        self.ends.close(end).is_some_and(|close| close <= input.partition_time)
    }

    /// Returns the time at which a timestamp is forgotten: the window behind it can't be new.
    fn forget(&self, at: Timestamp) -> Option<Timestamp> {
        self.ends.close(at.plus(RESOLUTION_MICROS).plus(self.difference))
    }

    /// Returns the place of the window that starts at `start`. A new one is hidden.
    fn place<X, S>(&self, state: &mut Windows<S>, start: Timestamp, call: &mut Call) -> usize
    where
        A: Accumulate<X, State = S>,
    {
        let place = match state.find(start) {
            Ok(place) => return place,
            Err(place) => place,
        };
        let end = start.plus(self.difference);
        let from = state.with_records_of(start, self.difference);
        let mut window = Window::copied(&self.aggregate, start, end, from);
        window.hide();
        window.touch(Timestamp::MIN, Timestamp::MIN);
        window.wake(&self.ends, call);
        state.open.insert(place, window);
        place
    }

    /// Makes the window that starts at `start` exist, due to a record.
    fn reveal<X, S>(
        &self,
        state: &mut Windows<S>,
        start: Timestamp,
        input: &Timed<X>,
        call: &mut Call,
    ) where
        A: Accumulate<X, State = S>,
    {
        let place = self.place(state, start, call);
        let window = &mut state.open[place];
        if window.is_hidden() {
            window.reveal(&self.aggregate, input.partition_time);
        }
    }

    /// Finds the records at `first` or later that have become known, and the windows behind them.
    fn discover<X, S>(
        &self,
        state: &mut Windows<S>,
        first: Timestamp,
        input: &Timed<X>,
        call: &mut Call,
    ) where
        A: Accumulate<X, State = S>,
    {
        let difference = self.difference;
        loop {
            let mut unknown = state.unknown.range(first..);
            let known = unknown.find(|(at, from)| state.is_known(**at, **from, difference));
            let Some(at) = known.map(|(at, _)| *at) else { break };
            state.unknown.remove(&at);
            state.add_known(at);
            state.changed.push(at);
            let behind = at.plus(RESOLUTION_MICROS);
            if state.with_records_of(behind, difference).is_some() {
                self.reveal(state, behind, input, call);
            }
        }
    }

    /// Adds a record that is not late for every window, and reveals the windows that exist by it.
    fn add<X, S>(&self, state: &mut Windows<S>, input: &Timed<X>, call: &mut Call)
    where
        A: Accumulate<X, State = S>,
    {
        let (at, difference) = (input.timestamp, self.difference);
        let first = self.ends.least_open(input.partition_time).max(at).minus(difference);
        self.place(state, first, call);
        self.place(state, at.plus(1), call);
        let own = sliding_start(at, difference);
        if !self.is_late(input, own.plus(difference)) {
            self.reveal(state, own, input, call);
        }
        let (mut is_changed, places) = (false, state.starting(first, at));
        for window in &mut state.open[places] {
            is_changed |= !window.is_hidden();
            window.add(&self.aggregate, input);
        }
        let missing = state.missing(first, at);
        is_changed |= !missing.is_empty();
        missing.into_iter().for_each(|start| self.reveal(state, start, input, call));
        let mut from = first;
        if state.known.binary_search(&at).is_err() {
            from = state.unknown.get(&at).copied().unwrap_or(first).min(first);
            state.unknown.insert(at, from);
            state.changed.push(at);
            self.forget(at).into_iter().for_each(|at| call.wake_at(at));
        }
        // Nothing else can have become known.
        if is_changed || state.is_known(at, from, difference) {
            self.discover(state, first, input, call);
        }
    }
}

impl<K: Datum, X: Datum, A: Accumulate<X>> Logic<K, X> for Sliding<A> {
    type State = Windows<A::State>;
    type Part = PartOf<A::Part>;
    type Row = SavedSliding<A::Row>;
    type Out = WindowRow<K, A::Name, A::Out>;

    fn is_ordered(&self) -> bool {
        self.aggregate.is_ordered()
    }

    fn restore(&self, state: &mut Self::State, part: Self::Part, row: Self::Row, call: &mut Call) {
        let (start, is_head) = (part.0, part.2.is_none());
        let (row, is_hidden) = match row {
            SavedSliding::Window(row) => (row, false),
            SavedSliding::Hidden(row) => (row, true),
            SavedSliding::Time(from) => {
                match from {
                    Some(from) => _ = state.unknown.insert(start, from),
                    None => state.add_known(start),
                }
                self.forget(start).into_iter().for_each(|at| call.wake_at(at));
                return;
            }
        };
        restore(&mut state.open, &self.aggregate, &self.ends, part, row, call);
        if let Some(place) = state.find(start).ok().filter(|_| is_head && is_hidden) {
            let window = &mut state.open[place];
            window.hide();
            window.wake(&self.ends, call);
        }
    }

    fn input(&self, _: &K, state: &mut Self::State, input: Timed<X>, call: &mut Call) {
        let (at, difference) = (input.timestamp, self.difference);
        if self.is_late(&input, sliding_start(at, difference).plus(difference)) {
            call.late();
        }
        if self.is_late(&input, at.plus(difference)) {
            return;
        }
        match self.time {
            StreamTime::Partitions => self.add(state, &input, call),
            StreamTime::Arrival => self.arrive(state, &input, call),
        }
    }

    fn expire(&self, _: &K, state: &mut Self::State, watermark: Timestamp, call: &mut Call) {
        state.open.iter_mut().for_each(|window| window.expire(&self.ends, watermark, call));
        let is_over = |at: &Timestamp| self.forget(*at).is_some_and(|over| over <= watermark);
        let over = state.known.partition_point(is_over);
        state.changed.extend(state.known.drain(..over));
        while let Some(first) = state.unknown.first_entry()
            && is_over(first.key())
        {
            state.changed.push(first.remove_entry().0);
        }
    }

    fn close(
        &self,
        key: &K,
        state: &mut Self::State,
        emit: &mut dyn FnMut(Self::Out),
        save: &mut dyn FnMut(Self::Part, Option<Self::Row>),
    ) {
        state.changed.sort_unstable();
        state.changed.dedup();
        for at in state.changed.drain(..) {
            let unknown = state.unknown.get(&at).map(|from| SavedSliding::Time(Some(*from)));
            let is_known = state.known.binary_search(&at).is_ok();
            let row = unknown.or(is_known.then_some(SavedSliding::Time(None)));
            save((at, Timestamp::MIN, None), row);
        }
        for window in &mut state.open {
            let saved = match window.is_hidden() {
                true => SavedSliding::Hidden,
                false => SavedSliding::Window,
            };
            let save = &mut |part, row: Option<_>| save(part, row.map(saved));
            window.close(&self.aggregate, &self.ends, key, emit, save);
        }
        state.open.retain(|window| !window.forgets);
    }

    fn is_empty(&self, state: &Self::State) -> bool {
        state.open.is_empty() && state.known.is_empty() && state.unknown.is_empty()
    }
}
