//! The way from a table to its store: what an epoch leaves at the keys it touched, handed over when
//! the epoch is closed.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::Container;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Stream, StreamVec};
use timely::progress::operate::FrontierInterest;

use super::store::{Net, Rows};
use crate::operators::{Datum, Diffs, Keys, Seeds, Upserts};
use crate::time::Epoch;

/// An output on which nothing comes: once its frontier is past an epoch, all workers have handed
/// that epoch over.
pub(crate) type Handed<'s> = StreamVec<'s, Epoch, ()>;

/// Hands a table of upserts over.
pub(crate) fn materialize<'s, K: Datum, V: Datum>(
    rows: Upserts<'s, V>,
    keys: Keys<K>,
    name: &str,
    store: Arc<Rows<K, V>>,
) -> Handed<'s> {
    let seeds = keys.seeds();
    run(rows, name, store, seeds, move |upserts, net| {
        let keys = keys.open();
        net.extend(
            upserts.iter().map(|(number, value)| (keys.key(*number).clone(), value.clone())),
        );
    })
}

/// Hands a table of diffs over: a key's all come from one worker.
pub(crate) fn materialize_diffs<'s, K: Datum, V: Datum>(
    rows: Diffs<'s, (K, V)>,
    name: &str,
    store: Arc<Rows<K, V>>,
    seeds: Seeds,
) -> Handed<'s> {
    run(rows.inner, name, store, seeds, |diffs, net| {
        net.extend(
            diffs.drain(..).map(|((key, value), _, diff)| (key, (diff > 0).then_some(value))),
        );
    })
}

/// The operator of both. It keeps no row beyond its epoch.
fn run<'s, K: Datum, V: Datum, C: Container + Clone + Default>(
    rows: Stream<'s, Epoch, C>,
    name: &str,
    store: Arc<Rows<K, V>>,
    seeds: Seeds,
    each: impl Fn(&mut C, &mut Net<K, V>) + 'static,
) -> Handed<'s> {
    let mut builder = OperatorBuilder::new(name.to_string(), rows.scope());
    let mut input = builder.new_input(rows, Pipeline);
    let (_, handed) = builder.new_output();
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    builder.build(move |_| {
        let mut held: BTreeMap<Epoch, (Capability<Epoch>, Net<K, V>)> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|time, data| {
                let (_, net) =
                    held.entry(*time.time()).or_insert_with(|| (time.retain(0), seeds.map()));
                each(data, net);
            });
            let open = frontiers[0].frontier().first().copied();
            while let Some(first) = held.first_entry()
                && open.is_none_or(|open| *first.key() < open)
            {
                // The right to send at the epoch is given up only after its part is handed over.
                let (epoch, (_capability, net)) = first.remove_entry();
                store.stage(epoch, net);
            }
        }
    });
    handed
}
