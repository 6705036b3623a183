//! Materialization: when an epoch is closed, the new rows of the keys that it changed are staged in
//! the store of the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::Container;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Stream, StreamVec};
use timely::progress::operate::FrontierInterest;

use super::store::{KeyValueStore, Net};
use crate::operators::{Datum, Diffs, Keys, Owners, Seeds, Upserts};
use crate::time::Epoch;

/// An output without data: once its frontier is past an epoch, all workers have staged that epoch.
pub(crate) type Staged<'s> = StreamVec<'s, Epoch, ()>;

/// The changes of an epoch that is not closed yet.
struct HeldEpoch<K, V> {
    /// Keeps the epoch open downstream until its changes are staged.
    capability: Capability<Epoch>,
    net: Net<K, V>,
}

/// Stages a table of upserts.
pub(crate) fn materialize<'s, K: Datum, V: Datum>(
    rows: Upserts<'s, V>,
    keys: Keys<K>,
    name: &str,
    store: Arc<KeyValueStore<K, V>>,
) -> Staged<'s> {
    let owners = keys.owners().clone();
    run(rows, name, store, &owners, move |upserts, net| {
        let keys = keys.open();
        net.extend(upserts.iter().map(|row| (keys.key(row.number).clone(), row.value.clone())));
    })
}

/// Stages a table of diffs. The diffs of a key all come from one worker.
pub(crate) fn materialize_diffs<'s, K: Datum, V: Datum>(
    rows: Diffs<'s, (K, V)>,
    name: &str,
    store: Arc<KeyValueStore<K, V>>,
    owners: &Owners,
) -> Staged<'s> {
    run(rows.inner, name, store, owners, |diffs, net| {
        net.extend(
            diffs.drain(..).map(|((key, value), _, diff)| (key, (diff > 0).then_some(value))),
        );
    })
}

/// The operators for both shapes. They keep no row beyond its epoch.
///
/// In several processes the changes of each epoch go to the workers of process 0 before they are
/// staged. The changes of a key all come from one worker, so an epoch has one for each key.
fn run<'s, K: Datum, V: Datum, C: Container + Clone + Default>(
    rows: Stream<'s, Epoch, C>,
    name: &str,
    store: Arc<KeyValueStore<K, V>>,
    owners: &Owners,
    each: impl Fn(&mut C, &mut Net<K, V>) + 'static,
) -> Staged<'s> {
    let (gathering, seeds) = (store.gathering(), owners.seeds());
    let stage = move |epoch, net| {
        store.stage(epoch, net);
        Vec::new()
    };
    match gathering {
        None => at_close(rows, Pipeline, name, seeds, each, stage),
        Some(workers) => {
            let net = |_, net: Net<K, V>| net.into_iter().collect();
            let changes = at_close(rows, Pipeline, &format!("net {name}"), seeds, each, net);
            let step = format!("store {name}");
            let is_owner = owners.check(&step, changes.scope().index(), workers);
            let workers = workers as u64;
            let place = move |(key, _): &(K, Option<V>)| seeds.route(key) % workers;
            let collect = move |changes: &mut Vec<(K, Option<V>)>, net: &mut Net<K, V>| {
                if changes.first().is_some_and(|(key, _)| !is_owner(seeds.route(key))) {
                    changes.clear();
                }
                net.extend(changes.drain(..));
            };
            at_close(changes, Exchange::new(place), name, seeds, collect, stage)
        }
    }
}

/// Collects the net changes of each epoch with `each`, and emits the result of `close` for them
/// when the epoch is closed.
fn at_close<'s, K: Datum, V: Datum, C: Container + Clone + Default, D: Clone + 'static>(
    rows: Stream<'s, Epoch, C>,
    pact: impl ParallelizationContract<Epoch, C>,
    name: &str,
    seeds: Seeds,
    each: impl Fn(&mut C, &mut Net<K, V>) + 'static,
    close: impl Fn(Epoch, Net<K, V>) -> Vec<D> + 'static,
) -> StreamVec<'s, Epoch, D> {
    let mut builder = OperatorBuilder::new(name.to_string(), rows.scope());
    let mut input = builder.new_input(rows, pact);
    let (output, closed) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<D>>>::from(output);
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    builder.build(move |_| {
        let mut held: BTreeMap<Epoch, HeldEpoch<K, V>> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|time, data| {
                let first = || HeldEpoch { capability: time.retain(0), net: seeds.map() };
                each(data, &mut held.entry(*time.time()).or_insert_with(first).net);
            });
            let open = frontiers[0].frontier().first().copied();
            while let Some(first) = held.first_entry()
                && open.is_none_or(|open| *first.key() < open)
            {
                // The capability is dropped at the end of the block, after `close`.
                let (epoch, HeldEpoch { capability, net }) = first.remove_entry();
                let mut result = close(epoch, net);
                if !result.is_empty() {
                    output.activate().session(&capability).give_container(&mut result);
                }
            }
        }
    });
    closed
}
