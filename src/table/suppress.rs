//! The verb that emits fewer changes of a table.

use std::rc::Rc;

use timely::dataflow::operators::vec::Map;

use super::{KTable, RUN_BITS, TimedChanges};
use crate::operators::{
    Datum, Limit, Since, StreamTime, Suppress, Timed, Waits, WhenFull, in_epoch, keyed,
};
use crate::options::Suppressed;
use crate::stream::Event;
use crate::time::{Epoch, micros};

/// The number of parts into which rows are divided that share no limit.
const PARTS: u64 = 256;

impl<'s, K: Datum, V: Datum> KTable<'s, K, V> {
    /// Emits fewer changes of the table: the last one of each window, or of each span of time.
    ///
    /// The rows must have times: those of topics, windows, aggregates and joins by key or foreign
    /// key have, also behind `filter` and `map_values`. A row has the timestamp of its record; a
    /// joined row the greater one of both, and an aggregate the greatest of what went in since its
    /// group has a row. The verbs before this one keep these times only because it needs them. A
    /// row that was never emitted and is deleted emits nothing.
    ///
    /// How many changes are emitted within a time limit depends on where epochs end, and so do the
    /// changes of tables that are not those of windows. So a topology with these saves a snapshot
    /// with each commit.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let clicks = builder.stream("clicks", Consumed::with(Int64, Int64));
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60)).grace(Duration::ZERO);
    /// clicks.group_by_key().windowed_by(minutes).count()
    ///     .suppress(Suppressed::until_window_closes())
    ///     .to("clicks", Produced::columns(["user", "from", "to", "clicks"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let clicks = driver.input("clicks", Int64, Int64);
    /// for second in [10, 50] {
    ///     driver.set_time(Timestamp(second * 1_000_000));
    ///     clicks.pipe(&mut driver, &7, &0);
    ///     driver.commit()?;
    /// }
    /// assert!(driver.rows("clicks").is_empty());
    /// driver.set_time(Timestamp(60_000_000));
    /// clicks.pipe(&mut driver, &7, &0); // closes the first minute
    /// driver.commit()?;
    /// assert_eq!(driver.rows("clicks")[0][3], Long(2));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn suppress(&self, suppressed: Suppressed) -> KTable<'s, K, V> {
        let graph = self.graph.clone();
        let node = graph.node(format!("suppress {}", suppressed.describe()), &[self.node]);
        let Some(TimedChanges { events, restored, .. }) = self.times() else {
            graph.error(
                "suppress needs rows with times, such as those of topics, windows, joins by a \
                 key and aggregates"
                    .to_string(),
            );
            return KTable { node, ..self.clone() };
        };
        let closes = self.closes.clone();
        let time = StreamTime::of(graph.mode());
        let (since, wait): (Since<K>, i64) = match (suppressed.limit, closes) {
            (Some(limit), _) => (Rc::new(|_, at| at), micros(limit)),
            (None, Some(closes)) => (Rc::new(move |key, _| closes(key)), 0),
            (None, None) => {
                graph.error(
                    "the rows of this table have no window that closes: give windows a grace, \
                     state windows_close_after, or suppress until a time limit"
                        .to_string(),
                );
                (Rc::new(|_, at| at), 0)
            }
        };
        let by_window = suppressed.limit.is_none();
        let limit = suppressed.max_records.or(suppressed.max_bytes).map(|_| Limit {
            max_records: suppressed.max_records.unwrap_or(usize::MAX),
            max_bytes: suppressed.max_bytes.unwrap_or(usize::MAX),
            when_full: if suppressed.emits_early { WhenFull::Emit } else { WhenFull::Fail },
        });
        let is_by_epoch = !by_window || limit.is_some();
        if is_by_epoch {
            graph.volatile();
        }
        let (seeds, parts) = (graph.seeds(), if limit.is_some() { 1 } else { PARTS });
        let inputs = events.map(move |event| {
            let timed = event.timed();
            let part = seeds.route(&event.key) % parts;
            (part, timed.map(|()| (event.key, event.value)))
        });
        let setting = graph.setting::<u64, K, Waits<V>>(node, restored, "changes");
        let name = format!("suppress {}", suppressed.describe());
        let logic = Suppress { since, wait, by_window, limit, time, name };
        let results = keyed(inputs, graph.watermarks(node), "suppress", setting, logic);
        let base = graph.earlier_runs() << RUN_BITS;
        let event = move |(key, timed): (K, Timed<Option<V>>), epoch: Epoch| {
            let offset = match is_by_epoch {
                true => base + epoch,
                false => timed.partition_time.place(),
            };
            Event::of_change(key, timed, offset)
        };
        let events = in_epoch(results, event);
        KTable::from_events(graph, node, TimedChanges { events, restored, is_by_epoch })
    }
}
