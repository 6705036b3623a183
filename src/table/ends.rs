//! Verbs that read a table at its end: a topic, a store, a gauge.

use crate::connect::Mode;
use crate::operators::Datum;
use crate::options::{Materialized, Produced};
use crate::ports::measure;
use crate::row::Row;

use super::KTable;

impl<'s, K: Datum, V: Datum> KTable<'s, K, V> {
    /// Lets other threads read the table by name while it is maintained: Kafka's interactive
    /// queries. Each answer is as of one epoch that is closed on all workers.
    ///
    /// All rows are kept in memory, but only in a run whose program
    /// [requests](crate::runtime::Streams::store) the store.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("stock", |builder: &StreamsBuilder<'_>| {
    ///     let stock = builder.table("stock", Consumed::with(Utf8, Int64))
    ///         .materialize(Materialized::named("stock"));
    ///     stock.filter(|_, pieces| *pieces == 0).materialize(Materialized::named("sold out"));
    /// });
    /// let mut driver = TopologyTestDriver::new(topology)?;
    /// let stock = driver.store::<String, i64>("stock")?;
    /// let sold_out = driver.store::<String, i64>("sold out")?;
    /// let items = driver.input("stock", Utf8, Int64);
    /// items.pipe(&mut driver, &"lamp".to_string(), &3);
    /// items.pipe(&mut driver, &"table".to_string(), &0);
    /// driver.commit()?;
    /// assert_eq!((stock.get("lamp"), stock.get("table")), (Some(3), Some(0)));
    /// assert_eq!((sold_out.get("lamp"), sold_out.get("table")), (None, Some(0)));
    ///
    /// let before = stock.view();
    /// items.delete(&mut driver, &"lamp".to_string());
    /// driver.commit()?;
    /// assert_eq!((stock.get("lamp"), before.get("lamp")), (None, Some(&3)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn materialize(&self, materialized: Materialized) -> Self {
        let name = materialized.store.clone();
        let store = self.graph.store::<K, V>(self.node, materialized);
        if self.graph.is_requested(&name) {
            self.changes.prepare_store();
            if let Some(store) = store {
                self.graph.end(self.changes.store(&name, store));
            }
        }
        self.clone()
    }

    /// Counts the rows for which `counts` is true. A run reports the number in
    /// [`Summary::gauges`](crate::runtime::Summary::gauges). Kafka has no such verb.
    ///
    /// ```
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.gauge("small", |_, n| *n < 10);
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 7), (2, 8), (3, 70)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// rows.delete(&mut driver, &2);
    /// driver.commit()?;
    /// assert_eq!(driver.finish()?.gauges["small"], 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn gauge(&self, name: &str, counts: impl Fn(&K, &V) -> bool + 'static) {
        let (node, gauge) = self.graph.gauge(self.node, name);
        let counts = move |(key, value): &(K, V)| counts(key, value);
        self.graph.end(measure(self.diffs(), gauge, self.graph.meter(node), counts));
    }
}

impl<'s, K: Datum + Row, V: Datum + Row> KTable<'s, K, V> {
    /// Writes the table to `topic`. Unlike Kafka's changelog, the sink holds exactly the current
    /// rows after each commit, and a tombstone removes its row. Keys are kept in memory, rows are
    /// not.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.to("kept", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 7), (2, 8), (1, 9)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("kept"), [[Long(1), Long(9)], [Long(2), Long(8)]]);
    /// rows.delete(&mut driver, &1);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("kept"), [[Long(2), Long(8)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn to(&self, topic: &str, produced: Produced) {
        let node = self.graph.node(format!("to {topic}"), &[self.node]);
        let (key, value) = (K::columns(), V::columns());
        let columns = [key.clone(), value].concat();
        let sink = self.graph.sink(topic, &columns, key.len(), Mode::Snapshot, &produced);
        if let Some(demand) = self.graph.sink_demand(topic) {
            let rows = self.changes.prepare_sink(node, demand);
            if let Some(sink) = sink {
                self.graph.end(rows.write(topic, sink, self.graph.meter(node)));
            }
        }
    }
}
