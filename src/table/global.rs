//! [`GlobalKTable`]: a table with a full copy on each worker.

use crate::operators::{Datum, Diffs, broadcast};
use crate::options::Materialized;

use super::KTable;

/// A table with a full copy on each worker, for joins of streams by a key that is computed from the
/// record. It is a handle, cheap to clone, and may be used any number of times.
///
/// [`StreamsBuilder::global_table`](crate::StreamsBuilder::global_table) makes it of a topic, and
/// [`KTable::to_global`] of any table. The streams stay on their workers: no record is exchanged.
/// Each join keeps a copy of the rows on each worker. Rows, nulls, tombstones and duplicates are
/// those of a [`KTable`].
///
/// Kafka reads a global topic to its end before a run processes any record, and apart from it. Here
/// it is a topic like others: its changes belong to epochs, and maintained joins follow them.
#[derive(Clone)]
pub struct GlobalKTable<'s, K: Datum, V: Datum>(pub(crate) KTable<'s, K, V>);

impl<'s, K: Datum, V: Datum> KTable<'s, K, V> {
    /// Copies the table to each worker, for joins by a key that is computed from a record. Kafka
    /// has no such verb: its global tables are topics.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// let counts = rows.group_by(|_, n| (*n, ())).count().to_global();
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.join_global(&counts, |_, n| *n, |n, count| n * 100 + count)
    ///     .to_table().to("counted", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (2, 7)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// numbers.pipe(&mut driver, &5, &7);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("counted"), [[Long(5), Long(702)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn to_global(&self) -> GlobalKTable<'s, K, V> {
        GlobalKTable(self.clone())
    }
}

impl<'s, K: Datum, V: Datum> GlobalKTable<'s, K, V> {
    /// Names this step, like [`KTable::named`].
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    ///     builder.global_table("rates", Consumed::with(Utf8, Int64)).named("euro");
    /// });
    /// assert!(topology.describe().contains("global_table rates \"euro\""));
    /// ```
    pub fn named(&self, name: &str) -> Self {
        GlobalKTable(self.0.named(name))
    }

    /// Lets other threads read the table by name, like [`KTable::materialize`]. The store has one
    /// copy of the rows.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    ///     builder.global_table("rates", Consumed::with(Utf8, Int64))
    ///         .materialize(Materialized::named("rates"));
    /// });
    /// let mut driver = TopologyTestDriver::new(topology)?;
    /// let store = driver.store::<String, i64>("rates")?;
    /// let rates = driver.input("rates", Utf8, Int64);
    /// rates.pipe(&mut driver, &"euro".to_string(), &107);
    /// driver.commit()?;
    /// assert_eq!(store.get("euro"), Some(107));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn materialize(&self, materialized: Materialized) -> Self {
        GlobalKTable(self.0.materialize(materialized))
    }

    /// Returns the step that makes the rows.
    pub(crate) fn node(&self) -> usize {
        self.0.node
    }

    /// Returns the changes, all of them on each worker.
    pub(crate) fn copies(&self) -> Diffs<'s, (K, V)> {
        broadcast(self.0.diffs())
    }
}
