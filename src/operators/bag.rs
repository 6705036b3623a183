//! A multiset that is small where it has few data, and fast where it has many.

use std::collections::BTreeMap;

/// The most data in a list.
const LISTED_MAX: usize = 16;
/// The number of data at which a tree becomes a list again.
const LISTED_AGAIN: usize = 4;

/// A multiset: a list of few data, which needs no more memory than they do, or a tree of many.
pub(crate) enum Bag<D> {
    Few(Vec<(D, isize)>),
    Many(BTreeMap<D, isize>),
}

impl<D> Default for Bag<D> {
    fn default() -> Self {
        Bag::Few(Vec::new())
    }
}

impl<D: Ord> Bag<D> {
    /// Returns the number of different data.
    pub(crate) fn len(&self) -> usize {
        match self {
            Bag::Few(list) => list.len(),
            Bag::Many(tree) => tree.len(),
        }
    }

    /// Returns true if it has no datum.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the multiplicity of a datum.
    fn count(&self, datum: &D) -> isize {
        match self {
            Bag::Few(list) => {
                list.iter().find(|(known, _)| known == datum).map_or(0, |(_, count)| *count)
            }
            Bag::Many(tree) => tree.get(datum).copied().unwrap_or(0),
        }
    }

    /// Returns true if it will be empty after these changes, each of another datum.
    pub(crate) fn is_empty_after(&self, changes: &[(D, isize)]) -> bool {
        if self.len() > changes.len() {
            return false;
        }
        let left = changes.iter().fold(self.len(), |left, (datum, diff)| {
            let before = self.count(datum);
            left + usize::from(before + diff != 0) - usize::from(before != 0)
        });
        left == 0
    }

    /// Adds `diff` to the multiplicity of a datum.
    pub(crate) fn update(&mut self, datum: D, diff: isize) {
        match self {
            Bag::Few(list) => match list.iter().position(|(known, _)| *known == datum) {
                Some(place) => {
                    list[place].1 += diff;
                    if list[place].1 == 0 {
                        list.swap_remove(place);
                    }
                }
                None if diff == 0 => {}
                None if list.len() < LISTED_MAX => {
                    if list.len() == list.capacity() {
                        list.reserve_exact((list.len() / 2).max(1));
                    }
                    list.push((datum, diff));
                }
                None => {
                    let mut tree: BTreeMap<D, isize> = list.drain(..).collect();
                    tree.insert(datum, diff);
                    *self = Bag::Many(tree);
                }
            },
            Bag::Many(tree) => {
                let count = tree.remove(&datum).unwrap_or(0) + diff;
                if count != 0 {
                    tree.insert(datum, count);
                } else if tree.len() <= LISTED_AGAIN {
                    *self = Bag::Few(std::mem::take(tree).into_iter().collect());
                }
            }
        }
    }

    /// Calls `each` with every datum and its multiplicity.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&D, isize)) {
        match self {
            Bag::Few(list) => list.iter().for_each(|(datum, count)| each(datum, *count)),
            Bag::Many(tree) => tree.iter().for_each(|(datum, count)| each(datum, *count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bag_counts_like_a_tree_at_every_size() {
        let (mut bag, mut expected) = (Bag::default(), BTreeMap::<u64, isize>::new());
        let mut state = 7_u64;
        for turn in 0..4_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // It grows to some fifty data and shrinks to none, again and again.
            let (datum, grows) = ((state >> 33) % 50, turn / 500 % 2 == 0);
            let count = *expected.get(&datum).unwrap_or(&0);
            let diff = if grows { 1 } else { -count };
            let after = bag.is_empty_after(&[(datum, diff)]);
            bag.update(datum, diff);
            expected.insert(datum, count + diff);
            expected.retain(|_, count| *count != 0);
            let mut found = BTreeMap::new();
            bag.for_each(|datum, count| _ = found.insert(*datum, count));
            assert_eq!(found, expected);
            assert_eq!((bag.len(), bag.is_empty()), (expected.len(), after));
        }
    }

    #[test]
    fn the_end_of_a_bag_is_foreseen() {
        let mut bag = Bag::default();
        bag.update(1, 1);
        bag.update(2, 1);
        assert!(!bag.is_empty_after(&[(1, -1)]));
        assert!(bag.is_empty_after(&[(1, -1), (2, -1)]));
        assert!(!bag.is_empty_after(&[(1, -1), (2, -1), (3, 1)]));
        assert!(
            !Bag::default().is_empty_after(&[(3, 1)]) && Bag::<u8>::default().is_empty_after(&[])
        );
    }
}
