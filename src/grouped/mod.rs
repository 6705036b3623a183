//! [`KGrouped`]: values by group, and their aggregates, maintained while values are added, changed
//! and removed.
//!
//! The type states how null keys, tombstones, duplicates and out-of-order records are treated. The
//! doc of a verb states only where it differs.

mod cogroup;
mod folds;
mod own;
mod values;

use std::rc::Rc;

use crate::graph::Graph;
use crate::operators::{
    Aggregate, Count, Datum, Diffs, Distinct, Extreme, Folding, Placement, Quantile, Sum, Top, fold,
};
use crate::options::{Ties, Windowing};
use crate::stream::Updates;
use crate::table::{KTable, MakeTouches};
use crate::windowed::{KWindowed, folded_changes};

pub use cogroup::{KCogrouped, KWindowedCogrouped};
pub(crate) use own::Own;
pub use own::{Aggregator, Subtracting};
pub(crate) use values::Records;
use values::Values;

/// Values by group: Kafka's `KGroupedStream` and `KGroupedTable` in one, because no aggregate needs
/// a subtractor; two [take one](KGrouped::aggregate_subtracting).
///
/// A group without values has no row. A change takes time logarithmic in the size of its group,
/// except in [`reduce`](Self::reduce) and [`aggregate`](Self::aggregate). [`top`](Self::top) also
/// takes time linear in its rows, which with [`Ties::Keep`] include all that tie.
///
/// Unless the doc of a verb differs:
/// - A **null** that a serde has accepted is a group or a value like others (`None`). Kafka ignores
///   such records.
/// - A **tombstone** of a table removes its row's value from the group, and with the last value the
///   group's row.
/// - A **duplicate** record of a stream is one more value. In a table it changes nothing.
/// - **Out-of-order records** of a stream are values like others: no aggregate depends on the order
///   of arrival.
#[derive(Clone)]
pub struct KGrouped<'s, G: Datum, X: Datum> {
    pub(crate) graph: Graph<'s>,
    pub(crate) node: usize,
    values: Values<'s, G, X>,
}

impl<'s, G: Datum, X: Datum> KGrouped<'s, G, X> {
    /// Groups the rows of a table.
    pub(crate) fn of_rows(
        graph: Graph<'s>,
        node: usize,
        values: Diffs<'s, (G, X)>,
        touches: Option<MakeTouches<'s, G>>,
    ) -> Self {
        KGrouped { graph, node, values: Values::Rows(values, touches) }
    }

    /// Groups the records of a stream.
    pub(crate) fn of_records(graph: Graph<'s>, node: usize, records: Records<'s, G, X>) -> Self {
        KGrouped { graph, node, values: Values::Records(records, Rc::default()) }
    }

    /// Returns the values, for aggregates that take them in any order.
    fn values(&self) -> Diffs<'s, (G, X)> {
        match &self.values {
            Values::Rows(diffs, _) => diffs.clone(),
            Values::Records(records, diffs) => diffs.get_or_init(|| (records.diffs)()).clone(),
        }
    }

    /// Returns the records of a stream that only adds; none of a table or another stream.
    pub(crate) fn added(&self) -> Option<&Records<'s, G, X>> {
        match &self.values {
            Values::Records(records, _) if records.updates == Updates::AppendOnly => Some(records),
            _ => None,
        }
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
            fold(
                self.values(),
                verb,
                Box::new(fresh),
                pair,
                &self.graph.owners(),
                self.graph.meter(node),
            ),
            Placement::Owner,
        )
        .with_grouped_times(self.values.touches())
    }

    /// Adds changes with times to the table of an aggregate of a stream that only adds.
    fn timed<S: Datum, O: Datum>(
        &self,
        table: KTable<'s, G, O>,
        verb: &'static str,
        aggregate: impl Fn() -> Folding<X, S, O> + 's,
    ) -> KTable<'s, G, O> {
        let Some(records) = self.added().cloned() else { return table };
        let (graph, node) = (self.graph.clone(), table.node);
        let changes = move || folded_changes(&graph, node, &records, verb, aggregate());
        table.with_times(changes)
    }

    /// Divides the values of each group by windows of event time.
    ///
    /// The groups must be those of a stream that only adds: a run with a table, or with a stream
    /// behind a maintained join, does not start. The topics before it must have timestamps, see
    /// [`Consumed::timestamp`](crate::options::Consumed::timestamp).
    ///
    /// ```
    /// # use watershed::prelude::{Value::{self, Long}, *};
    /// use std::time::Duration;
    ///
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let clicks = builder.stream("clicks", Consumed::with(Int64, Int64));
    /// let minutes = TimeWindows::of_size(Duration::from_secs(60));
    /// clicks.group_by_key().windowed_by(minutes).count()
    ///     .to("clicks", Produced::columns(["user", "from", "to", "clicks"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let clicks = driver.input("clicks", Int64, Int64);
    /// for second in [10, 50, 70] {
    ///     driver.set_time(Timestamp(second * 1_000_000));
    ///     clicks.pipe(&mut driver, &7, &0);
    /// }
    /// driver.commit()?;
    /// let minute = |n: i64| Value::Timestamp(n * 60_000_000);
    /// assert_eq!(
    ///     driver.rows("clicks"),
    ///     [[Long(7), minute(0), minute(1), Long(2)], [Long(7), minute(1), minute(2), Long(1)]],
    /// );
    /// # Ok::<(), Error>(())
    /// ```
    pub fn windowed_by(&self, windows: impl Into<Windowing>) -> KWindowed<'s, G, X> {
        KWindowed::new(self, windows.into())
    }

    /// Returns the number of values. Unlike Kafka's, the row is deleted with the group's last value
    /// instead of staying at 0.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.group_by(|id, n| (n % 2, *id)).count()
    ///     .to("count", Produced::columns(["parity", "count"]));
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
        self.timed(self.fold("count", Count::default), "count", Folding::<X, i64, i64>::count)
    }

    /// Returns the sum of the results of `of`. A sum beyond 64 bits is the end of the range, and a
    /// sum of 0 is a row. Kafka has no such verb.
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
        let added = of.clone();
        let sums = self.fold("sum", move || Sum { of: of.clone(), total: 0, rows: 0 });
        self.timed(sums, "sum", move || {
            let of = added.clone();
            Folding::<X, i128, i64>::sum(move |value| of(value))
        })
    }

    /// Returns the least value. When its last duplicate is removed, the next value takes its place.
    /// Kafka has no such verb.
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
        self.timed(self.fold("min", Extreme::least), "min", Folding::<X, Option<X>, X>::least)
    }

    /// Returns the greatest value. When its last duplicate is removed, the next value takes its
    /// place. Kafka has no such verb.
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
        self.timed(self.fold("max", Extreme::greatest), "max", Folding::<X, Option<X>, X>::greatest)
    }

    /// Returns the number of different values: duplicates count once. It keeps a keyed 128-bit
    /// digest of each. Kafka has no such verb.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().count_distinct()
    ///     .to("different", Produced::columns(["group", "different"]));
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

    /// Returns the middle value, of an even number the lower middle: element `(n - 1) / 2` of the
    /// sorted values, counted from 0. Kafka has no such verb.
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

    /// Returns element `(n - 1) * num / den` of the sorted values, counted from 0. Kafka has no
    /// such verb.
    ///
    /// # Panics
    ///
    /// Unless `num <= den` and `den > 0`.
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

    /// Returns the `n` different values with the greatest score `by`, one row each, keyed by group
    /// and value. Kafka has no such verb.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().top(2, Ties::Keep, |n| n % 10)
    ///     .to("top", Produced::columns(["group", "top"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 17), (1, 8), (1, 8), (1, 27)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(
    ///     driver.rows("top"),
    ///     [[Long(1), Long(8)], [Long(1), Long(17)], [Long(1), Long(27)]],
    /// );
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
        let fresh = Box::new(move || match ties {
            Ties::Keep => Top::with_ties(by.clone(), n, seeds),
            Ties::Cut => Top::new(by.clone(), n, seeds),
        });
        let (row, meter) = (|group, value| ((group, value), ()), self.graph.meter(node));
        let rows = fold(self.values(), "top", fresh, row, &self.graph.owners(), meter);
        KTable::from_diffs(self.graph.clone(), node, rows, Placement::AnyWorker)
            .with_ranked_times(self.values.touches())
    }
}

/// Returns the row of most aggregates: group and result.
fn pair<G, O>(group: G, result: O) -> (G, O) {
    (group, result)
}
