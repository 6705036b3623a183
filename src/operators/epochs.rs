//! The workhorse: updates in the order of their epochs, as they arrive, and a word when an epoch is closed.

use std::collections::BTreeMap;

use timely::Container;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract};
use timely::dataflow::operators::{Capability, Operator};
use timely::dataflow::{Stream, StreamVec};

use crate::time::Epoch;

/// What an operator sees of an epoch.
pub(crate) enum Step<'a, C> {
    /// Some updates of the earliest open epoch; take them.
    Data(&'a mut C),
    /// No more updates of this epoch. Told only of epochs that had some.
    Close,
}

/// The inside of an operator: given the epoch, what happened in it, and where results go.
pub(crate) type Logic<C, O> = Box<dyn FnMut(Epoch, Step<'_, C>, &mut Vec<O>)>;

/// Runs `logic` over each epoch in order. Updates of the earliest open epoch are handed on as they arrive, so that work
/// overlaps with reading; those of later ones wait. `route` says which worker owns an update.
pub(crate) fn in_epochs<'s, D: timely::ExchangeData + Clone, O: 'static, P: Container + Clone>(
    input: StreamVec<'s, Epoch, D>,
    route: impl Fn(&D) -> u64 + 'static,
    name: &str,
    logic: Logic<Vec<D>, O>,
    parcel: fn(Vec<O>) -> P,
) -> Stream<'s, Epoch, P> {
    in_epochs_of(input, Exchange::new(route), name, logic, parcel)
}

/// The same over containers of any kind. `parcel` makes of what comes out what is sent.
pub(crate) fn in_epochs_of<'s, C: Container + Clone + Default, O: 'static, P: Container + Clone>(
    input: Stream<'s, Epoch, C>,
    pact: impl ParallelizationContract<Epoch, C>,
    name: &str,
    mut logic: Logic<C, O>,
    parcel: fn(Vec<O>) -> P,
) -> Stream<'s, Epoch, P> {
    input.unary_frontier::<CapacityContainerBuilder<P>, _, _, _>(pact, name, move |_, _| {
        let mut held: Held<C> = BTreeMap::new();
        let mut out = Vec::new();
        move |(input, frontier), output| {
            input.for_each(|time, data| {
                let (_, parts) = held.entry(*time.time()).or_insert_with(|| (time.retain(0), Vec::new()));
                parts.push(std::mem::take(data));
            });
            let open = frontier.frontier().first().copied();
            while let Some(mut first) = held.first_entry() {
                let epoch = *first.key();
                if open.is_some_and(|open| open < epoch) {
                    break;
                }
                let (capability, parts) = first.get_mut();
                for mut part in parts.drain(..) {
                    logic(epoch, Step::Data(&mut part), &mut out);
                }
                let closed = open.is_none_or(|open| open > epoch);
                if closed {
                    logic(epoch, Step::Close, &mut out);
                }
                if !out.is_empty() {
                    output.session(&*capability).give_container(&mut parcel(std::mem::take(&mut out)));
                }
                if !closed {
                    break;
                }
                held.pop_first();
            }
        }
    })
}

/// Updates by epoch, each epoch with the right to send at it.
type Held<C> = BTreeMap<Epoch, (Capability<Epoch>, Vec<C>)>;
