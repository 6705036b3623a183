//! [`StreamsBuilder`]: topics become streams and tables.

mod collection;

use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Map;

use crate::graph::Graph;
use crate::metrics::{Tally, TopicCounters};
use crate::operators::{Arrived, Datum, Restored, latest};
use crate::options::{Consumed, Decoded};
use crate::plan::DeadLetter;
use crate::ports::{Decode, Decoding, InputQueue, TimeBefore, source};
use crate::record::{Order, Ordinal, Record};
use crate::secret::Secret;
use crate::serdes::Reject;
use crate::stream::{Event, KStream, Updates};
use crate::table::{GlobalKTable, KTable};
use crate::time::Epoch;

/// Builds a dataflow from topics. A [`Topology`](crate::Topology) is a function of a builder, which
/// each worker runs once.
///
/// ```
/// use watershed::prelude::{Value::Long, *};
///
/// fn build(builder: &StreamsBuilder) {
///     let orders = builder.stream("orders", Consumed::with(Int64, Int64));
///     let customers = builder.table("customers", Consumed::with(Int64, Int64));
///     orders.join(&customers, |amount, country| (*country, *amount))
///         .group_by(|_, (country, amount)| (*country, *amount))
///         .sum(|amount| *amount)
///         .to("sales", Produced::columns(["country", "amount"]));
/// }
///
/// let mut driver = TopologyTestDriver::new(Topology::new("sales", build))?;
/// let (orders, customers) =
///     (driver.input("orders", Int64, Int64), driver.input("customers", Int64, Int64));
/// customers.pipe(&mut driver, &7, &49);
/// [(7, 10), (7, 20), (8, 30)].map(|(id, amount)| orders.pipe(&mut driver, &id, &amount));
/// driver.commit()?;
/// assert_eq!(driver.rows("sales"), [[Long(49), Long(30)]]);
/// # Ok::<(), Error>(())
/// ```
pub struct StreamsBuilder<'s> {
    graph: Graph<'s>,
}

impl<'s> StreamsBuilder<'s> {
    pub(crate) fn new(graph: Graph<'s>) -> Self {
        StreamsBuilder { graph }
    }

    /// Reads a topic as a stream: every record is an event of its own. Unlike in Kafka, a record
    /// that can't be decoded neither fails the run nor is skipped: it becomes a dead letter.
    ///
    /// So does a record with a null key or value, unless the serde is
    /// [`Nullable`](crate::serdes::Nullable).
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream::<i64, i64>("numbers", Consumed::with(Json, Json));
    /// numbers.to("all", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// driver.pipe("numbers", 0, Some(b"1"), Some(b"7"));
    /// driver.pipe("numbers", 0, Some(b"1"), Some(b"seven"));
    /// driver.pipe("numbers", 0, None, Some(b"8"));
    /// driver.pipe("numbers", 0, Some(b"1"), None);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("all"), [[Long(1), Long(7)]]);
    /// assert_eq!(driver.dead_letters().len(), 3);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn stream<K: Datum, V: Datum>(
        &self,
        topic: &str,
        consumed: Consumed<K, V>,
    ) -> KStream<'s, K, V> {
        let node = self.graph.node(format!("stream {topic}"), &[]);
        let (number, queue, counters) = self.graph.source(topic);
        self.graph.plan_time(number, consumed.is_extracted(), consumed.silence());
        let (applied, meter) = (counters.clone(), self.graph.meter(node));
        let events = self.read(
            topic,
            number,
            queue,
            counters,
            Box::new(move |record, before, out| {
                let Decoded { key, value, timestamp } = consumed.decode(record)?;
                let value = value.ok_or_else(|| {
                    Reject::new("null value", "a stream has no use for a tombstone")
                })?;
                let partition_time = before.after(timestamp)?;
                let (order, ordinal) = (record.order, Ordinal::default());
                let diff = 1;
                out.push(Event { key, value, order, ordinal, timestamp, partition_time, diff });
                Ok(timestamp)
            }),
            Box::new(move |epoch, records, rejected| {
                // A stream passes on every record that it can decode.
                let passed = (records - rejected) as u64;
                applied.count(epoch, Tally { applied: passed, ..Tally::default() });
                meter.count(records, records - rejected);
            }),
        );
        KStream::new(self.graph.clone(), node, events, Updates::AppendOnly, Restored::Tail)
    }

    /// Reads a topic as a table: the latest record of each key is its row, and a null value deletes
    /// the row. Unlike in Kafka, position decides between partitions too: the greater offset is
    /// later.
    ///
    /// A duplicate of the current row changes nothing. A record that can't be decoded becomes a
    /// dead letter, and the row of its key stays. So does a record with a null key, unless the
    /// serde is [`Nullable`](crate::serdes::Nullable).
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table::<i64, i64>("rows", Consumed::with(Json, Json));
    /// rows.to("kept", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// // Offset 5 of partition 0 is later than offset 4 of partition 1.
    /// driver.pipe_at("rows", 0, 5, Some(b"1"), Some(b"70"));
    /// driver.pipe_at("rows", 1, 4, Some(b"1"), None);
    /// // The record at offset 6 arrives too late: its key is deleted.
    /// driver.pipe_at("rows", 0, 7, Some(b"2"), None);
    /// driver.pipe_at("rows", 0, 6, Some(b"2"), Some(b"80"));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("kept"), [[Long(1), Long(70)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn table<K: Datum, V: Datum>(
        &self,
        topic: &str,
        consumed: Consumed<K, V>,
    ) -> KTable<'s, K, V> {
        self.table_of("table", topic, consumed)
    }

    /// Reads a topic as a table with a full copy on each worker, for
    /// [`join_global`](KStream::join_global) and its kind. Records are treated as by
    /// [`table`](Self::table).
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rates = builder.global_table("rates", Consumed::with(Utf8, Int64));
    /// let sales = builder.stream("sales", Consumed::with(Int64, Json));
    /// sales.join_global(&rates, |_, (currency, _): &(String, i64)| currency.clone(),
    ///     |(_, amount), rate| amount * rate,
    /// ).group_by_key().sum(|value| *value).to("values", Produced::columns(["shop", "value"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rates = driver.input("rates", Utf8, Int64);
    /// # let sales = driver.input("sales", Int64, Json);
    /// rates.pipe(&mut driver, &"euro".to_string(), &2);
    /// sales.pipe(&mut driver, &7, &("euro".to_string(), 100));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("values"), [[Long(7), Long(200)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn global_table<K: Datum, V: Datum>(
        &self,
        topic: &str,
        consumed: Consumed<K, V>,
    ) -> GlobalKTable<'s, K, V> {
        GlobalKTable(self.table_of("global_table", topic, consumed))
    }

    fn table_of<K: Datum, V: Datum>(
        &self,
        verb: &str,
        topic: &str,
        consumed: Consumed<K, V>,
    ) -> KTable<'s, K, V> {
        let node = self.graph.node(format!("{verb} {topic}"), &[]);
        let (number, queue, counters) = self.graph.source(topic);
        self.graph.plan_time(number, consumed.is_extracted(), consumed.silence());
        let earliest = queue.as_ref().map(|queue| queue.earliest().clone());
        let (secret, meter) = (self.graph.seeds().secret(), self.graph.meter(node));
        let arrive = move |key, value: Option<V>, order, ordinal| {
            let digest = value.as_ref().map_or(0, |value| secret.digest(value).half());
            Arrived { key, order, ordinal, digest, value }
        };
        let uncounted = Box::new(|_, _, _| ());
        let is_timed = queue.as_ref().is_some_and(|queue| queue.is_timed());
        let (arrived, records) = if is_timed {
            let decode = move |record: &Record<'_>, before: TimeBefore, out: &mut Vec<_>| {
                let Decoded { key, value, timestamp } = consumed.decode(record)?;
                let partition_time = before.after(timestamp)?;
                let (order, ordinal) = (record.order, Ordinal::default());
                let diff = 1;
                out.push(Event { key, value, order, ordinal, timestamp, partition_time, diff });
                Ok(timestamp)
            };
            let records =
                self.read(topic, number, queue, counters.clone(), Box::new(decode), uncounted);
            let arrived = records.clone();
            (arrived.map(move |it| arrive(it.key, it.value, it.order, it.ordinal)), records)
        } else {
            let decode = move |record: &Record<'_>, _, out: &mut Vec<_>| {
                let Decoded { key, value, timestamp } = consumed.decode(record)?;
                out.push(arrive(key, value, record.order, Ordinal::default()));
                Ok(timestamp)
            };
            let arrived =
                self.read(topic, number, queue, counters.clone(), Box::new(decode), uncounted);
            // Nobody reads them, or the topic would be timed.
            (arrived, self.graph.nothing())
        };
        let name = format!("{verb} {topic}");
        let (keys, cut) = (self.graph.keys(), self.graph.table_cut::<K, Order>(node, "versions"));
        let rows = latest(arrived, keys, &name, counters, earliest, cut.clone(), meter);
        let table = KTable::from_upserts(self.graph.clone(), node, rows, Restored::Tail, cut);
        table.with_records(move || records.clone())
    }

    /// Records a setting of the topology that its steps do not show. A state that was made with
    /// another value is refused.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// let topology = |size: u32| {
    ///     let build = move |builder: &StreamsBuilder<'_>| builder.setting("window", size);
    ///     Topology::new("doc", build)
    /// };
    /// assert_ne!(topology(60).describe(), topology(30).describe());
    /// ```
    pub fn setting(&self, name: &str, value: impl std::fmt::Display) {
        self.graph.node(format!("setting {name} = {value}"), &[]);
    }

    /// Returns the secret of the state, for [digests](Secret::digest) of values that are compared
    /// but not kept.
    ///
    /// The authors of records can't make two values with the same digest. Each state has a secret
    /// of its own, so results may depend only on which digests are equal.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let secret = builder.secret();
    /// let texts = builder.table("texts", Consumed::with(Int64, Utf8));
    /// let digests = texts.map_values(move |text| secret.digest(text));
    /// digests.group_by(|id, digest| (id % 2, *digest)).count_distinct()
    ///     .to("different", Produced::columns(["parity", "texts"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let texts = driver.input("texts", Int64, Utf8);
    /// for (id, text) in [(1, "to"), (3, "be"), (5, "to")] {
    ///     texts.pipe(&mut driver, &id, &text.to_string());
    /// }
    /// driver.commit()?;
    /// assert_eq!(driver.rows("different"), [[Long(1), Long(2)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn secret(&self) -> Secret {
        self.graph.seeds().secret()
    }

    /// Reads a topic. `decoded` gets the epoch of each batch, and the numbers of its records and of
    /// the rejected ones.
    fn read<D: Clone + 'static>(
        &self,
        topic: &str,
        number: u16,
        queue: Option<Arc<InputQueue>>,
        counters: Arc<TopicCounters>,
        decode: Decode<D>,
        mut decoded: Box<dyn FnMut(Epoch, usize, usize)>,
    ) -> StreamVec<'s, Epoch, D> {
        let name = topic.to_string();
        let count = Box::new(move |epoch: Epoch, records: usize, rejected: usize, bytes: usize| {
            let (read, dead) = (records as u64, rejected as u64);
            counters.count(epoch, Tally { read, dead, bytes: bytes as u64, ..Tally::default() });
            decoded(epoch, records, rejected);
        });
        let letter = Box::new(move |record: &Record<'_>, reject: Reject| {
            let (reason, detail) = (reject.reason.into_owned(), reject.detail);
            let (partition, position) =
                (record.order.partition.into(), record.order.offset.to_string());
            let payload = record.value.unwrap_or_default().to_vec();
            ((), DeadLetter { topic: name.clone(), partition, position, reason, detail, payload })
        });
        let Decoding { items, letters, clocks } = source(
            self.graph.scope(),
            &format!("decode {topic}"),
            number,
            queue,
            decode,
            letter,
            count,
        );
        self.graph.dead_letters(letters);
        if let Some(clocks) = clocks {
            self.graph.add_clocks(number, clocks);
        }
        items
    }
}
