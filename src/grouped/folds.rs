//! Verbs that fold the values of a group with a closure.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::KGrouped;
use crate::operators::{Datum, Folded, Folding};
use crate::table::KTable;
use crate::windowed::folded;

type Fold<X, O> = Rc<dyn Fn(&BTreeMap<X, isize>) -> Option<O>>;

impl<'s, G: Datum, X: Datum> KGrouped<'s, G, X> {
    /// Reduces the values with `f`.
    ///
    /// Of a stream that only adds it takes them in the order of their positions, epoch by epoch,
    /// and keeps the result alone: `reduce(|_, new| new.clone())` is the latest value. The result
    /// depends on where epochs end, so each commit of a run with a state has a snapshot. Of a
    /// table, or of a stream that retracts records, it keeps all values of a group and takes them
    /// again in ascending order for each change.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().reduce(|all, n| all * 10 + n)
    ///     .to("all", Produced::columns(["group", "all"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 3), (1, 1), (1, 3)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("all"), [[Long(1), Long(313)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn reduce(&self, f: impl Fn(X, &X) -> X + 'static) -> KTable<'s, G, X> {
        if let Some(records) = self.added() {
            return folded(&self.graph, self.node, records, "reduce", Folding::reduce(f));
        }
        let all: Fold<X, X> = Rc::new(move |bag| {
            let mut values = each(bag);
            let first = values.next()?.clone();
            Some(values.fold(first, &f))
        });
        self.fold("reduce", move || Folded::new(all.clone()))
    }

    /// Folds the values from `init`, in the order in which [`reduce`](Self::reduce) takes them and
    /// at the same cost.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    /// numbers.group_by_key().aggregate(|| 7, |all, n| all * 10 + n)
    ///     .to("all", Produced::columns(["group", "all"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// [(1, 3), (1, 1), (1, 3)].map(|(id, n)| numbers.pipe(&mut driver, &id, &n));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("all"), [[Long(1), Long(7313)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn aggregate<A: Datum>(
        &self,
        init: impl Fn() -> A + 'static,
        f: impl Fn(A, &X) -> A + 'static,
    ) -> KTable<'s, G, A> {
        if let Some(records) = self.added() {
            let aggregate = Folding::aggregate(init, f, None);
            return folded(&self.graph, self.node, records, "aggregate", aggregate);
        }
        let all: Fold<X, A> = Rc::new(move |bag| Some(each(bag).fold(init(), &f)));
        self.fold("aggregate", move || Folded::new(all.clone()))
    }
}

/// Returns each value as many times as the group holds it.
fn each<X>(bag: &BTreeMap<X, isize>) -> impl Iterator<Item = &X> {
    bag.iter().flat_map(|(value, n)| std::iter::repeat_n(value, usize::try_from(*n).unwrap_or(0)))
}
