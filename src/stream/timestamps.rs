//! The verb that shows the timestamps of records.

use super::{Event, KStream};
use crate::operators::Datum;
use crate::time::Timestamp;

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    /// Pairs each value with the timestamp of its record; `None` if it has none. Kafka has no such
    /// verb: there a processor reads the timestamp.
    ///
    /// Verbs that look at one record keep its timestamp, and so do joins with a table. A pair of
    /// two streams has the greater one of both, and an aggregate the greatest of all its records.
    /// The changes of a table ([`to_stream`](crate::KTable::to_stream)) have the timestamps of its
    /// rows, so its topics must have timestamps.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.map_values(|n| n * 10).with_timestamps()
    ///     .to("timed", Produced::columns(["id", "n", "at"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// numbers.pipe_at(&mut driver, &1, &7, Timestamp(8));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("timed"), [[Long(1), Long(70), Value::Timestamp(8)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_timestamps(&self) -> KStream<'s, K, (V, Option<Timestamp>)> {
        let stream = self.each(
            "with_timestamps",
            Box::new(|e, out| {
                let Event { key, value, order, ordinal, timestamp, partition_time, diff } = e;
                let value = (value, timestamp);
                out.push(Event { key, value, order, ordinal, timestamp, partition_time, diff });
            }),
        );
        self.graph.use_optional_time(stream.node);
        stream
    }
}
