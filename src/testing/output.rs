//! Topics whose rows a test reads as keys and values. [`Row`](crate::row::Row) turns keys and
//! values into columns, and serde turns the columns back.

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::slice::Iter;

use serde::de::value::{Error as ValueError, SeqDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::TopologyTestDriver;
use crate::connect::Schema;
use crate::connect::memory::Change;
use crate::error::{Error, Result};
use crate::row::Value;

/// A topic that the topology writes, with rows that are [read](TopologyTestDriver::output) by serde
/// as keys and values.
///
/// A scalar is one column. A tuple or a struct has the columns of all its parts in order. `()` has
/// no column, and `None` is null.
///
/// ```
/// use watershed::prelude::*;
///
/// let topology = Topology::new("copy", |builder: &StreamsBuilder<'_>| {
///     let rows = builder.table("rows", Consumed::with(Utf8, Int64));
///     let pairs = rows.map_values(|n| (*n, (*n > 9).then_some(true)));
///     pairs.to("pairs", Produced::columns(["name", "n", "big"]));
/// });
/// let mut driver = TopologyTestDriver::new(topology)?;
/// let rows = driver.input("rows", Utf8, Int64);
/// let pairs = driver.output::<String, (i64, Option<bool>)>("pairs");
/// rows.pipe(&mut driver, &"a".to_string(), &7);
/// rows.pipe(&mut driver, &"b".to_string(), &70);
/// driver.commit()?;
/// let both = [("a".to_string(), (7, None)), ("b".to_string(), (70, Some(true)))];
/// assert_eq!(pairs.rows(&driver)?, both);
///
/// pairs.changes(&mut driver)?;
/// rows.delete(&mut driver, &"a".to_string());
/// driver.commit()?;
/// assert_eq!(pairs.changes(&mut driver)?, [("a".to_string(), None)]);
/// # Ok::<(), Error>(())
/// ```
pub struct OutputTopic<K, V> {
    pub(super) topic: String,
    pub(super) types: PhantomData<(K, V)>,
}

impl<K: DeserializeOwned, V: DeserializeOwned> OutputTopic<K, V> {
    /// Returns the current rows, sorted by their columns.
    ///
    /// # Errors
    /// When the topology does not write the topic, or its rows are not of these types.
    pub fn rows(&self, driver: &TopologyTestDriver) -> Result<Vec<(K, V)>> {
        let schema = self.schema(driver)?;
        driver.rows(&self.topic).iter().map(|row| read(row, schema)).collect()
    }

    /// Returns the changes since the last call: keys with their new values, or `None` for a deleted
    /// row. A key that changed in several commits is returned once for each.
    ///
    /// # Errors
    /// When the topology does not write the topic, or its rows are not of these types.
    pub fn changes(&self, driver: &mut TopologyTestDriver) -> Result<Vec<(K, Option<V>)>> {
        let (changes, schema) = (driver.changes(&self.topic), self.schema(driver)?);
        changes.into_iter().map(|change| changed(change, schema)).collect()
    }

    /// Returns the next change that was not read: a key with its new value, or `None` for a deleted
    /// row. Kafka's `readKeyValue`, except that an empty topic is no error.
    ///
    /// ```
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// # let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// # rows.to("kept", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// let kept = driver.output::<i64, i64>("kept");
    /// rows.pipe_all(&mut driver, [(1, 7), (2, 8)]);
    /// driver.commit()?;
    /// assert_eq!(kept.unread(&mut driver), 2);
    /// assert_eq!(kept.read(&mut driver)?, Some((1, Some(7))));
    /// assert_eq!(kept.read(&mut driver)?, Some((2, Some(8))));
    /// assert_eq!(kept.read(&mut driver)?, None);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When the topology does not write the topic, or its rows are not of these types.
    pub fn read(&self, driver: &mut TopologyTestDriver) -> Result<Option<(K, Option<V>)>> {
        let next = driver.read_unread(&self.topic, VecDeque::pop_front);
        let schema = self.schema(driver)?;
        next.map(|change| changed(change, schema)).transpose()
    }

    /// Returns the last unread change of each key, and with it all changes are read. Kafka's
    /// `readKeyValuesToMap`.
    ///
    /// ```
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// # let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// # rows.to("kept", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// let kept = driver.output::<i64, i64>("kept");
    /// rows.pipe(&mut driver, &1, &7);
    /// driver.commit()?;
    /// rows.pipe_all(&mut driver, [(1, 9), (2, 8)]);
    /// driver.commit()?;
    /// assert_eq!(kept.read_map(&mut driver)?, [(1, Some(9)), (2, Some(8))].into());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When the topology does not write the topic, or its rows are not of these types.
    pub fn read_map(&self, driver: &mut TopologyTestDriver) -> Result<BTreeMap<K, Option<V>>>
    where
        K: Ord,
    {
        self.changes(driver).map(|changes| changes.into_iter().collect())
    }

    /// Returns the number of unread changes. Kafka's `getQueueSize`.
    pub fn unread(&self, driver: &mut TopologyTestDriver) -> usize {
        driver.read_unread(&self.topic, |unread| unread.len())
    }

    fn schema<'d>(&self, driver: &'d TopologyTestDriver) -> Result<&'d Schema> {
        let unknown = || {
            Error::config(format!(
                "can't read topic {}: the topology does not write it",
                self.topic
            ))
        };
        driver.tables.get(&self.topic).map(|table| &table.schema).ok_or_else(unknown)
    }
}

/// Reads a change: a row, or the key of a deleted one.
fn changed<K: DeserializeOwned, V: DeserializeOwned>(
    change: Change,
    schema: &Schema,
) -> Result<(K, Option<V>)> {
    match change {
        (_, Some(row)) => read(&row, schema).map(|(key, value)| (key, Some(value))),
        (key, None) => read(&key, schema).map(|(key, ())| (key, None)),
    }
}

/// Reads a row. All of its columns must be used.
fn read<K: DeserializeOwned, V: DeserializeOwned>(
    row: &[Value],
    schema: &Schema,
) -> Result<(K, V)> {
    let mut columns = Columns(row.iter());
    let read = (|| {
        let (key, value) = (K::deserialize(&mut columns)?, V::deserialize(&mut columns)?);
        match columns.0.len() {
            0 => Ok((key, value)),
            left => Err(ValueError::custom(format_args!("the row has {left} more"))),
        }
    })();
    read.map_err(|error| {
        let (at, types) = (row.len() - columns.0.len(), std::any::type_name::<(K, V)>());
        let each: Vec<String> = schema
            .columns
            .iter()
            .map(|column| format!("{} {:?}", column.name, column.ty))
            .collect();
        let message = format!(
            "can't read a row of {} as {types}: its columns are {}",
            schema.topic,
            each.join(", ")
        );
        Error::config(message).because(format!("column {at}: {error}"))
    })
}

/// The columns that are not read yet.
struct Columns<'a>(Iter<'a, Value>);

impl<'de> Deserializer<'de> for &mut Columns<'_> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0.next() {
            None => Err(ValueError::custom("the row ends here")),
            Some(Value::Null) => visitor.visit_unit(),
            Some(Value::Long(v) | Value::Timestamp(v)) => visitor.visit_i64(*v),
            Some(Value::Double(v)) => visitor.visit_f64(*v),
            Some(Value::Boolean(v)) => visitor.visit_bool(*v),
            Some(Value::Text(v)) => visitor.visit_str(v),
            Some(Value::Doubles(v)) => visitor.visit_seq(SeqDeserializer::new(v.iter().copied())),
            Some(Value::Binary(v)) => visitor.visit_seq(SeqDeserializer::new(v.iter().copied())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        if let [Value::Null, ..] = self.0.as_slice() {
            self.0.next();
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_seq(Parts { columns: self, left: len })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit_struct seq map enum identifier ignored_any
    }
}

/// The parts of a tuple or a struct. Each part reads its own columns.
struct Parts<'c, 'a> {
    columns: &'c mut Columns<'a>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Parts<'_, '_> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ValueError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.columns).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::prelude::{Consumed, Int64, Produced, Timestamp, Topology, Utf8};
    use crate::serdes::Word;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Fact {
        text: Option<String>,
        at: (Timestamp, u8),
    }

    fn columns(row: &[Value]) -> Columns<'_> {
        Columns(row.iter())
    }

    #[test]
    fn a_value_of_any_shape_takes_its_own_number_of_columns() {
        use Value::{Binary, Double, Doubles, Long, Null, Text};
        let row = [
            Long(7),
            Null,
            Value::Timestamp(8),
            Long(9),
            Double(0.5),
            Doubles(vec![1.0, 2.5]),
            Binary(vec![3, 4]),
        ];
        let read =
            <(i64, Fact, f64, (), Vec<f64>, Vec<u8>)>::deserialize(&mut columns(&row)).unwrap();
        let fact =
            |text: Option<&str>| Fact { text: text.map(str::to_string), at: (Timestamp(8), 9) };
        assert_eq!(read, (7, fact(None), 0.5, (), vec![1.0, 2.5], vec![3, 4]));
        let row = [Text("be".into()), Value::Timestamp(8), Long(9)];
        assert_eq!(Fact::deserialize(&mut columns(&row)).unwrap(), fact(Some("be")));
        let word = Word::deserialize(&mut columns(&row)).unwrap();
        assert_eq!(word, Word::from("be"));
    }

    #[test]
    fn rows_and_changes_are_keyed_and_a_deleted_row_keeps_its_key() {
        let topology = Topology::new("copies", |builder: &crate::StreamsBuilder<'_>| {
            let rows = builder.table("rows", Consumed::with(Utf8, Int64));
            rows.to("kept", Produced::columns(["key", "value"]));
            builder
                .stream("events", Consumed::with(Utf8, Int64))
                .to("all", Produced::columns(["key", "value"]));
        });
        let mut driver = TopologyTestDriver::new(topology).unwrap();
        let (rows, events) =
            (driver.input("rows", Utf8, Int64), driver.input("events", Utf8, Int64));
        let (kept, all) =
            (driver.output::<String, i64>("kept"), driver.output::<String, i64>("all"));
        let (a, b) = ("a".to_string(), "b".to_string());
        rows.pipe(&mut driver, &b, &2);
        rows.pipe(&mut driver, &a, &1);
        events.pipe(&mut driver, &a, &1);
        events.pipe(&mut driver, &a, &1);
        driver.commit().unwrap();
        assert_eq!(kept.rows(&driver).unwrap(), [(a.clone(), 1), (b.clone(), 2)]);
        assert_eq!(all.rows(&driver).unwrap(), [(a.clone(), 1), (a.clone(), 1)]);
        rows.delete(&mut driver, &a);
        rows.pipe(&mut driver, &b, &3);
        driver.commit().unwrap();
        let changed =
            [(a.clone(), Some(1)), (b.clone(), Some(2)), (a.clone(), None), (b.clone(), Some(3))];
        assert_eq!(kept.changes(&mut driver).unwrap(), changed);
        assert_eq!(kept.changes(&mut driver).unwrap(), []);
        assert_eq!(all.changes(&mut driver).unwrap(), [(a.clone(), Some(1)), (a, Some(1))]);

        let error = driver.output::<String, bool>("kept").rows(&driver).unwrap_err().to_string();
        let expected = "can't read a row of kept as (alloc::string::String, bool): its columns are \
                        key Text, value Long: column 2: invalid type: integer `3`, expected a \
                        boolean";
        assert_eq!(error, expected);
        let error = driver.output::<String, ()>("kept").rows(&driver).unwrap_err().to_string();
        assert!(error.ends_with("column 1: the row has 1 more"), "{error}");
        let error =
            driver.output::<String, (i64, i64)>("all").rows(&driver).unwrap_err().to_string();
        assert!(error.ends_with("column 2: the row ends here"), "{error}");
        let error = driver.output::<String, i64>("keep").rows(&driver).unwrap_err().to_string();
        assert_eq!(error, "can't read topic keep: the topology does not write it");
    }
}
