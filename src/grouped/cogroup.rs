//! [`KCogrouped`]: values of several streams and tables by group, for one aggregate of them all.

use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use super::KGrouped;
use super::values::{Records, Values};
use crate::operators::{Datum, Restored, Side};
use crate::options::Windowing;
use crate::row::Windowed;
use crate::table::{KTable, MakeTouches};
use crate::windowed::KWindowed;

/// The values of several streams and tables by group: Kafka's `CogroupedKStream`.
///
/// Each input has a closure of its own that adds its values to the aggregate. `X` is the type of
/// all values: another input makes it a [`Side`] of the earlier values and the new ones.
#[derive(Clone)]
pub struct KCogrouped<'s, G: Datum, X: Datum, A: Datum> {
    grouped: KGrouped<'s, G, X>,
    add: Rc<dyn Fn(A, &X) -> A>,
}

impl<'s, G: Datum, X: Datum> KGrouped<'s, G, X> {
    /// Begins an aggregate of several streams and tables with the same groups. `add` adds a value
    /// of this one.
    ///
    /// Of streams that only add, values are taken in the order of their positions, epoch by epoch,
    /// and the result alone is kept. With a table, or a stream that retracts, all values are kept
    /// and taken again in ascending order for each change of their group, those of the first input
    /// first.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let bought = builder.stream("bought", Consumed::with(Int64, Int64)).group_by_key();
    /// let returned = builder.stream("returned", Consumed::with(Int64, Int64)).group_by_key();
    /// bought.cogroup(|stock: i64, n| stock + n)
    ///     .cogroup(&returned, |stock, n| stock - n)
    ///     .aggregate(|| 0)
    ///     .to("stock", Produced::columns(["item", "stock"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (bought, returned) =
    /// #     (driver.input("bought", Int64, Int64), driver.input("returned", Int64, Int64));
    /// [(1, 5), (2, 7), (1, 5)].map(|(item, n)| bought.pipe(&mut driver, &item, &n));
    /// returned.pipe(&mut driver, &1, &3);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("stock"), [[Long(1), Long(7)], [Long(2), Long(7)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn cogroup<A: Datum>(&self, add: impl Fn(A, &X) -> A + 'static) -> KCogrouped<'s, G, X, A> {
        let node = self.graph.node("cogroup", &[self.node]);
        let grouped = KGrouped { node, ..self.clone() };
        KCogrouped { grouped, add: Rc::new(add) }
    }
}

impl<'s, G: Datum, X: Datum, A: Datum> KCogrouped<'s, G, X, A> {
    /// Adds the values of another stream or table. [`KGrouped::cogroup`] states their order and
    /// the cost. Unlike Kafka's, the other input may be a table.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let paid = builder.stream("paid", Consumed::with(Int64, Int64)).group_by_key();
    /// let limits = builder.table("limits", Consumed::with(Int64, Int64));
    /// let limits = limits.group_by(|customer, limit| (*customer, *limit));
    /// limits.cogroup(|left: i64, limit| left + limit)
    ///     .cogroup(&paid, |left, amount| left - amount)
    ///     .aggregate(|| 0)
    ///     .to("left", Produced::columns(["customer", "left"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (paid, limits) =
    /// #     (driver.input("paid", Int64, Int64), driver.input("limits", Int64, Int64));
    /// limits.pipe(&mut driver, &1, &100);
    /// [(1, 30), (1, 30)].map(|(customer, amount)| paid.pipe(&mut driver, &customer, &amount));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("left"), [[Long(1), Long(40)]]);
    /// limits.pipe(&mut driver, &1, &200); // replaces the limit
    /// driver.commit()?;
    /// assert_eq!(driver.rows("left"), [[Long(1), Long(140)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn cogroup<Y: Datum>(
        &self,
        other: &KGrouped<'s, G, Y>,
        add: impl Fn(A, &Y) -> A + 'static,
    ) -> KCogrouped<'s, G, Side<X, Y>, A> {
        let graph = self.grouped.graph.clone();
        let node = graph.node("cogroup", &[self.grouped.node, other.node]);
        let values = self.grouped.with(other);
        let before = self.add.clone();
        let add = move |all: A, value: &Side<X, Y>| match value {
            Side::Left(value) => before(all, value),
            Side::Right(value) => add(all, value),
        };
        KCogrouped { grouped: KGrouped { graph, node, values }, add: Rc::new(add) }
    }

    /// Folds the values of each group from `init`. A group without values has no row.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let home = builder.stream("home", Consumed::with(Int64, Int64)).group_by_key();
    /// let away = builder.stream("away", Consumed::with(Int64, Int64)).group_by_key();
    /// home.cogroup(|(goals, games): (i64, i64), n| (goals + n, games + 1))
    ///     .cogroup(&away, |(goals, games), n| (goals + n, games + 1))
    ///     .aggregate(|| (0, 0))
    ///     .to("season", Produced::columns(["team", "goals", "games"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (home, away) =
    /// #     (driver.input("home", Int64, Int64), driver.input("away", Int64, Int64));
    /// home.pipe(&mut driver, &7, &3);
    /// [1, 0].map(|goals| away.pipe(&mut driver, &7, &goals));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("season"), [[Long(7), Long(4), Long(3)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn aggregate(&self, init: impl Fn() -> A + 'static) -> KTable<'s, G, A> {
        let add = self.add.clone();
        self.grouped.aggregate(init, move |all, value| add(all, value))
    }

    /// Divides the values by windows of event time, like [`KGrouped::windowed_by`]: all inputs
    /// must be streams that only add.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let clicks = builder.stream("clicks", Consumed::with(Int64, Int64)).group_by_key();
    /// let sales = builder.stream("sales", Consumed::with(Int64, Int64)).group_by_key();
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60));
    /// clicks.cogroup(|score: i64, _| score + 1).cogroup(&sales, |score, _| score + 10)
    ///     .windowed_by(minutes)
    ///     .aggregate(|| 0)
    ///     .to("scores", Produced::columns(["item", "from", "to", "score"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (clicks, sales) =
    /// #     (driver.input("clicks", Int64, Int64), driver.input("sales", Int64, Int64));
    /// for second in [10, 20, 60] {
    ///     clicks.pipe_at(&mut driver, &1, &0, Timestamp::from_millis(second * 1_000));
    /// }
    /// sales.pipe_at(&mut driver, &1, &0, Timestamp::from_millis(30_000));
    /// driver.commit()?;
    /// let rows: Vec<_> = driver.rows("scores").into_iter().map(|row| row[3].clone()).collect();
    /// assert_eq!(rows, [Long(12), Long(1)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn windowed_by(&self, windows: impl Into<Windowing>) -> KWindowedCogrouped<'s, G, X, A> {
        let windowed = self.grouped.windowed_by(windows);
        KWindowedCogrouped { windowed, add: self.add.clone() }
    }
}

/// The values of several streams by group and window: Kafka's `TimeWindowedCogroupedKStream` and
/// `SessionWindowedCogroupedKStream` in one.
#[derive(Clone)]
pub struct KWindowedCogrouped<'s, G: Datum, X: Datum, A: Datum> {
    windowed: KWindowed<'s, G, X>,
    add: Rc<dyn Fn(A, &X) -> A>,
}

impl<'s, G: Datum, X: Datum, A: Datum> KWindowedCogrouped<'s, G, X, A> {
    /// Folds the values of each window from `init`, like [`KWindowed::aggregate`].
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let bought = builder.stream("bought", Consumed::with(Int64, Int64)).group_by_key();
    /// let returned = builder.stream("returned", Consumed::with(Int64, Int64)).group_by_key();
    /// bought.cogroup(|net: i64, n| net + n)
    ///     .cogroup(&returned, |net, n| net - n)
    ///     .windowed_by(TimeWindows::of_size(Duration::from_secs(60)))
    ///     .aggregate(|| 0)
    ///     .to("net", Produced::columns(["item", "from", "to", "net"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (bought, returned) =
    /// #     (driver.input("bought", Int64, Int64), driver.input("returned", Int64, Int64));
    /// [(1, 5), (2, 7), (1, 5)].map(|(item, n)| bought.pipe(&mut driver, &item, &n));
    /// returned.pipe(&mut driver, &1, &3);
    /// driver.commit()?;
    /// let net: Vec<_> = driver.rows("net").into_iter().map(|row| row[3].clone()).collect();
    /// assert_eq!(net, [Long(7), Long(7)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn aggregate(&self, init: impl Fn() -> A + 'static) -> KTable<'s, Windowed<G>, A> {
        let add = self.add.clone();
        self.windowed.aggregate(init, move |all, value| add(all, value))
    }

    /// Folds the values of each session from `init`, like [`KWindowed::aggregate_merging`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let clicks = builder.stream("clicks", Consumed::with(Int64, Int64)).group_by_key();
    /// let sales = builder.stream("sales", Consumed::with(Int64, Int64)).group_by_key();
    /// let sessions = SessionWindows::of_inactivity_gap(Duration::from_secs(10));
    /// clicks.cogroup(|score: i64, _| score + 1).cogroup(&sales, |score, _| score + 10)
    ///     .windowed_by(sessions)
    ///     .aggregate_merging(|| 0, |score, later| score + later)
    ///     .to("scores", Produced::columns(["user", "from", "to", "score"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let (clicks, sales) =
    /// #     (driver.input("clicks", Int64, Int64), driver.input("sales", Int64, Int64));
    /// for second in [0, 20] {
    ///     clicks.pipe_at(&mut driver, &7, &0, Timestamp::from_millis(second * 1_000));
    /// }
    /// sales.pipe_at(&mut driver, &7, &0, Timestamp::from_millis(10_000)); // bridges both sessions
    /// driver.commit()?;
    /// assert_eq!(driver.rows("scores").len(), 1);
    /// assert_eq!(driver.rows("scores")[0][3], Long(12));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn aggregate_merging(
        &self,
        init: impl Fn() -> A + 'static,
        merge: impl Fn(A, &A) -> A + 'static,
    ) -> KTable<'s, Windowed<G>, A> {
        let add = self.add.clone();
        self.windowed.aggregate_merging(init, move |all, value| add(all, value), merge)
    }
}

impl<'s, G: Datum, X: Datum> KGrouped<'s, G, X> {
    /// Returns the values of both.
    fn with<Y: Datum>(&self, other: &KGrouped<'s, G, Y>) -> Values<'s, G, Side<X, Y>> {
        if let (Values::Records(one, _), Values::Records(two, _)) = (&self.values, &other.values)
            && one.restored == two.restored
        {
            return Values::Records(one.with(two), Rc::default());
        }
        let touches = self.values.touches().zip(other.values.touches());
        let touches = touches
            .map(|(one, two)| -> MakeTouches<'s, G> { Rc::new(move || one().concat(two())) });
        Values::Rows(either(self.values(), other.values()), touches)
    }
}

impl<'s, G: Datum, X: Datum> Records<'s, G, X> {
    /// Returns the records of two streams that flow again alike after a restart.
    fn with<Y: Datum>(&self, other: &Records<'s, G, Y>) -> Records<'s, G, Side<X, Y>> {
        let (one, two) = (self.timed.clone(), other.timed.clone());
        let timed = move || {
            let left = one().map(|(group, timed)| (group, timed.map(Side::Left)));
            left.concat(two().map(|(group, timed)| (group, timed.map(Side::Right))))
        };
        let (one, two) = (self.diffs.clone(), other.diffs.clone());
        let diffs = move || either(one(), two());
        let updates = self.updates.max(other.updates);
        let restored: Restored = self.restored;
        Records { diffs: Rc::new(diffs), timed: Rc::new(timed), updates, restored }
    }
}

type Grouped<'s, G, X> = crate::operators::Diffs<'s, (G, X)>;

/// Returns the diffs of both.
fn either<'s, G: Datum, X: Datum, Y: Datum>(
    one: Grouped<'s, G, X>,
    two: Grouped<'s, G, Y>,
) -> Grouped<'s, G, Side<X, Y>> {
    let left = one.inner.map(|((group, x), epoch, diff)| ((group, Side::Left(x)), epoch, diff));
    let right = two.inner.map(|((group, y), epoch, diff)| ((group, Side::Right(y)), epoch, diff));
    left.concat(right).as_collection()
}
