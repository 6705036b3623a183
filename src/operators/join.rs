//! The join of two tables: each key has at most one row a side, so one array holds both sides and
//! their order is no matter.

use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::progress::operate::FrontierInterest;

use super::datum::{Datum, Diffs, Upsert, Upserts};
use super::keys::{Column, Keys};
use crate::time::Epoch;

/// What a pair of rows gives; the right one is missing only in a left join.
pub(crate) type Joiner<K, L, R, O> = Rc<dyn Fn(&K, &L, Option<&R>) -> Option<O>>;

enum Side<L, R> {
    Left(Rc<Vec<Upsert<L>>>),
    Right(Rc<Vec<Upsert<R>>>),
}

impl<L, R> Side<L, R> {
    /// The number of upserts.
    fn len(&self) -> usize {
        match self {
            Side::Left(upserts) => upserts.len(),
            Side::Right(upserts) => upserts.len(),
        }
    }
}

type Held<L, R> = BTreeMap<Epoch, (Capability<Epoch>, Vec<Side<L, R>>)>;
/// What stands on both sides of a key.
type Both<L, R> = (Option<L>, Option<R>);

/// Maintains `joiner` over the rows of two tables that share their keys' numbers.
///
/// It keeps what stands on both sides, projected as it came. `None` of the joiner is no row.
pub(crate) fn join<'s, K: Datum, L: Datum, R: Datum, O: Datum>(
    left: Upserts<'s, L>,
    right: Upserts<'s, R>,
    keys: Keys<K>,
    name: &str,
    joiner: Joiner<K, L, R, O>,
) -> Diffs<'s, (K, O)> {
    let mut state: Column<Both<L, R>> = Column::new();
    let mut held: Held<L, R> = BTreeMap::new();
    let mut builder = OperatorBuilder::new(name.to_string(), left.scope());
    let (mut left, mut right) =
        (builder.new_input(left, Pipeline), builder.new_input(right, Pipeline));
    let (output, stream) = builder.new_output();
    let mut output =
        OutputBuilder::<_, CapacityContainerBuilder<Vec<((K, O), Epoch, isize)>>>::from(output);
    (0..2).for_each(|side| builder.set_notify_for(side, FrontierInterest::IfCapability));
    builder.build(move |_| {
        move |frontiers| {
            left.for_each(|time, data| {
                let (_, parts) =
                    held.entry(*time.time()).or_insert_with(|| (time.retain(0), Vec::new()));
                parts.push(Side::Left(std::mem::take(data)));
            });
            right.for_each(|time, data| {
                let (_, parts) =
                    held.entry(*time.time()).or_insert_with(|| (time.retain(0), Vec::new()));
                parts.push(Side::Right(std::mem::take(data)));
            });
            let open = frontiers.iter().filter_map(|f| f.frontier().first().copied()).min();
            while let Some(first) = held.first_entry()
                && open.is_none_or(|open| *first.key() <= open)
            {
                let (epoch, (capability, parts)) = first.remove_entry();
                // Where all keys are new, each second upsert finds its partner.
                let mut out = Vec::with_capacity(parts.iter().map(Side::len).sum::<usize>() / 2);
                for part in parts {
                    touch(&mut state, &part, &keys, &joiner, &mut |row, diff| {
                        out.push((row, epoch, diff))
                    });
                }
                if !out.is_empty() {
                    output.activate().session(&capability).give_container(&mut out);
                }
            }
        }
    });
    stream.as_collection()
}

fn touch<K: Datum, L: Datum, R: Datum, O: Datum>(
    state: &mut Column<Both<L, R>>,
    part: &Side<L, R>,
    keys: &Keys<K>,
    joiner: &Joiner<K, L, R, O>,
    emit: &mut impl FnMut((K, O), isize),
) {
    let keys = keys.open();
    let row = |key: &K, (l, r): &Both<L, R>| l.as_ref().and_then(|l| joiner(key, l, r.as_ref()));
    let mut apply = |number: u32, set: &dyn Fn(&mut Both<L, R>)| {
        let (key, both) = (keys.key(number), state.at(number));
        let old = row(key, both);
        set(both);
        let new = row(key, both);
        if old != new {
            old.into_iter().for_each(|old| emit((key.clone(), old), -1));
            new.into_iter().for_each(|new| emit((key.clone(), new), 1));
        }
    };
    match part {
        Side::Left(upserts) => {
            upserts.iter().for_each(|(n, v)| apply(*n, &|both| both.0.clone_from(v)))
        }
        Side::Right(upserts) => {
            upserts.iter().for_each(|(n, v)| apply(*n, &|both| both.1.clone_from(v)))
        }
    }
}
