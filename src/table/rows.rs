//! Verbs that look at one row at a time.

use std::rc::Rc;

use timely::dataflow::operators::vec::Map;

use crate::operators::{Datum, Restored};
use crate::record::{Order, Ordinal};
use crate::stream::{Event, KStream, Updates};
use crate::time::{Epoch, Timestamp};

use super::{KTable, MakeRecords, MakeTimed, TimedChanges};

/// The bits of a position that number the epochs of one run.
pub(crate) const RUN_BITS: u32 = 40;

impl<'s, K: Datum, V: Datum> KTable<'s, K, V> {
    /// Keeps the rows for which `keep` is true: a row enters and leaves as it changes.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.filter(|_, n| n % 2 == 0).to("even", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 7), (2, 8)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("even"), [[Long(2), Long(8)]]);
    /// [(1, 6), (2, 9)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("even"), [[Long(1), Long(6)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + 'static) -> Self {
        self.mapped("filter", move |key, value| keep(key, value).then(|| value.clone()))
    }

    /// Keeps the rows for which `drop` is false.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.filter_not(|_, n| n % 2 == 0).to("odd", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 7), (2, 8)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("odd"), [[Long(1), Long(7)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn filter_not(&self, drop: impl Fn(&K, &V) -> bool + 'static) -> Self {
        self.mapped("filter_not", move |key, value| (!drop(key, value)).then(|| value.clone()))
    }

    /// Replaces the value of each row. Operators behind it keep only the new value. Unlike in
    /// Kafka, a change that leaves the new value as it was is no change.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.map_values(|n| n / 10).to("tens", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 17), (2, 28)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("tens"), [[Long(1), Long(1)], [Long(2), Long(2)]]);
    /// driver.changes("tens");
    /// rows.pipe(&mut driver, &1, &19);
    /// driver.commit()?;
    /// assert!(driver.changes("tens").is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn map_values<W: Datum>(&self, f: impl Fn(&V) -> W + 'static) -> KTable<'s, K, W> {
        self.mapped("map_values", move |_, value| Some(f(value)))
    }

    /// Replaces the value of each row like [`map_values`](Self::map_values); `f` gets the key too.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.map_values_with_key(|id, n| id * 10 + n).to("both", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 7), (2, 8)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("both"), [[Long(1), Long(17)], [Long(2), Long(28)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn map_values_with_key<W: Datum>(
        &self,
        f: impl Fn(&K, &V) -> W + 'static,
    ) -> KTable<'s, K, W> {
        self.mapped("map_values_with_key", move |key, value| Some(f(key, value)))
    }

    /// Pairs the value of each row with its key, so that the closures of joins and aggregates
    /// behind it have the key. It replaces Kafka's `ValueJoinerWithKey`.
    ///
    /// A join keeps the key twice then. Where that is too much, let
    /// [`map_values_with_key`](Self::map_values_with_key) take over the part that is needed.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let left = builder.table("left", Consumed::with(Int64, Int64));
    /// let right = builder.table("right", Consumed::with(Int64, Int64));
    /// left.with_keys().join(&right, |(id, l), r| id * 100 + l * 10 + r)
    ///     .to("both", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let left = driver.input("left", Int64, Int64);
    /// # let right = driver.input("right", Int64, Int64);
    /// left.pipe(&mut driver, &1, &7);
    /// right.pipe(&mut driver, &1, &3);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("both"), [[Long(1), Long(173)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_keys(&self) -> KTable<'s, K, (K, V)> {
        self.mapped("with_keys", |key, value| Some((key.clone(), value.clone())))
    }

    fn mapped<W: Datum>(
        &self,
        verb: &str,
        f: impl Fn(&K, &V) -> Option<W> + 'static,
    ) -> KTable<'s, K, W> {
        let node = self.graph.node(verb, &[self.node]);
        let f = Rc::new(f);
        let timed = self.timed.clone().map(|timed| {
            let f = f.clone();
            let mapped = move || {
                let (f, timed) = (f.clone(), timed());
                let events = timed.events.map(move |event| event.map_row(&*f));
                TimedChanges { events, restored: timed.restored, is_by_epoch: timed.is_by_epoch }
            };
            Rc::new(mapped) as MakeTimed<'s, K, W>
        });
        let records = self.records.clone().map(|records| {
            let f = f.clone();
            let mapped = move || {
                let f = f.clone();
                records().map(move |event| event.map_row(&*f))
            };
            Rc::new(mapped) as MakeRecords<'s, K, W>
        });
        let changes = self.changes.map(node, verb, move |key, value| f(key, value));
        let (graph, has_times) = (self.graph.clone(), self.has_times);
        let (touches, closes) = (self.touches.clone(), self.closes.clone());
        KTable { graph, node, changes, timed, has_times, records, touches, closes }
    }

    /// Returns the changes as a stream, `None` for a deleted row. Unlike Kafka's, it has at most
    /// one record for each key and epoch: a change that is undone within an epoch is no change. In
    /// [`per_record`](crate::runtime::ProcessingMode::PerRecord) each update is a record, as in
    /// Kafka.
    ///
    /// A record has the timestamp of its row if a verb behind it uses that: windows, a join within
    /// windows, or [`with_timestamps`](KStream::with_timestamps). A deletion has that of the record
    /// that deletes. The rows of a range or a collection have none.
    ///
    /// The number of records depends on where epochs end, which is not recorded. With a state, each
    /// commit of a topology with this verb therefore has a snapshot of its own.
    ///
    /// ```
    /// # use watershed::prelude::{Value::{Long, Null}, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.to_stream().to("changes", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 7), (1, 8), (2, 9)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// rows.delete(&mut driver, &2);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("changes"), [[Long(1), Long(8)]]);
    /// rows.delete(&mut driver, &1);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("changes"), [[Long(1), Null], [Long(1), Long(8)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn to_stream(&self) -> KStream<'s, K, Option<V>> {
        let node = self.graph.node("to_stream", &[self.node]);
        let has_times =
            self.has_times || (self.can_have_times() && self.graph.is_time_used_behind(node));
        if let Some(TimedChanges { events, restored, is_by_epoch }) =
            has_times.then(|| self.times()).flatten()
        {
            if is_by_epoch {
                self.graph.volatile();
            }
            let (graph, updates) = (self.graph.clone(), Updates::AppendOnly);
            return KStream::new(graph, node, events, updates, restored);
        }
        if !self.can_have_times() {
            self.graph.has_no_times(node);
        }
        self.graph.volatile();
        // Epochs begin anew with each run, and the changes of a later run are later.
        let base = self.graph.earlier_runs() << RUN_BITS;
        let event = move |((key, value), epoch): ((K, Option<V>), Epoch)| {
            // The changes of an epoch have no position of their own: the epoch orders them, later
            // than every topic. Between keys any fixed order will do.
            let order = Order { topic: u16::MAX, source: 0, offset: base + epoch, partition: 0 };
            let (timestamp, partition_time) = (None, Timestamp::MIN);
            let ordinal = Ordinal::of_key(&key);
            Event { ordinal, key, value, order, timestamp, partition_time, diff: 1 }
        };
        // A later run makes the rows of earlier ones again in epoch 0: they are no changes.
        let first = u64::from(self.graph.earlier_runs() > 0);
        let changes = self.changes.log("to_stream", first, self.graph.meter(node));
        let (graph, events) = (self.graph.clone(), changes.map(event));
        KStream::new(graph, node, events, Updates::AppendOnly, Restored::Tail)
    }
}
