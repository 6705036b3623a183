//! [`Consumed`]: the decoding of a topic's records into keys, values and timestamps.

use std::rc::Rc;
use std::time::Duration;

use crate::record::Record;
use crate::serdes::{Deserializer, Reject};
use crate::time::Timestamp;

/// The decoding of a topic's records into keys, values and timestamps. Unlike Kafka's, it can also
/// compute the key from the value, and decode a whole record.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use watershed::prelude::*;
///
/// #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
/// struct Pin {
///     category: String,
///     created: Timestamp,
/// }
///
/// let topology = Topology::new("pins", |builder: &StreamsBuilder<'_>| {
///     let consumed = Consumed::with(Utf8, Json).timestamp(|_, pin: &Pin| pin.created);
///     let pins = builder.table("pins", consumed);
///     pins.map_values(|pin| pin.category.clone()).materialize(Materialized::named("categories"));
/// });
/// let mut driver = TopologyTestDriver::new(topology)?;
/// let pin = r#"{"category": "travel", "created": 1598586767000000}"#;
/// driver.pipe("pins", 0, Some(b"a"), Some(pin.as_bytes()));
/// driver.commit()?;
/// let categories = driver.store::<String, String>("categories")?;
/// assert_eq!(categories.get("a").as_deref(), Some("travel"));
/// # Ok::<(), Error>(())
/// ```
pub struct Consumed<K, V> {
    decode: Decoder<K, V>,
    /// The timestamp extractor, if the timestamp is taken from key and value.
    extract: Option<Extractor<K, V>>,
    /// The time after which a silent partition is idle.
    idle_after: Option<Duration>,
}

type Decoder<K, V> = Rc<dyn Fn(&Record<'_>) -> Result<(K, Option<V>), Reject>>;
type Extractor<K, V> = Rc<dyn Fn(&K, &V) -> Option<Timestamp>>;

/// A record after decoding. The value `None` is a tombstone.
pub(crate) struct Decoded<K, V> {
    pub(crate) key: K,
    pub(crate) value: Option<V>,
    pub(crate) timestamp: Option<Timestamp>,
}

impl<K: 'static, V: 'static> Consumed<K, V> {
    /// Decodes the key with one serde and the value with another. A null value is a tombstone: in a
    /// table it deletes the row, and in a stream it is a dead letter. If the serde accepts null, as
    /// [`Nullable`](crate::serdes::Nullable) does, it is a value like others.
    ///
    /// ```
    /// # use watershed::prelude::{Value::{Long, Null}, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let consumed = Consumed::<Option<i64>, i64>::with(Nullable(Int64), Int64);
    /// let numbers = builder.stream("numbers", consumed);
    /// numbers.group_by_key().count().to("count", Produced::columns(["id", "count"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Nullable(Int64), Int64);
    /// [(None, 7), (None, 8), (Some(1), 9)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("count"), [[Null, Long(2)], [Long(1), Long(1)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with(
        key: impl Deserializer<K> + 'static,
        value: impl Deserializer<V> + 'static,
    ) -> Self {
        Self::from_record(move |record: &Record<'_>| {
            let value = match record.value {
                Some(bytes) => Some(value.decode(Some(bytes))?),
                None => value.decode(None).ok(),
            };
            Ok((key.decode(record.key)?, value))
        })
    }

    /// Decodes the value with a serde and computes the key from it, for topics without keys. Kafka
    /// has no such option: there a `select_key` follows, and a table needs a topic of its own.
    ///
    /// The key of the record is ignored. A tombstone has no value from which a key can be computed.
    /// So in streams and tables it is a dead letter, `null value`, unless the serde accepts null.
    /// The rows of such a table are replaced but never deleted; use
    /// [`from_record`](Self::from_record) to delete rows.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use watershed::prelude::*;
    /// #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    /// struct Order {
    ///     id: i64,
    ///     city: String,
    /// }
    ///
    /// let topology = Topology::new("orders", |builder: &StreamsBuilder<'_>| {
    ///     let consumed = Consumed::keyed_by(Json, |order: &Order| order.id);
    ///     let cities = builder.table("orders", consumed).map_values(|order| order.city.clone());
    ///     cities.materialize(Materialized::named("cities"));
    /// });
    /// let mut driver = TopologyTestDriver::new(topology)?;
    /// driver.pipe("orders", 0, None, Some(br#"{"id": 1, "city": "Lima"}"#));
    /// driver.pipe("orders", 0, None, Some(br#"{"id": 1, "city": "Quito"}"#));
    /// driver.pipe("orders", 0, None, None);
    /// driver.commit()?;
    /// let cities = driver.store::<i64, String>("cities")?;
    /// assert_eq!((cities.get(&1), driver.dead_letters().len()), (Some("Quito".to_string()), 1));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn keyed_by(
        value: impl Deserializer<V> + 'static,
        key: impl Fn(&V) -> K + 'static,
    ) -> Self {
        Self::from_record(move |record: &Record<'_>| {
            let value = value.decode(record.value).map_err(|reject| match record.value {
                Some(_) => reject,
                None => Reject::new("null value", "there is no value to compute the key from"),
            })?;
            Ok((key(&value), Some(value)))
        })
    }

    /// Decodes key and value from the bytes of the value, for topics without keys. A null value is
    /// passed as `None`. It can't delete rows of a table; [`from_record`](Self::from_record) can.
    ///
    /// ```
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let decode = |bytes: Option<&[u8]>| {
    ///     let text = std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
    ///     let (id, n) = text.split_once('-').ok_or_else(|| Reject::new("no dash", text))?;
    ///     Ok((id.to_string(), n.len() as i64))
    /// };
    /// let rows = builder.table("rows", Consumed::from_value(decode));
    /// rows.materialize(Materialized::named("lengths"));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// driver.pipe("rows", 0, None, Some(b"a-xyz"));
    /// driver.pipe("rows", 0, None, Some(b"a"));
    /// driver.commit()?;
    /// let lengths = driver.store::<String, i64>("lengths")?;
    /// assert_eq!((lengths.get("a"), driver.dead_letters().len()), (Some(3), 1));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn from_value(decode: impl Fn(Option<&[u8]>) -> Result<(K, V), Reject> + 'static) -> Self {
        Self::from_record(move |record: &Record<'_>| {
            decode(record.value).map(|(key, value)| (key, Some(value)))
        })
    }

    /// Decodes a whole record, with its timestamp and headers. The value `None` is a tombstone.
    ///
    /// ```
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let decode = |record: &watershed::record::Record<'_>| {
    ///     let tenant = record.headers.last("tenant");
    ///     let tenant = tenant.ok_or_else(|| Reject::new("no tenant", "a header is needed"))?;
    ///     let seen = record.timestamp.unwrap_or_default();
    ///     Ok((String::from_utf8_lossy(tenant).into_owned(), record.value.map(|_| seen)))
    /// };
    /// let rows = builder.table("rows", Consumed::from_record(decode));
    /// rows.materialize(Materialized::named("seen"));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// driver.set_time(Timestamp(8));
    /// driver.set_headers(&[("tenant", Some(b"north"))]);
    /// driver.pipe("rows", 0, None, Some(b"x"));
    /// driver.commit()?;
    /// assert_eq!(driver.store::<String, Timestamp>("seen")?.get("north"), Some(Timestamp(8)));
    /// driver.pipe("rows", 0, None, None);
    /// driver.commit()?;
    /// assert!(driver.store::<String, Timestamp>("seen")?.view().is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn from_record(
        decode: impl Fn(&Record<'_>) -> Result<(K, Option<V>), Reject> + 'static,
    ) -> Self {
        Consumed { decode: Rc::new(decode), extract: None, idle_after: None }
    }

    /// Takes the timestamp of each record from its key and value: Kafka's `TimestampExtractor`.
    /// Without it a record has the timestamp of the connector, if there is one.
    ///
    /// `extract` returns a [`Timestamp`] or an `Option` of one. A record for which it returns
    /// `None` is a dead letter, `no timestamp`. A tombstone has no value, so it keeps the timestamp
    /// of the connector. `extract` must return the same timestamp each time a record is read. A
    /// state records the greatest timestamp of each partition, and a run that finds another one is
    /// refused.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use watershed::prelude::{Value::Text, *};
    /// #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    /// struct Pin {
    ///     category: String,
    ///     created: Option<Timestamp>,
    /// }
    ///
    /// let topology = Topology::new("pins", |builder: &StreamsBuilder<'_>| {
    ///     let consumed = Consumed::with(Utf8, Json).timestamp(|_, pin: &Pin| pin.created);
    ///     let pins = builder.stream("pins", consumed);
    ///     pins.map_values(|pin| pin.category).to("kept", Produced::columns(["id", "category"]));
    /// });
    /// let mut driver = TopologyTestDriver::new(topology)?;
    /// let pin = r#"{"category": "travel", "created": 1598586767000000}"#;
    /// driver.pipe("pins", 0, Some(b"a"), Some(pin.as_bytes()));
    /// driver.pipe("pins", 0, Some(b"b"), Some(br#"{"category": "art"}"#));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("kept"), [[Text("a".into()), Text("travel".into())]]);
    /// assert_eq!(driver.dead_letters()[0][3], Text("no timestamp".into()));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn timestamp<T: Into<Option<Timestamp>>>(
        mut self,
        extract: impl Fn(&K, &V) -> T + 'static,
    ) -> Self {
        self.extract = Some(Rc::new(move |key, value| extract(key, value).into()));
        self
    }

    /// Leaves a silent partition out of the watermark. Kafka's `max.task.idle.ms` is similar.
    ///
    /// A window closes when the time of each partition has passed it, so a partition without new
    /// records holds all windows open. With this option a partition is *idle* once the records of
    /// other partitions, of any topic with time, have come for so long after its own last one. An
    /// idle partition counts again with its next record. If a window has closed meanwhile, a record
    /// for it is late, and metrics count it as [`closed`](crate::runtime::StepRows::closed) too.
    ///
    /// The decision is made by the clock of the run, and recorded with its commit: a recovery
    /// repeats it. A test moves the clock by
    /// [`advance_wall_clock_time`](crate::testing::TopologyTestDriver::advance_wall_clock_time),
    /// which has an example. Without steps that use time the option has no effect.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("visits", |builder: &StreamsBuilder<'_>| {
    ///     let consumed = Consumed::<String, i64>::with(Utf8, Json);
    ///     let visits = builder.stream("visits", consumed.idle_after(Duration::from_secs(60)));
    ///     visits.group_by_key().count().to("visits by page", Produced::columns(["page", "n"]));
    /// });
    /// assert!(topology.describe().contains("stream visits"));
    /// ```
    #[must_use]
    pub fn idle_after(self, silence: Duration) -> Self {
        Consumed { idle_after: Some(silence), ..self }
    }

    /// Returns true if timestamps are taken from key and value.
    pub(crate) fn is_extracted(&self) -> bool {
        self.extract.is_some()
    }

    /// Returns the time after which a silent partition is idle.
    pub(crate) fn silence(&self) -> Option<Duration> {
        self.idle_after
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// When the record can't be used. It becomes a dead letter.
    pub(crate) fn decode(&self, record: &Record<'_>) -> Result<Decoded<K, V>, Reject> {
        let (key, value) = (self.decode)(record)?;
        let timestamp = match (&self.extract, &value) {
            (Some(extract), Some(value)) => Some(extract(&key, value).ok_or_else(|| {
                Reject::new("no timestamp", "neither key nor value has a timestamp")
            })?),
            _ => record.timestamp,
        };
        Ok(Decoded { key, value, timestamp })
    }
}
