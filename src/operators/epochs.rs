//! The workhorse: updates in the order of their epochs, as they arrive, and a word when an epoch is closed.

use std::collections::BTreeMap;

use timely::Container;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
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

/// Which worker owns an update.
pub(crate) type Route<D> = Box<dyn Fn(&D) -> u64>;

/// Runs `logic` over each epoch in order. Updates of the earliest open epoch are handed on as they arrive, so that work
/// overlaps with reading; those of later ones wait. `route: None` leaves updates on the worker where they are.
pub(crate) fn in_epochs<'s, D: timely::ExchangeData + Clone, O: Clone + 'static>(
    input: StreamVec<'s, Epoch, D>,
    route: Option<Route<D>>,
    name: &str,
    logic: Logic<Vec<D>, O>,
) -> StreamVec<'s, Epoch, O> {
    match route {
        Some(route) => in_epochs_of(input, Exchange::new(move |d: &D| route(d)), name, logic),
        None => in_epochs_of(input, Pipeline, name, logic),
    }
}

/// The same over containers of any kind.
pub(crate) fn in_epochs_of<'s, C: Container + Clone + Default, O: Clone + 'static>(
    input: Stream<'s, Epoch, C>,
    pact: impl ParallelizationContract<Epoch, C>,
    name: &str,
    mut logic: Logic<C, O>,
) -> StreamVec<'s, Epoch, O> {
    input.unary_frontier::<CapacityContainerBuilder<Vec<O>>, _, _, _>(pact, name, move |_, _| {
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
                    output.session(&*capability).give_container(&mut out);
                    out = Vec::new();
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
