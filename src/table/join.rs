//! Verbs that join two tables.

use std::rc::Rc;

use crate::operators::{Datum, Joiner, Placement, join};

use super::KTable;

impl<'s, K: Datum, V: Datum> KTable<'s, K, V> {
    /// Joins rows of equal keys; where `f` returns `None` there is no row. Unlike in Kafka, the two
    /// topics need not be partitioned alike.
    ///
    /// The values of both tables are kept as they are here: project them before the join.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let left = builder.table("left", Consumed::with(Int64, Int64));
    /// let right = builder.table("right", Consumed::with(Int64, Int64));
    /// left.join(&right, |l, r| l * 100 + r).to("both", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let left = driver.input("left", Int64, Int64);
    /// # let right = driver.input("right", Int64, Int64);
    /// left.pipe(&mut driver, &1, &7);
    /// right.pipe(&mut driver, &1, &30);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("both"), [[Long(1), Long(730)]]);
    /// right.delete(&mut driver, &1);
    /// driver.commit()?;
    /// assert!(driver.rows("both").is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join<W: Datum, O: Datum, P: Into<Option<O>>>(
        &self,
        other: &KTable<'s, K, W>,
        f: impl Fn(&V, &W) -> P + 'static,
    ) -> KTable<'s, K, O> {
        let both =
            move |_: &K, v: Option<&V>, w: Option<&W>| v.zip(w).and_then(|(v, w)| f(v, w).into());
        self.joined("join", other, Rc::new(both))
    }

    /// Joins like [`join`](Self::join), but a row without a partner is joined with `None`, also
    /// after a tombstone has deleted its partner.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let left = builder.table("left", Consumed::with(Int64, Int64));
    /// let right = builder.table("right", Consumed::with(Int64, Int64));
    /// left.left_join(&right, |l, r| l * 100 + r.unwrap_or(&0))
    ///     .to("left", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let left = driver.input("left", Int64, Int64);
    /// # let right = driver.input("right", Int64, Int64);
    /// left.pipe(&mut driver, &1, &7);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("left"), [[Long(1), Long(700)]]);
    /// right.pipe(&mut driver, &1, &30);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("left"), [[Long(1), Long(730)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn left_join<W: Datum, O: Datum, P: Into<Option<O>>>(
        &self,
        other: &KTable<'s, K, W>,
        f: impl Fn(&V, Option<&W>) -> P + 'static,
    ) -> KTable<'s, K, O> {
        let left = move |_: &K, v: Option<&V>, w: Option<&W>| v.and_then(|v| f(v, w).into());
        self.joined("left_join", other, Rc::new(left))
    }

    /// Joins the rows of each key that has a row in one table or in both. At least one of the two
    /// values is there; where `f` returns `None` there is no row. Unlike in Kafka, the two topics
    /// need not be partitioned alike.
    ///
    /// A row goes when both tables have lost theirs. A change costs one call of `f` for the row of
    /// before and one for that of afterwards.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let left = builder.table("left", Consumed::with(Int64, Int64));
    /// let right = builder.table("right", Consumed::with(Int64, Int64));
    /// left.outer_join(&right, |l, r| l.unwrap_or(&0) * 100 + r.unwrap_or(&0))
    ///     .to("outer", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let left = driver.input("left", Int64, Int64);
    /// # let right = driver.input("right", Int64, Int64);
    /// left.pipe(&mut driver, &1, &7);
    /// right.pipe(&mut driver, &2, &30);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("outer"), [[Long(1), Long(700)], [Long(2), Long(30)]]);
    /// left.pipe(&mut driver, &2, &8);
    /// left.delete(&mut driver, &1);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("outer"), [[Long(2), Long(830)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn outer_join<W: Datum, O: Datum, P: Into<Option<O>>>(
        &self,
        other: &KTable<'s, K, W>,
        f: impl Fn(Option<&V>, Option<&W>) -> P + 'static,
    ) -> KTable<'s, K, O> {
        let any = move |_: &K, v: Option<&V>, w: Option<&W>| f(v, w).into();
        self.joined("outer_join", other, Rc::new(any))
    }

    fn joined<W: Datum, O: Datum>(
        &self,
        verb: &str,
        other: &KTable<'s, K, W>,
        joiner: Joiner<K, V, W, O>,
    ) -> KTable<'s, K, O> {
        let node = self.graph.node(verb, &[self.node, other.node]);
        let (left, right) = (self.changes.upserts(), other.changes.upserts());
        let rows = join(left, right, self.graph.keys(), verb, self.graph.meter(node), joiner);
        KTable::from_diffs(self.graph.clone(), node, rows, Placement::Owner)
            .with_joined_times(self, other)
    }
}
