//! The two kinds of time, which are never mixed: [`Epoch`] is progress, [`Timestamp`] is data. And
//! [`Windowed`]: a key in a window of the latter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Progress: the number of a closed range of input, which is the timestamp of the dataflow.
pub type Epoch = u64;

/// The granularity of answers. It is a property of a run, and part of the fingerprint of a state.
///
/// ```
/// use watershed::prelude::*;
///
/// let topology = Topology::new("latest", |builder: &StreamsBuilder<'_>| {
///     let rows = builder.table("rows", Consumed::with(Utf8, Int64));
///     rows.to_stream().to("changes", Produced::columns(["key", "n"]));
/// });
/// let changes = |mut driver: TopologyTestDriver| {
///     let rows = driver.input("rows", Utf8, Int64);
///     [7, 8, 8].map(|n| rows.pipe(&mut driver, &"a".to_string(), &n));
///     driver.commit()?;
///     Ok::<_, Error>(driver.rows("changes").len())
/// };
/// assert_eq!(changes(TopologyTestDriver::new(topology.clone())?)?, 1);
/// assert_eq!(changes(TopologyTestDriver::per_record(topology)?)?, 3);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProcessingMode {
    /// One answer at the close of each epoch: the net change of all of its records. It depends on
    /// the records and their positions alone.
    #[default]
    Consistent,
    /// One answer after each record, in the order of arrival, as in Kafka Streams without caches.
    /// An update that leaves a row as it was is an answer too.
    ///
    /// It is meant for tests, and for ports that compare each intermediate result with Kafka's.
    /// Each record costs an epoch, and each commit a snapshot, if there is a state.
    PerRecord,
}

impl ProcessingMode {
    /// Returns true for [`PerRecord`](Self::PerRecord).
    pub(crate) fn is_per_record(self) -> bool {
        self == ProcessingMode::PerRecord
    }
}

/// Event time: microseconds since 1970-01-01T00:00:00 UTC, negative before it.
///
/// It is data, like keys and values. [`Consumed::timestamp`] or else the connector provides it, and
/// it is the same at every reading of the record.
///
/// ```
/// use watershed::Timestamp;
///
/// let (before, after) = (Timestamp(-1), Timestamp::from_millis(1_598_586_767_000));
/// assert!(before < after);
/// assert_eq!((before.year(), after.year()), (1969, 2020));
/// ```
///
/// [`Consumed::timestamp`]: crate::options::Consumed::timestamp
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub i64);

/// Returns the microseconds of a duration, at most [`i64::MAX`].
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Timestamp {
    /// The least timestamp.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// The greatest timestamp.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// Returns a number that has the order of timestamps.
    pub(crate) const fn place(self) -> u64 {
        self.0.cast_unsigned() ^ (1 << 63)
    }

    /// Returns the timestamp that is `micros` later, within the range of timestamps.
    pub(crate) const fn plus(self, micros: i64) -> Self {
        Timestamp(self.0.saturating_add(micros))
    }

    /// Returns the timestamp that is `micros` earlier, within the range of timestamps.
    pub(crate) const fn minus(self, micros: i64) -> Self {
        Timestamp(self.0.saturating_sub(micros))
    }

    /// Returns the timestamp of `millis` milliseconds since 1970, the unit of Kafka. Values beyond
    /// the range of microseconds become the least or the greatest timestamp.
    ///
    /// ```
    /// use watershed::Timestamp;
    ///
    /// assert_eq!(Timestamp::from_millis(-7), Timestamp(-7_000));
    /// assert_eq!(Timestamp::from_millis(i64::MAX), Timestamp(i64::MAX));
    /// ```
    pub const fn from_millis(millis: i64) -> Self {
        Timestamp(millis.saturating_mul(1_000))
    }

    /// Returns the calendar year in UTC, in the proleptic Gregorian calendar.
    ///
    /// ```
    /// assert_eq!(watershed::Timestamp(1_598_586_767_000_000).year(), 2020);
    /// assert_eq!(watershed::Timestamp(-1).year(), 1969);
    /// ```
    pub fn year(self) -> i64 {
        // Days to civil year: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms",
        // civil_from_days.
        let z = self.0.div_euclid(86_400_000_000) + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        yoe + era * 400 + i64::from(doy >= 306)
    }
}

/// A key in a window. Its columns are those of the key, then start and end of the window.
///
/// The end is exclusive in time windows, and inclusive in sessions and sliding windows, as in
/// Kafka. A window without an end ends at [`Timestamp::MAX`].
///
/// ```
/// use watershed::row::{Row, Value};
/// use watershed::{Timestamp, Windowed};
///
/// let visits = Windowed { key: 7_i64, start: Timestamp(0), end: Timestamp(60_000_000) };
/// let mut values: Vec<Value> = Vec::new();
/// visits.put(&mut values);
/// let expected = [Value::Long(7), Value::Timestamp(0), Value::Timestamp(60_000_000)];
/// assert_eq!(values, expected);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Windowed<K> {
    /// The key.
    pub key: K,
    /// The start of the window, inclusive.
    pub start: Timestamp,
    /// The end of the window.
    pub end: Timestamp,
}

/// The form in which a partition time is written: none for the least timestamp, which records of
/// untimed topics have.
pub(crate) mod or_least {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Timestamp;

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        Some(*time).filter(|time| *time != Timestamp::MIN).serialize(to)
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Timestamp, D::Error> {
        Option::deserialize(from).map(|time| time.unwrap_or(Timestamp::MIN))
    }
}
