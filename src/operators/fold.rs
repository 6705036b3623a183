//! Aggregates of groups. Each group has a state of its own, and the cost of a change depends on the
//! kind of this state, not on the size of the group.

use differential_dataflow::AsCollection;

use super::aggregates::Aggregate;
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
    let seeds = owners.seeds();
    let owner = move |((group, _), _, _): &((G, X), Epoch, isize)| seeds.route(group);
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
