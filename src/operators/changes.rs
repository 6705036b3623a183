//! From one shape of a table's changes to the other, and a map that keeps the shape.

use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::generic::Operator;

use super::column::Column;
use super::datum::{Datum, Diffs, Placement, Upsert, Upserts};
use super::epochs::{Step, in_epochs_of};
use super::keys::Keys;
use crate::metrics::Meter;
use crate::time::Epoch;

/// Makes diffs of upserts. It keeps every key's value; an upsert of the current value is dropped,
/// except in `per_record`.
pub(crate) fn upserts_to_diffs<'s, K: Datum, V: Datum>(
    input: Upserts<'s, V>,
    keys: Keys<K>,
    name: &str,
) -> Diffs<'s, (K, V)> {
    let passes_unchanged = keys.owners().mode().is_per_record();
    let mut current: Column<Option<V>> = Column::new();
    let logic = move |epoch: Epoch,
                      step: Step<'_, Rc<Vec<Upsert<V>>>>,
                      out: &mut Vec<((K, V), Epoch, isize)>| {
        let Step::Data(upserts) = step else { return false };
        let keys = keys.open();
        for Upsert { number, value: new, .. } in upserts.iter() {
            let value = current.at(*number);
            if value == new && !passes_unchanged {
                continue;
            }
            let key = keys.key(*number);
            let old = std::mem::replace(value, new.clone());
            out.extend(old.map(|old| ((key.clone(), old), epoch, -1)));
            out.extend(new.clone().map(|new| ((key.clone(), new), epoch, 1)));
        }
        false
    };
    // A conversion is no step of the plan, so this meter has no reader.
    in_epochs_of(input, Pipeline, name, Meter::default(), Box::new(logic), std::convert::identity)
        .as_collection()
}

/// Makes changes of upserts, one of each, also of a deletion without a row. Those before the epoch
/// `first` are dropped. It keeps nothing.
pub(crate) fn upserts_to_changes<'s, K: Datum, V: Datum>(
    input: Upserts<'s, V>,
    keys: Keys<K>,
    name: &str,
    first: Epoch,
    meter: Meter,
) -> StreamVec<'s, Epoch, ((K, Option<V>), Epoch)> {
    let logic = move |epoch: Epoch,
                      step: Step<'_, Rc<Vec<Upsert<V>>>>,
                      out: &mut Vec<((K, Option<V>), Epoch)>| {
        if let Step::Data(upserts) = step
            && epoch >= first
        {
            let keys = keys.open();
            let change = |it: &Upsert<V>| ((keys.key(it.number).clone(), it.value.clone()), epoch);
            out.extend(upserts.iter().map(change));
        }
        false
    };
    in_epochs_of(input, Pipeline, name, meter, Box::new(logic), std::convert::identity)
}

/// Makes upserts of diffs, by the numbers of their keys. It keeps one byte a number, and releases
/// the number of a key whose row is gone.
pub(crate) fn diffs_to_upserts<'s, K: Datum, V: Datum>(
    rows: Diffs<'s, (K, V)>,
    keys: Keys<K>,
    placement: Placement,
) -> Upserts<'s, V> {
    let rows = rows.inner;
    if placement == Placement::Owner {
        return number(rows, Pipeline, keys, |_| true);
    }
    let seeds = keys.seeds();
    let is_owner = keys.owners().check("number", rows.scope().index(), rows.scope().peers());
    let pact = Exchange::new(move |((k, _), _, _): &((K, V), Epoch, isize)| seeds.route(k));
    number(rows, pact, keys, move |key| is_owner(seeds.route(key)))
}

/// A number as its operator has it.
#[derive(Clone, Copy, Default, PartialEq)]
enum Held {
    #[default]
    No,
    /// Its row is gone, and may be back before the batch ends.
    Gone,
    Stands,
}

fn number<'s, K: Datum, V: Datum>(
    rows: StreamVec<'s, Epoch, ((K, V), Epoch, isize)>,
    pact: impl ParallelizationContract<Epoch, Vec<((K, V), Epoch, isize)>>,
    keys: Keys<K>,
    is_owner: impl Fn(&K) -> bool + 'static,
) -> Upserts<'s, V> {
    let mut held: Column<Held> = Column::new();
    let mut gone = Vec::new();
    rows.unary::<CapacityContainerBuilder<Rc<Vec<Upsert<V>>>>, _, _, _>(
        pact,
        "number",
        move |_, _| {
            move |input, output| {
                input.for_each(|time, data| {
                    if data.first().is_some_and(|((key, _), _, _)| !is_owner(key)) {
                        return;
                    }
                    let mut keys = keys.open();
                    let upsert = |((key, value), _, diff): ((K, V), Epoch, isize)| {
                        let number = keys.number(&key);
                        let held = held.at(number);
                        if *held == Held::No {
                            keys.hold(number);
                        }
                        *held = if diff > 0 { Held::Stands } else { Held::Gone };
                        if diff < 0 {
                            gone.push(number);
                        }
                        Upsert::new(number, (diff > 0).then_some(value))
                    };
                    let upserts = data.drain(..).map(upsert).collect();
                    for number in gone.drain(..) {
                        // Most rows go to make room for another one of their key.
                        if *held.at(number) == Held::Gone {
                            *held.at(number) = Held::No;
                            keys.release(number, *time.time());
                        }
                    }
                    output.session(&time).give_container(&mut Rc::new(upserts));
                });
            }
        },
    )
}

/// Replaces the value of each diff by the result of `f`; `None` is no row. It keeps no state.
pub(crate) fn map_diffs<'s, K: Datum, V: Datum, W: Datum>(
    rows: Diffs<'s, (K, V)>,
    name: &str,
    meter: Meter,
    f: impl Fn(&K, &V) -> Option<W> + 'static,
) -> Diffs<'s, (K, W)> {
    rows.inner
        .unary::<CapacityContainerBuilder<Vec<((K, W), Epoch, isize)>>, _, _, _>(
            Pipeline,
            name,
            move |_, _| {
                move |input, output| {
                    input.for_each(|time, data| {
                        let taken = data.len();
                        let row = |((key, value), epoch, diff): ((K, V), Epoch, isize)| {
                            f(&key, &value).map(|value| ((key, value), epoch, diff))
                        };
                        let mut rows: Vec<_> = data.drain(..).filter_map(row).collect();
                        meter.count(taken, rows.len());
                        if !rows.is_empty() {
                            output.session(&time).give_container(&mut rows);
                        }
                    });
                }
            },
        )
        .as_collection()
}

/// Replaces each value by the result of `f`; `None` deletes. It keeps no state.
pub(crate) fn map_upserts<'s, K: Datum, V: Datum, W: Datum>(
    rows: Upserts<'s, V>,
    keys: Keys<K>,
    name: &str,
    meter: Meter,
    f: impl Fn(&K, &V) -> Option<W> + 'static,
) -> Upserts<'s, W> {
    rows.unary::<CapacityContainerBuilder<Rc<Vec<Upsert<W>>>>, _, _, _>(
        Pipeline,
        name,
        move |_, _| {
            move |input, output| {
                input.for_each(|time, data| {
                    let keys = keys.open();
                    let upsert = |Upsert { number, value, .. }: &Upsert<V>| {
                        let row = value.as_ref().and_then(|value| f(keys.key(*number), value));
                        Upsert::new(*number, row)
                    };
                    let upserts: Vec<Upsert<W>> = data.iter().map(upsert).collect();
                    // A row that `f` drops is no row, but its deletion has to go on.
                    let dropped = data.iter().zip(&upserts);
                    let dropped = dropped.filter(|(v, w)| v.value.is_some() && w.value.is_none());
                    meter.count(data.len(), data.len() - dropped.count());
                    let mut upserts = Rc::new(upserts);
                    output.session(&time).give_container(&mut upserts);
                });
            }
        },
    )
}
