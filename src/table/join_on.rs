//! Verbs that join a table with the rows to which it refers by a foreign key.

use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::{Concat, OkErr, vec::Map};

use crate::metrics::Meter;
use crate::operators::{
    Datum, Match, MatchJoiner, Placement, Reference, ReferredTimes, Restored, RowTimes, Setting,
    Side, Stamped, Timed, Unmatched, join_by_group, keyed, settle, to_owners,
};
use crate::time::Epoch;

use super::times::Touches;
use super::{KTable, OuterKey};

/// Returns the foreign key of a row; none if it refers to no row.
type ForeignKey<K, V, F> = Rc<dyn Fn(&K, &V) -> Option<F>>;

/// Returns a closure as a foreign key that several operators use.
fn shared<K, V, F, Q: Into<Option<F>>>(
    foreign_key: impl Fn(&K, &V) -> Q + 'static,
) -> ForeignKey<K, V, F> {
    Rc::new(move |key, value| foreign_key(key, value).into())
}

/// The times of the records that touch rows of a join by a foreign key.
struct Referred<'s, F: Datum, K: Datum> {
    /// By foreign key, those of left rows and, without a left key, of the right row.
    touched: StreamVec<'s, Epoch, (F, Option<K>, Timed<()>)>,
    /// Those of left rows without a foreign key.
    alone: Touches<'s, K>,
}

impl<'s, K: Datum, V: Datum> KTable<'s, K, V> {
    /// Joins each row with the row of `right` to which it refers: Kafka's
    /// `join(other, foreignKeyExtractor, joiner)`, whose key may be taken from key and value.
    ///
    /// A row without a foreign key, or with one that `right` lacks, has no result, nor has one for
    /// which `f` returns `None`. The two topics need not be partitioned alike, and no topic is made
    /// in between.
    ///
    /// A changed left row costs one look-up, however many rows share its foreign key. A changed
    /// right row costs its left rows, each once. The values of both tables are kept as they are
    /// here, the left ones by foreign key: project them before the join.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// // Each order refers to a customer, who has a discount.
    /// let orders = builder.table("orders", Consumed::with(Int64, Json));
    /// let customers = builder.table("customers", Consumed::with(Int64, Int64));
    /// orders.join_on(
    ///     &customers,
    ///     |_, (customer, _price): &(i64, i64)| *customer,
    ///     |(_, price), discount| price - discount,
    /// ).to("prices", Produced::columns(["order", "price"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let orders = driver.input("orders", Int64, Json);
    /// # let customers = driver.input("customers", Int64, Int64);
    /// orders.pipe(&mut driver, &1, &(7, 100));
    /// orders.pipe(&mut driver, &2, &(8, 200));
    /// customers.pipe(&mut driver, &7, &5);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("prices"), [[Long(1), Long(95)]]);
    /// orders.pipe(&mut driver, &2, &(7, 200)); // another customer
    /// customers.pipe(&mut driver, &7, &10);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("prices"), [[Long(1), Long(90)], [Long(2), Long(190)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join_on<F: Datum, W: Datum, O: Datum, Q: Into<Option<F>>, P: Into<Option<O>>>(
        &self,
        right: &KTable<'s, F, W>,
        foreign_key: impl Fn(&K, &V) -> Q + 'static,
        f: impl Fn(&V, &W) -> P + 'static,
    ) -> KTable<'s, K, O> {
        let joiner = move |it: Match<'_, F, (K, V), W>| match it {
            Match::Both(_, (key, v), w) => Some((key.clone(), f(v, w).into()?)),
            _ => None,
        };
        let foreign_key = shared(foreign_key);
        let refers = foreign_key.clone();
        let refers = move |key: &K, value: &V| refers(key, value);
        self.joined_on("join_on", right, refers, Unmatched::Dropped, Rc::new(joiner))
            .with_referred_times(self, right, foreign_key, Unmatched::Dropped)
    }

    /// Joins like [`join_on`](Self::join_on), but a row without a match is joined with `None`: also
    /// a row without a foreign key, as in Kafka since 3.7.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let orders = builder.table("orders", Consumed::with(Int64, Json));
    /// let customers = builder.table("customers", Consumed::with(Int64, Int64));
    /// orders.left_join_on(
    ///     &customers,
    ///     |_, (customer, _price): &(Option<i64>, i64)| *customer,
    ///     |(_, price), discount| price - discount.unwrap_or(&0),
    /// ).to("prices", Produced::columns(["order", "price"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let orders = driver.input("orders", Int64, Json);
    /// # let customers = driver.input("customers", Int64, Int64);
    /// orders.pipe(&mut driver, &1, &(Some(7), 100));
    /// orders.pipe(&mut driver, &2, &(None, 200));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("prices"), [[Long(1), Long(100)], [Long(2), Long(200)]]);
    /// customers.pipe(&mut driver, &7, &5);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("prices"), [[Long(1), Long(95)], [Long(2), Long(200)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn left_join_on<F: Datum, W: Datum, O: Datum, Q: Into<Option<F>>, P: Into<Option<O>>>(
        &self,
        right: &KTable<'s, F, W>,
        foreign_key: impl Fn(&K, &V) -> Q + 'static,
        f: impl Fn(&V, Option<&W>) -> P + 'static,
    ) -> KTable<'s, K, O> {
        let joiner = move |it: Match<'_, F, (K, V), W>| {
            let ((key, v), w) = match it {
                Match::Both(_, left, w) => (left, Some(w)),
                Match::Left(_, left) | Match::Ungrouped(left) => (left, None),
                Match::Right(..) => return None,
            };
            Some((key.clone(), f(v, w).into()?))
        };
        let foreign_key = shared(foreign_key);
        let refers = foreign_key.clone();
        let refers = move |key: &K, value: &V| refers(key, value);
        self.joined_on("left_join_on", right, refers, Unmatched::LeftKept, Rc::new(joiner))
            .with_referred_times(self, right, foreign_key, Unmatched::LeftKept)
    }

    /// Joins like [`left_join_on`](Self::left_join_on), and a right row to which no row refers has
    /// a row too. Kafka has no such verb.
    ///
    /// The key of a result is [`OuterKey::Left`] with the key of its left row, or
    /// [`OuterKey::Right`] with that of an unmatched right row. The first left row that refers to a
    /// right row replaces the row of the latter, and it is back when the last one is gone.
    ///
    /// ```
    /// # use watershed::prelude::{Value::{Long, Null}, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let orders = builder.table("orders", Consumed::with(Int64, Json));
    /// let customers = builder.table("customers", Consumed::with(Int64, Int64));
    /// orders.outer_join_on(
    ///     &customers,
    ///     |_, (customer, _price): &(i64, i64)| *customer,
    ///     |order, discount| order.map_or(0, |(_, price)| *price) - discount.unwrap_or(&0),
    /// ).to("prices", Produced::columns(["order", "customer", "price"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let orders = driver.input("orders", Int64, Json);
    /// # let customers = driver.input("customers", Int64, Int64);
    /// customers.pipe(&mut driver, &7, &5);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("prices"), [[Null, Long(7), Long(-5)]]);
    /// orders.pipe(&mut driver, &1, &(7, 100));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("prices"), [[Long(1), Null, Long(95)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn outer_join_on<F: Datum, W: Datum, O: Datum, Q: Into<Option<F>>, P: Into<Option<O>>>(
        &self,
        right: &KTable<'s, F, W>,
        foreign_key: impl Fn(&K, &V) -> Q + 'static,
        f: impl Fn(Option<&V>, Option<&W>) -> P + 'static,
    ) -> KTable<'s, OuterKey<K, F>, O> {
        let left = |key: &K| OuterKey::Left(key.clone());
        let joiner = move |it: Match<'_, F, (K, V), W>| match it {
            Match::Both(_, (key, v), w) => Some((left(key), f(Some(v), Some(w)).into()?)),
            Match::Left(_, (key, v)) | Match::Ungrouped((key, v)) => {
                Some((left(key), f(Some(v), None).into()?))
            }
            Match::Right(key, w) => Some((OuterKey::Right(key.clone()), f(None, Some(w)).into()?)),
        };
        let foreign_key = shared(foreign_key);
        let refers = foreign_key.clone();
        let refers = move |key: &K, value: &V| refers(key, value);
        let rows =
            self.joined_on("outer_join_on", right, refers, Unmatched::BothKept, Rc::new(joiner));
        let key = |foreign: F, left: Option<K>| match left {
            Some(left) => OuterKey::Left(left),
            None => OuterKey::Right(foreign),
        };
        match self.referred_touches(right, rows.node, foreign_key, Unmatched::BothKept) {
            Some(touches) => rows.with_touches(move || {
                let Referred { touched, alone } = touches();
                let touched = touched.map(move |(foreign, left, it)| (key(foreign, left), it));
                touched.concat(alone.map(|(left, it)| (OuterKey::Left(left), it)))
            }),
            None => rows,
        }
    }

    /// Adds the times of rows that are joined by a foreign key, if those of both tables can have
    /// times.
    fn with_referred_times<L: Datum, F: Datum, R: Datum>(
        self,
        left: &KTable<'s, K, L>,
        right: &KTable<'s, F, R>,
        foreign_key: ForeignKey<K, L, F>,
        unmatched: Unmatched,
    ) -> Self {
        match left.referred_touches(right, self.node, foreign_key, unmatched) {
            Some(touches) => self.with_touches(move || {
                let Referred { touched, alone } = touches();
                touched.flat_map(|(_, left, times)| Some((left?, times))).concat(alone)
            }),
            None => self,
        }
    }

    /// Returns a way to find the times of the records that touch the rows of a join, the step
    /// `node`, of this table and `right`; none if the rows of one can't have times.
    fn referred_touches<F: Datum, R: Datum>(
        &self,
        right: &KTable<'s, F, R>,
        node: usize,
        foreign_key: ForeignKey<K, V, F>,
        unmatched: Unmatched,
    ) -> Option<impl Fn() -> Referred<'s, F, K> + use<'s, K, V, F, R> + 's> {
        if !self.can_have_times() || !right.can_have_times() {
            return None;
        }
        let (graph, left, right) = (self.graph.clone(), self.clone(), right.clone());
        // As in Kafka, an inner join deletes a row with the greater times of both rows. A left join
        // deletes it a second time with those of the left row, so these count.
        let has_times_of_both = unmatched == Unmatched::Dropped;
        Some(move || {
            let Some(changes) = left.stamped(left.changes.updates_with_former()) else {
                return Referred { touched: graph.nothing(), alone: graph.nothing() };
            };
            let key_of = foreign_key.clone();
            let lefts = changes.clone().flat_map(move |change| {
                let Stamped { key, before, after, times, .. } = change;
                let before = before.and_then(|row| key_of(&key, &row));
                let after = after.and_then(|row| key_of(&key, &row));
                let before = before.filter(|foreign| after.as_ref() != Some(foreign));
                let gone = match after.is_none() && has_times_of_both {
                    true => Reference::Deleted,
                    false => Reference::Moved,
                };
                let references =
                    [before.map(|it| (it, gone)), after.map(|it| (it, Reference::Stands))];
                let input = move |(foreign, reference)| {
                    (foreign, times.clone().map(|()| Side::Left((key.clone(), reference))))
                };
                references.into_iter().flatten().map(input)
            });
            let key_of = foreign_key.clone();
            let alone = changes.flat_map(move |change| {
                let refers = |row: &Option<V>| {
                    row.as_ref().is_some_and(|row| key_of(&change.key, row).is_some())
                };
                let is_alone = match &change.after {
                    Some(_) => !refers(&change.after),
                    None => !refers(&change.before),
                };
                is_alone.then(|| (change.key.clone(), change.times.clone()))
            });
            let rights = right.standing().map(|(key, it)| (key, it.map(Side::Right)));
            let setting = graph.setting::<F, Option<K>, RowTimes>(node, Restored::Tail, "times");
            // The rows of the step are counted where they are made.
            let setting = Setting { meter: Meter::default(), ..setting };
            let (inputs, none) = (lefts.concat(rights), graph.nothing());
            let times = ReferredTimes { is_per_record: graph.mode().is_per_record() };
            let touched = keyed(inputs, none, "times", setting, times);
            Referred { touched, alone }
        })
    }

    fn joined_on<F: Datum, W: Datum, J: Datum, O: Datum, Q: Into<Option<F>>>(
        &self,
        verb: &str,
        right: &KTable<'s, F, W>,
        foreign_key: impl Fn(&K, &V) -> Q + 'static,
        unmatched: Unmatched,
        joiner: MatchJoiner<F, (K, V), W, (J, O)>,
    ) -> KTable<'s, J, O> {
        let node = self.graph.node(verb, &[self.node, right.node]);
        let (owners, none) = (self.graph.owners(), Meter::default);
        let (lefts, without_key) = self.diffs().inner.ok_err(move |((key, value), epoch, diff)| {
            match foreign_key(&key, &value).into() {
                Some(foreign) => Ok(((foreign, (key, value)), epoch, diff)),
                None => Err(((key, value), epoch, diff)),
            }
        });
        let lefts = lefts.as_collection();
        let lefts = to_owners(lefts, Placement::AnyWorker, &owners, verb, none());
        let rights = to_owners(right.diffs(), right.placement(), &owners, verb, none());
        let meter = self.graph.meter(node);
        let alone = joiner.clone();
        let mut rows = join_by_group(lefts, rights, unmatched, verb, &owners, meter, joiner);
        if unmatched != Unmatched::Dropped {
            let alone = without_key.flat_map(move |(left, epoch, diff)| {
                alone(Match::Ungrouped(&left)).map(|row| (row, epoch, diff))
            });
            rows = rows.concat(alone.as_collection());
        }
        // The results of a row with another foreign key are made on another worker.
        let rows = settle(rows, verb, &owners);
        KTable::from_diffs(self.graph.clone(), node, rows, Placement::Owner)
    }
}
