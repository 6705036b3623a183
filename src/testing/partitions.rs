//! Partitions that a test adds before they have a record.

use super::TopologyTestDriver;
use crate::runtime::Message;

impl TopologyTestDriver {
    /// Adds partitions of a topic before they have a record. At first a topic has partition 0, and
    /// another one is added with its first record.
    ///
    /// A window closes when the time of each partition has passed it. So a test of windows adds its
    /// partitions first. The time of a partition that is added later begins at the watermark.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("visits", |builder: &StreamsBuilder<'_>| {
    ///     let visits = builder.stream("visits", Consumed::with(Int64, Int64));
    ///     let minutes = TimeWindows::of_size(Duration::from_secs(60)).grace(Duration::ZERO);
    ///     let counts = visits.group_by_key().windowed_by(minutes).emit(Emit::OnClose).count();
    ///     counts.to("visits by minute", Produced::columns(["page", "start", "end", "visits"]));
    /// });
    /// let mut driver = TopologyTestDriver::new(topology)?;
    /// driver.add_partitions("visits", 0..2);
    /// let pipe = |driver: &mut TopologyTestDriver, partition, second: i64| {
    ///     driver.set_time(Timestamp::from_millis(1000 * second));
    ///     driver.pipe("visits", partition, Some(&[0; 8]), Some(&[0; 8]));
    ///     driver.commit()
    /// };
    /// pipe(&mut driver, 0, 30)?;
    /// pipe(&mut driver, 0, 70)?;
    /// assert!(driver.rows("visits by minute").is_empty(), "partition 1 may have earlier records");
    /// pipe(&mut driver, 1, 65)?;
    /// assert_eq!(driver.rows("visits by minute").len(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn add_partitions(&mut self, topic: &str, partitions: impl IntoIterator<Item = u32>) {
        let partitions = partitions.into_iter();
        let ids = partitions.filter_map(|partition| self.partition(topic, partition)).collect();
        if let Some(run) = &self.run {
            // A run that has failed returns its error at the next commit.
            let _ = run.coordinator.send(Message::Partitions(ids));
        }
    }
}
