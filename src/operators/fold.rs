//! Aggregates of groups. Each group has a state of its own, and the cost of a change depends on the
//! kind of this state, not on the size of the group.

use std::rc::Rc;

use differential_dataflow::AsCollection;

use super::aggregates::{Aggregate, Distinct, Sum};
use super::datum::{Datum, Diffs};
use super::epochs::{Step, in_epochs};
use super::owners::Owners;
use super::seeds::Map;
use crate::metrics::Meter;
use crate::time::Epoch;

/// Maintains an aggregate of each group. When an epoch is closed, it emits the changes of the
/// results of groups that the epoch has touched; in `per_record` also of those without a change.
pub(crate) fn fold<'s, G: Datum, X: Datum, A: Aggregate<X> + 'static, R: Datum>(
    input: Diffs<'s, (G, X)>,
    name: &str,
    fresh: Box<dyn Fn() -> A>,
    row: fn(G, A::Out) -> R,
    owners: &Owners,
    meter: Meter,
) -> Diffs<'s, R> {
    let seeds = owners.seeds();
    fold_at(input, name, fresh, row, move |group, _| seeds.route(group), owners, meter)
}

/// Returns the number of different values of each group.
///
/// The values of a group are divided among all workers, and each counts its own: a few large groups
/// may all belong to one worker. The owner of the group adds the counts.
pub(crate) fn count_distinct<'s, G: Datum, X: Datum>(
    input: Diffs<'s, (G, X)>,
    owners: &Owners,
    meter: Meter,
) -> Diffs<'s, (G, i64)> {
    let (name, seeds) = ("count_distinct", owners.seeds());
    let fresh = Box::new(move || Distinct::new(seeds));
    let pair = |group, count| (group, count);
    if input.inner.scope().peers() == 1 {
        return fold(input, name, fresh, pair, owners, meter);
    }
    let owner = move |_: &G, value: &X| seeds.route(value);
    let counts = fold_at(input, name, fresh, pair, owner, owners, meter);
    let fresh = Box::new(|| Sum { of: Rc::new(|count| *count), total: 0, rows: 0 });
    fold(counts, "sum", fresh, pair, owners, Meter::default())
}

/// Maintains an aggregate of each group on each worker that `owner` chooses for some of its values.
fn fold_at<'s, G: Datum, X: Datum, A: Aggregate<X> + 'static, R: Datum>(
    input: Diffs<'s, (G, X)>,
    name: &str,
    fresh: Box<dyn Fn() -> A>,
    row: fn(G, A::Out) -> R,
    owner: impl Fn(&G, &X) -> u64 + Clone + 'static,
    owners: &Owners,
    meter: Meter,
) -> Diffs<'s, R> {
    struct Group<A, O> {
        state: A,
        shown: Vec<O>,
        touched: bool,
    }
    let passes_unchanged = owners.mode().is_per_record();
    let mut groups: Map<G, Group<A, A::Out>> = owners.seeds().map();
    let mut touched: Vec<G> = Vec::new();
    let mut now = Vec::new();
    let logic = move |epoch: Epoch,
                      step: Step<'_, Vec<((G, X), Epoch, isize)>>,
                      out: &mut Vec<(R, Epoch, isize)>| match step {
        Step::Data(diffs) => {
            for ((key, value), _, diff) in diffs.drain(..) {
                let group = match groups.get_mut(&key) {
                    Some(group) => group,
                    None => {
                        let group = Group { state: fresh(), shown: Vec::new(), touched: false };
                        groups.entry(key.clone()).or_insert(group)
                    }
                };
                if !group.touched {
                    group.touched = true;
                    touched.push(key);
                }
                group.state.update(value, diff);
            }
            true
        }
        Step::Close => {
            out.reserve(touched.len());
            for key in touched.drain(..) {
                let Some(group) = groups.get_mut(&key) else { continue };
                group.touched = false;
                now.clear();
                group.state.result(&mut now);
                let mut emit =
                    |o: &A::Out, diff| out.push((row(key.clone(), o.clone()), epoch, diff));
                if passes_unchanged {
                    group.shown.iter().for_each(|o| emit(o, -1));
                    now.iter().for_each(|o| emit(o, 1));
                } else {
                    difference(&group.shown, &now, emit);
                }
                group.shown.clear();
                group.shown.append(&mut now);
                if group.state.is_empty() {
                    groups.remove(&key);
                }
            }
            false
        }
    };
    let owner = move |((group, value), _, _): &((G, X), Epoch, isize)| owner(group, value);
    in_epochs(input.inner, owner, owners, name, meter, Box::new(logic), std::convert::identity)
        .as_collection()
}

/// Emits the changes from `old` to `new`, both ascending: all retractions, then all additions.
fn difference<O: Ord>(old: &[O], new: &[O], mut emit: impl FnMut(&O, isize)) {
    if old == new {
        return;
    }
    old.iter().filter(|o| new.binary_search(o).is_err()).for_each(|o| emit(o, -1));
    new.iter().filter(|o| old.binary_search(o).is_err()).for_each(|o| emit(o, 1));
}
