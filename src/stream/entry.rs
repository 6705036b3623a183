//! [`Entry`]: a record of a stream in the state of a join, without its key.

use differential_dataflow::AsCollection;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::vec::Map;

use super::combine::timed;
use super::{Event, KStream, Updates};
use crate::graph::Graph;
use crate::operators::{Datum, Diffs, Restored};
use crate::record::{Order, Ordinal};
use crate::time::Timestamp;

/// A record in the state of a join. Records are ordered by position, so that their values are
/// rarely compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Entry<V> {
    order: Order,
    ordinal: Ordinal,
    timestamp: Option<Timestamp>,
    #[serde(with = "crate::time::or_least")]
    partition_time: Timestamp,
    pub(super) value: V,
}

impl<V> Entry<V> {
    /// Returns the record with another value.
    pub(super) fn with<W>(&self, value: W) -> Entry<W> {
        let (order, ordinal) = (self.order, self.ordinal.clone());
        let (timestamp, partition_time) = (self.timestamp, self.partition_time);
        Entry { order, ordinal, timestamp, partition_time, value }
    }

    /// Returns the result of this record and one of the right side. It stands at the position of
    /// the later of the two, and has the greater times.
    pub(super) fn with_right<W, O>(&self, right: &Entry<W>, value: O) -> Entry<O> {
        let is_left = (self.order, &self.ordinal) > (right.order, &right.ordinal);
        let ordinal = if is_left {
            Ordinal::of_pair(&self.ordinal, (right.order, &right.ordinal), true)
        } else {
            Ordinal::of_pair(&right.ordinal, (self.order, &self.ordinal), false)
        };
        let order = self.order.max(right.order);
        let timestamp = self.timestamp.max(right.timestamp);
        let partition_time = self.partition_time.max(right.partition_time);
        Entry { order, ordinal, timestamp, partition_time, value }
    }

    /// Returns the record as an event.
    pub(super) fn into_event<K>(self, key: K, diff: i8) -> Event<K, V> {
        let Entry { order, ordinal, timestamp, partition_time, value } = self;
        Event { key, value, order, ordinal, timestamp, partition_time, diff }
    }
}

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    /// Returns the records as diffs, where they are.
    pub(super) fn entries(&self) -> Diffs<'s, (K, Entry<V>)> {
        timed(&self.events, |event, epoch| {
            let Event { key, value, order, ordinal, timestamp, partition_time, diff } = event;
            let entry = Entry { order, ordinal, timestamp, partition_time, value };
            Some(((key, entry), epoch, isize::from(diff)))
        })
    }

    /// Returns the records for a join that remembers them, at the step `node`. All of them come
    /// again after a restart.
    pub(super) fn kept_entries(&self, node: usize, side: &str) -> Diffs<'s, (K, Entry<V>)> {
        self.kept_diffs(self.entries().inner, node, side).as_collection()
    }

    /// Makes a stream of the results of a join that remembers its inputs.
    pub(super) fn from_entries(
        graph: Graph<'s>,
        node: usize,
        results: Diffs<'s, (K, Entry<V>)>,
        updates: Updates,
    ) -> Self {
        // A diff of several becomes as many events.
        let events = results.inner.flat_map(|((key, entry), _, diff)| {
            let event = entry.into_event(key, diff.signum() as i8);
            std::iter::repeat_n(event, diff.unsigned_abs())
        });
        KStream::new(graph, node, events, updates, Restored::All)
    }
}
