//! A window of a key: its accumulated values, and the rows that it emits and saves.

use serde::{Deserialize, Serialize};

use super::accumulate::Accumulate;
use super::{Call, Timed};
use crate::operators::datum::Datum;
use crate::row::Windowed;
use crate::time::Timestamp;

/// The changed row of a window.
#[derive(Clone, Debug)]
pub(crate) struct WindowRow<K, N, O> {
    pub(crate) key: Windowed<K>,
    /// The name of the row, where a window has several.
    pub(crate) name: N,
    /// The new row; `None` deletes it.
    pub(crate) value: Option<O>,
    pub(crate) timestamp: Timestamp,
    pub(crate) partition_time: Timestamp,
}

/// The times at which windows end to change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// Microseconds after the end of a window until it closes; none if it never does.
    pub(crate) grace: Option<i64>,
    /// Microseconds after the end of a window until its row is deleted, but not before it closes;
    /// none if it never is.
    pub(crate) retention: Option<i64>,
    /// A window includes its end.
    pub(crate) is_inclusive: bool,
    /// Microseconds for which the state of a closed window is of use.
    pub(crate) linger: i64,
    /// Rows are emitted when windows close, not when they change.
    pub(crate) on_close: bool,
    /// An update that leaves a row as it was is emitted too.
    pub(crate) always: bool,
}

impl Ends {
    /// Returns the ends of windows that never end.
    pub(crate) fn never(always: bool) -> Self {
        let (grace, retention) = (None, None);
        Ends { grace, retention, is_inclusive: false, linger: 0, on_close: false, always }
    }

    /// Returns the time at which a window closes: a record whose partition is so far is late.
    pub(crate) fn close(&self, end: Timestamp) -> Option<Timestamp> {
        Some(end.plus(self.grace?).plus(i64::from(self.is_inclusive)))
    }

    /// Returns the least end of a window for which a record of this partition time is not late.
    pub(crate) fn least_open(&self, partition_time: Timestamp) -> Timestamp {
        let is_exclusive = i64::from(!self.is_inclusive);
        let end = |grace| partition_time.minus(grace).plus(is_exclusive);
        self.grace.map_or(Timestamp::MIN, end)
    }

    /// Returns the time at which the row of a window is deleted.
    fn delete(&self, end: Timestamp) -> Option<Timestamp> {
        let deleted = end.plus(self.retention?).plus(i64::from(self.is_inclusive));
        Some(deleted.max(self.close(end).unwrap_or(Timestamp::MIN)))
    }
}

/// The saved part of a window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct SavedWindow<R> {
    pub(crate) row: Option<R>,
    timestamp: Timestamp,
    is_closed: bool,
}

/// The name of a part of a window: its start, its end, and the name of the part in it.
pub(crate) type PartOf<P> = (Timestamp, Timestamp, Option<P>);

/// Returns the window of these bounds, which may be new, among those of a key. They are in the
/// order of their bounds.
pub(super) fn window_of<'w, X, A: Accumulate<X>>(
    windows: &'w mut Vec<Window<A::State>>,
    aggregate: &A,
    start: Timestamp,
    end: Timestamp,
) -> &'w mut Window<A::State> {
    // Most records belong to the last windows.
    let bounds = |window: &Window<A::State>| (window.start, window.end);
    let at = match windows.last() {
        Some(last) if bounds(last) == (start, end) => windows.len() - 1,
        _ => match windows.binary_search_by_key(&(start, end), bounds) {
            Ok(at) => at,
            Err(at) => {
                windows.insert(at, Window::new(start, end, aggregate.fresh()));
                at
            }
        },
    };
    &mut windows[at]
}

/// Adds a saved part to the windows of a key.
pub(super) fn restore<X, A: Accumulate<X>>(
    windows: &mut Vec<Window<A::State>>,
    aggregate: &A,
    ends: &Ends,
    (start, end, part): PartOf<A::Part>,
    row: SavedWindow<A::Row>,
    call: &mut Call,
) {
    let is_head = part.is_none();
    let window = window_of(windows, aggregate, start, end);
    window.restore(aggregate, part, row, ends);
    if is_head {
        window.wake(ends, call);
    }
}

/// A window of a key.
pub(crate) struct Window<S> {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) state: S,
    /// The greatest timestamp of its records.
    pub(crate) timestamp: Timestamp,
    /// The greatest partition time of the records that have changed it in this run.
    partition_time: Timestamp,
    /// It has changed in this epoch.
    pub(crate) is_touched: bool,
    is_closed: bool,
    /// It closes, its rows are deleted, or it is forgotten in this epoch.
    closes: bool,
    deletes: bool,
    pub(crate) forgets: bool,
    /// It was loaded, and not used since.
    is_restored: bool,
    /// Its rows stand in tables.
    is_shown: bool,
    /// It is none of the results: it only has a state that others may copy.
    is_hidden: bool,
}

impl<S> Window<S> {
    pub(crate) fn new(start: Timestamp, end: Timestamp, state: S) -> Self {
        Window {
            start,
            end,
            state,
            timestamp: Timestamp::MIN,
            partition_time: Timestamp::MIN,
            is_touched: false,
            is_closed: false,
            closes: false,
            deletes: false,
            forgets: false,
            is_restored: false,
            is_shown: false,
            is_hidden: false,
        }
    }

    /// Returns a window with other bounds and the records of `from`, or without any record.
    pub(super) fn copied<X, A: Accumulate<X, State = S>>(
        aggregate: &A,
        start: Timestamp,
        end: Timestamp,
        from: Option<&Self>,
    ) -> Self {
        let state = from.map_or_else(|| aggregate.fresh(), |it| aggregate.copy(&it.state));
        let mut window = Window::new(start, end, state);
        window.timestamp = from.map_or(Timestamp::MIN, |it| it.timestamp);
        window
    }

    /// Returns true if the window is none of the results.
    pub(super) fn is_hidden(&self) -> bool {
        self.is_hidden
    }

    /// Takes the window out of the results, before its first is emitted.
    pub(super) fn hide(&mut self) {
        (self.is_hidden, self.is_shown) = (true, false);
    }

    /// Makes a hidden window one of the results, due to a record of this partition time.
    pub(super) fn reveal<X, A: Accumulate<X, State = S>>(
        &mut self,
        aggregate: &A,
        partition_time: Timestamp,
    ) {
        self.settle(aggregate);
        self.is_hidden = false;
        self.touch(self.timestamp, partition_time);
    }

    /// Adds a value.
    pub(crate) fn add<X, A: Accumulate<X, State = S>>(&mut self, aggregate: &A, input: &Timed<X>) {
        self.settle(aggregate);
        aggregate.add(&mut self.state, &input.value);
        self.touch(input.timestamp, input.partition_time);
    }

    /// Notes a change by a record with these times.
    pub(crate) fn touch(&mut self, timestamp: Timestamp, partition_time: Timestamp) {
        self.timestamp = self.timestamp.max(timestamp);
        self.partition_time = self.partition_time.max(partition_time);
        self.is_touched = true;
    }

    /// Adds the values of a later window.
    pub(crate) fn merge<X, A: Accumulate<X, State = S>>(
        &mut self,
        aggregate: &A,
        later: &mut Self,
    ) {
        self.settle(aggregate);
        later.settle(aggregate);
        aggregate.merge(&mut self.state, &later.state);
        self.touch(later.timestamp, later.partition_time);
    }

    /// Ends the restoring.
    fn settle<X, A: Accumulate<X, State = S>>(&mut self, aggregate: &A) {
        if !std::mem::take(&mut self.is_restored) {
            return;
        }
        if self.is_hidden {
            // A copy has emitted nothing.
            self.state = aggregate.copy(&self.state);
        } else if self.is_shown {
            aggregate.restored(&mut self.state);
        }
    }

    /// Adds a saved part.
    pub(crate) fn restore<X, A: Accumulate<X, State = S>>(
        &mut self,
        aggregate: &A,
        part: Option<A::Part>,
        saved: SavedWindow<A::Row>,
        ends: &Ends,
    ) {
        self.is_restored = true;
        self.timestamp = self.timestamp.max(saved.timestamp);
        if part.is_none() {
            self.is_closed = saved.is_closed;
            self.is_shown = saved.is_closed || !ends.on_close;
        }
        if let Some(row) = saved.row {
            aggregate.restore(&mut self.state, part, row);
        }
    }

    /// Requests the next call at which something ends.
    pub(crate) fn wake(&self, ends: &Ends, call: &mut Call) {
        if !self.is_closed {
            ends.close(self.end).into_iter().for_each(|at| call.wake_at(at));
            return;
        }
        ends.delete(self.end).filter(|_| self.is_shown).into_iter().for_each(|at| call.wake_at(at));
        self.forget(ends).into_iter().for_each(|at| call.wake_at(at));
    }

    /// Returns the time at which the state of the window is forgotten.
    fn forget(&self, ends: &Ends) -> Option<Timestamp> {
        let deleted = ends.delete(self.end).filter(|_| !self.is_hidden);
        Some(ends.close(self.end)?.plus(ends.linger).max(deleted.unwrap_or(Timestamp::MIN)))
    }

    /// Ends what ends at a time up to `watermark`.
    pub(crate) fn expire(&mut self, ends: &Ends, watermark: Timestamp, call: &mut Call) {
        let is_over = |at: Option<Timestamp>| at.is_some_and(|at| at <= watermark);
        if !self.is_closed && is_over(ends.close(self.end)) {
            (self.closes, self.is_closed) = (true, true);
            let later = [ends.delete(self.end), self.forget(ends)].into_iter().flatten();
            later.filter(|at| *at > watermark).for_each(|at| call.wake_at(at));
        }
        self.deletes |= self.is_closed && is_over(ends.delete(self.end));
        self.forgets |= self.is_closed && is_over(self.forget(ends));
    }

    /// Ends an epoch: emits changed rows and saves changed parts.
    pub(crate) fn close<X, A: Accumulate<X, State = S>, K: Datum>(
        &mut self,
        aggregate: &A,
        ends: &Ends,
        key: &K,
        emit: &mut dyn FnMut(WindowRow<K, A::Name, A::Out>),
        save: &mut dyn FnMut(PartOf<A::Part>, Option<SavedWindow<A::Row>>),
    ) {
        self.settle(aggregate);
        let touched = std::mem::take(&mut self.is_touched);
        let closes = std::mem::take(&mut self.closes);
        let window = Windowed { key: key.clone(), start: self.start, end: self.end };
        let closed_at = ends.close(self.end).filter(|_| ends.on_close);
        let (timestamp, partition_time) =
            (self.timestamp, closed_at.unwrap_or(self.partition_time));
        let is_due = if ends.on_close { closes || (touched && self.is_closed) } else { touched };
        if is_due && !self.is_hidden {
            let always = ends.always || ends.on_close;
            aggregate.results(&mut self.state, always, &mut |name, value| {
                emit(WindowRow { key: window.clone(), name, value, timestamp, partition_time });
            });
            self.is_shown = true;
        }
        if std::mem::take(&mut self.deletes) && std::mem::take(&mut self.is_shown) {
            self.retract(aggregate, key, emit);
        }
        let (start, end) = (self.start, self.end);
        if self.forgets {
            aggregate.parts(&self.state, &mut |part| save((start, end, part), None));
            save((start, end, None), None);
        } else if touched || closes {
            let (timestamp, is_closed) = (self.timestamp, self.is_closed);
            let mut has_head = false;
            aggregate.changed(&mut self.state, &mut |part, row| {
                has_head |= part.is_none();
                let saved = SavedWindow { row: Some(row), timestamp, is_closed };
                save((start, end, part), Some(saved));
            });
            if !has_head {
                let saved = SavedWindow { row: None, timestamp, is_closed };
                save((start, end, None), Some(saved));
            }
        }
    }

    /// Deletes all rows that stand in tables.
    pub(crate) fn retract<X, A: Accumulate<X, State = S>, K: Datum>(
        &self,
        aggregate: &A,
        key: &K,
        emit: &mut dyn FnMut(WindowRow<K, A::Name, A::Out>),
    ) {
        let window = Windowed { key: key.clone(), start: self.start, end: self.end };
        let (timestamp, partition_time) = (self.timestamp, self.partition_time);
        aggregate.names(&self.state, &mut |name| {
            let key = window.clone();
            emit(WindowRow { key, name, value: None, timestamp, partition_time });
        });
    }

    /// Deletes everything that is saved of the window.
    pub(crate) fn unsave<X, A: Accumulate<X, State = S>>(
        &self,
        aggregate: &A,
        save: &mut dyn FnMut(PartOf<A::Part>, Option<SavedWindow<A::Row>>),
    ) {
        let (start, end) = (self.start, self.end);
        aggregate.parts(&self.state, &mut |part| save((start, end, part), None));
        save((start, end, None), None);
    }

    /// Leaves the rows in tables: another window has the same bounds.
    pub(crate) fn keep_rows(&mut self) {
        self.is_shown = false;
    }

    /// Returns true if rows of the window stand in tables.
    pub(crate) fn is_shown(&self) -> bool {
        self.is_shown
    }
}
