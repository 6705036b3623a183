//! The verb that joins two tables on a range.

use std::ops::RangeBounds;
use std::rc::Rc;

use crate::operators::{Datum, Interval, Placement, RangeJoin, broadcast, join_between};

use super::KTable;

impl<'s, K: Datum, V: Datum> KTable<'s, K, V> {
    /// Joins each row with every row of `right` whose range includes a value of it, such as a price
    /// with its price bands. Kafka has no such verb.
    ///
    /// `value` returns the value of a left row, and `range` the range of a right row: any range of
    /// Rust, with or without its ends. Where one of them is `None`, the row has no results. Nor has
    /// it with a range that is empty or ends before it starts, or where `f` returns `None`.
    ///
    /// The key of a result is the pair of both keys. A changed left row costs a search among the
    /// ranges, and a changed right row a search among the values, besides the results that change.
    /// Each worker keeps all right rows and its share of the left ones: let `right` be the smaller
    /// table.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let incomes = builder.table("incomes", Consumed::with(Int64, Int64));
    /// let brackets = builder.table("brackets", Consumed::with(Int64, Json));
    /// incomes.join_between(
    ///     &brackets,
    ///     |_, income| Some(*income),
    ///     |_, (from, to, _percent): &(i64, i64, i64)| Some(*from..*to),
    ///     |income, (_, _, percent)| income * percent / 100,
    /// ).to("taxes", Produced::columns(["person", "bracket", "tax"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let incomes = driver.input("incomes", Int64, Int64);
    /// # let brackets = driver.input("brackets", Int64, Json);
    /// [(1, 4_000), (2, 20_000)].map(|(id, income)| incomes.pipe(&mut driver, &id, &income));
    /// brackets.pipe(&mut driver, &7, &(0, 10_000, 5));
    /// brackets.pipe(&mut driver, &8, &(10_000, 50_000, 20));
    /// driver.commit()?;
    /// assert_eq!(
    ///     driver.rows("taxes"),
    ///     [[Long(1), Long(7), Long(200)], [Long(2), Long(8), Long(4_000)]],
    /// );
    /// brackets.pipe(&mut driver, &7, &(5_000, 10_000, 5)); // free of tax up to 5,000
    /// driver.commit()?;
    /// assert_eq!(driver.rows("taxes"), [[Long(2), Long(8), Long(4_000)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join_between<L, W, X, B, O, P>(
        &self,
        right: &KTable<'s, L, W>,
        value: impl Fn(&K, &V) -> Option<X> + 'static,
        range: impl Fn(&L, &W) -> Option<B> + 'static,
        f: impl Fn(&V, &W) -> P + 'static,
    ) -> KTable<'s, (K, L), O>
    where
        L: Datum,
        W: Datum,
        X: Ord + Clone + 'static,
        B: RangeBounds<X>,
        O: Datum,
        P: Into<Option<O>>,
    {
        let node = self.graph.node("join_between", &[self.node, right.node]);
        let join = RangeJoin {
            value: Box::new(value),
            interval: Box::new(move |key, row| range(key, row).map(|range| Interval::of(&range))),
            joiner: Rc::new(move |v, w| f(v, w).into()),
        };
        let (lefts, rights) = (self.diffs(), broadcast(right.diffs()));
        let (owners, meter) = (self.graph.owners(), self.graph.meter(node));
        let rows = join_between(lefts, rights, join, "join_between", &owners, meter);
        // The results of a left row stay on its worker, which need not own the pair of keys.
        KTable::from_diffs(self.graph.clone(), node, rows, Placement::AnyWorker)
    }
}
