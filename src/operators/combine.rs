//! What can be added up before it travels: the diffs of one epoch and worker, netted.

use differential_dataflow::AsCollection;

use super::epochs::{Step, in_epochs};
use super::{Datum, Diffs, Map};
use crate::time::Epoch;

/// Nets equal diffs of an epoch on each worker, so that few large groups cost few messages. It keeps nothing between epochs.
pub(crate) fn combine<'s, D: Datum>(input: Diffs<'s, D>) -> Diffs<'s, D> {
    let mut net: Map<D, isize> = Map::default();
    let logic = move |epoch: Epoch, step: Step<'_, Vec<(D, Epoch, isize)>>, out: &mut Vec<(D, Epoch, isize)>| match step {
        Step::Data(diffs) => {
            for (datum, _, diff) in diffs.drain(..) {
                *net.entry(datum).or_default() += diff;
            }
        }
        Step::Close => {
            out.extend(net.drain().filter(|(_, diff)| *diff != 0).map(|(datum, diff)| (datum, epoch, diff)));
            net.shrink_to(1 << 16);
        }
    };
    in_epochs(input.inner, None, "combine", Box::new(logic)).as_collection()
}
