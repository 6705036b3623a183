//! Upserts to diffs: remembers what stands at each key, to retract it.

use differential_dataflow::AsCollection;

use super::epochs::{Step, in_epochs};
use super::{Datum, Diffs, Map, Upserts, route};
use crate::time::Epoch;

/// The diffs of a table. It keeps every key's value; an upsert of what stands changes nothing.
///
/// `settled` says that every key's upserts come from the worker that owns it.
pub(crate) fn changes<'s, K: Datum, V: Datum>(input: Upserts<'s, K, V>, settled: bool, name: &str) -> Diffs<'s, (K, V)> {
    let mut state: Map<K, V> = Map::default();
    let logic = move |epoch: Epoch, step: Step<'_, (K, Option<V>)>, out: &mut Vec<((K, V), Epoch, isize)>| {
        let Step::Data(upserts) = step else { return };
        for (key, new) in upserts.drain(..) {
            let old = match &new {
                Some(value) => state.insert(key.clone(), value.clone()),
                None => state.remove(&key),
            };
            if old == new {
                continue;
            }
            out.extend(old.map(|old| ((key.clone(), old), epoch, -1)));
            out.extend(new.map(|new| ((key, new), epoch, 1)));
        }
    };
    let owner: Option<super::epochs::Route<_>> = (!settled).then(|| Box::new(|(k, _): &(K, Option<V>)| route(k)) as _);
    in_epochs(input, owner, name, Box::new(logic)).as_collection()
}
