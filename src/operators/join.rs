//! The join of two tables: each key has at most one row a side, so one map holds both sides and their order is no matter.

use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::{Capability, Operator};

use super::{Datum, Diffs, Map, Upserts, route};
use crate::time::Epoch;

/// What a pair of rows gives; the right one is missing only in a left join.
pub(crate) type Joiner<K, L, R, O> = Rc<dyn Fn(&K, &L, Option<&R>) -> Option<O>>;

enum Side<K, L, R> {
    Left(Vec<(K, Option<L>)>),
    Right(Vec<(K, Option<R>)>),
}

type Held<K, L, R> = BTreeMap<Epoch, (Capability<Epoch>, Vec<Side<K, L, R>>)>;

/// Maintains `joiner` over the rows of two tables with equal keys.
///
/// It keeps what stands on both sides, projected as it came: 1 map entry a key. `None` of the joiner is no row.
pub(crate) fn join<'s, K: Datum, L: Datum, R: Datum, O: Datum>(
    left: Upserts<'s, K, L>,
    right: Upserts<'s, K, R>,
    name: &str,
    joiner: Joiner<K, L, R, O>,
) -> Diffs<'s, (K, O)> {
    let mut state: Map<K, (Option<L>, Option<R>)> = Map::default();
    let mut held: Held<K, L, R> = BTreeMap::new();
    let of_left = Exchange::new(|(k, _): &(K, Option<L>)| route(k));
    let of_right = Exchange::new(|(k, _): &(K, Option<R>)| route(k));
    left.binary_frontier::<_, CapacityContainerBuilder<Vec<((K, O), Epoch, isize)>>, _, _, _, _>(
        right,
        of_left,
        of_right,
        name,
        move |_, _| {
            move |(left, left_frontier), (right, right_frontier), output| {
                left.for_each(|time, data| {
                    let (_, parts) = held.entry(*time.time()).or_insert_with(|| (time.retain(0), Vec::new()));
                    parts.push(Side::Left(std::mem::take(data)));
                });
                right.for_each(|time, data| {
                    let (_, parts) = held.entry(*time.time()).or_insert_with(|| (time.retain(0), Vec::new()));
                    parts.push(Side::Right(std::mem::take(data)));
                });
                let frontiers = [left_frontier.frontier(), right_frontier.frontier()];
                let open = frontiers.iter().filter_map(|f| f.first().copied()).min();
                while let Some(mut first) = held.first_entry() {
                    let epoch = *first.key();
                    if open.is_some_and(|open| open < epoch) {
                        break;
                    }
                    let (capability, parts) = first.get_mut();
                    let mut out = Vec::new();
                    for part in parts.drain(..) {
                        touch(&mut state, part, &joiner, epoch, &mut out);
                    }
                    if !out.is_empty() {
                        output.session(&*capability).give_container(&mut out);
                    }
                    if open == Some(epoch) {
                        break;
                    }
                    held.pop_first();
                }
            }
        },
    )
    .as_collection()
}

fn touch<K: Datum, L: Datum, R: Datum, O: Datum>(
    state: &mut Map<K, (Option<L>, Option<R>)>,
    part: Side<K, L, R>,
    joiner: &Joiner<K, L, R, O>,
    epoch: Epoch,
    out: &mut Vec<((K, O), Epoch, isize)>,
) {
    let row = |key: &K, (l, r): &(Option<L>, Option<R>)| l.as_ref().and_then(|l| joiner(key, l, r.as_ref()));
    let mut apply = |key: K, set: &mut dyn FnMut(&mut (Option<L>, Option<R>))| {
        let both = state.entry(key.clone()).or_default();
        let old = row(&key, both);
        set(both);
        let new = row(&key, both);
        if both.0.is_none() && both.1.is_none() {
            state.remove(&key);
        }
        if old != new {
            out.extend(old.map(|old| ((key.clone(), old), epoch, -1)));
            out.extend(new.map(|new| ((key, new), epoch, 1)));
        }
    };
    match part {
        Side::Left(upserts) => upserts.into_iter().for_each(|(k, mut v)| apply(k, &mut |both| both.0 = v.take())),
        Side::Right(upserts) => upserts.into_iter().for_each(|(k, mut v)| apply(k, &mut |both| both.1 = v.take())),
    }
}
