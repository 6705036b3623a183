//! Changed rows by key become upserts.

use std::rc::Rc;

use timely::dataflow::StreamVec;

use super::column::Column;
use super::cut::TableCut;
use super::datum::{Datum, Upsert, Upserts};
use super::epochs::{Step, in_epochs};
use super::keys::Keys;
use crate::metrics::Meter;
use crate::time::Epoch;

/// Makes upserts of the changed rows of a table; `None` deletes a row. The changes of a key come
/// from one worker, in order.
///
/// It keeps one byte a key, and holds the number of a key as long as its row stands. A snapshot
/// saves in `cut` which keys have a row: their rows are not emitted again after a restart.
pub(crate) fn number<'s, K: Datum, V: Datum>(
    rows: StreamVec<'s, Epoch, (K, Option<V>)>,
    keys: Keys<K>,
    name: &str,
    cut: Option<TableCut>,
) -> Upserts<'s, V> {
    let mut stands: Column<bool> = Column::new();
    let (owners, seeds) = (keys.owners().clone(), keys.seeds());
    if let Some(cut) = &cut {
        for bucket in cut.buckets() {
            let saved: Vec<(u32, ())> = match cut.load(bucket) {
                Ok(rows) => rows,
                Err(error) => {
                    (cut.fail())(error);
                    break;
                }
            };
            let mut keys = keys.open();
            for (number, ()) in saved {
                *stands.at(number) = true;
                keys.hold(number);
            }
        }
    }
    let mut changed = Vec::new();
    let logic =
        move |epoch: Epoch, step: Step<'_, Vec<(K, Option<V>)>>, out: &mut Vec<Upsert<V>>| {
            let Step::Data(rows) = step else { return false };
            let mut keys = keys.open();
            let mut gone = Vec::new();
            for (key, value) in rows.drain(..) {
                let number = keys.number(&key);
                let stands = stands.at(number);
                match (&value, *stands) {
                    (Some(_), false) => {
                        *stands = true;
                        keys.hold(number);
                        changed.push((number, Some(())));
                    }
                    (None, true) => {
                        *stands = false;
                        // The number is in use until the upsert is emitted.
                        gone.push(number);
                        changed.push((number, None));
                    }
                    (None, false) => {
                        // A number that nobody holds must be held before another is requested.
                        keys.hold(number);
                        keys.release(number, epoch);
                        continue;
                    }
                    (Some(_), true) => {}
                }
                out.push(Upsert::new(number, value));
            }
            gone.into_iter().for_each(|number| keys.release(number, epoch));
            drop(keys);
            if let Some(cut) = &cut {
                cut.put_all(epoch, changed.drain(..));
            }
            false
        };
    let route = move |(key, _): &(K, Option<V>)| seeds.route(key);
    // A conversion is no step of the plan, so this meter has no reader.
    in_epochs(rows, route, &owners, name, Meter::default(), Box::new(logic), Rc::new)
}
