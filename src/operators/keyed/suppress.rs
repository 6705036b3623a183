//! Suppression: changes of rows wait in a buffer, so that most of them are replaced by later ones.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::{Call, Logic, StreamTime, Timed};
use crate::error::Error;
use crate::faults;
use crate::operators::datum::Datum;
use crate::time::Timestamp;

/// The action when a buffer is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// The oldest change is emitted.
    Emit,
    /// The run ends with an error.
    Fail,
}

/// The size of a buffer, and the action when it is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) max_records: usize,
    pub(crate) max_bytes: usize,
    pub(crate) when_full: WhenFull,
}

/// Returns the time of a change: from when on it waits.
pub(crate) type Since<K> = Rc<dyn Fn(&K, Timestamp) -> Timestamp>;

/// Buffers changes of rows. The keys of operator and rows differ: rows that share a limit share a
/// key of the operator.
pub(crate) struct Suppress<K> {
    pub(crate) since: Since<K>,
    /// Microseconds after that until a change is emitted.
    pub(crate) wait: i64,
    /// Changes wait until the window of their row closes. A row that is deleted while it waits is
    /// never emitted.
    pub(crate) by_window: bool,
    pub(crate) limit: Option<Limit>,
    pub(crate) time: StreamTime,
    /// The name of the step, for errors.
    pub(crate) name: String,
}

/// A change that waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Waits<V> {
    since: Timestamp,
    timestamp: Timestamp,
    partition_time: Timestamp,
    bytes: u64,
    value: Option<V>,
}

/// A buffer of changes.
pub(crate) struct Changes<K, V> {
    rows: BTreeMap<K, Waits<V>>,
    by_time: BTreeSet<(Timestamp, K)>,
    bytes: u64,
    touched: BTreeSet<K>,
    emitted: Vec<(K, Timed<Option<V>>)>,
}

impl<K, V> Default for Changes<K, V> {
    fn default() -> Self {
        Changes {
            rows: BTreeMap::new(),
            by_time: BTreeSet::new(),
            bytes: 0,
            touched: BTreeSet::new(),
            emitted: Vec::new(),
        }
    }
}

impl<K: Datum, V: Datum> Changes<K, V> {
    fn put(&mut self, key: K, change: Waits<V>) {
        self.bytes += change.bytes;
        self.by_time.insert((change.since, key.clone()));
        if let Some(before) = self.rows.insert(key, change) {
            self.bytes -= before.bytes;
        }
    }

    /// Emits the oldest change. In a suppression by windows it is emitted at the close of its
    /// window.
    fn emit_first(&mut self, by_window: bool) {
        let Some((_, key)) = self.by_time.first().cloned() else { return };
        let Some(change) = self.take(&key) else { return };
        self.touched.insert(key.clone());
        let Waits { since, timestamp, partition_time, value, .. } = change;
        let partition_time = if by_window { since } else { partition_time };
        if value.is_some() || !by_window {
            self.emit(key, timestamp, partition_time, value);
        }
    }

    /// Takes a change out of the buffer.
    fn take(&mut self, key: &K) -> Option<Waits<V>> {
        let change = self.rows.remove(key)?;
        self.bytes -= change.bytes;
        self.by_time.remove(&(change.since, key.clone()));
        Some(change)
    }

    fn emit(&mut self, key: K, timestamp: Timestamp, partition_time: Timestamp, value: Option<V>) {
        // The caller orders changes by time.
        let (order, ordinal) = Default::default();
        self.emitted.push((key, Timed { order, ordinal, timestamp, partition_time, value }));
    }
}

/// The bytes that a change takes in a buffer beside its key and value, as Kafka counts them: two
/// times, an offset and a partition.
const TIMES_AND_POSITION_BYTES: u64 = 28;

/// Returns the bytes of a change in a buffer.
fn bytes<K: Datum, V: Datum>(key: &K, value: &Option<V>) -> u64 {
    // A change that can't be encoded ends the run when it is saved.
    let encoded = postcard::experimental::serialized_size(&(key, value)).unwrap_or(0);
    encoded as u64 + TIMES_AND_POSITION_BYTES
}

impl<K: Datum, V: Datum> Logic<u64, (K, Option<V>)> for Suppress<K> {
    type State = Changes<K, V>;
    type Part = K;
    type Row = Waits<V>;
    type Out = (K, Timed<Option<V>>);

    fn is_ordered(&self) -> bool {
        // The changes of a key come in order, and an epoch has few of them.
        true
    }

    fn restore(&self, state: &mut Self::State, part: K, row: Waits<V>, call: &mut Call) {
        if !faults::bug("lost_wake") {
            call.wake_at(row.since.plus(self.wait));
        }
        state.put(part, row);
    }

    fn input(
        &self,
        _: &u64,
        state: &mut Self::State,
        input: Timed<(K, Option<V>)>,
        call: &mut Call,
    ) {
        let Timed { timestamp, partition_time, value: (key, value), .. } = input;
        if self.by_window && value.is_none() && self.time == StreamTime::Partitions {
            match state.take(&key) {
                Some(_) => _ = state.touched.insert(key),
                // It was emitted when its window closed.
                None => state.emit(key, timestamp, partition_time, None),
            }
            return;
        }
        // A change that replaces another waits no longer than that one.
        let since = match state.rows.get(&key) {
            Some(before) => before.since,
            None => (self.since)(&key, timestamp),
        };
        call.wake_at(since.plus(self.wait));
        let bytes = bytes(&key, &value);
        state.touched.insert(key.clone());
        state.put(key, Waits { since, timestamp, partition_time, bytes, value });
        if self.time == StreamTime::Arrival {
            // As in Kafka: a later change of this record must not replace one that is due.
            self.emit_due(state, call.now());
        }
        let Some(limit) = self.limit else { return };
        let is_full = |state: &Self::State| {
            state.rows.len() > limit.max_records || state.bytes > limit.max_bytes as u64
        };
        // A change that is due leaves the buffer before the rest is counted.
        self.emit_due(state, call.now());
        while is_full(state) {
            if limit.when_full == WhenFull::Fail {
                let (name, rows, bytes) = (&self.name, state.rows.len(), state.bytes);
                call.fail(
                    Error::config(format!("{name} is full: {rows} changes of {bytes} bytes wait"))
                        .hint("Allow more with max_records and max_bytes, or use emit_early()."),
                );
                return;
            }
            state.emit_first(self.by_window);
        }
    }

    fn expire(&self, _: &u64, state: &mut Self::State, watermark: Timestamp, _: &mut Call) {
        self.emit_due(state, watermark);
    }

    fn close(
        &self,
        _: &u64,
        state: &mut Self::State,
        emit: &mut dyn FnMut(Self::Out),
        save: &mut dyn FnMut(K, Option<Waits<V>>),
    ) {
        state.emitted.drain(..).for_each(emit);
        for key in std::mem::take(&mut state.touched) {
            let row = state.rows.get(&key).cloned();
            save(key, row);
        }
    }

    fn is_empty(&self, state: &Self::State) -> bool {
        state.rows.is_empty()
    }
}

impl<K: Datum> Suppress<K> {
    fn emit_due<V: Datum>(&self, state: &mut Changes<K, V>, now: Timestamp) {
        while state.by_time.first().is_some_and(|(since, _)| since.plus(self.wait) <= now) {
            state.emit_first(self.by_window);
        }
    }
}
