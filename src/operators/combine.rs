//! What can be added up before it travels: the diffs of one epoch and worker, netted.

use differential_dataflow::AsCollection;

use super::epochs::{Step, in_epochs};
use super::{Datum, Diffs, Map};
use crate::time::Epoch;

/// So many diffs of an epoch go on as they come: to net them costs more than it saves, above all the time until it is closed.
const FEW: usize = 256;

/// Nets equal diffs of an epoch on each worker, so that few large groups cost few messages. It keeps nothing between epochs.
pub(crate) fn combine<'s, D: Datum>(input: Diffs<'s, D>) -> Diffs<'s, D> {
    let mut passed = 0;
    let mut net: Map<D, isize> = Map::default();
    let logic = move |epoch: Epoch, step: Step<'_, Vec<(D, Epoch, isize)>>, out: &mut Vec<(D, Epoch, isize)>| match step {
        Step::Data(diffs) if passed + diffs.len() <= FEW => {
            passed += diffs.len();
            out.append(diffs);
        }
        Step::Data(diffs) => {
            for (datum, _, diff) in diffs.drain(..) {
                *net.entry(datum).or_default() += diff;
            }
        }
        Step::Close => {
            passed = 0;
            out.extend(net.drain().filter(|(_, diff)| *diff != 0).map(|(datum, diff)| (datum, epoch, diff)));
            net.shrink_to(1 << 12);
        }
    };
    in_epochs(input.inner, None, "combine", Box::new(logic)).as_collection()
}
