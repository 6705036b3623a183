//! Sliding windows by arrival: those that Kafka makes, record by record.
//!
//! A record is added to the windows that exist and for which it is not late. A new window behind a
//! record begins with the values of the last window that spans the record, and a new window that
//! ends at a record with those of the last one before. A record that gets into no window is
//! forgotten.

use super::accumulate::Accumulate;
use super::sliding::{RESOLUTION_MICROS, Sliding, Windows, is_early, sliding_start};
use super::window::Window;
use super::{Call, Timed};
use crate::time::Timestamp;

impl<A> Sliding<A> {
    /// Adds a record that is not late for every window, as Kafka does.
    pub(super) fn arrive<X, S>(&self, state: &mut Windows<S>, input: &Timed<X>, call: &mut Call)
    where
        A: Accumulate<X, State = S>,
    {
        let (at, difference) = (input.timestamp, self.difference);
        let (own, behind) = (sliding_start(at, difference), at.plus(RESOLUTION_MICROS));
        let (mut is_spanned, mut has_own, mut has_behind) = (false, false, false);
        // The timestamp of the last record before, and the new windows.
        let (mut previous, mut to_own, mut to_behind) = (None, None, None);
        let copied = |start: Timestamp, from: &Window<S>| {
            let end = start.plus(difference);
            Window::copied(&self.aggregate, start, end, Some(from))
        };
        let earliest = match is_early(at, difference) {
            true => own,
            false => own.minus(difference),
        };
        let places = state.starting(earliest, behind);
        for window in state.open[places].iter_mut().rev() {
            if window.start > at {
                has_behind |= window.start == behind;
                continue;
            }
            if window.end < at {
                previous = Some(window.timestamp);
                if !has_own && window.timestamp >= own {
                    to_own = Some(copied(own, window));
                }
                break;
            }
            if window.end > at && !is_spanned {
                is_spanned = true;
                if !has_behind && window.timestamp > at {
                    to_behind = Some(copied(behind, window));
                }
            }
            if window.start == own {
                has_own = true;
                previous = Some(window.timestamp).filter(|last| *last < at);
            }
            let has_same = window.end == at && window.timestamp == at;
            if !self.is_late(input, window.end) {
                window.add(&self.aggregate, input);
            }
            if has_same {
                // Its windows are there.
                return;
            }
        }
        let new =
            |start: Timestamp| Window::copied(&self.aggregate, start, start.plus(difference), None);
        let after = previous.map(|last| last.plus(RESOLUTION_MICROS));
        let reaches = |start: &Timestamp| *start <= at && at <= start.plus(difference);
        let to_after = after.filter(|start| reaches(start) && *start != own).map(new);
        let to_own = (!has_own).then(|| to_own.unwrap_or_else(|| new(own)));
        for mut window in [to_after, to_own].into_iter().flatten() {
            if state.find(window.start).is_err() && !self.is_late(input, window.end) {
                window.add(&self.aggregate, input);
                self.insert(state, window, call);
            }
        }
        if let Some(mut window) = to_behind {
            window.touch(window.timestamp, input.partition_time);
            self.insert(state, window, call);
        }
    }

    fn insert<S>(&self, state: &mut Windows<S>, window: Window<S>, call: &mut Call) {
        window.wake(&self.ends, call);
        if let Err(place) = state.find(window.start) {
            state.open.insert(place, window);
        }
    }
}
