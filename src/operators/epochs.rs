//! The frame of most operators: updates in the order of their epochs, as they arrive, and a call
//! when an epoch is closed.

use std::collections::BTreeMap;

use timely::Container;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{Operator, OutputBuilder, builder_rc::OperatorBuilder};
use timely::dataflow::{Stream, StreamVec};
use timely::progress::operate::FrontierInterest;

use super::datum::Diffs;
use super::owners::Owners;
use crate::faults;
use crate::metrics::Meter;
use crate::time::Epoch;

/// One call of an operator in an epoch.
pub(crate) enum Step<'a, C> {
    /// Some updates of the earliest open epoch. The operator drains them.
    Data(&'a mut C),
    /// The epoch has no more updates. Called only if the operator has requested it.
    Close,
}

/// The logic of an operator. It gets the epoch, the step and the place for results. It returns true
/// to request the close of the epoch.
///
/// An operator that returns false drops its capability at once, so that the whole chain downstream
/// closes in one scheduling round instead of one per operator.
pub(crate) type Logic<C, O> = Box<dyn FnMut(Epoch, Step<'_, C>, &mut Vec<O>) -> bool>;

/// Runs `logic` over each epoch in order. Updates of the earliest open epoch are passed on as they
/// arrive, so that work overlaps with reading. Those of later epochs wait. `route` chooses which of
/// the `owners` gets an update, and each of them checks that it is the right one.
pub(crate) fn in_epochs<'s, D: timely::ExchangeData + Clone, O: 'static, P: Container + Clone>(
    input: StreamVec<'s, Epoch, D>,
    route: impl Fn(&D) -> u64 + Clone + 'static,
    owners: &Owners,
    name: &str,
    meter: Meter,
    mut logic: Logic<Vec<D>, O>,
    parcel: fn(Vec<O>) -> P,
) -> Stream<'s, Epoch, P> {
    let is_owner = owners.check(name, input.scope().index(), input.scope().peers());
    let routed = route.clone();
    let checked = move |epoch: Epoch, step: Step<'_, Vec<D>>, out: &mut Vec<O>| match step {
        Step::Data(updates) if updates.first().is_some_and(|first| !is_owner(routed(first))) => {
            updates.clear();
            false
        }
        step => logic(epoch, step, out),
    };
    // A planted bug: two processes disagree about the owner of a key.
    let wrong = if faults::bug("two_owners") { input.scope().index() as u64 } else { 0 };
    let place = move |update: &D| route(update).wrapping_add(wrong);
    in_epochs_of(input, Exchange::new(place), name, meter, Box::new(checked), parcel)
}

/// Runs `logic` like [`in_epochs`], over containers of any kind. `parcel` makes a message of
/// results.
pub(crate) fn in_epochs_of<'s, C: Container + Clone + Default, O: 'static, P: Container + Clone>(
    input: Stream<'s, Epoch, C>,
    pact: impl ParallelizationContract<Epoch, C>,
    name: &str,
    meter: Meter,
    mut logic: Logic<C, O>,
    parcel: fn(Vec<O>) -> P,
) -> Stream<'s, Epoch, P> {
    let mut builder = OperatorBuilder::new(name.to_string(), input.scope());
    let mut input = builder.new_input(input, pact);
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<P>>::from(output);
    // Request frontier notifications only while a capability is held.
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    builder.build(move |_| {
        let mut held: Held<C> = BTreeMap::new();
        let mut out = Vec::new();
        // An operator that does not wait for the close emits about as many updates as it takes.
        let mut at_once = true;
        move |frontiers| {
            input.for_each(|time, data| {
                let first = || Kept { capability: time.retain(0), parts: Vec::new(), waits: false };
                held.entry(*time.time()).or_insert_with(first).parts.push(std::mem::take(data));
            });
            let open = frontiers[0].frontier().first().copied();
            while let Some(mut first) = held.first_entry() {
                let epoch = *first.key();
                if open.is_some_and(|open| open < epoch) {
                    break;
                }
                let Kept { capability, parts, waits } = first.get_mut();
                let items: i64 = parts.iter().map(|part| part.record_count()).sum();
                let items = usize::try_from(items).unwrap_or(0);
                if at_once {
                    out.reserve(items);
                }
                for mut part in parts.drain(..) {
                    *waits |= logic(epoch, Step::Data(&mut part), &mut out);
                }
                at_once = !*waits;
                let over = !*waits || open != Some(epoch);
                if over && *waits {
                    logic(epoch, Step::Close, &mut out);
                }
                meter.count(items, out.len());
                if !out.is_empty() {
                    output
                        .activate()
                        .session(&*capability)
                        .give_container(&mut parcel(std::mem::take(&mut out)));
                }
                if !over {
                    break;
                }
                first.remove();
            }
        }
    });
    stream
}

/// Applies `f` to each item and its epoch.
pub(crate) fn in_epoch<'s, I: Clone + 'static, O: Clone + 'static>(
    items: StreamVec<'s, Epoch, I>,
    f: impl Fn(I, Epoch) -> O + 'static,
) -> StreamVec<'s, Epoch, O> {
    items.unary::<CapacityContainerBuilder<Vec<O>>, _, _, _>(Pipeline, "epoch", move |_, _| {
        move |input, output| {
            input.for_each(|time, data| {
                let epoch = *time.time();
                output.session(&time).give_iterator(data.drain(..).map(|item| f(item, epoch)));
            });
        }
    })
}

/// Sends each diff in a message of its own epoch.
///
/// Operators of differential may send the diffs of several epochs in one message, at the earliest
/// of these epochs. The operators of this module take the epoch from the message.
pub(crate) fn by_epoch<'s, D: Clone + 'static>(
    diffs: Diffs<'s, D>,
) -> StreamVec<'s, Epoch, (D, Epoch, isize)> {
    diffs.inner.unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Pipeline,
        "by epoch",
        move |_, _| {
            move |input, output| {
                input.for_each(|time, data| {
                    if data.iter().all(|(_, epoch, _)| epoch == time.time()) {
                        output.session(&time).give_container(data);
                        return;
                    }
                    let mut parts: BTreeMap<Epoch, Vec<(D, Epoch, isize)>> = BTreeMap::new();
                    for (datum, epoch, diff) in data.drain(..) {
                        // A diff before the time of its message is a bug, and can't be sent there.
                        let epoch = epoch.max(*time.time());
                        parts.entry(epoch).or_default().push((datum, epoch, diff));
                    }
                    for (epoch, mut part) in parts {
                        output.session(&time.delayed(&epoch, 0)).give_container(&mut part);
                    }
                });
            }
        },
    )
}

/// An epoch in progress: the capability to send at it, updates that wait until it is the earliest
/// one, and a request for its close.
struct Kept<C> {
    capability: Capability<Epoch>,
    parts: Vec<C>,
    waits: bool,
}

type Held<C> = BTreeMap<Epoch, Kept<C>>;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use differential_dataflow::AsCollection;
    use differential_dataflow::input::InputSession;

    use super::*;

    #[test]
    fn a_message_with_two_epochs_becomes_two_messages() {
        timely::execute_directly(|worker| {
            let (before, after) =
                (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
            let mut input = InputSession::<Epoch, char, isize>::new();
            worker.dataflow(|scope| {
                let seen = |log: &Rc<RefCell<Vec<_>>>| {
                    let log = log.clone();
                    move |message: &Epoch, diffs: &[(char, Epoch, isize)]| {
                        let each = diffs.iter().map(|(datum, epoch, _)| (*datum, *epoch, *message));
                        log.borrow_mut().extend(each);
                    }
                };
                let both = input.to_collection(scope).consolidate().inspect_batch(seen(&before));
                by_epoch(both).as_collection().inspect_batch(seen(&after));
            });
            // Both epochs are closed before the worker's next step.
            input.insert('a');
            input.advance_to(1);
            input.insert('b');
            input.advance_to(2);
            input.flush();
            (0..20).for_each(|_| _ = worker.step());
            before.borrow_mut().sort();
            after.borrow_mut().sort();
            assert_eq!(*before.borrow(), [('a', 0, 0), ('b', 1, 0)], "differential's messages");
            assert_eq!(*after.borrow(), [('a', 0, 0), ('b', 1, 1)]);
        });
    }
}
