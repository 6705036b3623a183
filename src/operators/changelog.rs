//! The changes of a table, at most one for each key and epoch.

use timely::dataflow::StreamVec;

use super::datum::{Datum, Diffs};
use super::epochs::{Step, in_epochs};
use super::owners::Owners;
use super::seeds::Map;
use crate::metrics::Meter;
use crate::time::Epoch;

/// The rows of a key before and after an epoch.
struct Change<V> {
    before: Option<V>,
    after: Option<V>,
}

/// Emits, when an epoch is closed, each key whose row has changed in it, with the new row or
/// `None`; in `per_record` each key that was updated. It keeps nothing between epochs. Changes
/// before the epoch `first` are dropped.
pub(crate) fn changelog<'s, K: Datum, V: Datum>(
    rows: Diffs<'s, (K, V)>,
    name: &str,
    first: Epoch,
    owners: &Owners,
    meter: Meter,
) -> StreamVec<'s, Epoch, ((K, Option<V>), Epoch)> {
    let passes_unchanged = owners.mode().is_per_record();
    let mut net: Map<K, Change<V>> = owners.seeds().map();
    // Keys in the order of their first change.
    let mut order: Vec<K> = Vec::new();
    let logic = move |epoch: Epoch,
                      step: Step<'_, Vec<((K, V), Epoch, isize)>>,
                      out: &mut Vec<((K, Option<V>), Epoch)>| match step {
        Step::Data(diffs) => {
            for ((key, value), _, diff) in diffs.drain(..) {
                match net.get_mut(&key) {
                    Some(change) => change.after = (diff > 0).then_some(value),
                    None => {
                        order.push(key.clone());
                        // A first retraction takes the row of earlier epochs.
                        let change = if diff > 0 {
                            Change { before: None, after: Some(value) }
                        } else {
                            Change { before: Some(value), after: None }
                        };
                        net.insert(key, change);
                    }
                }
            }
            true
        }
        Step::Close => {
            out.reserve(order.len());
            for key in order.drain(..) {
                if let Some(Change { before, after }) = net.remove(&key)
                    && (before != after || passes_unchanged)
                    && epoch >= first
                {
                    out.push(((key, after), epoch));
                }
            }
            false
        }
    };
    let seeds = owners.seeds();
    let owner = move |((key, _), _, _): &((K, V), Epoch, isize)| seeds.route(key);
    in_epochs(rows.inner, owner, owners, name, meter, Box::new(logic), std::convert::identity)
}
