//! [`Suppressed`]: when the changes of a table are emitted.

use std::time::Duration;

/// The time for which changes of a table wait, so that later ones replace them.
///
/// ```
/// use std::time::Duration;
/// use watershed::options::Suppressed;
///
/// let hourly = Suppressed::until_time_limit(Duration::from_secs(3_600)).max_records(900);
/// assert_eq!(hourly.emit_early().describe(), "for 3600s, up to 900 changes, then the oldest go");
/// assert_eq!(Suppressed::until_window_closes().describe(), "until windows close");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppressed {
    /// None until the window of a row closes.
    pub(crate) limit: Option<Duration>,
    pub(crate) max_records: Option<usize>,
    pub(crate) max_bytes: Option<usize>,
    pub(crate) emits_early: bool,
}

impl Suppressed {
    /// Emits the row of each window once, when the window closes.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let clicks = builder.stream("clicks", Consumed::with(Int64, Int64));
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60)).grace(Duration::ZERO);
    /// let counts = clicks.group_by_key().windowed_by(minutes).count();
    /// counts.suppress(Suppressed::until_window_closes())
    ///     .to("final", Produced::columns(["user", "from", "to", "clicks"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let clicks = driver.input("clicks", Int64, Int64);
    /// for second in [10, 50, 60] {
    ///     clicks.pipe_at(&mut driver, &7, &0, Timestamp::from_millis(second * 1_000));
    ///     driver.commit()?;
    /// }
    /// assert_eq!(driver.changes("final").len(), 1); // of the first minute alone
    /// assert_eq!(driver.rows("final")[0][3], Long(2));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn until_window_closes() -> Self {
        Suppressed { limit: None, max_records: None, max_bytes: None, emits_early: false }
    }

    /// Emits the last row of each key at most once in `limit` of stream time.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let prices = builder.table("prices", Consumed::with(Int64, Int64));
    /// prices.suppress(Suppressed::until_time_limit(Duration::from_secs(60)))
    ///     .to("calm", Produced::columns(["item", "price"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let prices = driver.input("prices", Int64, Int64);
    /// for (second, price) in [(0, 5), (30, 6), (60, 7)] {
    ///     assert!(driver.rows("calm").is_empty());
    ///     prices.pipe_at(&mut driver, &1, &price, Timestamp::from_millis(second * 1_000));
    ///     driver.commit()?;
    /// }
    /// assert_eq!(driver.rows("calm"), [[Long(1), Long(7)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn until_time_limit(limit: Duration) -> Self {
        Suppressed { limit: Some(limit), ..Self::until_window_closes() }
    }

    /// Limits the number of changes that wait. All of them are on one worker then.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let prices = builder.table("prices", Consumed::with(Int64, Int64));
    /// let hourly = Suppressed::until_time_limit(Duration::from_secs(3_600));
    /// prices.suppress(hourly.max_records(2).emit_early())
    ///     .to("calm", Produced::columns(["item", "price"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let prices = driver.input("prices", Int64, Int64);
    /// prices.pipe_all(&mut driver, [(1, 5), (2, 6), (3, 7)]);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("calm"), [[Long(1), Long(5)]]); // made room for the third
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn max_records(self, max_records: usize) -> Self {
        Suppressed { max_records: Some(max_records), ..self }
    }

    /// Limits the bytes of the changes that wait: of each its encoded key and value, and 28 for its
    /// times and position. All of them are on one worker then.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let prices = builder.table("prices", Consumed::with(Int64, Int64));
    /// let hourly = Suppressed::until_time_limit(Duration::from_secs(3_600));
    /// prices.suppress(hourly.max_bytes(70).emit_early()) // a change has 31 bytes
    ///     .to("calm", Produced::columns(["item", "price"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let prices = driver.input("prices", Int64, Int64);
    /// prices.pipe_all(&mut driver, [(1, 5), (2, 6), (3, 7)]);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("calm"), [[Long(1), Long(5)]]); // made room for the third
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn max_bytes(self, max_bytes: usize) -> Self {
        Suppressed { max_bytes: Some(max_bytes), ..self }
    }

    /// Emits the oldest change when too many wait.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let prices = builder.table("prices", Consumed::with(Int64, Int64));
    /// let last = Suppressed::until_time_limit(Duration::from_secs(3_600)).max_records(1);
    /// prices.suppress(last.emit_early()).to("calm", Produced::columns(["item", "price"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let prices = driver.input("prices", Int64, Int64);
    /// for (item, price, at) in [(2, 5, 0), (2, 6, 1), (1, 7, 2)] {
    ///     prices.pipe_at(&mut driver, &item, &price, Timestamp(at));
    /// }
    /// driver.commit()?;
    /// assert_eq!(driver.rows("calm"), [[Long(2), Long(6)]]);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn emit_early(self) -> Self {
        Suppressed { emits_early: true, ..self }
    }

    /// Ends the run with an error when too many changes wait. This is the default.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let prices = builder.table("prices", Consumed::with(Int64, Int64));
    /// let last = Suppressed::until_time_limit(Duration::from_secs(3_600)).max_records(1);
    /// prices.suppress(last.shut_down()).to("calm", Produced::columns(["item", "price"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let prices = driver.input("prices", Int64, Int64);
    /// prices.pipe_all(&mut driver, [(1, 5), (2, 6)]);
    /// let error = driver.commit().unwrap_err();
    /// assert!(error.to_string().contains("2 changes of 62 bytes wait"));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn shut_down(self) -> Self {
        Suppressed { emits_early: false, ..self }
    }

    /// Returns a description, with all settings.
    pub fn describe(&self) -> String {
        let time = match self.limit {
            Some(limit) => format!("for {limit:?}"),
            None => "until windows close".to_string(),
        };
        let records = self.max_records.map(|n| format!(", up to {n} changes")).unwrap_or_default();
        let bytes = self.max_bytes.map(|n| format!(", up to {n} bytes")).unwrap_or_default();
        let is_limited = self.max_records.or(self.max_bytes).is_some();
        let full = match (is_limited, self.emits_early) {
            (false, _) => "",
            (true, true) => ", then the oldest go",
            (true, false) => ", then the run ends",
        };
        format!("{time}{records}{bytes}{full}")
    }
}
