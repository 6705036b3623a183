//! [`VersionedTable`]: a table that keeps the versions of its rows.

use std::time::Duration;

use timely::dataflow::StreamVec;

use super::KTable;
use crate::graph::Graph;
use crate::operators::Datum;
use crate::stream::Event;
use crate::time::Epoch;

/// A table with the versions of its rows by event time, for
/// [`temporal_join`](crate::KStream::temporal_join): Kafka's versioned store (KIP-889).
#[derive(Clone)]
pub struct VersionedTable<'s, K: Datum, V: Datum> {
    pub(crate) graph: Graph<'s>,
    pub(crate) node: usize,
    pub(crate) records: Option<StreamVec<'s, Epoch, Event<K, Option<V>>>>,
    pub(crate) history: Duration,
    pub(crate) grace: Option<Duration>,
}

impl<'s, K: Datum, V: Datum> KTable<'s, K, V> {
    /// Keeps the versions of the rows: a record of the table's topic is valid from its timestamp
    /// on, until that of the next record of its key.
    ///
    /// A record that is late by more than `history` is left out, and counted. The table must be
    /// that of a topic or of a stream that only adds, or made of it by `filter` or `map_values`.
    pub fn versioned(&self, history: Duration) -> VersionedTable<'s, K, V> {
        let graph = self.graph.clone();
        let node = graph.node(format!("versioned {history:?}"), &[self.node]);
        graph.use_time(node);
        let records = self.records.as_ref().map(|make| make());
        if records.is_none() {
            graph.error(
                "versioned needs the records of a topic: use it behind table() or to_table()"
                    .to_string(),
            );
        }
        VersionedTable { graph, node, records, history, grace: None }
    }
}

impl<K: Datum, V: Datum> VersionedTable<'_, K, V> {
    /// Lets records of the stream wait for versions that come late by up to `grace` (KIP-923). Each
    /// has one result then, which no later version corrects.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.node = self.graph.node(format!("grace {grace:?}"), &[self.node]);
        self.grace = Some(grace);
        self
    }
}
