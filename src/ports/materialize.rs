//! Materialization: when an epoch is closed, the new rows of the keys that it changed are staged in
//! the store of the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::Container;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Stream, StreamVec};
use timely::progress::operate::FrontierInterest;

use super::store::{KeyValueStore, Net};
use crate::operators::{Datum, Diffs, Keys, Seeds, Upserts};
use crate::time::Epoch;

/// An output without data: once its frontier is past an epoch, all workers have staged that epoch.
pub(crate) type Staged<'s> = StreamVec<'s, Epoch, ()>;

/// The changes of an epoch that is not closed yet.
struct HeldEpoch<K, V> {
    /// Keeps the epoch open downstream until its changes are staged.
    _capability: Capability<Epoch>,
    net: Net<K, V>,
}

/// Stages a table of upserts.
pub(crate) fn materialize<'s, K: Datum, V: Datum>(
    rows: Upserts<'s, V>,
    keys: Keys<K>,
    name: &str,
    store: Arc<KeyValueStore<K, V>>,
) -> Staged<'s> {
    let seeds = keys.seeds();
    run(rows, name, store, seeds, move |upserts, net| {
        let keys = keys.open();
        net.extend(
            upserts.iter().map(|(number, value)| (keys.key(*number).clone(), value.clone())),
        );
    })
}

/// Stages a table of diffs. The diffs of a key all come from one worker.
pub(crate) fn materialize_diffs<'s, K: Datum, V: Datum>(
    rows: Diffs<'s, (K, V)>,
    name: &str,
    store: Arc<KeyValueStore<K, V>>,
    seeds: Seeds,
) -> Staged<'s> {
    run(rows.inner, name, store, seeds, |diffs, net| {
        net.extend(
            diffs.drain(..).map(|((key, value), _, diff)| (key, (diff > 0).then_some(value))),
        );
    })
}

/// The operator for both shapes. It keeps no row beyond its epoch.
fn run<'s, K: Datum, V: Datum, C: Container + Clone + Default>(
    rows: Stream<'s, Epoch, C>,
    name: &str,
    store: Arc<KeyValueStore<K, V>>,
    seeds: Seeds,
    each: impl Fn(&mut C, &mut Net<K, V>) + 'static,
) -> Staged<'s> {
    let mut builder = OperatorBuilder::new(name.to_string(), rows.scope());
    let mut input = builder.new_input(rows, Pipeline);
    let (_, staged) = builder.new_output();
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    builder.build(move |_| {
        let mut held: BTreeMap<Epoch, HeldEpoch<K, V>> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|time, data| {
                let first = || HeldEpoch { _capability: time.retain(0), net: seeds.map() };
                each(data, &mut held.entry(*time.time()).or_insert_with(first).net);
            });
            let open = frontiers[0].frontier().first().copied();
            while let Some(first) = held.first_entry()
                && open.is_none_or(|open| *first.key() < open)
            {
                // The capability is dropped at the end of the block, after the changes are staged.
                let (epoch, HeldEpoch { _capability, net }) = first.remove_entry();
                store.stage(epoch, net);
            }
        }
    });
    staged
}
