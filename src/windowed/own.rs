//! Aggregates of one's own in windows.

use super::KWindowed;
use crate::grouped::{Aggregator, Own};
use crate::operators::Datum;
use crate::row::Windowed;
use crate::table::KTable;

impl<'s, G: Datum, X: Datum> KWindowed<'s, G, X> {
    /// Maintains an [`Aggregator`] for each window. `fresh` makes the state of a new window. Kafka
    /// has no such verb.
    ///
    /// It keeps the values of open windows beside the states, because states are not saved: after a
    /// restart they are made again of the values. When a record bridges two sessions, their states
    /// are [merged](Aggregator::merge).
    ///
    /// ```
    /// # use std::time::Duration;
    /// use watershed::Aggregator;
    /// use watershed::prelude::{Value::Long, *};
    ///
    /// /// The number of values above a hundred.
    /// #[derive(Default)]
    /// struct High {
    ///     high: i64,
    ///     all: i64,
    /// }
    ///
    /// impl Aggregator<i64> for High {
    ///     type Out = i64;
    ///     fn update(&mut self, value: &i64, diff: i64) {
    ///         self.high += if *value > 100 { diff } else { 0 };
    ///         self.all += diff;
    ///     }
    ///     fn result(&self) -> Option<i64> {
    ///         (self.all > 0).then_some(self.high)
    ///     }
    ///     fn is_empty(&self) -> bool {
    ///         self.all == 0
    ///     }
    ///     fn merge(&mut self, other: &Self) -> bool {
    ///         self.high += other.high;
    ///         self.all += other.all;
    ///         true
    ///     }
    /// }
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let delays = builder.stream("delays", Consumed::with(Int64, Int64));
    /// let sessions = SessionWindows::of_inactivity_gap(Duration::from_secs(10));
    /// delays.group_by_key().windowed_by(sessions).aggregate_with(High::default)
    ///     .to("high", Produced::columns(["host", "from", "to", "high"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let delays = driver.input("delays", Int64, Int64);
    /// for (second, delay) in [(0, 90), (20, 120), (10, 150)] {
    ///     // The last one bridges two sessions.
    ///     delays.pipe_at(&mut driver, &1, &delay, Timestamp::from_millis(second * 1_000));
    /// }
    /// driver.commit()?;
    /// assert_eq!(driver.rows("high").len(), 1);
    /// assert_eq!(driver.rows("high")[0][3], Long(2));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn aggregate_with<A: Aggregator<X>>(
        &self,
        fresh: impl Fn() -> A + 'static,
    ) -> KTable<'s, Windowed<G>, A::Out> {
        self.bagged("aggregate_with", move || Own(fresh()))
    }
}
