//! [`VersionedTable`]: a table that keeps the versions of its rows.

use std::time::Duration;

use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Map;

use super::{KTable, RUN_BITS, TimedChanges};
use crate::graph::Graph;
use crate::operators::{Datum, Newest, Restored, StreamTime, Timed, Version, in_epoch, keyed};
use crate::stream::Event;
use crate::time::{Epoch, micros};

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
    /// on, until that of the next record of its key. From a tombstone on there is no row.
    ///
    /// A record that is late by more than `history` is left out, and counted. The table must be
    /// that of a topic or of a stream that only adds, or made of it by `filter` or `map_values`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let sales = builder.stream("sales", Consumed::with(Int64, Int64));
    /// let rates = builder.table("rates", Consumed::with(Int64, Int64));
    /// let rates = rates.versioned(Duration::from_secs(3_600));
    /// sales.left_temporal_join(&rates, |amount, rate| amount * rate.unwrap_or(&0))
    ///     .group_by(|_, value| (*value, ())).count()
    ///     .to("values", Produced::columns(["value", "sales"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (sales, rates) =
    /// #     (driver.input("sales", Int64, Int64), driver.input("rates", Int64, Int64));
    /// rates.pipe_at(&mut driver, &1, &2, Timestamp(10));
    /// rates.pipe_at(&mut driver, &1, &3, Timestamp(20));
    /// rates.delete_at(&mut driver, &1, Timestamp(30));
    /// for at in [5, 10, 19, 20, 30] {
    ///     sales.pipe_at(&mut driver, &1, &100, Timestamp(at));
    /// }
    /// driver.commit()?;
    /// let values = [[Long(0), Long(2)], [Long(200), Long(2)], [Long(300), Long(1)]];
    /// assert_eq!(driver.rows("values"), values);
    /// # Ok::<(), Error>(())
    /// ```
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

impl<'s, K: Datum, V: Datum> VersionedTable<'s, K, V> {
    /// Returns the table of the newest versions by timestamp, of equal ones that of the last
    /// position: Kafka's table with a versioned store. An out-of-order record changes nothing,
    /// whichever comes first.
    ///
    /// It keeps a place and a digest for each key, and none of a deleted one after the history.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let prices = builder.table("prices", Consumed::with(Int64, Int64));
    /// prices.versioned(Duration::from_secs(60)).to_table()
    ///     .to("latest", Produced::columns(["item", "price"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let prices = driver.input("prices", Int64, Int64);
    /// prices.pipe_at(&mut driver, &1, &20, Timestamp(20));
    /// prices.pipe_at(&mut driver, &1, &10, Timestamp(10)); // comes later, but is older
    /// driver.commit()?;
    /// assert_eq!(driver.rows("latest"), [[Long(1), Long(20)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn to_table(&self) -> KTable<'s, K, V> {
        let graph = self.graph.clone();
        let node = graph.node("to_table", &[self.node]);
        let records = self.records.clone().unwrap_or_else(|| graph.nothing());
        let versions = records.map(|event| {
            let timed = event.timed();
            (event.key, timed.map(|()| event.value))
        });
        let (time, secret) = (StreamTime::of(graph.mode()), graph.seeds().secret());
        let setting = graph.setting::<K, (), Version>(node, Restored::Tail, "newest");
        let logic = Newest { history: micros(self.history), time, secret };
        let rows = keyed(versions, graph.watermarks(node), "newest", setting, logic);
        let base = graph.earlier_runs() << RUN_BITS;
        let events = in_epoch(rows, move |(key, timed): (K, Timed<Option<V>>), epoch| {
            Event::of_change(key, timed, base + epoch)
        });
        let timed = TimedChanges { events, restored: Restored::Tail, is_by_epoch: true };
        KTable::from_events(graph, node, timed)
    }

    /// Lets records of the stream wait for versions that come late by up to `grace` (KIP-923). Each
    /// has one result then, which no later version corrects.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let sales = builder.stream("sales", Consumed::with(Int64, Int64));
    /// let rates = builder.table("rates", Consumed::with(Int64, Int64));
    /// let rates = rates.versioned(Duration::from_secs(3_600)).grace(Duration::from_secs(60));
    /// sales.temporal_join(&rates, |amount, rate| amount * rate)
    ///     .to("values", Produced::columns(["currency", "value"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (sales, rates) =
    /// #     (driver.input("sales", Int64, Int64), driver.input("rates", Int64, Int64));
    /// sales.pipe_at(&mut driver, &1, &100, Timestamp::from_millis(10_000));
    /// driver.commit()?;
    /// rates.pipe_at(&mut driver, &1, &2, Timestamp::from_millis(9_000)); // comes later
    /// driver.commit()?;
    /// assert!(driver.rows("values").is_empty());
    /// let minute_later = Timestamp::from_millis(70_000);
    /// rates.pipe_at(&mut driver, &2, &5, minute_later);
    /// sales.pipe_at(&mut driver, &2, &100, minute_later);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("values"), [[Long(1), Long(200)]]);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.node = self.graph.node(format!("grace {grace:?}"), &[self.node]);
        self.grace = Some(grace);
        self
    }
}
