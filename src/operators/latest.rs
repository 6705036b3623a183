//! A stream of records as a table: of each key the latest record stands, whatever the order of arrival.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use super::epochs::{Step, in_epochs};
use super::{Column, Datum, Keys, Upserts, route, shared};
use crate::record::Order;
use crate::time::Epoch;

/// A record on its way into a table: key, place in the order, digest of the value, value (`None` deletes).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Arrived<K, V> {
    pub(crate) key: K,
    pub(crate) order: Order,
    pub(crate) digest: u128,
    pub(crate) value: Option<V>,
}

/// What became of the records of a topic. Every record is counted once in `applied`, `duplicates`, `superseded` or `dead`.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Records read.
    pub read: AtomicU64,
    /// Bytes read.
    pub bytes: AtomicU64,
    /// Records that changed their table, or were passed on by a stream.
    pub applied: AtomicU64,
    /// Of the applied, those that took the place of another row.
    pub replaced: AtomicU64,
    /// Records equal to what stood.
    pub duplicates: AtomicU64,
    /// Records that came after a later one.
    pub superseded: AtomicU64,
    /// Records that could not be used.
    pub dead: AtomicU64,
    /// Rows that stand now.
    pub rows: AtomicI64,
}

impl Tally {
    /// Adds to a counter.
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// What stands at a key: its place in the order and its digest, `[0, 0]` when it is deleted.
struct Stand {
    order: Order,
    digest: [u64; 2],
}

/// Before any record: no source has this rank.
const NEVER: Order = Order { source: u16::MAX, offset: 0, partition: 0 };

impl Default for Stand {
    fn default() -> Self {
        Stand { order: NEVER, digest: [0; 2] }
    }
}

/// Lets the latest record of each key through, by [`Order`], and drops those that change nothing.
///
/// It keeps 32 bytes a key: order and digest, never the value. A deleted key keeps its order, so that an earlier record that
/// arrives late does not bring it back.
pub(crate) fn latest<'s, K: Datum, V: Datum>(
    input: StreamVec<'s, Epoch, Arrived<K, V>>,
    keys: Keys<K>,
    name: &str,
    tally: Arc<Tally>,
) -> Upserts<'s, V> {
    let mut state: Column<Stand> = Column::new();
    let logic = move |_epoch: Epoch, step: Step<'_, Vec<Arrived<K, V>>>, out: &mut Vec<(u32, Option<V>)>| {
        let Step::Data(records) = step else { return };
        let (mut applied, mut replaced, mut duplicates, mut superseded, mut rows) = (0, 0, 0, 0, 0i64);
        let mut keys = keys.open();
        for Arrived { key, order, digest, value } in records.drain(..) {
            let number = keys.number(&key);
            let stands = state.at(number);
            if stands.order != NEVER && order <= stands.order {
                superseded += 1;
                continue;
            }
            let digest = value.as_ref().map_or([0; 2], |_| [digest as u64 | 1, (digest >> 64) as u64]);
            let (first, stood) = (stands.order == NEVER, std::mem::replace(&mut stands.digest, digest));
            stands.order = order;
            if stood == digest && !first {
                duplicates += 1;
                continue;
            }
            applied += 1;
            replaced += u64::from(stood != [0; 2] && value.is_some());
            rows += i64::from(value.is_some()) - i64::from(stood != [0; 2]);
            out.push((number, value));
        }
        Tally::add(&tally.applied, applied);
        Tally::add(&tally.replaced, replaced);
        Tally::add(&tally.duplicates, duplicates);
        Tally::add(&tally.superseded, superseded);
        tally.rows.fetch_add(rows, Ordering::Relaxed);
    };
    shared(in_epochs(input, Some(Box::new(|a: &Arrived<K, V>| route(&a.key))), name, Box::new(logic)))
}
