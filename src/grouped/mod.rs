//! [`KGrouped`]: values by group, and the aggregates of them. Each is maintained as values come, change and go.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::graph::Graph;
use crate::operators::{Aggregate, Count, Datum, Diffs, Distinct, Extreme, Folded, Quantile, Sum, Top, fold};
use crate::options::Ties;
use crate::table::KTable;

/// Values by group: Kafka's `KGroupedStream` and `KGroupedTable` in one, as no aggregate needs a subtractor.
///
/// A group without values has no row. All but [`reduce`](Self::reduce) and [`aggregate`](Self::aggregate) take time logarithmic
/// in the group for a change; [`top`](Self::top) takes in addition time linear in the rows that it gives, and with
/// [`Ties::Keep`] these are all that tie.
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

    fn fold<A: Aggregate<X> + 'static>(&self, verb: &str, fresh: impl Fn() -> A + 'static) -> KTable<'s, G, A::Out> {
        let node = self.graph.node(verb, &[self.node]);
        KTable::from_diffs(self.graph.clone(), node, fold(self.values.clone(), verb, Box::new(fresh), pair), true)
    }

    /// How many values.
    pub fn count(&self) -> KTable<'s, G, i64> {
        self.fold("count", Count::default)
    }

    /// The sum of what `of` gives; beyond 64 bits it stays at the end of the range.
    pub fn sum(&self, of: impl Fn(&X) -> i64 + 'static) -> KTable<'s, G, i64> {
        let of: Rc<dyn Fn(&X) -> i64> = Rc::new(of);
        self.fold("sum", move || Sum { of: of.clone(), total: 0, rows: 0 })
    }

    /// The least value.
    pub fn min(&self) -> KTable<'s, G, X> {
        self.fold("min", || Extreme::new(false))
    }

    /// The greatest value.
    pub fn max(&self) -> KTable<'s, G, X> {
        self.fold("max", || Extreme::new(true))
    }

    /// How many different values; it keeps a 128-bit digest of each.
    pub fn count_distinct(&self) -> KTable<'s, G, i64> {
        self.fold("count_distinct", Distinct::default)
    }

    /// The middle value; of an even number the lower middle: element `(n - 1) / 2` of the sorted values, counted from 0.
    pub fn median(&self) -> KTable<'s, G, X> {
        self.fold("median", || Quantile::new(1, 2))
    }

    /// Element `(n - 1) * num / den` of the sorted values, counted from 0. Panics unless `num <= den` and `den > 0`.
    pub fn quantile(&self, num: u32, den: u32) -> KTable<'s, G, X> {
        assert!(num <= den && den > 0, "a quantile is a fraction of the values, not {num}/{den}");
        self.fold("quantile", move || Quantile::new(num, den))
    }

    /// The `n` different values of the greatest score `by`, a row each, keyed by group and value.
    pub fn top<S: Ord + 'static>(&self, n: usize, ties: Ties, by: impl Fn(&X) -> S + 'static) -> KTable<'s, (G, X), ()> {
        let by: Rc<dyn Fn(&X) -> S> = Rc::new(by);
        let node = self.graph.node(format!("top {n}"), &[self.node]);
        let fresh = Box::new(move || Top::new(by.clone(), n, ties == Ties::Keep));
        let rows = fold(self.values.clone(), "top", fresh, |group, value| ((group, value), ()));
        KTable::from_diffs(self.graph.clone(), node, rows, false)
    }

    /// Reduces the values, in ascending order, with `f`; done again for each change of the group.
    pub fn reduce(&self, f: impl Fn(X, &X) -> X + 'static) -> KTable<'s, G, X> {
        let all: Values<X, X> = Rc::new(move |bag| {
            let mut values = each(bag);
            let first = values.next()?.clone();
            Some(values.fold(first, &f))
        });
        self.fold("reduce", move || Folded::new(all.clone()))
    }

    /// Folds the values, in ascending order, from `init`; done again for each change of the group.
    pub fn aggregate<A: Datum>(&self, init: impl Fn() -> A + 'static, f: impl Fn(A, &X) -> A + 'static) -> KTable<'s, G, A> {
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
