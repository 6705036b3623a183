//! The laws of aggregates of one's own.

use std::fmt::Debug;

use super::dice::Dice;
use crate::grouped::Aggregator;

/// The random orders that are tried.
const ORDERS: usize = 50;

/// Checks the laws of an [`Aggregator`] with these values: a good sample has duplicates and
/// extremes.
///
/// - A new state is empty, and has no result.
/// - The result depends only on how often the state has each value, in any order of updates.
/// - An update by 2 equals two updates by 1.
/// - A state from which all values were taken away is empty, and has no result.
/// - A state that was merged with another equals one with the values of both. Where `merge` returns
///   false, nothing has changed.
///
/// [`Aggregator`] has an example.
///
/// # Panics
///
/// When a law is broken. The message has the law and the values.
pub fn assert_aggregator_laws<X: Clone + Debug, A: Aggregator<X>>(
    fresh: impl Fn() -> A,
    values: &[X],
) {
    let of = |updates: &[(X, i64)]| {
        let mut state = fresh();
        updates.iter().for_each(|(value, diff)| state.update(value, *diff));
        (state.result(), state.is_empty())
    };
    let nothing = (None, true);
    assert!(of(&[]) == nothing, "a new state must be empty and have no result");
    let each: Vec<(X, i64)> = values.iter().map(|value| (value.clone(), 1)).collect();
    let all = of(&each);
    let mut dice = Dice::new(1);
    for _ in 0..ORDERS {
        // Some values come and go again, before or after.
        let mut updates = each.clone();
        for value in values.iter().filter(|_| dice.below(2) == 0) {
            updates.extend([(value.clone(), 1), (value.clone(), -1)]);
        }
        dice.shuffle(&mut updates);
        assert!(of(&updates) == all, "the result must not depend on the order of {updates:?}");
        let gone = updates.iter().map(|(value, diff)| (value.clone(), -diff));
        let gone: Vec<_> = updates.iter().cloned().chain(gone).collect();
        assert!(of(&gone) == nothing, "nothing must be left of {gone:?}");
    }
    for _ in 0..ORDERS {
        let mut updates = each.clone();
        dice.shuffle(&mut updates);
        let (before, later) = updates.split_at(dice.below(updates.len() + 1));
        let state = |updates: &[(X, i64)]| {
            let mut state = fresh();
            updates.iter().for_each(|(value, diff)| state.update(value, *diff));
            state
        };
        let mut merged = state(before);
        let expected = if merged.merge(&state(later)) { &updates[..] } else { before };
        let is_equal = (merged.result(), merged.is_empty()) == of(expected);
        assert!(is_equal, "{before:?} merged with {later:?} must equal {expected:?}");
        expected.iter().for_each(|(value, diff)| merged.update(value, -diff));
        let is_nothing = (merged.result(), merged.is_empty()) == nothing;
        assert!(is_nothing, "nothing must be left of {before:?} merged with {later:?}");
    }
    for value in values {
        let value = || value.clone();
        let (twice, at_once) = (of(&[(value(), 1), (value(), 1)]), of(&[(value(), 2)]));
        assert!(twice == at_once, "an update of {:?} by 2 must equal two updates", value());
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::grouped::Subtracting;

    /// Returns the message of the broken law.
    fn broken<A: Aggregator<i64>>(fresh: impl Fn() -> A) -> String {
        let laws = AssertUnwindSafe(|| assert_aggregator_laws(fresh, &[3, 1, 4, 1, 5]));
        let message = catch_unwind(laws).unwrap_err();
        message.downcast_ref::<String>().cloned().unwrap_or_default()
    }

    /// The greatest value so far, which is wrong once it is taken away.
    #[derive(Default)]
    struct High(Option<i64>, i64);

    impl Aggregator<i64> for High {
        type Out = i64;
        fn update(&mut self, value: &i64, diff: i64) {
            self.0 = self.0.max(Some(*value).filter(|_| diff > 0));
            self.1 += diff;
        }
        fn result(&self) -> Option<i64> {
            self.0
        }
        fn is_empty(&self) -> bool {
            self.1 == 0
        }
    }

    #[test]
    fn an_aggregator_without_an_inverse_breaks_a_law() {
        assert!(broken(High::default).starts_with("nothing must be left"));
    }

    /// A sum whose merge adds the half.
    #[derive(Default)]
    struct Merged<const MERGES: bool>(i64, i64);

    impl<const MERGES: bool> Aggregator<i64> for Merged<MERGES> {
        type Out = i64;
        fn update(&mut self, value: &i64, diff: i64) {
            self.0 += value * diff;
            self.1 += diff;
        }
        fn result(&self) -> Option<i64> {
            (self.1 != 0).then_some(self.0)
        }
        fn is_empty(&self) -> bool {
            self.1 == 0
        }
        fn merge(&mut self, other: &Self) -> bool {
            self.0 += other.0;
            MERGES
        }
    }

    #[test]
    fn a_merge_that_adds_the_half_breaks_a_law() {
        for message in [broken(Merged::<true>::default), broken(Merged::<false>::default)] {
            assert!(message.contains(" merged with "), "{message}");
        }
    }

    #[test]
    fn a_subtractor_that_does_not_undo_breaks_a_law() {
        let sum = |wrong: i64| {
            move || Subtracting::new(|| 0, |sum, n: &i64| sum + n, move |sum, n| sum - n * wrong)
        };
        assert_aggregator_laws(sum(1), &[3, 1, 4, 1, 5]);
        assert!(broken(sum(2)).starts_with("the result must not depend"));
        let last = || Subtracting::new(|| 0, |_, n: &i64| *n, |last, _| last);
        assert!(broken(last).starts_with("the result must not depend"));
    }
}
