//! The frame of operators with two inputs: the updates of both in the order of their epochs, and a
//! call when an epoch is closed on both sides.

use std::collections::BTreeMap;

use timely::Container;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};
use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::operate::FrontierInterest;

use super::datum::Side;
use super::epochs::{Logic, Step};
use crate::metrics::Meter;
use crate::time::Epoch;

/// An epoch in progress.
struct Held<L, R> {
    capability: Capability<Epoch>,
    parts: Vec<Side<L, R>>,
    /// The operator has requested the close.
    waits: bool,
}

/// Runs `logic` over the epochs of two inputs, like
/// [`in_epochs_of`](super::epochs::in_epochs_of) over those of one. No input is exchanged.
///
/// Within an epoch the updates of the two sides come in any order. An operator whose results depend
/// on that order must wait for the close.
pub(crate) fn in_epochs_of_both<'s, L, R, O, P>(
    left: Stream<'s, Epoch, L>,
    right: Stream<'s, Epoch, R>,
    name: &str,
    meter: Meter,
    mut logic: Logic<Side<L, R>, O>,
    parcel: fn(Vec<O>) -> P,
) -> Stream<'s, Epoch, P>
where
    L: Container + Clone + Default,
    R: Container + Clone + Default,
    O: 'static,
    P: Container + Clone,
{
    let mut builder = OperatorBuilder::new(name.to_string(), left.scope());
    let mut left = builder.new_input(left, Pipeline);
    let mut right = builder.new_input(right, Pipeline);
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<P>>::from(output);
    (0..2).for_each(|side| builder.set_notify_for(side, FrontierInterest::IfCapability));
    builder.build(move |_| {
        let mut held: BTreeMap<Epoch, Held<L, R>> = BTreeMap::new();
        let mut out = Vec::new();
        move |frontiers| {
            let mut hold = |time: InputCapability<Epoch>, part| {
                let first = || Held { capability: time.retain(0), parts: Vec::new(), waits: false };
                held.entry(*time.time()).or_insert_with(first).parts.push(part);
            };
            left.for_each(|time, data| hold(time, Side::Left(std::mem::take(data))));
            right.for_each(|time, data| hold(time, Side::Right(std::mem::take(data))));
            let open = frontiers.iter().filter_map(|f| f.frontier().first().copied()).min();
            while let Some(mut first) = held.first_entry() {
                let epoch = *first.key();
                if open.is_some_and(|open| open < epoch) {
                    break;
                }
                let Held { capability, parts, waits } = first.get_mut();
                let count = |part: &Side<L, R>| match part {
                    Side::Left(part) => part.record_count(),
                    Side::Right(part) => part.record_count(),
                };
                let items: i64 = parts.iter().map(count).sum();
                let items = usize::try_from(items).unwrap_or(0);
                for mut part in parts.drain(..) {
                    *waits |= logic(epoch, Step::Data(&mut part), &mut out);
                }
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
