//! Each epoch folded to one change a key.

use timely::dataflow::StreamVec;

use super::datum::{Datum, Diffs};
use super::epochs::{Step, in_epochs};
use super::seeds::{Map, Seeds};
use crate::time::Epoch;

/// At the close of an epoch, each key whose row is another than before: the new row, or `None`. It
/// keeps nothing between epochs.
pub(crate) fn changelog<'s, K: Datum, V: Datum>(
    rows: Diffs<'s, (K, V)>,
    name: &str,
    seeds: Seeds,
) -> StreamVec<'s, Epoch, ((K, Option<V>), Epoch)> {
    // Of each key the row that was retracted first and not added before, and the row that stands in
    // the end.
    let mut net: Map<K, (Option<V>, Option<V>)> = seeds.map();
    let mut order: Vec<K> = Vec::new();
    let logic = move |epoch: Epoch,
                      step: Step<'_, Vec<((K, V), Epoch, isize)>>,
                      out: &mut Vec<((K, Option<V>), Epoch)>| match step {
        Step::Data(diffs) => {
            for ((key, value), _, diff) in diffs.drain(..) {
                match net.get_mut(&key) {
                    Some((_, now)) => *now = (diff > 0).then_some(value),
                    None => {
                        order.push(key.clone());
                        let both = if diff > 0 { (None, Some(value)) } else { (Some(value), None) };
                        net.insert(key, both);
                    }
                }
            }
            true
        }
        Step::Close => {
            out.reserve(order.len());
            for key in order.drain(..) {
                if let Some((before, now)) = net.remove(&key)
                    && before != now
                {
                    out.push(((key, now), epoch));
                }
            }
            false
        }
    };
    let owner = move |((key, _), _, _): &((K, V), Epoch, isize)| seeds.route(key);
    in_epochs(rows.inner, owner, name, Box::new(logic), std::convert::identity)
}
