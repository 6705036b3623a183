//! [`KGrouped`]: values by group, and the aggregates of them. Each is maintained as values come,
//! change and go.
//!
//! What becomes of null keys, tombstones, duplicates and out-of-order records is said once, at the
//! type; a verb says only where it differs.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::graph::Graph;
use crate::operators::{
    Aggregate, Count, Datum, Diffs, Distinct, Extreme, Folded, Quantile, Sum, Top, fold,
};
use crate::options::Ties;
use crate::table::KTable;

/// Values by group: Kafka's `KGroupedStream` and `KGroupedTable` in one, as no aggregate needs a
/// subtractor.
///
/// A group without values has no row. All but [`reduce`](Self::reduce) and
/// [`aggregate`](Self::aggregate) take time logarithmic in the group for a change;
/// [`top`](Self::top) takes in addition time linear in the rows that it gives, and with
/// [`Ties::Keep`] these are all that tie.
///
/// What holds where a verb does not say otherwise:
/// - A **null** that was let in is a group or a value like others (`None`), where Kafka leaves such
///   records out.
/// - A **tombstone** of a table takes its row's value out of the group, and with the last value the
///   group's row.
/// - A **duplicate** record of a stream is one more value; of a table it changes nothing.
/// - **Out-of-order records** of a stream are values like others, as no aggregate depends on the
///   order of arrival.
#[derive(Clone)]
pub struct KGrouped<'s, G: Datum, X: Datum> {
    graph: Graph<'s>,
    node: usize,
    values: Diffs<'s, (G, X)>,
}

impl<'s, G: Datum, X: Datum> KGrouped<'s, G, X> {
    pub(crate) fn new(graph: Graph<'s>, node: usize, values: Diffs<'s, (G, X)>) -> Self {
        KGrouped { graph, node, values }
    }

    fn fold<A: Aggregate<X> + 'static>(
        &self,
        verb: &str,
        fresh: impl Fn() -> A + 'static,
    ) -> KTable<'s, G, A::Out> {
        let node = self.graph.node(verb, &[self.node]);
        KTable::from_diffs(
            self.graph.clone(),
            node,
            fold(self.values.clone(), verb, Box::new(fresh), pair, self.graph.seeds()),
            true,
        )
    }

    /// How many values; unlike Kafka's it ends with its last value instead of staying at 0.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.group_by(|id, n| (n % 2, *id)).count().to("count", Produced::columns(["parity", "count"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// [(1, 7), (2, 8), (3, 9)].map(|(id, n)| rows.pipe(&mut driver, &id, &n));
    /// rows.delete(&mut driver, &2);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("count"), [[Long(1), Long(2)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn count(&self) -> KTable<'s, G, i64> {
        self.fold("count", Count::default)
    }

    /// The sum of what `of` gives, a verb Kafka lacks; beyond 64 bits it stays at the end of the
    /// range. A sum of 0 is a row.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().sum(|n| *n).to("sum", Produced::columns(["group", "sum"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (1, 8), (2, 5), (2, -5)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("sum"), [[Long(1), Long(15)], [Long(2), Long(0)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn sum(&self, of: impl Fn(&X) -> i64 + 'static) -> KTable<'s, G, i64> {
        let of: Rc<dyn Fn(&X) -> i64> = Rc::new(of);
        self.fold("sum", move || Sum { of: of.clone(), total: 0, rows: 0 })
    }

    /// The least value, a verb Kafka lacks; when the last of its equals goes, the next stands.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().min().to("min", Produced::columns(["group", "min"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 8), (1, 7), (1, 9)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("min"), [[Long(1), Long(7)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn min(&self) -> KTable<'s, G, X> {
        self.fold("min", || Extreme::new(false))
    }

    /// The greatest value, a verb Kafka lacks; when the last of its equals goes, the next stands.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().max().to("max", Produced::columns(["group", "max"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 8), (1, 9), (1, 7)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("max"), [[Long(1), Long(9)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn max(&self) -> KTable<'s, G, X> {
        self.fold("max", || Extreme::new(true))
    }

    /// How many different values, a verb Kafka lacks: a duplicate counts once. It keeps a keyed
    /// 128-bit digest of each.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().count_distinct().to("different", Produced::columns(["group", "different"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 7), (1, 8), (1, 7)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("different"), [[Long(1), Long(2)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn count_distinct(&self) -> KTable<'s, G, i64> {
        let seeds = self.graph.seeds();
        self.fold("count_distinct", move || Distinct::new(seeds))
    }

    /// The middle value, a verb Kafka lacks; of an even number the lower middle: element `(n - 1) /
    /// 2` of the sorted values, counted from 0.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().median().to("median", Produced::columns(["group", "median"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 9), (1, 7), (1, 8), (1, 100)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("median"), [[Long(1), Long(8)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn median(&self) -> KTable<'s, G, X> {
        self.fold("median", || Quantile::new(1, 2))
    }

    /// Element `(n - 1) * num / den` of the sorted values, counted from 0; a verb Kafka lacks.
    /// Panics unless `num <= den` and `den > 0`.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().quantile(9, 10).to("p90", Produced::columns(["group", "p90"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 9), (1, 7), (1, 8), (1, 100)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("p90"), [[Long(1), Long(9)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn quantile(&self, num: u32, den: u32) -> KTable<'s, G, X> {
        assert!(num <= den && den > 0, "a quantile is a fraction of the values, not {num}/{den}");
        self.fold("quantile", move || Quantile::new(num, den))
    }

    /// The `n` different values of the greatest score `by`, a row each, keyed by group and value; a
    /// verb Kafka lacks.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().top(2, Ties::Keep, |n| n % 10).to("top", Produced::columns(["group", "top"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 17), (1, 8), (1, 8), (1, 27)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("top"), [[Long(1), Long(8)], [Long(1), Long(17)], [Long(1), Long(27)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn top<S: Ord + 'static>(
        &self,
        n: usize,
        ties: Ties,
        by: impl Fn(&X) -> S + 'static,
    ) -> KTable<'s, (G, X), ()> {
        let by: Rc<dyn Fn(&X) -> S> = Rc::new(by);
        let node = self.graph.node(format!("top {n}"), &[self.node]);
        let seeds = self.graph.seeds();
        let fresh = Box::new(move || Top::new(by.clone(), n, ties == Ties::Keep, seeds));
        let rows =
            fold(self.values.clone(), "top", fresh, |group, value| ((group, value), ()), seeds);
        KTable::from_diffs(self.graph.clone(), node, rows, false)
    }

    /// Reduces the values with `f`: unlike Kafka's in ascending order, and all of them again for
    /// each change of the group.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().reduce(|all, n| all * 10 + n).to("all", Produced::columns(["group", "all"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 3), (1, 1), (1, 3)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("all"), [[Long(1), Long(133)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn reduce(&self, f: impl Fn(X, &X) -> X + 'static) -> KTable<'s, G, X> {
        let all: Values<X, X> = Rc::new(move |bag| {
            let mut values = each(bag);
            let first = values.next()?.clone();
            Some(values.fold(first, &f))
        });
        self.fold("reduce", move || Folded::new(all.clone()))
    }

    /// Folds the values from `init`: unlike Kafka's in ascending order, and all of them again for
    /// each change of the group.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().aggregate(|| 7, |all, n| all * 10 + n).to("all", Produced::columns(["group", "all"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 3), (1, 1), (1, 3)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("all"), [[Long(1), Long(7133)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn aggregate<A: Datum>(
        &self,
        init: impl Fn() -> A + 'static,
        f: impl Fn(A, &X) -> A + 'static,
    ) -> KTable<'s, G, A> {
        let all: Values<X, A> = Rc::new(move |bag| Some(each(bag).fold(init(), &f)));
        self.fold("aggregate", move || Folded::new(all.clone()))
    }
}

type Values<X, O> = Rc<dyn Fn(&BTreeMap<X, isize>) -> Option<O>>;

/// The row of most aggregates: group and result.
fn pair<G, O>(group: G, result: O) -> (G, O) {
    (group, result)
}

/// Each value as often as it is there.
fn each<X>(bag: &BTreeMap<X, isize>) -> impl Iterator<Item = &X> {
    bag.iter().flat_map(|(value, n)| std::iter::repeat_n(value, usize::try_from(*n).unwrap_or(0)))
}
