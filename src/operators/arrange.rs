//! Arrangements of differential on the workers that own the keys. Differential routes rows by a
//! hash of its own; here they are routed, and checked, like the rows of all other operators.

use differential_dataflow::AsCollection;
use differential_dataflow::consolidation::consolidate;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent, arrangement::arrange_core};
use differential_dataflow::trace::implementations::{
    ContainerChunker, ValBatcher, ValBuilder, ValSpine,
};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::generic::Operator;

use super::datum::{Datum, Diffs, Placement};
use super::epochs::{Step, by_epoch, in_epochs_of};
use super::owners::Owners;
use crate::metrics::Meter;
use crate::time::Epoch;

type Batch<K, V> = Vec<((K, V), Epoch, isize)>;
/// Rows in the order of their keys, for joins on this worker.
pub(crate) type ByKey<'s, K, V> = Arranged<'s, TraceAgent<ValSpine<K, V, Epoch, isize>>>;

/// Moves diffs to the workers that own their keys, and counts them as rows that `step` takes.
pub(crate) fn to_owners<'s, K: Datum, V: Datum>(
    rows: Diffs<'s, (K, V)>,
    placement: Placement,
    owners: &Owners,
    step: &str,
    meter: Meter,
) -> Diffs<'s, (K, V)> {
    if placement == Placement::Owner {
        return pass(rows, Pipeline, step, meter, |_| true);
    }
    let seeds = owners.seeds();
    let scope = rows.inner.scope();
    let is_owner = owners.check(step, scope.index(), scope.peers());
    let pact = Exchange::new(move |((key, _), _, _): &((K, V), Epoch, isize)| seeds.route(key));
    pass(rows, pact, step, meter, move |key| is_owner(seeds.route(key)))
}

fn pass<'s, K: Datum, V: Datum>(
    rows: Diffs<'s, (K, V)>,
    pact: impl ParallelizationContract<Epoch, Batch<K, V>>,
    step: &str,
    meter: Meter,
    is_owner: impl Fn(&K) -> bool + 'static,
) -> Diffs<'s, (K, V)> {
    rows.inner
        .unary::<CapacityContainerBuilder<Batch<K, V>>, _, _, _>(pact, step, move |_, _| {
            move |input, output| {
                input.for_each(|time, data| {
                    if data.first().is_some_and(|((key, _), _, _)| !is_owner(key)) {
                        return;
                    }
                    meter.count(data.len(), 0);
                    output.session(&time).give_container(data);
                });
            }
        })
        .as_collection()
}

/// Arranges diffs that are on the workers that own their keys. It moves no row.
pub(crate) fn arrange<'s, K: Datum, V: Datum>(
    rows: Diffs<'s, (K, V)>,
    step: &str,
) -> ByKey<'s, K, V> {
    arrange_core::<
        _,
        _,
        ContainerChunker<Batch<K, V>>,
        ValBatcher<K, V, Epoch, isize>,
        ValBuilder<K, V, Epoch, isize>,
        _,
    >(rows.inner, Pipeline, step)
}

/// Consolidates the diffs of each epoch on the worker where they are, and turns each into items
/// with `f`. Equal diffs must be on one worker. The items count as rows that `step` emits.
pub(crate) fn consolidated<'s, D: Datum, O: Clone + 'static, I: IntoIterator<Item = O>>(
    rows: Diffs<'s, D>,
    step: &str,
    meter: Meter,
    f: impl Fn(D, isize) -> I + 'static,
) -> StreamVec<'s, Epoch, O> {
    let mut net: Vec<(D, isize)> = Vec::new();
    let logic = move |_: Epoch, step: Step<'_, Vec<(D, Epoch, isize)>>, out: &mut Vec<O>| {
        if let Step::Data(diffs) = step {
            net.extend(diffs.drain(..).map(|(datum, _, diff)| (datum, diff)));
            return true;
        }
        consolidate(&mut net);
        out.extend(net.drain(..).flat_map(|(datum, diff)| f(datum, diff)));
        meter.count(0, out.len());
        false
    };
    // The meter of the step counts results only: the rows that it takes are counted before.
    let none = Meter::default();
    in_epochs_of(by_epoch(rows), Pipeline, step, none, Box::new(logic), std::convert::identity)
}
