//! Topics into which a test pipes keys and values.

use std::marker::PhantomData;

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
    pub(super) types: PhantomData<(K, V)>,
}

impl<K, V, KS: Serializer<K>, VS: Serializer<V>> InputTopic<K, V, KS, VS> {
    /// Pipes a record into partition 0, with the driver's time as its timestamp.
    pub fn pipe(&self, driver: &mut TopologyTestDriver, key: &K, value: &V) {
        driver.pipe(
            &self.topic,
            0,
            self.key.encode(key).as_deref(),
            self.value.encode(value).as_deref(),
        );
    }

    /// Pipes a record into partition 0 with a timestamp of its own. The driver's time stays.
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
        let now = driver.now.replace(timestamp);
        self.pipe(driver, key, value);
        driver.now = now;
    }

    /// Pipes a tombstone into partition 0: a null value, which deletes from a table.
    pub fn delete(&self, driver: &mut TopologyTestDriver, key: &K) {
        driver.pipe(&self.topic, 0, self.key.encode(key).as_deref(), None);
    }

    /// Pipes a tombstone with a timestamp of its own. The driver's time stays.
    pub fn delete_at(&self, driver: &mut TopologyTestDriver, key: &K, timestamp: Timestamp) {
        let now = driver.now.replace(timestamp);
        self.delete(driver, key);
        driver.now = now;
    }
}
