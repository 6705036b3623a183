//! The net changes of a table whose rows are made on several workers.

use differential_dataflow::AsCollection;
use differential_dataflow::consolidation::consolidate;

use super::datum::{Datum, Diffs};
use super::epochs::{Step, in_epochs};
use super::owners::Owners;
use crate::metrics::Meter;
use crate::time::{Epoch, ProcessingMode};

/// Appends the net changes to `out`: all retractions, then all additions. In `per_record` changes
/// that leave a row as it was are passed on.
pub(crate) fn put_net<D: Ord>(
    net: &mut Vec<(D, isize)>,
    epoch: Epoch,
    mode: ProcessingMode,
    out: &mut Vec<(D, Epoch, isize)>,
) {
    if !mode.is_per_record() {
        consolidate(net);
    }
    out.reserve(net.len());
    let retractions = net.extract_if(.., |(_, diff)| *diff < 0);
    out.extend(retractions.map(|(datum, diff)| (datum, epoch, diff)));
    out.extend(net.drain(..).map(|(datum, diff)| (datum, epoch, diff)));
}

/// Moves rows to the owners of their keys. When an epoch is closed, it emits the net changes, the
/// retraction of a key before its addition. It keeps nothing between epochs.
pub(crate) fn settle<'s, K: Datum, V: Datum>(
    rows: Diffs<'s, (K, V)>,
    name: &str,
    owners: &Owners,
) -> Diffs<'s, (K, V)> {
    let mode = owners.mode();
    let mut net: Vec<((K, V), isize)> = Vec::new();
    let logic = move |epoch: Epoch,
                      step: Step<'_, Vec<((K, V), Epoch, isize)>>,
                      out: &mut Vec<((K, V), Epoch, isize)>| {
        match step {
            Step::Data(diffs) => net.extend(diffs.drain(..).map(|(row, _, diff)| (row, diff))),
            Step::Close => put_net(&mut net, epoch, mode, out),
        }
        !net.is_empty()
    };
    let seeds = owners.seeds();
    let owner = move |((key, _), _, _): &((K, V), Epoch, isize)| seeds.route(key);
    // The step of the plan counts its rows before.
    let none = Meter::default();
    in_epochs(rows.inner, owner, owners, name, none, Box::new(logic), std::convert::identity)
        .as_collection()
}
