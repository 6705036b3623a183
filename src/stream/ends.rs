//! Verbs that end a stream: topics, closures, the screen.

use timely::dataflow::operators::vec::Map;

use super::{KStream, Updates};
use crate::connect::Mode;
use crate::operators::{Datum, Restored};
use crate::options::Produced;
use crate::ports::append;
use crate::row::Row;

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    /// Calls `f` with each record, in no order between partitions. Unlike Kafka's, but like
    /// [`peek`](Self::peek), it is also called for retracted records, and after a restart for
    /// records that are read again.
    ///
    /// ```
    /// # use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
    /// # use watershed::prelude::*;
    /// static SUM: AtomicI64 = AtomicI64::new(0);
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.for_each(|_, n| drop(SUM.fetch_add(*n, Relaxed)));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (2, 8), (2, 8)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(SUM.load(Relaxed), 23);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn for_each(&self, f: impl Fn(&K, &V) + 'static) {
        let seen = self.peek(f);
        self.graph.end(seen.events);
    }

    /// Prints each record to standard output, behind `label`. It prints the records for which
    /// [`for_each`](Self::for_each) calls its closure.
    ///
    /// ```
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.print("numbers"); // [numbers]: 1, 7
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// numbers.pipe(&mut driver, &1, &7);
    /// driver.commit()?;
    /// assert_eq!(driver.finish()?.topics["numbers"].applied, 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn print(&self, label: &str) {
        let label = label.to_string();
        self.for_each(move |key, value| println!("[{label}]: {key:?}, {value:?}"));
    }
}

impl<'s, K: Datum + Row, V: Datum + Row> KStream<'s, K, V> {
    /// Writes each record to `topic` as a row, exactly once. Unlike Kafka's, a row has columns:
    /// first those of the key, then those of the value.
    ///
    /// A duplicate is one more row, and `None` is null. A stream whose records may be retracted,
    /// behind a maintained join, can't be written: a run with it does not start. Make it a table
    /// first.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.to("all", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (2, 8), (1, 7)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(
    ///     driver.rows("all"),
    ///     [[Long(1), Long(7)], [Long(1), Long(7)], [Long(2), Long(8)]],
    /// );
    /// # Ok::<(), Error>(())
    /// ```
    pub fn to(&self, topic: &str, produced: Produced) {
        let node = self.graph.node(format!("to {topic}"), &[self.node]);
        if self.updates == Updates::Retracting {
            self.graph.error(format!(
                "topic {topic} can't take back records: a join is maintained, so call to_table() \
                 before to()"
            ));
        }
        let columns = [K::columns(), V::columns()].concat();
        let sink = self.graph.sink(topic, &columns, 0, Mode::Append, &produced);
        if self.restored == Restored::Tail {
            self.graph.tail(topic);
        }
        let rows = self.events.clone().map(|event| (event.key, event.value));
        match sink {
            Some(sink) => {
                self.graph.end(append(rows, topic, sink, self.restored, self.graph.meter(node)));
            }
            None => self.graph.end(rows),
        }
    }
}
