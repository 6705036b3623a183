//! The way into groups: what is grouped, with what can be added up before it travels netted on each
//! worker.

use differential_dataflow::AsCollection;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;

use super::datum::{Datum, Diffs};
use super::epochs::{Step, in_epochs_of};
use super::seeds::{Map, Seeds};
use crate::time::Epoch;

/// So many diffs of an epoch go on as they come: to net them costs more than it saves, above all
/// the time until it is closed.
const FEW: usize = 256;

/// What `f` makes of each item, `None` for nothing, as diffs. Equal ones of an epoch are netted
/// before they leave the worker, so that few large groups cost few messages. It keeps nothing
/// between epochs.
pub(crate) fn group<'s, I: Clone + 'static, D: Datum>(
    input: StreamVec<'s, Epoch, I>,
    f: impl Fn(I) -> Option<(D, isize)> + 'static,
    seeds: Seeds,
) -> Diffs<'s, D> {
    // A single worker sends nothing to another.
    let few = if input.scope().peers() > 1 { FEW } else { usize::MAX };
    let mut passed = (0, 0);
    let mut net: Map<D, isize> = seeds.map();
    let logic = move |epoch: Epoch, step: Step<'_, Vec<I>>, out: &mut Vec<(D, Epoch, isize)>| {
        match step {
            Step::Data(items) => {
                let before = if passed.0 == epoch { passed.1 } else { 0 };
                if before == 0 && passed.1 <= few {
                    // Epochs of few need no room.
                    net.shrink_to(0);
                }
                passed = (epoch, before + items.len());
                let diffs = items.drain(..).filter_map(&f);
                if passed.1 <= few {
                    out.extend(diffs.map(|(datum, diff)| (datum, epoch, diff)));
                } else {
                    diffs.for_each(|(datum, diff)| *net.entry(datum).or_default() += diff);
                }
            }
            Step::Close => {
                // The next epoch is likely to need as much room, which took long to make.
                let room = net.len().max(1 << 12);
                out.reserve(net.len());
                out.extend(
                    net.drain()
                        .filter(|(_, diff)| *diff != 0)
                        .map(|(datum, diff)| (datum, epoch, diff)),
                );
                net.shrink_to(room);
            }
        }
        !net.is_empty()
    };
    in_epochs_of(input, Pipeline, "group", Box::new(logic), std::convert::identity).as_collection()
}
