//! Verbs whose closures get the key, and one that pairs values with their keys.

use super::{Event, KStream};
use crate::operators::Datum;

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    /// Replaces each value by another; `f` gets the key too. The key stays: Kafka's `mapValues`
    /// with a `ValueMapperWithKey`.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.map_values_with_key(|id, n| id * 10 + n)
    ///     .to("both", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (2, 8)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("both"), [[Long(1), Long(17)], [Long(2), Long(28)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn map_values_with_key<W: Datum>(
        &self,
        f: impl Fn(&K, V) -> W + 'static,
    ) -> KStream<'s, K, W> {
        self.keyed("map_values_with_key", f)
    }

    /// Replaces each value by any number of values; `f` gets the key too. The key stays: Kafka's
    /// `flatMapValues` with a `ValueMapperWithKey`. As after [`flat_map`](Self::flat_map), all of
    /// them are at one position.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.flat_map_values_with_key(|id, n| [*id, n])
    ///     .to("each", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// numbers.pipe(&mut driver, &1, &7);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("each"), [[Long(1), Long(1)], [Long(1), Long(7)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn flat_map_values_with_key<W: Datum, I: IntoIterator<Item = W>>(
        &self,
        f: impl Fn(&K, V) -> I + 'static,
    ) -> KStream<'s, K, W> {
        self.flat_keyed("flat_map_values_with_key", f)
    }

    /// Pairs each value with its key, so that the closures of joins and aggregates behind it have
    /// the key. It replaces Kafka's `ValueJoinerWithKey`.
    ///
    /// A join keeps the key twice then. Where that is too much, let
    /// [`map_values_with_key`](Self::map_values_with_key) take over the part that is needed.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let pins = builder.stream("pins", Consumed::with(Int64, Int64));
    /// let users = builder.table("users", Consumed::with(Int64, Int64));
    /// pins.with_keys().lookup_join(&users, |(id, n), age| id * 1000 + n * 100 + age)
    ///     .to("results", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let pins = driver.input("pins", Int64, Int64);
    /// # let users = driver.input("users", Int64, Int64);
    /// users.pipe(&mut driver, &1, &30);
    /// pins.pipe(&mut driver, &1, &7);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("results"), [[Long(1), Long(1_730)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_keys(&self) -> KStream<'s, K, (K, V)> {
        self.keyed("with_keys", |key, value| (key.clone(), value))
    }

    /// Replaces the value of each record.
    pub(super) fn keyed<W: Datum>(
        &self,
        verb: &str,
        f: impl Fn(&K, V) -> W + 'static,
    ) -> KStream<'s, K, W> {
        self.each(
            verb,
            Box::new(move |e, out| {
                out.push(Event {
                    value: f(&e.key, e.value),
                    key: e.key,
                    order: e.order,
                    ordinal: e.ordinal,
                    timestamp: e.timestamp,
                    partition_time: e.partition_time,
                    diff: e.diff,
                });
            }),
        )
    }

    /// Replaces each record by any number of values with its key.
    pub(super) fn flat_keyed<W: Datum, I: IntoIterator<Item = W>>(
        &self,
        verb: &str,
        f: impl Fn(&K, V) -> I + 'static,
    ) -> KStream<'s, K, W> {
        self.each(
            verb,
            Box::new(move |e, out| {
                let values = f(&e.key, e.value).into_iter().enumerate();
                out.extend(values.map(|(n, value)| Event {
                    key: e.key.clone(),
                    value,
                    order: e.order,
                    ordinal: e.ordinal.then(n),
                    timestamp: e.timestamp,
                    partition_time: e.partition_time,
                    diff: e.diff,
                }));
            }),
        )
    }
}
