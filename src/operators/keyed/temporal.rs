//! Records joined with the row of a table that was valid at their time.

use std::collections::BTreeMap;

use super::pairs::{PairJoiner, Place, Waiting};
use super::{Call, Logic, StreamTime, Timed};
use crate::operators::datum::{Datum, Side};
use crate::record::{Order, Ordinal};
use crate::time::Timestamp;

/// Joins records with the versions of rows.
///
/// The version at a time is the last one, by timestamp and then by position, whose timestamp is not
/// later. A version is too late if its partition has passed its timestamp by more than the history.
/// Without a grace a version that is not too late corrects the results of records, which are kept
/// for it. With a grace each record has one result, when the watermark has reached its timestamp
/// and the grace. Versions whose partition was so far when they came don't count for it.
pub(crate) struct Temporal<K, L, R, O> {
    pub(crate) joiner: PairJoiner<K, L, R, O>,
    /// Microseconds.
    pub(crate) history: i64,
    /// Microseconds; none for results that are maintained.
    pub(crate) grace: Option<i64>,
    /// A record without a row has a result too.
    pub(crate) is_left: bool,
    pub(crate) time: StreamTime,
}

/// A version of a row, with the time of its partition.
type Version<R> = (Option<R>, Timestamp);

/// The versions and the records of a key.
pub(crate) struct Versions<L, R, O> {
    versions: BTreeMap<Place, Version<R>>,
    records: BTreeMap<Place, (L, Timestamp)>,
    /// The places of changed versions and records; true for a record.
    changed: Vec<(bool, Place)>,
    results: Vec<(Timed<O>, i8)>,
}

impl<L, R, O> Default for Versions<L, R, O> {
    fn default() -> Self {
        Versions {
            versions: BTreeMap::new(),
            records: BTreeMap::new(),
            changed: Vec::new(),
            results: Vec::new(),
        }
    }
}

/// Returns the place before all others with a later timestamp.
fn after(at: Timestamp) -> Place {
    (at.plus(1), Order::default(), Ordinal::default())
}

impl<K: Datum, L: Datum, R: Datum, O: Datum> Temporal<K, L, R, O> {
    /// Returns true if results change when a version comes later.
    fn is_maintained(&self) -> bool {
        self.grace.is_none() && self.time == StreamTime::Partitions
    }

    /// Returns true if a version counts for the records at a time, whose partition was at `known`
    /// when the version came.
    fn counts(&self, known: Timestamp, at: Timestamp) -> bool {
        match (self.time, self.grace) {
            (StreamTime::Partitions, Some(grace)) => known < at.plus(grace),
            _ => true,
        }
    }

    /// Returns the result of a record.
    fn result(
        &self,
        key: &K,
        versions: &BTreeMap<Place, Version<R>>,
        place: &Place,
        left: &L,
        partition_time: Timestamp,
    ) -> Option<Timed<O>> {
        let at = place.0;
        let mut before = versions.range(..after(at)).rev();
        let counts = before.find(|(_, (_, known))| self.counts(*known, at));
        let row = counts.and_then(|(_, (row, _))| row.as_ref());
        if row.is_none() && !self.is_left {
            return None;
        }
        let value = (self.joiner)(key, Some(left), row)?;
        let (timestamp, order, ordinal) = place.clone();
        let emitted = self.grace.map_or(partition_time, |grace| at.plus(grace));
        let partition_time = partition_time.max(emitted);
        Some(Timed { order, ordinal, timestamp, partition_time, value })
    }

    /// Applies `change` to the versions, and the difference to the results of the records from
    /// `at` on whose version it changes.
    fn correct(&self, key: &K, state: &mut Versions<L, R, O>, place: Place, version: Version<R>) {
        let next =
            state.versions.range((std::ops::Bound::Excluded(&place), std::ops::Bound::Unbounded));
        let end = next.map(|(next, _)| next.0).find(|next| *next > place.0);
        let start = (place.0, Order::default(), Ordinal::default());
        let mut affected = Vec::new();
        for (at, (left, partition_time)) in state.records.range(start..) {
            if end.is_some_and(|end| at.0 >= end) {
                break;
            }
            let old = self.result(key, &state.versions, at, left, *partition_time);
            affected.push((at.clone(), old));
        }
        state.versions.insert(place, version);
        for (at, old) in affected {
            let Some((left, partition_time)) = state.records.get(&at) else { continue };
            let new = self.result(key, &state.versions, &at, left, *partition_time);
            let value = |timed: &Option<Timed<O>>| timed.as_ref().map(|it| it.value.clone());
            if value(&old) != value(&new) {
                state.results.extend(old.map(|old| (old, -1)));
                state.results.extend(new.map(|new| (new, 1)));
            }
        }
    }

    /// Emits the records that have waited long enough, and forgets what no later record needs.
    fn advance(&self, key: &K, state: &mut Versions<L, R, O>, now: Timestamp) {
        while let Some(first) = state.records.first_entry() {
            let waits = self.grace.unwrap_or(self.history);
            let is_over = match self.grace {
                Some(_) => first.key().0.plus(waits) <= now,
                None => first.key().0.plus(waits) < now,
            };
            if !is_over {
                break;
            }
            let (place, (left, partition_time)) = first.remove_entry();
            if self.grace.is_some() {
                let result = self.result(key, &state.versions, &place, &left, partition_time);
                state.results.extend(result.map(|result| (result, 1)));
            }
            state.changed.push((true, place));
        }
        // A version is of use until the next one has been valid for the whole history. Records that
        // wait may need older ones. With a grace, the next one must have come early enough for all
        // records that may still need a version.
        let oldest = state.records.first_key_value().map(|(place, _)| place.0);
        let needed = now.minus(self.history).minus(1);
        let needed = oldest.map_or(needed, |oldest| needed.min(oldest));
        while let Some((second, (_, known))) = state.versions.iter().nth(1)
            && second.0 <= needed
            && self.counts(*known, needed)
        {
            if let Some((place, _)) = state.versions.pop_first() {
                state.changed.push((false, place));
            }
        }
        if let Some(first) = state.versions.first_entry()
            && first.get().0.is_none()
            && first.key().0 <= needed
        {
            state.changed.push((false, first.remove_entry().0));
        }
    }
}

impl<K: Datum, L: Datum, R: Datum, O: Datum> Logic<K, Side<L, Option<R>>> for Temporal<K, L, R, O> {
    type State = Versions<L, R, O>;
    /// True for a record, and the place.
    type Part = (bool, Place);
    type Row = Waiting<Side<L, Option<R>>>;
    type Out = (K, Timed<O>, i8);

    fn is_ordered(&self) -> bool {
        false
    }

    fn moves_time(&self, input: &Side<L, Option<R>>) -> bool {
        // As in Kafka, records of the stream alone end the time for which others wait.
        self.grace.is_none() || matches!(input, Side::Left(_))
    }

    fn restore(&self, state: &mut Self::State, part: Self::Part, row: Self::Row, call: &mut Call) {
        let (_, place) = part;
        self.wake(&place, row.partition_time, call);
        match row.value {
            Side::Left(left) => _ = state.records.insert(place, (left, row.partition_time)),
            Side::Right(row_) => _ = state.versions.insert(place, (row_, row.partition_time)),
        }
    }

    fn input(
        &self,
        key: &K,
        state: &mut Self::State,
        input: Timed<Side<L, Option<R>>>,
        call: &mut Call,
    ) {
        let Timed { order, ordinal, timestamp: at, partition_time, value } = input;
        let place = (at, order, ordinal);
        let is_late = at.plus(self.history) < partition_time;
        match value {
            Side::Right(_) if is_late => call.late(),
            Side::Right(row) => {
                self.wake(&place, partition_time, call);
                state.changed.push((false, place.clone()));
                if self.is_maintained() {
                    self.correct(key, state, place, (row, partition_time));
                } else {
                    state.versions.insert(place, (row, partition_time));
                }
            }
            Side::Left(left) if is_late => {
                // The row of that time may be forgotten.
                call.late();
                let result = self.result(key, &BTreeMap::new(), &place, &left, partition_time);
                state.results.extend(result.map(|result| (result, 1)));
            }
            Side::Left(left) => {
                let waits = match (self.time, self.grace) {
                    (StreamTime::Arrival, None) => false,
                    // Kafka joins a record that is late for its buffer at once.
                    (StreamTime::Arrival, Some(grace)) => at.plus(grace) >= partition_time,
                    (StreamTime::Partitions, _) => true,
                };
                if self.grace.is_none() || !waits {
                    let result = self.result(key, &state.versions, &place, &left, partition_time);
                    state.results.extend(result.map(|result| (result, 1)));
                }
                if waits {
                    self.wake(&place, partition_time, call);
                    state.changed.push((true, place.clone()));
                    state.records.insert(place, (left, partition_time));
                }
            }
        }
    }

    fn expire(&self, key: &K, state: &mut Self::State, watermark: Timestamp, _: &mut Call) {
        self.advance(key, state, watermark);
    }

    fn close(
        &self,
        key: &K,
        state: &mut Self::State,
        emit: &mut dyn FnMut(Self::Out),
        save: &mut dyn FnMut(Self::Part, Option<Self::Row>),
    ) {
        state.results.drain(..).for_each(|(result, diff)| emit((key.clone(), result, diff)));
        for (is_record, place) in std::mem::take(&mut state.changed) {
            let row = if is_record {
                let record = state.records.get(&place).cloned();
                record.map(|(left, known)| Waiting::new(Side::Left(left), known))
            } else {
                let version = state.versions.get(&place).cloned();
                version.map(|(row, known)| Waiting::new(Side::Right(row), known))
            };
            save((is_record, place), row);
        }
    }

    fn is_empty(&self, state: &Self::State) -> bool {
        state.versions.is_empty() && state.records.is_empty()
    }
}

impl<K, L, R, O> Temporal<K, L, R, O> {
    /// Requests the calls at which a record or a version ends. `known` is the time of its partition
    /// when it came: with a grace, it decides when a version makes the one before it useless.
    fn wake(&self, place: &Place, known: Timestamp, call: &mut Call) {
        let replaces = |at: Timestamp| at.plus(self.history).plus(1);
        call.wake_at(replaces(place.0));
        if let Some(grace) = self.grace {
            call.wake_at(place.0.plus(grace));
            call.wake_at(replaces(known.minus(grace).plus(1)));
        }
    }
}
