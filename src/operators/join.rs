//! The join of two tables. Each key has at most one row on each side, so one array holds both
//! sides, and the order in which they change does not matter.

use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::operate::FrontierInterest;

use super::column::Column;
use super::datum::{Datum, Diffs, Upsert, Upserts};
use super::keys::Keys;
use crate::metrics::Meter;
use crate::time::Epoch;

/// Makes a row of a pair of rows. The right one is missing only in a left join.
pub(crate) type Joiner<K, L, R, O> = Rc<dyn Fn(&K, &L, Option<&R>) -> Option<O>>;

/// Upserts of one side.
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

/// The upserts of an epoch that is not yet the earliest open one.
struct Held<L, R> {
    capability: Capability<Epoch>,
    parts: Vec<Side<L, R>>,
}

/// The current rows of a key on both sides.
struct Pair<L, R> {
    left: Option<L>,
    right: Option<R>,
}

impl<L, R> Default for Pair<L, R> {
    fn default() -> Self {
        Pair { left: None, right: None }
    }
}

/// Maintains `joiner` over the rows of two tables that share their keys' numbers.
///
/// It keeps the current rows of both sides. `None` of the joiner is no row.
pub(crate) fn join<'s, K: Datum, L: Datum, R: Datum, O: Datum>(
    left: Upserts<'s, L>,
    right: Upserts<'s, R>,
    keys: Keys<K>,
    name: &str,
    meter: Meter,
    joiner: Joiner<K, L, R, O>,
) -> Diffs<'s, (K, O)> {
    let mut state: Column<Pair<L, R>> = Column::new();
    let mut held: BTreeMap<Epoch, Held<L, R>> = BTreeMap::new();
    let mut builder = OperatorBuilder::new(name.to_string(), left.scope());
    let (mut left, mut right) =
        (builder.new_input(left, Pipeline), builder.new_input(right, Pipeline));
    let (output, stream) = builder.new_output();
    let mut output =
        OutputBuilder::<_, CapacityContainerBuilder<Vec<((K, O), Epoch, isize)>>>::from(output);
    (0..2).for_each(|side| builder.set_notify_for(side, FrontierInterest::IfCapability));
    builder.build(move |_| {
        move |frontiers| {
            let mut hold = |time: InputCapability<Epoch>, side| {
                let first = || Held { capability: time.retain(0), parts: Vec::new() };
                held.entry(*time.time()).or_insert_with(first).parts.push(side);
            };
            left.for_each(|time, data| hold(time, Side::Left(std::mem::take(data))));
            right.for_each(|time, data| hold(time, Side::Right(std::mem::take(data))));
            let open = frontiers.iter().filter_map(|f| f.frontier().first().copied()).min();
            while let Some(first) = held.first_entry()
                && open.is_none_or(|open| *first.key() <= open)
            {
                let (epoch, Held { capability, parts }) = first.remove_entry();
                // Where all keys are new, each second upsert finds its partner.
                let upserts = parts.iter().map(Side::len).sum::<usize>();
                let mut out = Vec::with_capacity(upserts / 2);
                for part in parts {
                    touch(&mut state, &part, &keys, &joiner, &mut |row, diff| {
                        out.push((row, epoch, diff))
                    });
                }
                meter.count(upserts, out.len());
                if !out.is_empty() {
                    output.activate().session(&capability).give_container(&mut out);
                }
            }
        }
    });
    stream.as_collection()
}

/// Applies upserts of one side, and emits the changes of the joined rows.
fn touch<K: Datum, L: Datum, R: Datum, O: Datum>(
    state: &mut Column<Pair<L, R>>,
    part: &Side<L, R>,
    keys: &Keys<K>,
    joiner: &Joiner<K, L, R, O>,
    emit: &mut impl FnMut((K, O), isize),
) {
    let passes_unchanged = keys.owners().mode().is_per_record();
    let keys = keys.open();
    let row = |key: &K, pair: &Pair<L, R>| {
        pair.left.as_ref().and_then(|left| joiner(key, left, pair.right.as_ref()))
    };
    let mut apply = |number: u32, set: &dyn Fn(&mut Pair<L, R>)| {
        let (key, pair) = (keys.key(number), state.at(number));
        let old = row(key, pair);
        set(pair);
        let new = row(key, pair);
        if old != new || passes_unchanged {
            old.into_iter().for_each(|old| emit((key.clone(), old), -1));
            new.into_iter().for_each(|new| emit((key.clone(), new), 1));
        }
    };
    match part {
        Side::Left(upserts) => {
            upserts.iter().for_each(|it| apply(it.number, &|pair| pair.left.clone_from(&it.value)))
        }
        Side::Right(upserts) => {
            upserts.iter().for_each(|it| apply(it.number, &|pair| pair.right.clone_from(&it.value)))
        }
    }
}
