//! The join of two multisets by group. Tables joined by a foreign key, streams joined with streams,
//! and streams joined with tables are instances of it.
//!
//! A change costs the results that it changes: the data of the other side in its group, or one
//! result where that side has none.

use std::rc::Rc;

use differential_dataflow::AsCollection;
use differential_dataflow::consolidation::consolidate;

use super::bag::Bag;
use super::datum::{Datum, Diffs, Side};
use super::epochs::Step;
use super::owners::Owners;
use super::seeds::Map;
use super::sides::in_epochs_of_both;
use crate::metrics::Meter;
use crate::time::{Epoch, ProcessingMode};

/// The data that have a result although the other side of their group is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmatched {
    Dropped,
    LeftKept,
    BothKept,
}

/// The origin of a result: two data of a group, or one where the other side is empty.
pub(crate) enum Match<'a, G, D, E> {
    Both(&'a G, &'a D, &'a E),
    Left(&'a G, &'a D),
    Right(&'a G, &'a E),
    /// A left datum without a group, which [`join_by_group`] never has.
    Ungrouped(&'a D),
}

/// Makes a result of a pair; `None` is no result.
pub(crate) type MatchJoiner<G, D, E, X> = Rc<dyn Fn(Match<'_, G, D, E>) -> Option<X>>;

type Batch<D> = Vec<(D, Epoch, isize)>;

/// The room for changed groups that is kept between epochs.
const KEPT_GROUPS: usize = 1 << 12;

/// The data of a group.
struct Group<D, E> {
    lefts: Bag<D>,
    rights: Bag<E>,
}

impl<D, E> Default for Group<D, E> {
    fn default() -> Self {
        Group { lefts: Bag::default(), rights: Bag::default() }
    }
}

/// The changes of a group in an epoch.
struct Changes<D, E> {
    lefts: Vec<(D, isize)>,
    rights: Vec<(E, isize)>,
}

impl<D, E> Default for Changes<D, E> {
    fn default() -> Self {
        Changes { lefts: Vec::new(), rights: Vec::new() }
    }
}

/// Maintains `joiner` over all pairs of a left and a right datum of one group. When an epoch is
/// closed, it emits the net changes of the results.
///
/// Both inputs must be on the worker that makes the results of a group. It keeps the data of both
/// sides.
pub(crate) fn join_by_group<'s, G: Datum, D: Datum, E: Datum, X: Clone + Eq + 'static>(
    lefts: Diffs<'s, (G, D)>,
    rights: Diffs<'s, (G, E)>,
    unmatched: Unmatched,
    name: &str,
    owners: &Owners,
    meter: Meter,
    joiner: MatchJoiner<G, D, E, X>,
) -> Diffs<'s, X> {
    let mode = owners.mode();
    let mut groups: Map<G, Group<D, E>> = owners.seeds().map();
    let mut changed: Map<G, Changes<D, E>> = owners.seeds().map();
    let logic = move |epoch: Epoch,
                      step: Step<'_, Side<Batch<(G, D)>, Batch<(G, E)>>>,
                      out: &mut Batch<X>| {
        match step {
            Step::Data(Side::Left(diffs)) => {
                for ((group, datum), _, diff) in diffs.drain(..) {
                    changed.entry(group).or_default().lefts.push((datum, diff));
                }
            }
            Step::Data(Side::Right(diffs)) => {
                for ((group, datum), _, diff) in diffs.drain(..) {
                    changed.entry(group).or_default().rights.push((datum, diff));
                }
            }
            Step::Close => {
                let room = changed.len().max(KEPT_GROUPS);
                for (key, changes) in changed.drain() {
                    let mut emit = |result, diff| out.push((result, epoch, diff));
                    let group = match groups.get_mut(&key) {
                        Some(group) => group,
                        None => groups.entry(key.clone()).or_default(),
                    };
                    group.change(&key, changes, unmatched, mode, &joiner, &mut emit);
                    if group.lefts.is_empty() && group.rights.is_empty() {
                        groups.remove(&key);
                    }
                }
                changed.shrink_to(room);
            }
        }
        !changed.is_empty()
    };
    let (lefts, rights) = (lefts.inner, rights.inner);
    in_epochs_of_both(lefts, rights, name, meter, Box::new(logic), std::convert::identity)
        .as_collection()
}

/// Consolidates the changes of a side. Returns true if it is empty after them.
///
/// In `per_record` changes that leave a datum as it was are passed on.
fn is_empty_after<D: Datum>(
    side: &Bag<D>,
    changes: &mut Vec<(D, isize)>,
    mode: ProcessingMode,
) -> bool {
    if mode.is_per_record() {
        let mut net = changes.clone();
        consolidate(&mut net);
        return side.is_empty_after(&net);
    }
    consolidate(changes);
    side.is_empty_after(changes)
}

impl<D: Datum, E: Datum> Group<D, E> {
    /// Applies the changes of an epoch, and emits those of the results.
    ///
    /// Removed lefts meet the rights of before, and added lefts those of afterwards. So no result
    /// is emitted that the same epoch takes back.
    fn change<G, X: Eq>(
        &mut self,
        key: &G,
        changes: Changes<D, E>,
        unmatched: Unmatched,
        mode: ProcessingMode,
        joiner: &MatchJoiner<G, D, E, X>,
        emit: &mut impl FnMut(X, isize),
    ) {
        let Changes { lefts: mut left_changes, rights: mut right_changes } = changes;
        let keeps_lefts = unmatched != Unmatched::Dropped;
        let keeps_rights = unmatched == Unmatched::BothKept;
        let had_lefts = !self.lefts.is_empty();
        let had_rights = !self.rights.is_empty();
        let has_lefts = !is_empty_after(&self.lefts, &mut left_changes, mode);
        let has_rights = !is_empty_after(&self.rights, &mut right_changes, mode);
        let mut put = |pair: Match<'_, G, D, E>, diff: isize| {
            joiner(pair).into_iter().for_each(|result| emit(result, diff));
        };

        if keeps_rights && !had_lefts && has_lefts {
            self.rights.for_each(|right, times| put(Match::Right(key, right), -times));
        }
        let (removed, added): (Vec<_>, Vec<_>) =
            left_changes.into_iter().partition(|(_, diff)| *diff < 0);
        for (left, diff) in removed {
            self.rights.for_each(|right, times| put(Match::Both(key, &left, right), diff * times));
            if keeps_lefts && !had_rights {
                put(Match::Left(key, &left), diff);
            }
            self.lefts.update(left, diff);
        }

        if keeps_lefts && !had_rights && has_rights {
            self.lefts.for_each(|left, times| put(Match::Left(key, left), -times));
        }
        if keeps_rights && !had_lefts && !has_lefts {
            right_changes.iter().for_each(|(right, diff)| put(Match::Right(key, right), *diff));
        }
        self.meet(key, &right_changes, mode, joiner, &mut put);
        right_changes.into_iter().for_each(|(right, diff)| self.rights.update(right, diff));
        if keeps_lefts && had_rights && !has_rights {
            self.lefts.for_each(|left, times| put(Match::Left(key, left), times));
        }

        for (left, diff) in added {
            self.rights.for_each(|right, times| put(Match::Both(key, &left, right), diff * times));
            if keeps_lefts && !has_rights {
                put(Match::Left(key, &left), diff);
            }
            self.lefts.update(left, diff);
        }
        if keeps_rights && had_lefts && !has_lefts {
            self.rights.for_each(|right, times| put(Match::Right(key, right), times));
        }
    }

    /// Emits the changes of the results of lefts that stay, where rights change.
    fn meet<G, X: Eq>(
        &self,
        key: &G,
        rights: &[(E, isize)],
        mode: ProcessingMode,
        joiner: &MatchJoiner<G, D, E, X>,
        put: &mut impl FnMut(Match<'_, G, D, E>, isize),
    ) {
        match rights {
            // A row that replaces another one is the usual change of a table. Many results may be
            // equal with both, and these are not emitted.
            [(one, diff), (other, opposite)] if *diff == -opposite && !mode.is_per_record() => {
                self.lefts.for_each(|left, times| {
                    if joiner(Match::Both(key, left, one)) != joiner(Match::Both(key, left, other))
                    {
                        put(Match::Both(key, left, one), times * diff);
                        put(Match::Both(key, left, other), times * opposite);
                    }
                });
            }
            rights => {
                for (right, diff) in rights {
                    self.lefts
                        .for_each(|left, times| put(Match::Both(key, left, right), times * diff));
                }
            }
        }
    }
}
