//! Pairs of records of two streams whose timestamps are near to each other.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::{Call, Logic, StreamTime, Timed};
use crate::operators::datum::{Datum, Side};
use crate::operators::null::is_null;
use crate::record::{Order, Ordinal};
use crate::time::Timestamp;

/// Makes a result of a pair; one side is missing in a record without a partner. `None` is no
/// result.
pub(crate) type PairJoiner<K, L, R, O> = Rc<dyn Fn(&K, Option<&L>, Option<&R>) -> Option<O>>;

/// The distances at which records are a pair, in microseconds: `left - before <= right <= left +
/// after`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    pub(crate) before: i64,
    pub(crate) after: i64,
    pub(crate) grace: Option<i64>,
}

impl Reach {
    /// Returns the time that must be passed before a record of a side is late.
    fn close(&self, at: Timestamp, is_left: bool) -> Option<Timestamp> {
        let ahead = if is_left { self.after } else { self.before };
        Some(at.plus(ahead).plus(self.grace?))
    }

    /// Returns the time that must be passed before a record has no further partner.
    fn forget(&self, at: Timestamp) -> Option<Timestamp> {
        Some(at.plus(self.before).plus(self.after).plus(self.grace?))
    }

    /// Returns the time that must be passed before a record without a partner is emitted.
    fn alone_at(&self, at: Timestamp, time: StreamTime, is_left: bool) -> Option<Timestamp> {
        match time {
            StreamTime::Partitions => self.forget(at),
            // Kafka does not wait for a record that is behind the end of its window, and not late.
            StreamTime::Arrival => self.close(at, is_left),
        }
    }
}

/// The greatest timestamp of each side, by which Kafka forgets the records of that side.
pub(crate) struct SideTimes {
    left: Cell<Timestamp>,
    right: Cell<Timestamp>,
}

impl Default for SideTimes {
    fn default() -> Self {
        SideTimes { left: Timestamp::MIN.into(), right: Timestamp::MIN.into() }
    }
}

impl SideTimes {
    fn of(&self, is_left: bool) -> &Cell<Timestamp> {
        if is_left { &self.left } else { &self.right }
    }

    fn observe(&self, at: Timestamp, is_left: bool) {
        let time = self.of(is_left);
        time.set(time.get().max(at));
    }
}

/// Joins records of two streams by key and time.
///
/// A record is late if its partition has passed the end of its window by more than the grace. In a
/// consistent run a record without a partner is emitted when no record that is not late can be its
/// partner. In a run by record it is emitted at the end of its window and grace, as in Kafka, and
/// may have a partner afterwards.
pub(crate) struct Pairs<K, L, R, O> {
    pub(crate) joiner: PairJoiner<K, L, R, O>,
    pub(crate) reach: Reach,
    /// Records of the side without a partner are emitted.
    pub(crate) left_alone: bool,
    pub(crate) right_alone: bool,
    pub(crate) time: StreamTime,
    pub(crate) seen: SideTimes,
}

/// The position of a record among those of its side.
pub(crate) type Place = (Timestamp, Order, Ordinal);

/// A record that may have further partners.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Waiting<V> {
    pub(super) value: V,
    pub(super) partition_time: Timestamp,
    /// The record was emitted, in a pair or alone.
    is_emitted: bool,
}

/// The records of a key that may have further partners.
pub(crate) struct Buffer<L, R, O> {
    lefts: BTreeMap<Place, Waiting<L>>,
    rights: BTreeMap<Place, Waiting<R>>,
    /// The places of changed records, with their side.
    changed: Vec<(bool, Place)>,
    results: Vec<Timed<O>>,
    /// The time of the next attempt to forget records whose side is behind the time of both.
    retry: Option<Timestamp>,
}

impl<L, R, O> Default for Buffer<L, R, O> {
    fn default() -> Self {
        let (lefts, rights) = (BTreeMap::new(), BTreeMap::new());
        Buffer { lefts, rights, changed: Vec::new(), results: Vec::new(), retry: None }
    }
}

/// Returns the range of places with these timestamps, inclusive.
fn between(from: Timestamp, to: Timestamp) -> (std::ops::Bound<Place>, std::ops::Bound<Place>) {
    let start = (from, Order::default(), Ordinal::default());
    let end = match to.0.checked_add(1) {
        Some(next) => {
            std::ops::Bound::Excluded((Timestamp(next), Order::default(), Ordinal::default()))
        }
        None => std::ops::Bound::Unbounded,
    };
    (std::ops::Bound::Included(start), end)
}

impl<K: Datum, L: Datum, R: Datum, O: Datum> Pairs<K, L, R, O> {
    /// Emits the records without a partner, and forgets all that have no further one, at `now`.
    fn expire_until(&self, key: &K, state: &mut Buffer<L, R, O>, now: Timestamp) {
        let Buffer { lefts, rights, changed, results, .. } = state;
        let alone = |left: &L| (self.joiner)(key, Some(left), None);
        self.expire_side(lefts, true, now, alone, (changed, results));
        let alone = |right: &R| (self.joiner)(key, None, Some(right));
        self.expire_side(rights, false, now, alone, (changed, results));
    }

    fn expire_side<V>(
        &self,
        waiting: &mut BTreeMap<Place, Waiting<V>>,
        is_left: bool,
        now: Timestamp,
        alone: impl Fn(&V) -> Option<O>,
        (changed, results): (&mut Vec<(bool, Place)>, &mut Vec<Timed<O>>),
    ) {
        let emits = self.emits_alone(is_left);
        let is_due = |at| self.reach.alone_at(at, self.time, is_left).is_some_and(|at| at < now);
        // A consistent run forgets these records below, so it need not save that they are emitted.
        for (place, it) in waiting.iter_mut().take_while(|(place, _)| emits && is_due(place.0)) {
            if !std::mem::replace(&mut it.is_emitted, true) {
                results.extend(self.alone(place, it.partition_time, is_left, alone(&it.value)));
                if self.time == StreamTime::Arrival {
                    changed.push((is_left, place.clone()));
                }
            }
        }
        while let Some(first) = waiting.first_entry()
            && self.is_forgotten(first.key().0, is_left, now)
            && (first.get().is_emitted || !emits)
        {
            changed.push((is_left, first.remove_entry().0));
        }
    }

    /// Returns true if a record has no further partner at `now`.
    fn is_forgotten(&self, at: Timestamp, is_left: bool, now: Timestamp) -> bool {
        self.reach.forget(at).is_some_and(|end| match self.time {
            StreamTime::Partitions => end < now,
            // Kafka's store of a side forgets by the greatest timestamp of that side. The newest
            // record stays, even if window and grace are 0.
            StreamTime::Arrival => {
                let latest = self.seen.of(is_left).get();
                end <= latest && at < latest
            }
        })
    }

    fn emits_alone(&self, is_left: bool) -> bool {
        if is_left { self.left_alone } else { self.right_alone }
    }

    /// Returns the result of a record without a partner.
    fn alone(
        &self,
        place: &Place,
        partition_time: Timestamp,
        is_left: bool,
        value: Option<O>,
    ) -> Option<Timed<O>> {
        let (timestamp, order, ordinal) = place.clone();
        let emitted = self.reach.alone_at(timestamp, self.time, is_left);
        let partition_time = emitted.unwrap_or(partition_time).max(partition_time);
        let value = value?;
        Some(Timed { order, ordinal: ordinal.then(0), timestamp, partition_time, value })
    }
}

/// Returns the result of two records.
fn pair<O>(
    one: (&Place, Timestamp),
    other: (&Place, Timestamp),
    value: Option<O>,
) -> Option<Timed<O>> {
    let ((at, order, ordinal), (other_at, other_order, other_ordinal)) = (one.0, other.0);
    // Any order will do among the pairs of a record, as long as it is the same in every run.
    let both = ((order, ordinal), (other_order, other_ordinal));
    Some(Timed {
        order: *order.max(other_order),
        ordinal: Ordinal::of_key(&both),
        timestamp: *at.max(other_at),
        partition_time: one.1.max(other.1),
        value: value?,
    })
}

impl<K: Datum, L: Datum, R: Datum, O: Datum> Logic<K, Side<L, R>> for Pairs<K, L, R, O> {
    type State = Buffer<L, R, O>;
    /// True for the left side, and the place of a record.
    type Part = (bool, Place);
    type Row = Waiting<Side<L, R>>;
    type Out = (K, Timed<O>);

    fn is_ordered(&self) -> bool {
        false
    }

    fn restore(&self, state: &mut Self::State, part: Self::Part, row: Self::Row, call: &mut Call) {
        let (is_left, place) = part;
        self.seen.observe(place.0, is_left);
        self.wake(&place, is_left, call);
        let Waiting { value, partition_time, is_emitted } = row;
        match value {
            Side::Left(value) => {
                _ = state.lefts.insert(place, Waiting { value, partition_time, is_emitted });
            }
            Side::Right(value) => {
                _ = state.rights.insert(place, Waiting { value, partition_time, is_emitted });
            }
        }
    }

    fn input(&self, key: &K, state: &mut Self::State, input: Timed<Side<L, R>>, call: &mut Call) {
        let Timed { order, ordinal, timestamp: at, partition_time, value } = input;
        let is_left = matches!(value, Side::Left(_));
        if is_null(key) {
            // As in Kafka, a null key never has a partner.
            let is_alone = self.emits_alone(is_left);
            let value = match value {
                Side::Left(left) if is_alone => (self.joiner)(key, Some(&left), None),
                Side::Right(right) if is_alone => (self.joiner)(key, None, Some(&right)),
                _ => None,
            };
            let ordinal = ordinal.then(usize::from(!is_left));
            let timed = |value| Timed { order, ordinal, timestamp: at, partition_time, value };
            state.results.extend(value.map(timed));
            return;
        }
        let is_late = self.reach.close(at, is_left).is_some_and(|close| close < partition_time);
        if is_late && self.time == StreamTime::Partitions {
            call.late();
            return;
        }
        if self.time == StreamTime::Arrival && at == partition_time {
            // Kafka emits what has no partner before it joins a record that moves stream time.
            self.expire_until(key, state, at);
        }
        let place = (at, order, ordinal);
        let here = (&place, partition_time);
        let Reach { before, after, .. } = self.reach;
        let is_kept = |other: &Place| match self.time {
            StreamTime::Partitions => true,
            StreamTime::Arrival => !self.is_forgotten(other.0, !is_left, at),
        };
        let mut is_emitted = false;
        match &value {
            Side::Left(left) => {
                let rights = state.rights.range_mut(between(at.minus(before), at.plus(after)));
                for (other, right) in rights.filter(|(other, _)| is_kept(other)) {
                    is_emitted = true;
                    if !std::mem::replace(&mut right.is_emitted, true) && self.right_alone {
                        state.changed.push((false, other.clone()));
                    }
                    let result = (self.joiner)(key, Some(left), Some(&right.value));
                    state.results.extend(pair(here, (other, right.partition_time), result));
                }
            }
            Side::Right(right) => {
                let lefts = state.lefts.range_mut(between(at.minus(after), at.plus(before)));
                for (other, left) in lefts.filter(|(other, _)| is_kept(other)) {
                    is_emitted = true;
                    if !std::mem::replace(&mut left.is_emitted, true) && self.left_alone {
                        state.changed.push((true, other.clone()));
                    }
                    let result = (self.joiner)(key, Some(&left.value), Some(right));
                    state.results.extend(pair(here, (other, left.partition_time), result));
                }
            }
        }
        let is_alone = self.emits_alone(is_left);
        let ends = if is_left { at.plus(after) } else { at.plus(before) };
        if self.time == StreamTime::Arrival && ends < partition_time && !is_emitted && is_alone {
            // Kafka does not keep a record whose window has ended.
            let result = match &value {
                Side::Left(left) => (self.joiner)(key, Some(left), None),
                Side::Right(right) => (self.joiner)(key, None, Some(right)),
            };
            state.results.extend(self.alone(&place, partition_time, is_left, result));
            is_emitted = true;
        }
        self.seen.observe(at, is_left);
        self.wake(&place, is_left, call);
        state.changed.push((is_left, place.clone()));
        match value {
            Side::Left(value) => {
                _ = state.lefts.insert(place, Waiting { value, partition_time, is_emitted });
            }
            Side::Right(value) => {
                _ = state.rights.insert(place, Waiting { value, partition_time, is_emitted });
            }
        }
    }

    fn expire(&self, key: &K, state: &mut Self::State, watermark: Timestamp, call: &mut Call) {
        self.expire_until(key, state, watermark);
        if state.retry.is_some_and(|at| at > watermark) {
            return;
        }
        let left = state.lefts.first_key_value().map(|(place, _)| place.0);
        let right = state.rights.first_key_value().map(|(place, _)| place.0);
        let forgotten = left.into_iter().chain(right).filter_map(|at| self.reach.forget(at));
        // The time of one side may stand still while that of the other goes on. So the waits grow,
        // and few calls find nothing to forget.
        let retry = |end: Timestamp| watermark.plus((watermark.0.saturating_sub(end.0)).max(1));
        let late = forgotten.min().filter(|end| *end < watermark);
        state.retry = late.map(retry).filter(|at| *at > watermark);
        state.retry.into_iter().for_each(|at| call.wake_at(at));
    }

    fn close(
        &self,
        key: &K,
        state: &mut Self::State,
        emit: &mut dyn FnMut(Self::Out),
        save: &mut dyn FnMut(Self::Part, Option<Self::Row>),
    ) {
        state.results.drain(..).for_each(|result| emit((key.clone(), result)));
        for (is_left, place) in std::mem::take(&mut state.changed) {
            let row = if is_left {
                state.lefts.get(&place).cloned().map(|it| it.map(Side::Left))
            } else {
                state.rights.get(&place).cloned().map(|it| it.map(Side::Right))
            };
            save((is_left, place), row);
        }
    }

    fn is_empty(&self, state: &Self::State) -> bool {
        state.lefts.is_empty() && state.rights.is_empty()
    }
}

impl<V> Waiting<V> {
    /// Returns a value without a partner.
    pub(super) fn new(value: V, partition_time: Timestamp) -> Self {
        Waiting { value, partition_time, is_emitted: false }
    }

    fn map<W>(self, f: impl FnOnce(V) -> W) -> Waiting<W> {
        let Waiting { value, partition_time, is_emitted } = self;
        Waiting { value: f(value), partition_time, is_emitted }
    }
}

impl<K, L, R, O> Pairs<K, L, R, O> {
    /// Requests the calls at which a record is emitted and forgotten.
    fn wake(&self, place: &Place, is_left: bool, call: &mut Call) {
        let forget = self.reach.forget(place.0);
        let alone = self.reach.alone_at(place.0, self.time, is_left);
        let wakes = forget.into_iter().chain(alone.filter(|_| alone != forget));
        wakes.for_each(|at| call.wake_at(at.plus(1)));
    }
}
