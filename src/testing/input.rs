//! Topics into which a test pipes keys and values.

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::Duration;

use super::TopologyTestDriver;
use crate::serdes::Serializer;
use crate::time::Timestamp;

/// A topic that the test writes, [typed](TopologyTestDriver::input) by the serdes of its keys and
/// values.
///
/// ```
/// use watershed::prelude::{Value::Long, *};
///
/// let topology = Topology::new("copy", |builder: &StreamsBuilder<'_>| {
///     let rows = builder.table("rows", Consumed::with(Int64, Int64));
///     rows.to("copies", Produced::columns(["id", "n"]));
/// });
/// let mut driver = TopologyTestDriver::new(topology)?;
/// let rows = driver.input("rows", Int64, Int64);
/// rows.pipe(&mut driver, &1, &7);
/// rows.pipe(&mut driver, &2, &8);
/// rows.delete(&mut driver, &1);
/// driver.commit()?;
/// assert_eq!(driver.rows("copies"), [[Long(2), Long(8)]]);
/// # Ok::<(), Error>(())
/// ```
pub struct InputTopic<K, V, KS, VS> {
    pub(super) topic: String,
    pub(super) key: KS,
    pub(super) value: VS,
    /// The time of the topic, if it has one of its own.
    pub(super) clock: Option<Clock>,
    pub(super) types: PhantomData<(K, V)>,
}

/// The time of a topic, which advances with each record.
pub(super) struct Clock {
    next: Cell<Timestamp>,
    advance: Duration,
}

impl Clock {
    fn new(start: Timestamp, advance: Duration) -> Self {
        Clock { next: Cell::new(start), advance }
    }

    /// Returns the time, and advances it.
    fn tick(&self) -> Timestamp {
        let now = self.next.get();
        let advance = i64::try_from(self.advance.as_micros()).unwrap_or(i64::MAX);
        self.next.set(Timestamp(now.0.saturating_add(advance)));
        now
    }
}

/// A record for a test: key, value or tombstone, partition, timestamp and headers.
///
/// ```
/// use watershed::prelude::*;
/// use watershed::testing::TestRecord;
///
/// let topology = Topology::new("copy", |builder: &StreamsBuilder<'_>| {
///     let decode = |record: &watershed::record::Record<'_>| {
///         let tenant = record.headers.last("tenant").unwrap_or_default();
///         Ok((record.order.partition.into(), record.value.map(|_| tenant.len() as i64)))
///     };
///     let rows = builder.table::<i64, i64>("rows", Consumed::from_record(decode));
///     rows.to("kept", Produced::columns(["partition", "length"]));
/// });
/// let mut driver = TopologyTestDriver::new(topology)?;
/// let rows = driver.input("rows", Int64, Int64);
/// let record = TestRecord::new(1, 7).in_partition(3).header("tenant", b"north");
/// rows.pipe_record(&mut driver, &record.at(Timestamp::from_millis(5)));
/// driver.commit()?;
/// assert_eq!(driver.rows("kept"), [[Value::Long(3), Value::Long(5)]]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRecord<K, V> {
    /// The key.
    pub key: K,
    /// The value; `None` for a tombstone.
    pub value: Option<V>,
    /// The timestamp; `None` for the time of the topic or the driver.
    pub timestamp: Option<Timestamp>,
    /// The partition.
    pub partition: u32,
    /// Names and values of the headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl<K, V> TestRecord<K, V> {
    /// Returns a record of partition 0, without a timestamp and headers of its own.
    pub fn new(key: K, value: V) -> Self {
        let value = Some(value);
        TestRecord { key, value, timestamp: None, partition: 0, headers: Vec::new() }
    }

    /// Returns a tombstone of partition 0.
    pub fn tombstone(key: K) -> Self {
        TestRecord { key, value: None, timestamp: None, partition: 0, headers: Vec::new() }
    }

    /// Sets the timestamp.
    #[must_use]
    pub fn at(self, timestamp: Timestamp) -> Self {
        TestRecord { timestamp: Some(timestamp), ..self }
    }

    /// Sets the partition.
    #[must_use]
    pub fn in_partition(self, partition: u32) -> Self {
        TestRecord { partition, ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.to_string(), value.to_vec()));
        self
    }
}

impl<K, V, KS: Serializer<K>, VS: Serializer<V>> InputTopic<K, V, KS, VS> {
    /// Gives the topic a time of its own: that of its first record, which `advance` is added to
    /// after each record. Kafka's `autoAdvance`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// # let decode = |record: &watershed::record::Record<'_>| {
    /// #     Ok((record.timestamp.unwrap_or_default(), record.value.map(|_| ())))
    /// # };
    /// # let seen = builder.table("seen", Consumed::from_record(decode));
    /// # seen.to("times", Produced::columns(["at"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// let seen = driver.input("seen", Utf8, Utf8);
    /// let seen = seen.with_time(Timestamp::from_millis(7), Duration::from_millis(10));
    /// seen.pipe(&mut driver, &"a".into(), &"b".into());
    /// seen.pipe(&mut driver, &"a".into(), &"c".into());
    /// driver.commit()?;
    /// assert_eq!(driver.rows("times"), [[Value::Timestamp(7_000)], [Value::Timestamp(17_000)]]);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn with_time(self, start: Timestamp, advance: Duration) -> Self {
        InputTopic { clock: Some(Clock::new(start, advance)), ..self }
    }

    /// Pipes a record into partition 0. Its timestamp is the time of the topic, or else of the
    /// driver.
    pub fn pipe(&self, driver: &mut TopologyTestDriver, key: &K, value: &V) {
        self.send(driver, key, Some(value), None);
    }

    /// Pipes a record into partition 0 with a timestamp of its own. The time of topic and driver
    /// stays.
    ///
    /// ```
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// use watershed::record::Record;
    ///
    /// let decode = |record: &Record<'_>| Ok((record.timestamp, record.value.map(|_| ())));
    /// let seen = builder.table("seen", Consumed::from_record(decode));
    /// seen.materialize(Materialized::named("seen"));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// let pins = driver.input("seen", Utf8, Utf8);
    /// pins.pipe_at(&mut driver, &"a".into(), &"b".into(), Timestamp(1_598_586_767_000_000));
    /// driver.commit()?;
    /// let seen = driver.store::<Option<Timestamp>, ()>("seen")?;
    /// assert_eq!(seen.get(&Some(Timestamp(1_598_586_767_000_000))), Some(()));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn pipe_at(
        &self,
        driver: &mut TopologyTestDriver,
        key: &K,
        value: &V,
        timestamp: Timestamp,
    ) {
        self.send(driver, key, Some(value), Some(timestamp));
    }

    /// Pipes records into partition 0, one after the other.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// # let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// # rows.to("kept", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// rows.pipe_all(&mut driver, [(1, 7), (2, 8), (1, 9)]);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("kept"), [[Long(1), Long(9)], [Long(2), Long(8)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn pipe_all(
        &self,
        driver: &mut TopologyTestDriver,
        records: impl IntoIterator<Item = (K, V)>,
    ) {
        records.into_iter().for_each(|(key, value)| self.pipe(driver, &key, &value));
    }

    /// Pipes records into partition 0: the first at `start`, each other one `advance` later. The
    /// time of topic and driver stays.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// # let decode = |record: &watershed::record::Record<'_>| {
    /// #     Ok((record.timestamp.unwrap_or_default(), record.value.map(|_| ())))
    /// # };
    /// # let seen = builder.table("seen", Consumed::from_record(decode));
    /// # seen.to("times", Produced::columns(["at"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// let seen = driver.input("seen", Int64, Int64);
    /// seen.pipe_all_at(&mut driver, [(1, 7), (2, 8)], Timestamp(3), Duration::from_micros(5));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("times"), [[Value::Timestamp(3)], [Value::Timestamp(8)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn pipe_all_at(
        &self,
        driver: &mut TopologyTestDriver,
        records: impl IntoIterator<Item = (K, V)>,
        start: Timestamp,
        advance: Duration,
    ) {
        let clock = Clock::new(start, advance);
        for (key, value) in records {
            self.pipe_at(driver, &key, &value, clock.tick());
        }
    }

    /// Pipes a record with all that it has: tombstone, partition, timestamp and headers. Its
    /// headers take the place of those of the driver.
    pub fn pipe_record(&self, driver: &mut TopologyTestDriver, record: &TestRecord<K, V>) {
        let headers =
            record.headers.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
        let of_driver = std::mem::replace(&mut driver.headers, headers.collect());
        let timestamp = record.timestamp;
        let value = record.value.as_ref();
        self.send_to(driver, record.partition, &record.key, value, timestamp);
        driver.headers = of_driver;
    }

    /// Pipes a tombstone into partition 0: a null value, which deletes from a table.
    pub fn delete(&self, driver: &mut TopologyTestDriver, key: &K) {
        self.send(driver, key, None, None);
    }

    /// Pipes a tombstone with a timestamp of its own. The time of topic and driver stays.
    pub fn delete_at(&self, driver: &mut TopologyTestDriver, key: &K, timestamp: Timestamp) {
        self.send(driver, key, None, Some(timestamp));
    }

    fn send(
        &self,
        driver: &mut TopologyTestDriver,
        key: &K,
        value: Option<&V>,
        timestamp: Option<Timestamp>,
    ) {
        self.send_to(driver, 0, key, value, timestamp);
    }

    fn send_to(
        &self,
        driver: &mut TopologyTestDriver,
        partition: u32,
        key: &K,
        value: Option<&V>,
        timestamp: Option<Timestamp>,
    ) {
        let own = timestamp.or_else(|| self.clock.as_ref().map(Clock::tick));
        let now = driver.now;
        driver.now = own.or(now);
        let value = value.and_then(|value| self.value.encode(value));
        let key = self.key.encode(key);
        driver.pipe(&self.topic, partition, key.as_deref(), value.as_deref());
        driver.now = now;
    }
}
