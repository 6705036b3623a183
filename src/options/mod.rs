//! How a topic is read and written, a table kept: [`Consumed`], [`Produced`], [`Materialized`], and what a verb may be told besides its closure.

use std::rc::Rc;

use crate::record::Record;
use crate::serdes::{Deserializer, Reject};

/// How the records of a topic become keys and values.
pub struct Consumed<K, V> {
    pub(crate) decode: Decoder<K, V>,
}

type Decoder<K, V> = Rc<dyn Fn(&Record<'_>) -> Result<(K, Option<V>), Reject>>;

impl<K: 'static, V: 'static> Consumed<K, V> {
    /// Decodes the key with one serde, the value with another. A null value is a tombstone: it deletes from a table, and is a
    /// dead letter in a stream; but where the serde takes null, as [`Nullable`](crate::serdes::Nullable) does, it is a value.
    pub fn with(key: impl Deserializer<K> + 'static, value: impl Deserializer<V> + 'static) -> Self {
        let decode = move |record: &Record<'_>| {
            let value = match record.value {
                Some(bytes) => Some(value.decode(Some(bytes))?),
                None => value.decode(None).ok(),
            };
            Ok((key.decode(record.key)?, value))
        };
        Consumed { decode: Rc::new(decode) }
    }

    /// Decodes key and value from the bytes of the value, for logs without keys; null is given as `None`.
    pub fn from_value(decode: impl Fn(Option<&[u8]>) -> Result<(K, V), Reject> + 'static) -> Self {
        Consumed { decode: Rc::new(move |record| decode(record.value).map(|(key, value)| (key, Some(value)))) }
    }

    /// Decodes all that there is of a record, its timestamp and headers too. A value that is `None` is a tombstone.
    pub fn from_record(decode: impl Fn(&Record<'_>) -> Result<(K, Option<V>), Reject> + 'static) -> Self {
        Consumed { decode: Rc::new(decode) }
    }
}

/// How rows are written: the names of their columns, those of the key first, then those of the value.
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
