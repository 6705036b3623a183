//! From one shape of a table to the other: upserts to diffs, by remembering what stands; diffs to
//! upserts, by numbering keys.

use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::generic::Operator;

use super::datum::{Datum, Diffs, Upsert, Upserts};
use super::epochs::{Step, in_epochs_of};
use super::keys::{Column, Keys};
use crate::time::Epoch;

/// The diffs of a table. It keeps every key's value; an upsert of what stands changes nothing.
pub(crate) fn changes<'s, K: Datum, V: Datum>(
    input: Upserts<'s, V>,
    keys: Keys<K>,
    name: &str,
) -> Diffs<'s, (K, V)> {
    let mut state: Column<Option<V>> = Column::new();
    let logic = move |epoch: Epoch,
                      step: Step<'_, Rc<Vec<Upsert<V>>>>,
                      out: &mut Vec<((K, V), Epoch, isize)>| {
        let Step::Data(upserts) = step else { return false };
        let keys = keys.open();
        for (number, new) in upserts.iter() {
            let stands = state.at(*number);
            if stands == new {
                continue;
            }
            let key = keys.key(*number);
            out.extend(
                std::mem::replace(stands, new.clone()).map(|old| ((key.clone(), old), epoch, -1)),
            );
            out.extend(new.clone().map(|new| ((key.clone(), new), epoch, 1)));
        }
        false
    };
    in_epochs_of(input, Pipeline, name, Box::new(logic), std::convert::identity).as_collection()
}

/// The upserts of a table that has diffs. `settled` says that every key's diffs come from the
/// worker that owns it.
pub(crate) fn numbered<'s, K: Datum, V: Datum>(
    rows: Diffs<'s, (K, V)>,
    keys: Keys<K>,
    settled: bool,
) -> Upserts<'s, V> {
    match settled {
        true => number(rows.inner, Pipeline, keys),
        false => {
            let seeds = keys.seeds();
            number(
                rows.inner,
                Exchange::new(move |((k, _), _, _): &((K, V), Epoch, isize)| seeds.route(k)),
                keys,
            )
        }
    }
}

fn number<'s, K: Datum, V: Datum>(
    rows: StreamVec<'s, Epoch, ((K, V), Epoch, isize)>,
    pact: impl ParallelizationContract<Epoch, Vec<((K, V), Epoch, isize)>>,
    keys: Keys<K>,
) -> Upserts<'s, V> {
    rows.unary::<CapacityContainerBuilder<Rc<Vec<Upsert<V>>>>, _, _, _>(
        pact,
        "number",
        move |_, _| {
            move |input, output| {
                input.for_each(|time, data| {
                    let mut keys = keys.open();
                    let upsert = |((key, value), _, diff): ((K, V), Epoch, isize)| {
                        (keys.number(&key), (diff > 0).then_some(value))
                    };
                    output
                        .session(&time)
                        .give_container(&mut Rc::new(data.drain(..).map(upsert).collect()));
                });
            }
        },
    )
}
