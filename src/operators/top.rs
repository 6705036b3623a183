//! The values of a group with the greatest scores.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::rc::Rc;

use super::aggregates::{Aggregate, Bag};
use super::datum::Datum;
use super::seeds::Seeds;

/// The number of values beyond the results that are in order: so many results can be removed before
/// others must be searched for.
const SPARE: usize = 32;
/// The number of other diffs that are not consolidated.
const UNCONSOLIDATED_DIFFS: usize = 1_024;

/// The `n` different values with the greatest scores; among equal scores the least values come
/// first. A result takes time linear in the number of its values.
///
/// Most values of a group are far from its results. They are kept in a list without an order:
/// adding one takes constant time, and half the memory of an ordered one. If the results are
/// removed one after the other, values of the list become ordered, many at a time.
pub(crate) struct Top<X, S> {
    by: Rc<dyn Fn(&X) -> S>,
    n: usize,
    /// True if values beyond the `n`-th are kept while their score is equal to its score.
    ties: bool,
    seeds: Seeds,
    /// The values whose score is at least the floor, sorted by score, and then, if ties are kept,
    /// by a hash: equal scores are common, and hashes are compared faster than texts.
    ordered: Bag<(Reverse<S>, u64, X)>,
    /// Without a floor all values are ordered.
    floor: Option<S>,
    /// The number of ordered values from which most of them are moved to the others.
    most: usize,
    /// Diffs of the values with lower scores.
    others: Vec<(X, isize)>,
    /// The number of other diffs from which they are consolidated.
    crowded: usize,
    /// The number of other diffs that remove a value.
    removals: usize,
    /// The number of values, with their multiplicities.
    rows: isize,
}

impl<X: Datum, S: Ord> Top<X, S> {
    /// Returns an aggregate of at most `n` values.
    pub(crate) fn new(by: Rc<dyn Fn(&X) -> S>, n: usize, seeds: Seeds) -> Self {
        Top {
            by,
            n,
            ties: false,
            seeds,
            ordered: Bag::default(),
            floor: None,
            most: Self::fewest(n) * 4,
            others: Vec::new(),
            crowded: UNCONSOLIDATED_DIFFS,
            removals: 0,
            rows: 0,
        }
    }

    /// Returns an aggregate of `n` values and all others with the score of the `n`-th.
    pub(crate) fn with_ties(by: Rc<dyn Fn(&X) -> S>, n: usize, seeds: Seeds) -> Self {
        Top { ties: true, ..Top::new(by, n, seeds) }
    }

    /// Returns the number of values that are ordered at least.
    fn fewest(n: usize) -> usize {
        n.saturating_add(SPARE)
    }

    fn order(&mut self, value: X, diff: isize) {
        let hash = if self.ties { self.seeds.route(&value) } else { 0 };
        self.ordered.update((Reverse((self.by)(&value)), hash, value), diff);
    }

    /// Moves ordered values to the others, except the first ones and those with the score of the
    /// last of these.
    fn lower(&mut self) {
        let values = &mut self.ordered.0;
        let Some((_, _, last)) = values.keys().nth(Self::fewest(self.n) - 1) else { return };
        let floor = (self.by)(last);
        // The order of keys is that of descending scores.
        let below = values.keys().rev().take_while(|(score, ..)| score.0 < floor).count();
        for _ in 0..below {
            let Some(((.., value), diff)) = values.pop_last() else { break };
            self.others.push((value, diff));
        }
        // Many values may have the score of the floor.
        self.most = self.most.max(values.len() * 2);
        self.floor = Some(floor);
    }

    /// Orders the first of the other values, an eighth of them at least: as many must be removed
    /// before the others are looked at again.
    fn raise(&mut self) {
        self.consolidate();
        let mut others = std::mem::take(&mut self.others);
        let first = Self::fewest(self.n).max(others.len() / 8);
        self.floor = others.get(first).map(|(last, _)| (self.by)(last));
        let end = match &self.floor {
            Some(floor) => others.partition_point(|(value, _)| (self.by)(value) >= *floor),
            None => others.len(),
        };
        others.drain(..end).for_each(|(value, diff)| self.order(value, diff));
        self.others = others;
        self.most = self.most.max(self.ordered.0.len() * 2);
    }

    /// Adds the other diffs of each value, and sorts them by descending score.
    fn consolidate(&mut self) {
        let (by, before) = (&self.by, self.others.len());
        // Most scores differ, and they are compared faster than most values.
        self.others.sort_unstable_by(|(one, _), (other, _)| {
            by(other).cmp(&by(one)).then_with(|| one.cmp(other))
        });
        self.others.dedup_by(|(value, diff), (kept, sum)| {
            let is_same = value == kept;
            *sum += if is_same { *diff } else { 0 };
            is_same
        });
        self.others.retain(|(_, diff)| *diff != 0);
        let after = self.others.len();
        // Where there is little to add, it is seldom tried again.
        let times = if after * 8 > before * 7 { 8 } else { 2 };
        (self.crowded, self.removals) = (UNCONSOLIDATED_DIFFS.max(after * times), 0);
    }
}

impl<X: Datum, S: Ord> Aggregate<X> for Top<X, S> {
    type Out = X;

    fn update(&mut self, value: X, diff: isize) {
        self.rows += diff;
        if self.floor.as_ref().is_some_and(|floor| (self.by)(&value) < *floor) {
            if self.others.len() == self.others.capacity() {
                // A list that grows by doubling would have a third of its memory unused.
                self.others.reserve_exact(self.others.len() / 4 + 4);
            }
            self.others.push((value, diff));
            self.removals += usize::from(diff < 0);
            if self.others.len() >= self.crowded
                || self.removals > UNCONSOLIDATED_DIFFS.max(self.others.len() / 4)
            {
                self.consolidate();
            }
            return;
        }
        self.order(value, diff);
        if self.ordered.0.len() > self.most {
            self.lower();
        }
    }

    fn result(&mut self, out: &mut Vec<X>) {
        while self.floor.is_some() && self.ordered.0.len() < self.n {
            self.raise();
        }
        let mut last = None;
        for (score, _, value) in self.ordered.0.keys() {
            if out.len() >= self.n && (!self.ties || last != Some(score)) {
                break;
            }
            out.push(value.clone());
            last = Some(score);
        }
        out.sort_unstable();
    }

    fn is_empty(&self) -> bool {
        self.rows == 0
    }
}
