//! Joins of two streams within windows of event time.

use std::rc::Rc;

use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use super::{Event, KStream, Updates};
use crate::operators::{
    Datum, PairJoiner, Pairs, Place, Reach, Restored, Side, SideTimes, StreamTime, Timed, Waiting,
    keyed,
};
use crate::options::JoinWindows;
use crate::time::{Epoch, micros};

/// The sides whose records are emitted without a partner.
#[derive(Clone, Copy, PartialEq)]
enum Alone {
    None,
    Left,
    Both,
}

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    /// Joins records of two streams whose keys are equal and whose timestamps are near to each
    /// other: Kafka's `KStream.join(KStream, …, JoinWindows)`.
    ///
    /// Each pair makes one record, with the greater of both timestamps. Duplicates make pairs of
    /// their own, and a stream may be joined with itself. As in Kafka, a record with a null key has
    /// no partner and is left out. A record is late, and left out, if its partition has passed the
    /// end of its window by more than the grace.
    ///
    /// Both streams must only add: a run with a stream behind a maintained join does not start.
    /// Records are kept until no partner can come. A change costs its pairs.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let shown = builder.stream("shown", Consumed::with(Int64, Int64));
    /// let clicked = builder.stream("clicked", Consumed::with(Int64, Int64));
    /// let minute = JoinWindows::of(Duration::from_secs(60)).before(Duration::ZERO);
    /// shown.join_within(&clicked, minute, |shown, clicked| shown * 100 + clicked)
    ///     .to("pairs", Produced::columns(["user", "pair"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (shown, clicked) =
    /// #     (driver.input("shown", Int64, Int64), driver.input("clicked", Int64, Int64));
    /// driver.set_time(Timestamp(0));
    /// shown.pipe(&mut driver, &7, &1);
    /// for (second, n) in [(60, 2), (61, 3)] {
    ///     driver.set_time(Timestamp(second * 1_000_000));
    ///     clicked.pipe(&mut driver, &7, &n); // the second one is too far
    /// }
    /// driver.commit()?;
    /// assert_eq!(driver.rows("pairs"), [[Long(7), Long(102)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join_within<W: Datum, O: Datum>(
        &self,
        other: &KStream<'s, K, W>,
        windows: JoinWindows,
        f: impl Fn(&V, &W) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let joiner = move |_: &K, v: Option<&V>, w: Option<&W>| Some(f(v?, w?));
        self.within("join_within", other, windows, Alone::None, Rc::new(joiner))
    }

    /// Joins like [`join_within`](Self::join_within), and emits each left record without a partner
    /// once, when none can come any more. Kafka does not wait for a record that is behind the end
    /// of the window and not late, so there both results are possible.
    ///
    /// It waits until the time of all partitions has passed the record's own by `before`, `after`
    /// and the grace together. The windows must have a grace: a run without one does not start.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let shown = builder.stream("shown", Consumed::with(Int64, Int64));
    /// let clicked = builder.stream("clicked", Consumed::with(Int64, Int64));
    /// let windows = JoinWindows::of(Duration::from_secs(60)).grace(Duration::ZERO);
    /// let pair = |shown: &i64, clicked: Option<&i64>| shown * 100 + clicked.unwrap_or(&0);
    /// shown.left_join_within(&clicked, windows, pair)
    ///     .to("pairs", Produced::columns(["user", "pair"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (shown, clicked) =
    /// #     (driver.input("shown", Int64, Int64), driver.input("clicked", Int64, Int64));
    /// for (second, n) in [(0, 1), (200, 2)] {
    ///     driver.set_time(Timestamp(second * 1_000_000));
    ///     shown.pipe(&mut driver, &7, &n);
    ///     clicked.pipe(&mut driver, &8, &n);
    /// }
    /// driver.commit()?;
    /// assert_eq!(driver.rows("pairs"), [[Long(7), Long(100)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn left_join_within<W: Datum, O: Datum>(
        &self,
        other: &KStream<'s, K, W>,
        windows: JoinWindows,
        f: impl Fn(&V, Option<&W>) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let joiner = move |_: &K, v: Option<&V>, w: Option<&W>| Some(f(v?, w));
        self.within("left_join_within", other, windows, Alone::Left, Rc::new(joiner))
    }

    /// Joins like [`left_join_within`](Self::left_join_within), and emits right records without a
    /// partner too. At least one argument of `f` is a record.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let debits = builder.stream("debits", Consumed::with(Int64, Int64));
    /// let credits = builder.stream("credits", Consumed::with(Int64, Int64));
    /// let windows = JoinWindows::of(Duration::from_secs(60)).grace(Duration::ZERO);
    /// let difference =
    ///     |debit: Option<&i64>, credit: Option<&i64>| debit.unwrap_or(&0) - credit.unwrap_or(&0);
    /// debits.outer_join_within(&credits, windows, difference)
    ///     .to("differences", Produced::columns(["id", "difference"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (debits, credits) =
    /// #     (driver.input("debits", Int64, Int64), driver.input("credits", Int64, Int64));
    /// debits.pipe(&mut driver, &1, &5);
    /// [(1, 5), (2, 7)].map(|(id, n)| credits.pipe(&mut driver, &id, &n));
    /// driver.set_time(Timestamp(200_000_000));
    /// debits.pipe(&mut driver, &3, &0);
    /// credits.pipe(&mut driver, &3, &0); // both streams are far enough now
    /// driver.commit()?;
    /// assert_eq!(driver.rows("differences"), [
    ///     [Long(1), Long(0)],
    ///     [Long(2), Long(-7)],
    ///     [Long(3), Long(0)],
    /// ]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn outer_join_within<W: Datum, O: Datum>(
        &self,
        other: &KStream<'s, K, W>,
        windows: JoinWindows,
        f: impl Fn(Option<&V>, Option<&W>) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let joiner = move |_: &K, v: Option<&V>, w: Option<&W>| Some(f(v, w));
        self.within("outer_join_within", other, windows, Alone::Both, Rc::new(joiner))
    }

    fn within<W: Datum, O: Datum>(
        &self,
        verb: &str,
        other: &KStream<'s, K, W>,
        windows: JoinWindows,
        alone: Alone,
        joiner: PairJoiner<K, V, W, O>,
    ) -> KStream<'s, K, O> {
        let graph = self.graph.clone();
        let described = format!("{verb} {}", windows.describe());
        let node = graph.node(described, &[self.node, other.node]);
        if self.updates.max(other.updates) == Updates::Retracting {
            graph.error(format!(
                "{verb} can't be used for records that are taken back, behind a maintained join: \
                 join streams that only add"
            ));
        }
        if alone != Alone::None && windows.grace.is_none() {
            graph.error(format!(
                "{verb} would never emit a record without a partner: state a grace"
            ));
        }
        // All records of both sides flow again after a restart, or those of neither.
        let restored = self.restored.max(other.restored);
        let lefts = self.side(node, 0, restored).map(|(k, timed)| (k, timed.map(Side::Left)));
        let rights = other.side(node, 1, restored).map(|(k, timed)| (k, timed.map(Side::Right)));
        let time = StreamTime::of(graph.mode());
        let setting =
            graph.setting::<K, (bool, Place), Waiting<Side<V, W>>>(node, restored, "records");
        let reach = Reach {
            before: micros(windows.before),
            after: micros(windows.after),
            grace: windows.grace.map(micros),
        };
        let (left_alone, right_alone) = (alone != Alone::None, alone == Alone::Both);
        let seen = SideTimes::default();
        let logic = Pairs { joiner, reach, left_alone, right_alone, time, seen };
        let watermarks = graph.watermarks(node);
        let results = keyed(lefts.concat(rights), watermarks, verb, setting, logic);
        let events = results.map(|(key, timed)| Event::of_timed(key, timed));
        KStream::new(graph, node, events, Updates::AppendOnly, restored)
    }

    /// Returns the records of one side of a join, which all flow again after a restart if those of
    /// the other do.
    fn side(
        &self,
        node: usize,
        side: u64,
        restored: Restored,
    ) -> StreamVec<'s, Epoch, (K, Timed<V>)> {
        let events = match self.restored < restored {
            true => self.kept_events(node, side),
            false => self.events.clone(),
        };
        events.map(|event| {
            let timed = event.timed();
            (event.key, timed.map(|()| event.value))
        })
    }
}
