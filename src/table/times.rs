//! The times of rows: those of the records that made them.
//!
//! Times flow beside the rows, and only to readers that need them. So the operators of rows keep no
//! times, and a table without such a reader has none.

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use super::{Closes, KTable, RUN_BITS, TimedChanges};
use crate::metrics::Meter;
use crate::operators::{
    Datum, GroupedTimes, JoinedTimes, RankedTimes, Restored, RowTimes, Setting, Side, Stamped,
    Timed, Update, in_epoch, keyed, stamp,
};
use crate::record::{Order, Ordinal};
use crate::row::Windowed;
use crate::stream::Event;
use crate::time::{Epoch, Timestamp, micros};

/// The times of the records that have touched a row, by its key. The change of a row has those of
/// the last record of its key in the epoch.
pub(crate) type Touches<'s, K> = StreamVec<'s, Epoch, (K, Timed<()>)>;

/// Makes touches, for a reader that needs them.
pub(crate) type MakeTouches<'s, K> = Rc<dyn Fn() -> Touches<'s, K> + 's>;

impl<'s, K: Datum, V: Datum> KTable<'s, K, V> {
    /// Adds the function of a key that returns the time at which its window closes.
    pub(crate) fn closing(self, closes: Option<Closes<K>>) -> Self {
        KTable { closes, ..self }
    }

    /// Adds a way to find the times of the records that touch rows.
    pub(crate) fn with_touches(self, make: impl Fn() -> Touches<'s, K> + 's) -> Self {
        let made = OnceCell::new();
        let touches: MakeTouches<'s, K> = Rc::new(move || made.get_or_init(&make).clone());
        KTable { touches: Some(touches), ..self }
    }

    /// Returns true if the rows can have times.
    pub(crate) fn can_have_times(&self) -> bool {
        self.timed.is_some() || self.touches.is_some()
    }

    /// Returns the changes with their times; none if the rows can't have times.
    pub(crate) fn times(&self) -> Option<TimedChanges<'s, K, V>> {
        if let Some(timed) = &self.timed {
            return Some(timed());
        }
        let base = self.graph.earlier_runs() << RUN_BITS;
        let stamped = self.stamped(self.changes.updates())?;
        let events = in_epoch(stamped, move |change, epoch| {
            let Stamped { key, after, times, .. } = change;
            Event::of_change(key, times.map(|()| after), base + epoch)
        });
        Some(TimedChanges { events, restored: Restored::Tail, is_by_epoch: true })
    }

    /// Returns the times of the records that touch rows; none if the rows can't have times.
    fn touches(&self) -> Option<Touches<'s, K>> {
        match (&self.timed, &self.touches) {
            (Some(timed), _) => Some(timed().events.map(|event| {
                let times = event.timed();
                (event.key, times)
            })),
            (None, Some(touches)) => Some(touches()),
            (None, None) => None,
        }
    }

    /// Returns the net changes of `updates` with their times.
    pub(super) fn stamped(
        &self,
        updates: StreamVec<'s, Epoch, (K, Update<V>)>,
    ) -> Option<StreamVec<'s, Epoch, Stamped<K, V>>> {
        let touches = self.touches()?.map(|(key, times)| (key, Update::Touch(times)));
        // The last record of an epoch depends on where epochs end.
        self.graph.volatile();
        let first = u64::from(self.graph.earlier_runs() > 0);
        Some(stamp(updates.concat(touches), first, &self.graph.owners()))
    }

    /// Returns for each changed row its times, and true if it stands.
    pub(super) fn standing(&self) -> StreamVec<'s, Epoch, (K, Timed<bool>)> {
        match self.stamped(self.changes.updates()) {
            Some(changes) => changes.map(|it| (it.key, it.times.map(|()| it.after.is_some()))),
            None => self.graph.nothing(),
        }
    }

    /// Returns a way to find the times of the records that touch groups, which `group` returns for
    /// a row; none if the rows can't have times.
    pub(super) fn group_touches<G: Datum>(
        &self,
        group: impl Fn(&K, &V) -> Option<G> + 'static,
    ) -> Option<MakeTouches<'s, G>> {
        let (table, group) = (self.clone(), Rc::new(group));
        self.can_have_times().then(|| {
            let make = move || {
                let group = group.clone();
                match table.stamped(table.changes.updates_with_former()) {
                    Some(changes) => changes.flat_map(move |change| {
                        let Stamped { key, before, after, greatest, .. } = change;
                        let rows = [before, after].into_iter().flatten();
                        let groups: Vec<G> = rows.filter_map(|row| group(&key, &row)).collect();
                        groups.into_iter().map(move |group| (group, greatest.clone()))
                    }),
                    None => table.graph.nothing(),
                }
            };
            Rc::new(make) as MakeTouches<'s, G>
        })
    }

    /// Adds the times of joined rows, if those of both tables can have times.
    pub(super) fn with_joined_times<L: Datum, R: Datum>(
        self,
        left: &KTable<'s, K, L>,
        right: &KTable<'s, K, R>,
    ) -> Self {
        if !left.can_have_times() || !right.can_have_times() {
            return self;
        }
        let (graph, node) = (self.graph.clone(), self.node);
        let (left, right) = (left.clone(), right.clone());
        let closes = left.closes.clone().zip(right.closes.clone());
        let closes = closes
            .map(|(left, right)| Rc::new(move |key: &K| left(key).max(right(key))) as Closes<K>);
        let table = self.with_touches(move || {
            let lefts = left.standing().map(|(key, it)| (key, it.map(Side::Left)));
            let rights = right.standing().map(|(key, it)| (key, it.map(Side::Right)));
            let setting = graph.setting::<K, bool, RowTimes>(node, Restored::Tail, "times");
            // The rows of the step are counted where they are made.
            let setting = Setting { meter: Meter::default(), ..setting };
            let none = graph.nothing();
            keyed(lefts.concat(rights), none, "times", setting, JoinedTimes)
        });
        KTable { closes, ..table }
    }

    /// Adds the times of aggregates: the greatest ones of the records that touch a group.
    pub(crate) fn with_grouped_times(self, touches: Option<MakeTouches<'s, K>>) -> Self {
        let Some(touches) = touches else { return self };
        let (graph, node, rows) = (self.graph.clone(), self.node, self.diffs());
        self.with_touches(move || {
            let touched = touches().map(|(key, times)| (key, times.map(Side::Left)));
            let stands =
                rows.inner.clone().map(|((key, _), _, diff)| (key, untimed(Side::Right(diff > 0))));
            let setting = graph.setting::<K, (), RowTimes>(node, Restored::Tail, "times");
            // The rows of the step are counted where they are made.
            let setting = Setting { meter: Meter::default(), ..setting };
            let none = graph.nothing();
            keyed(touched.concat(stands), none, "times", setting, GroupedTimes)
        })
    }
}

impl<'s, G: Datum, X: Datum> KTable<'s, (G, X), ()> {
    /// Adds the times of the rows of groups: the greatest ones of the records that touch a group in
    /// the epoch in which its row changes.
    pub(crate) fn with_ranked_times(self, touches: Option<MakeTouches<'s, G>>) -> Self {
        let Some(touches) = touches else { return self };
        let (graph, node, rows) = (self.graph.clone(), self.node, self.diffs());
        self.with_touches(move || {
            let touched = touches().map(|(group, times)| (group, times.map(Side::Left)));
            let changed = rows
                .inner
                .clone()
                .map(|(((group, row), ()), _, _)| (group, untimed(Side::Right(row))));
            // The rows of the step are counted where they are made, and nothing is kept.
            let setting = graph.setting::<G, (), ()>(node, Restored::All, "times");
            let setting = Setting { meter: Meter::default(), ..setting };
            keyed(touched.concat(changed), graph.nothing(), "times", setting, RankedTimes)
        })
    }
}

/// Returns a value without times.
fn untimed<X>(value: X) -> Timed<X> {
    let (order, ordinal) = (Order::default(), Ordinal::default());
    let (timestamp, partition_time) = (Timestamp::MIN, Timestamp::MIN);
    Timed { order, ordinal, timestamp, partition_time, value }
}

impl<'s, K: Datum, V: Datum> KTable<'s, Windowed<K>, V> {
    /// States that the windows of the keys close `grace` after their ends, for
    /// [`suppress`](Self::suppress). The grace of windows that are read from a topic is not known
    /// otherwise. Kafka has no such verb: it emits no final results of such a table.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::Windowed;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let counts = builder.table::<Windowed<i64>, i64>("counts", Consumed::with(Json, Json));
    /// counts.windows_close_after(Duration::ZERO)
    ///     .suppress(Suppressed::until_window_closes())
    ///     .to("last", Produced::columns(["user", "from", "to", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let counts = driver.input("counts", Json, Json);
    /// let first = Windowed { key: 7, start: Timestamp(0), end: Timestamp(10) };
    /// let second = Windowed { key: 7, start: Timestamp(10), end: Timestamp(20) };
    /// for (at, n) in [(1, 1), (5, 2)] {
    ///     counts.pipe_at(&mut driver, &first, &n, Timestamp(at));
    /// }
    /// driver.commit()?;
    /// assert!(driver.rows("last").is_empty());
    /// counts.pipe_at(&mut driver, &second, &1, Timestamp(10)); // closes the first window
    /// driver.commit()?;
    /// assert_eq!(driver.rows("last")[0][3], Long(2));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn windows_close_after(&self, grace: Duration) -> Self {
        let node = self.graph.node(format!("windows_close_after {grace:?}"), &[self.node]);
        let grace = micros(grace);
        let closes: Closes<Windowed<K>> = Rc::new(move |key| key.end.plus(grace));
        KTable { node, ..self.clone() }.closing(Some(closes))
    }
}
