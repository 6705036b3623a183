//! [`KWindowed`]: values by group and window of event time, and their aggregates.

mod aggregates;
mod late;
mod own;
mod rows;

use std::rc::Rc;

use timely::dataflow::StreamVec;

use crate::graph::Graph;
use crate::grouped::{KGrouped, Records};
use crate::operators::{
    Accumulate, Datum, Ends, Fixed, PartOf, Restored, SavedSliding, Session, Sliding, WindowRow,
    keyed,
};
use crate::options::{Emit, WindowKind, Windowing};
use crate::row::Windowed;
use crate::table::{Closes, KTable};
use crate::time::{Epoch, Timestamp, micros};

use rows::Timing;
pub(crate) use rows::{folded, folded_changes};

/// Values by group and window: Kafka's `TimeWindowedKStream` and `SessionWindowedKStream` in one.
///
/// Each aggregate is a table by [`Windowed`] group. Its timestamps are the greatest of the values
/// that went in.
///
/// Unless the doc of a verb differs:
/// - A window takes records until its **grace** is over: until the timestamps of the record's
///   partition, up to the record, have reached the end of the window and the grace. A record beyond
///   that is **late**: it is left out, counted, and passed on by [`late`](Self::late). Without a
///   stated grace no record is late.
/// - A window **closes** when the timestamps of all partitions have come so far. Its state is
///   forgotten then, and its row stands, until the retention deletes it. A retention without a
///   grace is the grace too.
/// - So results depend on positions and timestamps only, never on the order of arrival between
///   partitions. Kafka has one stream time for all partitions of a task, which depends on it.
/// - A **null** key or value that a serde has accepted is a group or a value like others. Kafka
///   drops null keys, and sliding windows also null values.
/// - A record without a **timestamp** is a dead letter, `no timestamp`.
/// - A **duplicate** record is one more value.
#[derive(Clone)]
pub struct KWindowed<'s, G: Datum, X: Datum> {
    graph: Graph<'s>,
    /// The step of the windows.
    node: usize,
    records: Option<Records<'s, G, X>>,
    windows: Windowing,
    emit: Emit,
}

impl<'s, G: Datum, X: Datum> KWindowed<'s, G, X> {
    pub(crate) fn new(grouped: &KGrouped<'s, G, X>, windows: Windowing) -> Self {
        let graph = grouped.graph.clone();
        let node = graph.node(format!("windowed_by {}", windows.describe()), &[grouped.node]);
        let records = grouped.added().cloned();
        match records {
            Some(_) => graph.use_time(node),
            None => graph.error(format!(
                "{} can't be used for rows that are taken back, of a table or behind a maintained \
                 join: window a stream that only adds",
                windows.describe()
            )),
        }
        KWindowed { graph, node, records, windows, emit: Emit::default() }
    }

    /// Chooses when results are emitted: Kafka's `emitStrategy`.
    ///
    /// With [`Emit::OnClose`] a window has one result, when it closes, so it must have a grace. A
    /// session may still be bridged by a record that is not late: then its row is deleted.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let clicks = builder.stream("clicks", Consumed::with(Int64, Int64));
    /// let minute = Duration::from_secs(60);
    /// let minutes = TimeWindows::of_size(minute).grace(Duration::ZERO);
    /// clicks.group_by_key().windowed_by(minutes).emit(Emit::OnClose).count()
    ///     .map_values(|n| *n).to("clicks", Produced::columns(["user", "from", "to", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let clicks = driver.input("clicks", Int64, Int64);
    /// for second in [10, 50] {
    ///     driver.set_time(Timestamp(second * 1_000_000));
    ///     clicks.pipe(&mut driver, &7, &0);
    /// }
    /// driver.commit()?;
    /// assert!(driver.rows("clicks").is_empty());
    /// driver.set_time(Timestamp(60_000_000));
    /// clicks.pipe(&mut driver, &7, &0); // closes the first minute
    /// driver.commit()?;
    /// assert_eq!(driver.rows("clicks")[0][3], Long(2));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn emit(mut self, emit: Emit) -> Self {
        self.emit = emit;
        let node = self.graph.node(format!("emit {emit:?}"), &[self.node]);
        if emit == Emit::OnClose && self.grace().is_none() {
            self.graph.error(format!(
                "{} never close, so nothing would be emitted: state a grace",
                self.windows.describe()
            ));
        }
        self.node = node;
        self
    }

    /// Returns the grace in microseconds, or the retention without one.
    fn grace(&self) -> Option<i64> {
        self.ends(0, false).grace
    }

    /// Returns the ends of the windows. `more` is added to the grace, which is the retention if
    /// none is stated.
    fn ends(&self, more: i64, is_inclusive: bool) -> Ends {
        let (grace, retention) = match &self.windows.0 {
            WindowKind::Fixed(windows) => (windows.grace(), windows.retention()),
            WindowKind::Sliding(windows) => (windows.grace, windows.retention),
            WindowKind::Sessions(windows) => (windows.grace, windows.retention),
        };
        Ends {
            grace: grace.or(retention).map(|grace| micros(grace).saturating_add(more)),
            retention: retention.map(micros),
            is_inclusive,
            linger: 0,
            on_close: self.emit == Emit::OnClose,
            always: self.graph.mode().is_per_record(),
        }
    }

    /// Returns the function of the end of a window that returns the time of its close, if windows
    /// close.
    fn closes(&self) -> Option<impl Fn(Timestamp) -> Timestamp + 'static> {
        let ends = match &self.windows.0 {
            WindowKind::Sessions(windows) => self.ends(micros(windows.gap), true),
            WindowKind::Sliding(_) => self.ends(0, true),
            WindowKind::Fixed(_) => self.ends(0, false),
        };
        // Kafka's suppression does not wait beyond the inclusive end of a session.
        let ends = Ends { is_inclusive: ends.is_inclusive && !ends.always, ..ends };
        ends.close(Timestamp(0))?;
        Some(move |end| ends.close(end).unwrap_or(Timestamp::MAX))
    }

    /// Aggregates the values of each window. `key` makes the key of a row, and `end` returns the
    /// end of its window.
    fn accumulate<A: Accumulate<X>, K: Datum>(
        &self,
        verb: &str,
        aggregate: A,
        key: fn(Windowed<G>, A::Name) -> K,
        end: fn(&K) -> Timestamp,
    ) -> KTable<'s, K, A::Out> {
        let node = self.graph.node(verb, &[self.node]);
        let restored = self.records.as_ref().map(|records| records.restored);
        let rows = self.rows(node, verb, aggregate);
        let timing = match self.emit {
            Emit::OnUpdate => Timing::Epochs,
            Emit::OnClose => Timing::Windows,
        };
        let restored = restored.unwrap_or(Restored::Tail);
        let closes =
            self.closes().map(|closes| Rc::new(move |key: &K| closes(end(key))) as Closes<K>);
        let timed = rows::timed_changes(&self.graph, rows, key, restored, timing);
        KTable::from_events(self.graph.clone(), node, timed).closing(closes)
    }

    fn rows<A: Accumulate<X>>(
        &self,
        node: usize,
        verb: &str,
        aggregate: A,
    ) -> StreamVec<'s, Epoch, WindowRow<G, A::Name, A::Out>> {
        let Some(records) = &self.records else { return self.graph.nothing() };
        rows::note_order(&self.graph, &aggregate);
        let (inputs, watermarks) = ((records.timed)(), self.graph.watermarks(node));
        let setting = || rows::setting::<G, X, A>(&self.graph, node, records.restored);
        match &self.windows.0 {
            WindowKind::Fixed(windows) => {
                let windows = windows.clone();
                let assign = Rc::new(move |at, each: &mut dyn FnMut(Timestamp, Timestamp)| {
                    windows.assign(at, each);
                });
                let logic = Fixed { aggregate, assign, ends: self.ends(0, false) };
                keyed(inputs, watermarks, verb, setting(), logic)
            }
            WindowKind::Sliding(windows) => {
                let difference = micros(windows.difference);
                let setting = self.graph.setting::<G, PartOf<A::Part>, SavedSliding<A::Row>>(
                    node,
                    records.restored,
                    "windows",
                );
                let time = setting.time;
                let linger = Sliding::<A>::linger(difference, time);
                let ends = Ends { linger, ..self.ends(0, true) };
                let logic = Sliding { aggregate, difference, ends, time };
                keyed(inputs, watermarks, verb, setting, logic)
            }
            WindowKind::Sessions(windows) => {
                let gap = micros(windows.gap);
                let ends = Ends { linger: gap, ..self.ends(gap, true) };
                let setting = setting();
                let time = setting.time;
                keyed(inputs, watermarks, verb, setting, Session { aggregate, gap, ends, time })
            }
        }
    }
}
