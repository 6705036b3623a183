//! Verbs that join two streams without a window.

use std::rc::Rc;

use super::entry::Entry;
use super::{KStream, Updates};
use crate::metrics::Meter;
use crate::operators::{Datum, Match, Placement, Unmatched, join_by_group, to_owners};

/// Makes a value of a pair of values, one of which may be missing.
type Values<V, W, O> = Box<dyn Fn(Option<&V>, Option<&W>) -> Option<O>>;

impl<'s, K: Datum, V: Datum> KStream<'s, K, V> {
    /// Joins each record with every record of `other` that has its key, however far apart they
    /// are. Kafka has no such verb: its streams are joined within a window.
    ///
    /// A duplicate makes results of its own, and a stream may be joined with itself. A result
    /// stands at the position of the later record of the two, and has the greater timestamp. While
    /// neither stream retracts records, the result does not either.
    ///
    /// All records of both streams are kept, for ever. A record costs the results that it makes.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let orders = builder.stream("orders", Consumed::with(Int64, Int64));
    /// let payments = builder.stream("payments", Consumed::with(Int64, Int64));
    /// orders.join_stream(&payments, |order, paid| order - paid)
    ///     .to("open", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let orders = driver.input("orders", Int64, Int64);
    /// # let payments = driver.input("payments", Int64, Int64);
    /// [(1, 70), (2, 80)].map(|(id, n)| orders.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// [(1, 60), (1, 5)].map(|(id, n)| payments.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("open"), [[Long(1), Long(10)], [Long(1), Long(65)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join_stream<W: Datum, O: Datum>(
        &self,
        other: &KStream<'s, K, W>,
        f: impl Fn(&V, &W) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let both = move |v: Option<&V>, w: Option<&W>| v.zip(w).map(|(v, w)| f(v, w));
        self.paired("join_stream", other, Unmatched::Dropped, Box::new(both))
    }

    /// Joins like [`join_stream`](Self::join_stream), but a record without a match is joined with
    /// `None`. This result is retracted when the first match comes, and is back when the last one
    /// is retracted.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let orders = builder.stream("orders", Consumed::with(Int64, Int64));
    /// let payments = builder.stream("payments", Consumed::with(Int64, Int64));
    /// orders.left_join_stream(&payments, |order, paid| order - paid.unwrap_or(&0))
    ///     .group_by_key().sum(|open| *open).to("open", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let orders = driver.input("orders", Int64, Int64);
    /// # let payments = driver.input("payments", Int64, Int64);
    /// [(1, 70), (2, 80)].map(|(id, n)| orders.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("open"), [[Long(1), Long(70)], [Long(2), Long(80)]]);
    /// payments.pipe(&mut driver, &1, &60);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("open"), [[Long(1), Long(10)], [Long(2), Long(80)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn left_join_stream<W: Datum, O: Datum>(
        &self,
        other: &KStream<'s, K, W>,
        f: impl Fn(&V, Option<&W>) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let left = move |v: Option<&V>, w: Option<&W>| v.map(|v| f(v, w));
        self.paired("left_join_stream", other, Unmatched::LeftKept, Box::new(left))
    }

    /// Joins like [`left_join_stream`](Self::left_join_stream), and a record of `other` without a
    /// match is joined with `None` too.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let debits = builder.stream("debits", Consumed::with(Int64, Int64));
    /// let credits = builder.stream("credits", Consumed::with(Int64, Int64));
    /// debits.outer_join_stream(&credits, |out, into| into.unwrap_or(&0) - out.unwrap_or(&0))
    ///     .group_by_key().sum(|n| *n).to("unbalanced", Produced::columns(["transfer", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let debits = driver.input("debits", Int64, Int64);
    /// # let credits = driver.input("credits", Int64, Int64);
    /// debits.pipe(&mut driver, &1, &50);
    /// credits.pipe(&mut driver, &2, &30);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("unbalanced"), [[Long(1), Long(-50)], [Long(2), Long(30)]]);
    /// credits.pipe(&mut driver, &1, &50);
    /// driver.commit()?;
    /// assert_eq!(driver.rows("unbalanced"), [[Long(1), Long(0)], [Long(2), Long(30)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn outer_join_stream<W: Datum, O: Datum>(
        &self,
        other: &KStream<'s, K, W>,
        f: impl Fn(Option<&V>, Option<&W>) -> O + 'static,
    ) -> KStream<'s, K, O> {
        let any = move |v: Option<&V>, w: Option<&W>| Some(f(v, w));
        self.paired("outer_join_stream", other, Unmatched::BothKept, Box::new(any))
    }

    fn paired<W: Datum, O: Datum>(
        &self,
        verb: &str,
        other: &KStream<'s, K, W>,
        unmatched: Unmatched,
        f: Values<V, W, O>,
    ) -> KStream<'s, K, O> {
        let node = self.graph.node(verb, &[self.node, other.node]);
        let (owners, none) = (self.graph.owners(), Meter::default);
        let lefts = self.kept_entries(node, "left");
        let lefts = to_owners(lefts, Placement::AnyWorker, &owners, verb, none());
        let rights = other.kept_entries(node, "right");
        let rights = to_owners(rights, Placement::AnyWorker, &owners, verb, none());
        let joiner = move |it: Match<'_, K, Entry<V>, Entry<W>>| {
            let (key, entry) = match it {
                Match::Both(key, v, w) => {
                    (key, v.with_right(w, f(Some(&v.value), Some(&w.value))?))
                }
                Match::Left(key, v) => (key, v.with(f(Some(&v.value), None)?)),
                Match::Right(key, w) => (key, w.with(f(None, Some(&w.value))?)),
                Match::Ungrouped(_) => return None,
            };
            Some((key.clone(), entry))
        };
        let meter = self.graph.meter(node);
        let results =
            join_by_group(lefts, rights, unmatched, verb, &owners, meter, Rc::new(joiner));
        let updates = match unmatched {
            Unmatched::Dropped => self.updates.max(other.updates),
            _ => Updates::Retracting,
        };
        KStream::from_entries(self.graph.clone(), node, results, updates)
    }
}
