//! Joins with the row of a table that was valid at the time of a record.

use std::rc::Rc;

use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use super::{Event, KStream, Updates};
use crate::operators::{
    Datum, PairJoiner, Place, Restored, Side, StreamTime, Temporal, Waiting, keyed,
};
use crate::table::VersionedTable;
use crate::time::micros;

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    /// Joins each record with the row of its key that was valid at its timestamp: Kafka's `join`
    /// with a versioned table (KIP-914).
    ///
    /// Unlike Kafka's, the result does not depend on which comes first. A version of the row that
    /// comes later, but within the history, corrects the results: the stream retracts records. With
    /// a [`grace`](VersionedTable::grace) each record waits so long, has one result, and the stream
    /// only adds. A record older than the history has no row.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let orders = builder.stream("orders", Consumed::with(Int64, Int64));
    /// let prices = builder.table("prices", Consumed::with(Int64, Int64));
    /// let prices = prices.versioned(Duration::from_secs(3_600));
    /// orders.temporal_join(&prices, |pieces, price| pieces * price)
    ///     .group_by_key().sum(|amount| *amount)
    ///     .to("sums", Produced::columns(["item", "sum"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (orders, prices) =
    /// #     (driver.input("orders", Int64, Int64), driver.input("prices", Int64, Int64));
    /// for (second, price) in [(0, 10), (100, 20)] {
    ///     driver.set_time(Timestamp(second * 1_000_000));
    ///     prices.pipe(&mut driver, &7, &price);
    /// }
    /// driver.set_time(Timestamp(99_000_000));
    /// orders.pipe(&mut driver, &7, &3); // at the first price, although the second is known
    /// driver.commit()?;
    /// assert_eq!(driver.rows("sums"), [[Long(7), Long(30)]]);
    /// driver.set_time(Timestamp(50_000_000));
    /// prices.pipe(&mut driver, &7, &12); // a price that comes late
    /// driver.commit()?;
    /// assert_eq!(driver.rows("sums"), [[Long(7), Long(36)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn temporal_join<W: Datum, O: Datum>(
        &self,
        table: &VersionedTable<'s, K, W>,
        f: impl Fn(&V, &W) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let joiner = move |_: &K, v: Option<&V>, w: Option<&W>| Some(f(v?, w?));
        self.temporal("temporal_join", table, false, Rc::new(joiner))
    }

    /// Joins like [`temporal_join`](Self::temporal_join), but a record without a row is joined with
    /// `None`.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let orders = builder.stream("orders", Consumed::with(Int64, Int64));
    /// let prices = builder.table("prices", Consumed::with(Int64, Int64));
    /// let minute = Duration::from_secs(60);
    /// let prices = prices.versioned(minute).grace(minute);
    /// orders.left_temporal_join(&prices, |pieces, price| pieces * price.unwrap_or(&0))
    ///     .to("amounts", Produced::columns(["item", "amount"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (orders, prices) =
    /// #     (driver.input("orders", Int64, Int64), driver.input("prices", Int64, Int64));
    /// orders.pipe(&mut driver, &7, &3); // waits for prices until one minute
    /// for second in [10, 60] {
    ///     driver.set_time(Timestamp(second * 1_000_000));
    ///     prices.pipe(&mut driver, &7, &5);
    ///     orders.pipe(&mut driver, &8, &1);
    /// }
    /// driver.commit()?;
    /// assert_eq!(driver.rows("amounts"), [[Long(7), Long(0)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn left_temporal_join<W: Datum, O: Datum>(
        &self,
        table: &VersionedTable<'s, K, W>,
        f: impl Fn(&V, Option<&W>) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let joiner = move |_: &K, v: Option<&V>, w: Option<&W>| Some(f(v?, w));
        self.temporal("left_temporal_join", table, true, Rc::new(joiner))
    }

    fn temporal<W: Datum, O: Datum>(
        &self,
        verb: &str,
        table: &VersionedTable<'s, K, W>,
        is_left: bool,
        joiner: PairJoiner<K, V, W, O>,
    ) -> KStream<'s, K, O> {
        let graph = self.graph.clone();
        let node = graph.node(verb, &[self.node, table.node]);
        if self.updates == Updates::Retracting || self.restored == Restored::All {
            graph.error(format!(
                "{verb} can't be used for records that are taken back, behind a maintained join: \
                 join a stream that only adds"
            ));
        }
        let lefts = self.events.clone().map(|event| {
            let timed = event.timed();
            (event.key, timed.map(|()| Side::Left(event.value)))
        });
        let records = table.records.clone().unwrap_or_else(|| graph.nothing());
        let versions = records.map(|event| {
            let timed = event.timed();
            (event.key, timed.map(|()| Side::Right(event.value)))
        });
        let time = StreamTime::of(graph.mode());
        let setting = graph.setting::<K, (bool, Place), Waiting<Side<V, Option<W>>>>(
            node,
            Restored::Tail,
            "versions",
        );
        let grace = table.grace.map(micros);
        let updates = match (time, grace) {
            (StreamTime::Partitions, None) => Updates::Retracting,
            _ => Updates::AppendOnly,
        };
        let logic = Temporal { joiner, history: micros(table.history), grace, is_left, time };
        let watermarks = graph.watermarks(node);
        let results = keyed(lefts.concat(versions), watermarks, verb, setting, logic);
        let events =
            results.map(|(key, timed, diff)| Event { diff, ..Event::of_timed(key, timed) });
        KStream::new(graph, node, events, updates, Restored::Tail)
    }
}
