//! Tops against sorted lists.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

thread_local!(static CLONES: Cell<usize> = const { Cell::new(0) });

/// A number whose clones are counted.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Counted(u64);

impl Clone for Counted {
    fn clone(&self) -> Self {
        CLONES.set(CLONES.get() + 1);
        Counted(self.0)
    }
}

fn result(top: &mut Top<Counted, u64>) -> (Vec<u64>, usize) {
    let mut out = Vec::new();
    CLONES.set(0);
    top.result(&mut out);
    (out.iter().map(|value| value.0).collect(), CLONES.get())
}

#[test]
fn a_top_without_ties_clones_only_its_results() {
    let mut top = Top::new(Rc::new(|value: &Counted| value.0 / 10_000), 3, Seeds::of_a_plan());
    (0..30_000).rev().for_each(|value| top.update(Counted(value), 1));
    assert_eq!(result(&mut top), (vec![20_000, 20_001, 20_002], 3));
    top.update(Counted(20_001), -1);
    assert_eq!(result(&mut top), (vec![20_000, 20_002, 20_003], 3));
}

#[test]
fn top_returns_n_values_and_keeps_or_cuts_ties() {
    let top = |n, ties: bool| {
        let by = Rc::new(|value: &Counted| value.0 / 4);
        let seeds = Seeds::of_a_plan();
        let mut top = if ties { Top::with_ties(by, n, seeds) } else { Top::new(by, n, seeds) };
        (0..10).for_each(|value| top.update(Counted(value), 1));
        result(&mut top).0
    };
    assert_eq!((top(0, true), top(0, false)), (vec![], vec![]));
    assert_eq!((top(2, true), top(2, false)), (vec![8, 9], vec![8, 9]));
    assert_eq!((top(3, true), top(3, false)), (vec![4, 5, 6, 7, 8, 9], vec![4, 8, 9]));
    assert_eq!((top(99, true), top(99, false)), ((0..10).collect(), (0..10).collect()));
}

#[test]
fn most_values_are_in_no_order() {
    let mut top = Top::new(Rc::new(|value: &Counted| value.0), 3, Seeds::of_a_plan());
    (0..100_000).for_each(|value| top.update(Counted(value * 7_919 % 100_003), 1));
    assert!(top.ordered.0.len() <= 4 * (3 + SPARE), "{}", top.ordered.0.len());
    assert_eq!(result(&mut top).0, [100_000, 100_001, 100_002]);
}

#[test]
fn results_that_are_removed_one_by_one_are_followed_by_the_next() {
    let mut top = Top::with_ties(Rc::new(|value: &Counted| value.0 / 2), 2, Seeds::of_a_plan());
    (0..5_000).for_each(|value| top.update(Counted(value), 1));
    for value in (2..5_000).rev() {
        top.update(Counted(value), -1);
        let next: Vec<u64> = if value % 2 == 0 {
            vec![value - 2, value - 1]
        } else {
            vec![value - 3, value - 2, value - 1]
        };
        assert_eq!(result(&mut top).0, next);
    }
    (0..2).for_each(|value| top.update(Counted(value), -1));
    assert!(result(&mut top).0.is_empty() && Aggregate::<Counted>::is_empty(&top));
}

/// Some epochs: in each, values that are added, and numbers of values that are removed.
fn epochs() -> impl Strategy<Value = Vec<(Vec<u64>, Vec<prop::sample::Index>)>> {
    let values = prop::collection::vec(0..2_000_u64, 0..400);
    let removed = prop::collection::vec(any::<prop::sample::Index>(), 0..400);
    prop::collection::vec((values, removed), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_top_is_that_of_the_sorted_values(
        epochs in epochs(), n in 0..40_usize, ties: bool, group in 1..200_u64, early: bool
    ) {
        let by = Rc::new(move |value: &Counted| value.0 / group);
        let seeds = Seeds::of_a_plan();
        let mut top = if ties { Top::with_ties(by, n, seeds) } else { Top::new(by, n, seeds) };
        let mut there: Vec<u64> = Vec::new();
        for (added, removed) in epochs {
            there.extend(&added);
            let mut gone = Vec::new();
            for at in removed {
                if !there.is_empty() {
                    gone.push(there.swap_remove(at.index(there.len())));
                }
            }
            // The diffs of an epoch arrive in any order.
            let mut diffs: Vec<(u64, isize)> = added.into_iter().map(|it| (it, 1)).collect();
            let at = if early { 0 } else { diffs.len() };
            diffs.splice(at..at, gone.into_iter().map(|it| (it, -1)));
            diffs.into_iter().for_each(|(value, diff)| top.update(Counted(value), diff));
            let mut counts = BTreeMap::<_, usize>::new();
            there.iter().for_each(|it| *counts.entry((Reverse(it / group), *it)).or_default() += 1);
            let nth = counts.keys().nth(n.saturating_sub(1)).map(|(score, _)| *score);
            let is_in = |at: usize, score: Reverse<u64>| {
                at < n || ties && n > 0 && nth.is_some_and(|nth| score == nth)
            };
            let mut expected: Vec<u64> = counts
                .keys()
                .enumerate()
                .filter(|(at, (score, _))| is_in(*at, *score))
                .map(|(_, (_, value))| *value)
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(result(&mut top).0, expected);
            prop_assert_eq!(Aggregate::<Counted>::is_empty(&top), there.is_empty());
        }
    }
}
