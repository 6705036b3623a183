//! How a topic is read and written, a table kept: [`Consumed`], [`Produced`], [`Materialized`], and
//! what a verb may be told besides its closure.

use std::rc::Rc;

use crate::record::Record;
use crate::serdes::{Deserializer, Reject};

/// How the records of a topic become keys and values.
pub struct Consumed<K, V> {
    pub(crate) decode: Decoder<K, V>,
}

type Decoder<K, V> = Rc<dyn Fn(&Record<'_>) -> Result<(K, Option<V>), Reject>>;

impl<K: 'static, V: 'static> Consumed<K, V> {
    /// Decodes the key with one serde, the value with another. A null value is a tombstone: it
    /// deletes from a table, and is a dead letter in a stream; but where the serde takes null, as
    /// [`Nullable`](crate::serdes::Nullable) does, it is a value.
    ///
    /// ```
    /// # use watershed::prelude::{Value::{Long, Null}, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream::<Option<i64>, i64>("numbers", Consumed::with(Nullable(Int64), Int64));
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
        let decode = move |record: &Record<'_>| {
            let value = match record.value {
                Some(bytes) => Some(value.decode(Some(bytes))?),
                None => value.decode(None).ok(),
            };
            Ok((key.decode(record.key)?, value))
        };
        Consumed { decode: Rc::new(decode) }
    }

    /// Decodes key and value from the bytes of the value, for logs without keys; null is given as
    /// `None`. It can't delete from a table: [`from_record`](Self::from_record) can.
    ///
    /// ```
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let decode = |bytes: Option<&[u8]>| {
    ///     let text = std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
    ///     text.split_once('-').map(|(id, n)| (id.to_string(), n.len() as i64)).ok_or_else(|| Reject::new("no dash", text))
    /// };
    /// builder.table("rows", Consumed::from_value(decode)).materialize(Materialized::named("lengths"));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// driver.pipe("rows", 0, None, Some(b"a-xyz"));
    /// driver.pipe("rows", 0, None, Some(b"a"));
    /// driver.commit()?;
    /// assert_eq!((driver.store::<String, i64>("lengths")?.get("a"), driver.dead_letters().len()), (Some(3), 1));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn from_value(decode: impl Fn(Option<&[u8]>) -> Result<(K, V), Reject> + 'static) -> Self {
        Consumed {
            decode: Rc::new(move |record| {
                decode(record.value).map(|(key, value)| (key, Some(value)))
            }),
        }
    }

    /// Decodes all that there is of a record, its timestamp and headers too. A value that is `None`
    /// is a tombstone.
    ///
    /// ```
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let decode = |record: &watershed::record::Record<'_>| {
    ///     let tenant = record.headers.last("tenant").ok_or_else(|| Reject::new("no tenant", "a header is needed"))?;
    ///     Ok((String::from_utf8_lossy(tenant).into_owned(), record.value.map(|_| record.timestamp.map_or(0, |t| t.0))))
    /// };
    /// builder.table("rows", Consumed::from_record(decode)).materialize(Materialized::named("seen"));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// driver.set_time(Timestamp(8));
    /// driver.set_headers(&[("tenant", Some(b"north"))]);
    /// driver.pipe("rows", 0, None, Some(b"x"));
    /// driver.commit()?;
    /// assert_eq!(driver.store::<String, i64>("seen")?.get("north"), Some(8));
    /// driver.pipe("rows", 0, None, None);
    /// driver.commit()?;
    /// assert!(driver.store::<String, i64>("seen")?.view().is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn from_record(
        decode: impl Fn(&Record<'_>) -> Result<(K, Option<V>), Reject> + 'static,
    ) -> Self {
        Consumed { decode: Rc::new(decode) }
    }
}

/// How rows are written: the names of their columns, those of the key first, then those of the
/// value.
#[derive(Clone, Debug)]
pub struct Produced {
    pub(crate) columns: Vec<String>,
}

impl Produced {
    /// Rows of these columns: as many as key and value have together.
    pub fn columns<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Produced { columns: names.into_iter().map(Into::into).collect() }
    }
}

/// How a table is kept, so that it can be asked while it is maintained.
#[derive(Clone, Debug)]
pub struct Materialized {
    pub(crate) store: String,
}

impl Materialized {
    /// As the store of this name: Kafka's `Materialized.as`.
    pub fn named(store: impl Into<String>) -> Self {
        Materialized { store: store.into() }
    }
}

/// What happens to values beyond the n-th that score like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// They are kept: there may be more than n.
    Keep,
    /// The least values are kept: there are at most n.
    Cut,
}
