//! The states of groups: counts, sums, ordered multisets. Each is updated by diffs, and returns its
//! results in ascending order.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use super::datum::Datum;
use super::seeds::{Map, Seeds};
use crate::secret::Secret;
use crate::serdes::Digest;

/// The state of one group.
pub(crate) trait Aggregate<X> {
    /// The type of results. A group may have several different results.
    type Out: Datum;
    /// Applies a diff. The diffs of one epoch arrive in any order, so a multiplicity may be
    /// negative for a while.
    fn update(&mut self, value: X, diff: isize);
    /// Appends the results, ascending.
    fn result(&mut self, out: &mut Vec<Self::Out>);
    /// Returns true if the state is that of a new group.
    fn is_empty(&self) -> bool;
    /// Adds the values of another state, and returns true. By default nothing changes.
    fn merge(&mut self, _: &Self) -> bool
    where
        Self: Sized,
    {
        false
    }
}

/// The number of values.
#[derive(Default)]
pub(crate) struct Count(i64);

impl<X> Aggregate<X> for Count {
    type Out = i64;
    fn update(&mut self, _: X, diff: isize) {
        self.0 += diff as i64;
    }
    fn result(&mut self, out: &mut Vec<i64>) {
        out.extend((self.0 != 0).then_some(self.0));
    }
    fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

/// The sum of the results of `of`, and the number of values.
pub(crate) struct Sum<X> {
    pub(crate) of: Rc<dyn Fn(&X) -> i64>,
    pub(crate) total: i128,
    pub(crate) rows: i64,
}

impl<X> Aggregate<X> for Sum<X> {
    type Out = i64;
    fn update(&mut self, value: X, diff: isize) {
        self.total += i128::from((self.of)(&value)) * diff as i128;
        self.rows += diff as i64;
    }
    fn result(&mut self, out: &mut Vec<i64>) {
        let bounded = self.total.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        out.extend((self.rows != 0).then_some(bounded));
    }
    fn is_empty(&self) -> bool {
        self.rows == 0 && self.total == 0
    }
}

/// An ordered multiset. An update takes time logarithmic in the number of its distinct values.
pub(super) struct Bag<V>(pub(super) BTreeMap<V, isize>);

impl<V> Default for Bag<V> {
    fn default() -> Self {
        Bag(BTreeMap::new())
    }
}

impl<V: Ord> Bag<V> {
    pub(super) fn update(&mut self, value: V, diff: isize) {
        use std::collections::btree_map::Entry;
        match self.0.entry(value) {
            Entry::Vacant(entry) => {
                entry.insert(diff);
            }
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += diff;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }
}

/// The least or the greatest value.
pub(crate) struct Extreme<X> {
    bag: Bag<X>,
    greatest: bool,
}

impl<X: Ord> Extreme<X> {
    /// Returns an aggregate of the least value.
    pub(crate) fn least() -> Self {
        Extreme { bag: Bag::default(), greatest: false }
    }

    /// Returns an aggregate of the greatest value.
    pub(crate) fn greatest() -> Self {
        Extreme { bag: Bag::default(), greatest: true }
    }
}

impl<X: Datum> Aggregate<X> for Extreme<X> {
    type Out = X;
    fn update(&mut self, value: X, diff: isize) {
        self.bag.update(value, diff);
    }
    fn result(&mut self, out: &mut Vec<X>) {
        let end =
            if self.greatest { self.bag.0.last_key_value() } else { self.bag.0.first_key_value() };
        out.extend(end.map(|(value, _)| value.clone()));
    }
    fn is_empty(&self) -> bool {
        self.bag.0.is_empty()
    }
}

/// The element at rank `(rows - 1) * num / den` of the sorted values. It keeps a multiset and a
/// cursor into it. The cursor moves only as far as the rank moves.
pub(crate) struct Quantile<X> {
    bag: Bag<X>,
    rows: isize,
    /// A value of the bag, and the number of rows below it.
    cursor: Option<(X, isize)>,
    num: isize,
    den: isize,
}

impl<X: Ord> Quantile<X> {
    pub(crate) fn new(num: u32, den: u32) -> Self {
        Quantile {
            bag: Bag::default(),
            rows: 0,
            cursor: None,
            num: num as isize,
            den: den as isize,
        }
    }
}

impl<X: Datum> Aggregate<X> for Quantile<X> {
    type Out = X;

    fn update(&mut self, value: X, diff: isize) {
        self.rows += diff;
        if let Some((at, below)) = &mut self.cursor
            && value < *at
        {
            *below += diff;
        }
        self.bag.update(value, diff);
    }

    fn result(&mut self, out: &mut Vec<X>) {
        if self.rows <= 0 {
            self.cursor = None;
            return;
        }
        let rank = (self.rows - 1) * self.num / self.den;
        let start = self
            .cursor
            .take()
            .or_else(|| self.bag.0.first_key_value().map(|(v, _)| (v.clone(), 0)));
        let Some((mut at, mut below)) = start else { return };
        // The value of the cursor may have left the bag. Then it counts for no rows, and is only
        // the place from which to walk.
        loop {
            let here = self.bag.0.get(&at).copied().unwrap_or(0);
            let step = if rank < below {
                self.bag.0.range(..&at).next_back().map(|(v, n)| (v.clone(), below - n))
            } else if rank >= below + here {
                let above = (Bound::Excluded(&at), Bound::Unbounded);
                self.bag.0.range(above).next().map(|(v, _)| (v.clone(), below + here))
            } else {
                None
            };
            match step {
                Some(next) => (at, below) = next,
                None => break,
            }
        }
        out.push(at.clone());
        self.cursor = Some((at, below));
    }

    fn is_empty(&self) -> bool {
        self.bag.0.is_empty()
    }
}

/// The number of different values. It keeps a keyed 128-bit digest of each, not the value.
pub(crate) struct Distinct {
    seen: Map<Digest, isize>,
    secret: Secret,
}

impl Distinct {
    pub(crate) fn new(seeds: Seeds) -> Self {
        Distinct { seen: seeds.map(), secret: seeds.secret() }
    }
}

impl<X: Datum> Aggregate<X> for Distinct {
    type Out = i64;
    fn update(&mut self, value: X, diff: isize) {
        use hashbrown::hash_map::Entry;
        // A digest needs no digest of its own.
        let digest = (&value as &dyn Any).downcast_ref::<Digest>().copied();
        match self.seen.entry(digest.unwrap_or_else(|| self.secret.digest(&value))) {
            Entry::Vacant(entry) => {
                entry.insert(diff);
            }
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += diff;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }
    fn result(&mut self, out: &mut Vec<i64>) {
        out.extend((!self.seen.is_empty()).then_some(self.seen.len() as i64));
    }
    fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

/// The number of different values, which are all kept.
pub(crate) struct Different<X>(Bag<X>);

impl<X: Ord> Default for Different<X> {
    fn default() -> Self {
        Different(Bag(BTreeMap::new()))
    }
}

impl<X: Datum> Aggregate<X> for Different<X> {
    type Out = i64;
    fn update(&mut self, value: X, diff: isize) {
        self.0.update(value, diff);
    }
    fn result(&mut self, out: &mut Vec<i64>) {
        out.extend((!self.is_empty()).then_some(self.0.0.len() as i64));
    }
    fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }
}

/// A fold of any kind over the values in ascending order. It is computed again for each change, in
/// time linear in the size of the group.
pub(crate) struct Folded<X, O> {
    bag: Bag<X>,
    fold: Rc<dyn Fn(&BTreeMap<X, isize>) -> Option<O>>,
}

impl<X: Ord, O> Folded<X, O> {
    pub(crate) fn new(fold: Rc<dyn Fn(&BTreeMap<X, isize>) -> Option<O>>) -> Self {
        Folded { bag: Bag::default(), fold }
    }
}

impl<X: Datum, O: Datum> Aggregate<X> for Folded<X, O> {
    type Out = O;
    fn update(&mut self, value: X, diff: isize) {
        self.bag.update(value, diff);
    }
    fn result(&mut self, out: &mut Vec<O>) {
        if !self.bag.0.is_empty() {
            out.extend((self.fold)(&self.bag.0));
        }
    }
    fn is_empty(&self) -> bool {
        self.bag.0.is_empty()
    }
}
