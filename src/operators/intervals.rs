//! Intervals of ordered values, searched by a value that lies in them. Differential has no such
//! index: it joins equal keys only.
//!
//! The intervals are a search tree by their start. Each node also has the last end below it, so a
//! search passes over every part of the tree that ends too early. Random priorities keep the tree
//! balanced (R. Seidel and C. Aragon, "Randomized search trees", 1996).

use std::cmp::Ordering;
use std::ops::{Bound, RangeBounds};

use super::seeds::Seeds;

/// The start of an interval: no start, or a value and true if the interval begins after it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Start<X>(pub(crate) Option<(X, bool)>);

/// The end of an interval.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End<X> {
    /// A value, and true if the interval includes it.
    At(X, bool),
    Never,
}

/// The part of an ordered type that lies between two bounds. It may be empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Interval<X> {
    pub(crate) start: Start<X>,
    pub(crate) end: End<X>,
}

impl<X: Ord + Clone> Interval<X> {
    pub(crate) fn of(range: &impl RangeBounds<X>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(value) => Start(Some((value.clone(), false))),
            Bound::Excluded(value) => Start(Some((value.clone(), true))),
            Bound::Unbounded => Start(None),
        };
        let end = match range.end_bound() {
            Bound::Included(value) => End::At(value.clone(), true),
            Bound::Excluded(value) => End::At(value.clone(), false),
            Bound::Unbounded => End::Never,
        };
        Interval { start, end }
    }
}

impl<X: Ord> Start<X> {
    fn is_before(&self, value: &X) -> bool {
        match &self.0 {
            Some((start, false)) => start <= value,
            Some((start, true)) => start < value,
            None => true,
        }
    }
}

impl<X: Ord> End<X> {
    fn is_after(&self, value: &X) -> bool {
        match self {
            End::At(end, true) => value <= end,
            End::At(end, false) => value < end,
            End::Never => true,
        }
    }
}

/// Rows by interval and key.
pub(crate) struct Intervals<X, K, W> {
    root: Link<X, K, W>,
    seeds: Seeds,
    /// The number of rows that were ever inserted.
    inserted: u64,
}

type Link<X, K, W> = Option<Box<Node<X, K, W>>>;

struct Node<X, K, W> {
    interval: Interval<X>,
    key: K,
    row: W,
    /// The last end of the intervals from here down.
    last: End<X>,
    priority: u64,
    before: Link<X, K, W>,
    after: Link<X, K, W>,
}

impl<X: Ord + Clone, K: Ord, W> Intervals<X, K, W> {
    pub(crate) fn new(seeds: Seeds) -> Self {
        Intervals { root: None, seeds, inserted: 0 }
    }

    /// Adds a row. There is none with this interval and key.
    pub(crate) fn insert(&mut self, interval: Interval<X>, key: K, row: W) {
        self.inserted += 1;
        let (last, priority) = (interval.end.clone(), self.seeds.route(&self.inserted));
        let node = Node { interval, key, row, last, priority, before: None, after: None };
        self.root = Some(insert(self.root.take(), Box::new(node)));
    }

    /// Removes the row with this interval and key.
    pub(crate) fn remove(&mut self, interval: &Interval<X>, key: &K) {
        self.root = remove(self.root.take(), interval, key);
    }

    /// Calls `each` with key and row of each interval that includes `value`.
    pub(crate) fn search(&self, value: &X, each: &mut impl FnMut(&K, &W)) {
        search(self.root.as_deref(), value, each);
    }
}

impl<X: Ord + Clone, K: Ord, W> Node<X, K, W> {
    /// Compares the place of the node with that of an interval and a key.
    fn place(&self, interval: &Interval<X>, key: &K) -> Ordering {
        self.interval.cmp(interval).then_with(|| self.key.cmp(key))
    }

    /// Finds the last end again, after a change below.
    fn refresh(mut self: Box<Self>) -> Box<Self> {
        let below = [&self.before, &self.after].into_iter().flatten().map(|node| &node.last).max();
        self.last = below.map_or(&self.interval.end, |last| last.max(&self.interval.end)).clone();
        self
    }
}

fn insert<X: Ord + Clone, K: Ord, W>(
    link: Link<X, K, W>,
    mut new: Box<Node<X, K, W>>,
) -> Box<Node<X, K, W>> {
    let Some(mut node) = link else { return new };
    if new.priority > node.priority {
        (new.before, new.after) = split(Some(node), &new.interval, &new.key);
        return new.refresh();
    }
    match node.place(&new.interval, &new.key) {
        Ordering::Greater => node.before = Some(insert(node.before.take(), new)),
        _ => node.after = Some(insert(node.after.take(), new)),
    }
    node.refresh()
}

/// Splits a tree into the nodes before a place and those after it.
fn split<X: Ord + Clone, K: Ord, W>(
    link: Link<X, K, W>,
    interval: &Interval<X>,
    key: &K,
) -> (Link<X, K, W>, Link<X, K, W>) {
    let Some(mut node) = link else { return (None, None) };
    if node.place(interval, key) == Ordering::Greater {
        let (before, after) = split(node.before.take(), interval, key);
        node.before = after;
        (before, Some(node.refresh()))
    } else {
        let (before, after) = split(node.after.take(), interval, key);
        node.after = before;
        (Some(node.refresh()), after)
    }
}

fn remove<X: Ord + Clone, K: Ord, W>(
    link: Link<X, K, W>,
    interval: &Interval<X>,
    key: &K,
) -> Link<X, K, W> {
    let mut node = link?;
    match node.place(interval, key) {
        Ordering::Greater => node.before = remove(node.before.take(), interval, key),
        Ordering::Less => node.after = remove(node.after.take(), interval, key),
        Ordering::Equal => return merge(node.before.take(), node.after.take()),
    }
    Some(node.refresh())
}

/// Merges two trees, one of them before the other.
fn merge<X: Ord + Clone, K: Ord, W>(before: Link<X, K, W>, after: Link<X, K, W>) -> Link<X, K, W> {
    match (before, after) {
        (Some(mut before), Some(mut after)) => Some(if before.priority > after.priority {
            before.after = merge(before.after.take(), Some(after));
            before.refresh()
        } else {
            after.before = merge(Some(before), after.before.take());
            after.refresh()
        }),
        (one, none) => one.or(none),
    }
}

fn search<X: Ord, K, W>(node: Option<&Node<X, K, W>>, value: &X, each: &mut impl FnMut(&K, &W)) {
    let Some(node) = node.filter(|node| node.last.is_after(value)) else { return };
    search(node.before.as_deref(), value, each);
    if node.interval.start.is_before(value) {
        if node.interval.end.is_after(value) {
            each(&node.key, &node.row);
        }
        search(node.after.as_deref(), value, each);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::secret::Secret;

    fn range(start: i64, end: i64, kind: u64) -> (Bound<i64>, Bound<i64>) {
        match kind {
            0 => (Bound::Included(start), Bound::Excluded(end)),
            1 => (Bound::Included(start), Bound::Included(end)),
            2 => (Bound::Excluded(start), Bound::Included(end)),
            3 => (Bound::Excluded(start), Bound::Excluded(end)),
            4 => (Bound::Unbounded, Bound::Included(end)),
            _ => (Bound::Excluded(start), Bound::Unbounded),
        }
    }

    #[test]
    fn a_search_finds_the_intervals_that_include_a_value() {
        let mut intervals = Intervals::new(Seeds::new(Secret::new([5; 16])));
        let mut expected: BTreeMap<u64, (Bound<i64>, Bound<i64>)> = BTreeMap::new();
        let mut state = 3_u64;
        let mut draw = move |end: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % end
        };
        for turn in 0..3_000 {
            let key = draw(if turn / 700 % 2 == 0 { 300 } else { 30 });
            if let Some(old) = expected.remove(&key) {
                intervals.remove(&Interval::of(&old), &key);
            } else {
                // Some of them are empty, and some end before they start.
                let start = draw(100) as i64;
                let new = range(start, start + draw(30) as i64 - 5, draw(6));
                expected.insert(key, new);
                intervals.insert(Interval::of(&new), key, key * 10);
            }
            let value = draw(140) as i64 - 10;
            let mut found = Vec::new();
            intervals.search(&value, &mut |key, row| found.push((*key, *row)));
            found.sort();
            let holds = |(_, range): &(&u64, &(Bound<i64>, Bound<i64>))| range.contains(&value);
            let all: Vec<_> = expected.iter().filter(holds).map(|(k, _)| (*k, k * 10)).collect();
            assert_eq!(found, all, "turn {turn}");
        }
    }

    #[test]
    fn the_tree_stays_flat_when_starts_ascend() {
        fn depth(link: &Link<i64, i64, ()>) -> usize {
            let below = |node: &Node<i64, i64, ()>| depth(&node.before).max(depth(&node.after));
            link.as_deref().map_or(0, |node| 1 + below(node))
        }
        let mut intervals = Intervals::new(Seeds::new(Secret::new([6; 16])));
        (0..20_000).for_each(|at| intervals.insert(Interval::of(&(at..at + 9)), at, ()));
        assert!(depth(&intervals.root) < 60, "{}", depth(&intervals.root));
        (0..19_000).for_each(|at| intervals.remove(&Interval::of(&(at..at + 9)), &at));
        assert!(depth(&intervals.root) < 60, "{}", depth(&intervals.root));
    }
}
