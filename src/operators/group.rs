//! Grouping: each worker consolidates its diffs before they are exchanged.

use differential_dataflow::AsCollection;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;

use super::datum::{Datum, Diffs};
use super::epochs::{Step, in_epochs_of};
use super::seeds::{Map, Seeds};
use crate::metrics::Meter;
use crate::time::Epoch;

/// The number of diffs of an epoch that are forwarded as they are. Consolidating so few costs more,
/// in latency above all, than it saves in messages.
const UNCONSOLIDATED_DIFFS: usize = 256;

/// The number of items of the latest epoch so far.
struct Seen {
    epoch: Epoch,
    items: usize,
}

/// Makes a diff of each item with `f`; `None` is no diff. The diffs of an epoch are consolidated
/// before they leave the worker, so that few large groups cost few messages. It keeps nothing
/// between epochs.
pub(crate) fn group<'s, I: Clone + 'static, D: Datum>(
    input: StreamVec<'s, Epoch, I>,
    f: impl Fn(I) -> Option<(D, isize)> + 'static,
    seeds: Seeds,
    meter: Meter,
) -> Diffs<'s, D> {
    // A single worker exchanges nothing.
    let forwarded = if input.scope().peers() > 1 { UNCONSOLIDATED_DIFFS } else { usize::MAX };
    let mut seen = Seen { epoch: 0, items: 0 };
    let mut net: Map<D, isize> = seeds.map();
    let logic = move |epoch: Epoch, step: Step<'_, Vec<I>>, out: &mut Vec<(D, Epoch, isize)>| {
        match step {
            Step::Data(items) => {
                if seen.epoch != epoch {
                    if seen.items <= forwarded {
                        // After a small epoch the map is not needed.
                        net.shrink_to(0);
                    }
                    seen = Seen { epoch, items: 0 };
                }
                seen.items += items.len();
                let diffs = items.drain(..).filter_map(&f);
                if seen.items <= forwarded {
                    out.extend(diffs.map(|(datum, diff)| (datum, epoch, diff)));
                } else {
                    diffs.for_each(|(datum, diff)| *net.entry(datum).or_default() += diff);
                }
            }
            Step::Close => {
                // Keep the room, because the next epoch is likely to need as much, and growing the
                // map is slow.
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
    in_epochs_of(input, Pipeline, "group", meter, Box::new(logic), std::convert::identity)
        .as_collection()
}
