//! The clocks that a test sets: the time of records, and the wall clock.

use std::time::Duration;

use super::TopologyTestDriver;
use crate::runtime::Message;
use crate::time::Timestamp;

impl TopologyTestDriver {
    /// Sets the driver's time: the timestamp of the records that are piped from now on. At first it
    /// is 0. With `None` records have no timestamp, like those of a source without timestamps.
    pub fn set_time(&mut self, now: impl Into<Option<Timestamp>>) {
        self.now = now.into();
    }

    /// Advances the wall clock, which stands still otherwise: Kafka's `advanceWallClockTime`.
    ///
    /// [`Consumed::idle_after`](crate::options::Consumed::idle_after) alone depends on it, because
    /// there are no punctuators. A partition becomes idle at a [`commit`](Self::commit) with
    /// records of other partitions. In `PerRecord` mode stream time is that of arrival, and idle
    /// partitions change nothing.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use watershed::prelude::*;
    ///
    /// let minute = Duration::from_secs(60);
    /// let topology = Topology::new("visits", move |builder: &StreamsBuilder<'_>| {
    ///     let consumed = Consumed::<i64, i64>::with(Int64, Int64).idle_after(minute);
    ///     let minutes = TimeWindows::of_size(minute).grace(Duration::ZERO);
    ///     let visits = builder.stream("visits", consumed).group_by_key().windowed_by(minutes);
    ///     let counts = visits.emit(Emit::OnClose).count();
    ///     counts.to("visits by minute", Produced::columns(["page", "start", "end", "visits"]));
    /// });
    /// let mut driver = TopologyTestDriver::new(topology)?;
    /// driver.add_partitions("visits", 0..2);
    /// let pipe = |driver: &mut TopologyTestDriver, second: i64| {
    ///     driver.set_time(Timestamp::from_millis(1000 * second));
    ///     driver.pipe("visits", 0, Some(&[0; 8]), Some(&[0; 8]));
    ///     driver.commit()
    /// };
    /// pipe(&mut driver, 30)?;
    /// pipe(&mut driver, 70)?;
    /// assert!(driver.rows("visits by minute").is_empty(), "partition 1 holds the window open");
    /// driver.advance_wall_clock_time(minute);
    /// pipe(&mut driver, 71)?; // partition 1 has been silent for a minute, and is idle
    /// assert_eq!(driver.rows("visits by minute").len(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn advance_wall_clock_time(&mut self, time: Duration) {
        if let Some(run) = &self.run {
            // A run that has failed returns its error at the next commit.
            let _ = run.coordinator.send(Message::Advance(time));
        }
    }
}
