//! [`KWindowed`]: values by group and window of event time, and their aggregates.

mod late;
mod rows;

use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Map;

use crate::graph::Graph;
use crate::grouped::{KGrouped, Records};
use crate::operators::{
    Accumulate, Aggregate, Bagged, Datum, Ends, Fixed, Folding, Quantile, Restored, Session,
    Sliding, Top, WindowRow, keyed,
};
use crate::options::{Emit, Ties, WindowKind, Windowing};
use crate::row::Windowed;
use crate::serdes::Digest;
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
///   forgotten then, and its row stands, until the retention deletes it.
/// - So results depend on positions and timestamps only, never on the order of arrival between
///   partitions. Kafka has one stream time for all partitions of a task, which depends on it.
/// - A **null key** that a serde has accepted is a group like others. Kafka drops it.
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
        let ends = self.ends(0, false);
        ends.grace.or(ends.retention)
    }

    /// Returns the ends of the windows. `more` is added to the grace.
    fn ends(&self, more: i64, is_inclusive: bool) -> Ends {
        let (grace, retention) = match &self.windows.0 {
            WindowKind::Fixed(windows) => (windows.grace(), windows.retention()),
            WindowKind::Sliding(windows) => (windows.grace, windows.retention),
            WindowKind::Sessions(windows) => (windows.grace, windows.retention),
        };
        Ends {
            grace: grace.map(|grace| micros(grace).saturating_add(more)),
            retention: retention.map(|kept| micros(kept).saturating_add(more)),
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
        let timed = rows::timed_changes(&self.graph, rows, key, restored, timing, closes);
        KTable::from_events(self.graph.clone(), node, timed)
    }

    fn rows<A: Accumulate<X>>(
        &self,
        node: usize,
        verb: &str,
        aggregate: A,
    ) -> StreamVec<'s, Epoch, WindowRow<G, A::Name, A::Out>> {
        let Some(records) = &self.records else { return self.graph.nothing() };
        let (inputs, watermarks) = ((records.timed)(), self.graph.watermarks(node));
        let setting = rows::setting::<G, X, A>(&self.graph, node, records.restored);
        match &self.windows.0 {
            WindowKind::Fixed(windows) => {
                let windows = windows.clone();
                let assign = Rc::new(move |at, each: &mut dyn FnMut(Timestamp, Timestamp)| {
                    windows.assign(at, each);
                });
                let logic = Fixed { aggregate, assign, ends: self.ends(0, false) };
                keyed(inputs, watermarks, verb, setting, logic)
            }
            WindowKind::Sliding(windows) => {
                let difference = micros(windows.difference);
                let linger = Sliding::<A>::linger(difference);
                let ends = Ends { linger, ..self.ends(0, true) };
                keyed(inputs, watermarks, verb, setting, Sliding { aggregate, difference, ends })
            }
            WindowKind::Sessions(windows) => {
                let gap = micros(windows.gap);
                let ends = Ends { linger: gap, ..self.ends(gap, true) };
                let time = setting.time;
                keyed(inputs, watermarks, verb, setting, Session { aggregate, gap, ends, time })
            }
        }
    }

    fn bagged<A: Aggregate<X> + 'static>(
        &self,
        verb: &str,
        fresh: impl Fn() -> A + 'static,
    ) -> KTable<'s, Windowed<G>, A::Out> {
        let fresh: Rc<dyn Fn() -> A> = Rc::new(fresh);
        let aggregate = Bagged { fresh, row: |result: A::Out| ((), result), is_single: true };
        self.accumulate(verb, aggregate, window_only, end)
    }

    /// Returns the number of values in each window.
    pub fn count(&self) -> KTable<'s, Windowed<G>, i64> {
        self.accumulate("count", Folding::<X, i64, i64>::count(), window_only, end)
    }

    /// Returns the sum of the results of `of` in each window. A sum beyond 64 bits is the end of
    /// the range.
    pub fn sum(&self, of: impl Fn(&X) -> i64 + 'static) -> KTable<'s, Windowed<G>, i64> {
        self.accumulate("sum", Folding::<X, i128, i64>::sum(of), window_only, end)
    }

    /// Returns the least value of each window.
    pub fn min(&self) -> KTable<'s, Windowed<G>, X> {
        self.accumulate("min", Folding::<X, Option<X>, X>::least(), window_only, end)
    }

    /// Returns the greatest value of each window.
    pub fn max(&self) -> KTable<'s, Windowed<G>, X> {
        self.accumulate("max", Folding::<X, Option<X>, X>::greatest(), window_only, end)
    }

    /// Returns the middle value of each window, of an even number the lower middle. It keeps the
    /// values of open windows.
    pub fn median(&self) -> KTable<'s, Windowed<G>, X> {
        self.bagged("median", || Quantile::new(1, 2))
    }

    /// Returns element `(n - 1) * num / den` of the sorted values of each window, counted from 0.
    /// It keeps the values of open windows.
    ///
    /// # Panics
    ///
    /// Unless `num <= den` and `den > 0`.
    pub fn quantile(&self, num: u32, den: u32) -> KTable<'s, Windowed<G>, X> {
        assert!(num <= den && den > 0, "a quantile is a fraction of the values, not {num}/{den}");
        self.bagged("quantile", move || Quantile::new(num, den))
    }

    /// Returns the number of different values in each window. It keeps a keyed 128-bit digest of
    /// each value of open windows.
    pub fn count_distinct(&self) -> KTable<'s, Windowed<G>, i64> {
        let secret = self.graph.seeds().secret();
        let digests = self.records.as_ref().map(|records| {
            let timed = records.timed.clone();
            let timed = Rc::new(move || {
                timed().map(move |(group, value)| {
                    let digest = secret.digest(&value.value);
                    (group, value.map(|_| digest))
                })
            });
            // No reader needs diffs of them.
            let graph = self.graph.clone();
            let diffs = Rc::new(move || graph.nothing().as_collection());
            Records { diffs, timed, updates: records.updates, restored: records.restored }
        });
        let of_digests: KWindowed<'s, G, Digest> = KWindowed {
            graph: self.graph.clone(),
            node: self.node,
            records: digests,
            windows: self.windows.clone(),
            emit: self.emit,
        };
        of_digests.bagged("count_distinct", crate::operators::Different::default)
    }

    /// Returns the `n` different values of each window with the greatest score `by`, one row each.
    /// It keeps the values of open windows.
    pub fn top<S: Ord + 'static>(
        &self,
        n: usize,
        ties: Ties,
        by: impl Fn(&X) -> S + 'static,
    ) -> KTable<'s, (Windowed<G>, X), ()> {
        let (by, seeds): (Rc<dyn Fn(&X) -> S>, _) = (Rc::new(by), self.graph.seeds());
        let fresh: Rc<dyn Fn() -> Top<X, S>> = Rc::new(move || match ties {
            Ties::Keep => Top::with_ties(by.clone(), n, seeds),
            Ties::Cut => Top::new(by.clone(), n, seeds),
        });
        let aggregate = Bagged { fresh, row: |value: X| (value, ()), is_single: false };
        self.accumulate(
            &format!("top {n}"),
            aggregate,
            |window, value| (window, value),
            |(window, _)| window.end,
        )
    }

    /// Reduces the values of each window with `f`, in the order of their positions, epoch by epoch.
    /// It keeps the results of open windows alone.
    pub fn reduce(&self, f: impl Fn(X, &X) -> X + 'static) -> KTable<'s, Windowed<G>, X> {
        self.accumulate("reduce", Folding::reduce(f), window_only, end)
    }

    /// Folds the values of each window from `init`, in the order of their positions, epoch by
    /// epoch. Sessions are merged, so they need
    /// [`aggregate_merging`](Self::aggregate_merging).
    pub fn aggregate<A: Datum>(
        &self,
        init: impl Fn() -> A + 'static,
        f: impl Fn(A, &X) -> A + 'static,
    ) -> KTable<'s, Windowed<G>, A> {
        if matches!(self.windows.0, WindowKind::Sessions(_)) {
            let error = "sessions are merged: use aggregate_merging() instead of aggregate()";
            self.graph.error(error.to_string());
        }
        self.accumulate("aggregate", Folding::aggregate(init, f, None), window_only, end)
    }

    /// Folds the values like [`aggregate`](Self::aggregate). `merge` adds the result of a later
    /// session to that of an earlier one: Kafka's `Merger`.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let clicks = builder.stream("clicks", Consumed::with(Int64, Int64));
    /// let sessions = SessionWindows::of_inactivity_gap(Duration::from_secs(10));
    /// clicks.group_by_key().windowed_by(sessions)
    ///     .aggregate_merging(|| 0, |sum, n| sum + n, |sum, later| sum + later)
    ///     .to("sums", Produced::columns(["user", "from", "to", "sum"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let clicks = driver.input("clicks", Int64, Int64);
    /// for (second, n) in [(0, 1), (20, 2), (10, 4)] {
    ///     driver.set_time(Timestamp(second * 1_000_000));
    ///     clicks.pipe(&mut driver, &7, &n); // the last one bridges two sessions
    ///     driver.commit()?;
    /// }
    /// assert_eq!(driver.rows("sums").len(), 1);
    /// assert_eq!(driver.rows("sums")[0][3], Long(7));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn aggregate_merging<A: Datum>(
        &self,
        init: impl Fn() -> A + 'static,
        f: impl Fn(A, &X) -> A + 'static,
        merge: impl Fn(A, &A) -> A + 'static,
    ) -> KTable<'s, Windowed<G>, A> {
        let aggregate = Folding::aggregate(init, f, Some(Rc::new(merge)));
        self.accumulate("aggregate", aggregate, window_only, end)
    }
}

fn end<G>(window: &Windowed<G>) -> Timestamp {
    window.end
}

/// Returns the key of the only row of a window.
fn window_only<G>(window: Windowed<G>, (): ()) -> Windowed<G> {
    window
}
