//! [`Event`]: a record in a stream.

use serde::{Deserialize, Serialize};

use crate::operators::{Datum, Timed};
use crate::record::{Order, Ordinal};
use crate::time::Timestamp;

/// A record in a stream. `diff` is 1, or -1 where a maintained join retracts a result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Event<K, V> {
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) order: Order,
    pub(crate) ordinal: Ordinal,
    pub(crate) timestamp: Option<Timestamp>,
    /// The greatest timestamp of the record's source partition up to its position; the least
    /// timestamp if the topic is untimed.
    #[serde(with = "crate::time::or_least")]
    pub(crate) partition_time: Timestamp,
    pub(crate) diff: i8,
}

impl<K, V> Event<K, V> {
    /// Returns the record as that of a row.
    pub(crate) fn some(self) -> Event<K, Option<V>> {
        let Event { key, value, order, ordinal, timestamp, partition_time, diff } = self;
        Event { key, value: Some(value), order, ordinal, timestamp, partition_time, diff }
    }

    /// Returns a record of a value with a position and times.
    pub(crate) fn of_timed(key: K, timed: Timed<V>) -> Self {
        let Timed { order, ordinal, timestamp, partition_time, value } = timed;
        Event { key, value, order, ordinal, timestamp: Some(timestamp), partition_time, diff: 1 }
    }

    /// Returns the change of a row as a record. It has no position of its own: that of `offset` is
    /// later than every topic. Between keys any fixed order will do.
    pub(crate) fn of_change(key: K, timed: Timed<V>, offset: u64) -> Self
    where
        K: Datum,
    {
        let order = Order { topic: u16::MAX, source: 0, offset, partition: 0 };
        let ordinal = Ordinal::of_key(&key);
        Event::of_timed(key, Timed { order, ordinal, ..timed })
    }

    /// Returns the position and the times of the record.
    pub(crate) fn timed(&self) -> Timed<()> {
        let (order, ordinal) = (self.order, self.ordinal.clone());
        let timestamp = self.timestamp.unwrap_or(Timestamp::MIN);
        Timed { order, ordinal, timestamp, partition_time: self.partition_time, value: () }
    }
}

impl<K, V> Event<K, Option<V>> {
    /// Replaces the row of a change by the result of `f`; `None` is no row.
    pub(crate) fn map_row<W>(self, f: &impl Fn(&K, &V) -> Option<W>) -> Event<K, Option<W>> {
        let value = self.value.and_then(|value| f(&self.key, &value));
        let Event { key, order, ordinal, timestamp, partition_time, diff, .. } = self;
        Event { key, value, order, ordinal, timestamp, partition_time, diff }
    }
}
