//! A stream of records as a table: the latest record of each key is current, whatever the order of
//! arrival.

#[cfg(test)]
mod tests;
mod versions;

use std::cmp::Ordering::{Equal, Greater};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use timely::dataflow::StreamVec;

use super::cut::TableCut;
use super::datum::{Datum, Upsert, Upserts};
use super::earliest::Earliest;
use super::epochs::{Step, in_epochs};
use super::keys::Keys;
use super::seeds::Map;
use crate::error::Result;
use crate::metrics::{Meter, Tally, TopicCounters};
use crate::record::{Order, Ordinal};
use crate::time::Epoch;
use versions::Versions;

/// A record on its way into a table. `digest` is half the digest of its value; the value `None`
/// deletes.
///
/// It has no timestamp, because no verb needs the event time of a table's row: 16 bytes less are
/// exchanged for each record, and [`Versions`] stay at 16 bytes a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Arrived<K, V> {
    pub(crate) key: K,
    pub(crate) order: Order,
    pub(crate) ordinal: Ordinal,
    pub(crate) digest: u64,
    pub(crate) value: Option<V>,
}

/// The ordinals of current rows whose record made other rows too, by number of the key. All rows of
/// a record arrive in one epoch, so ordinals are kept for that epoch only.
struct Ordinals {
    epoch: Epoch,
    of: Map<u32, Ordinal>,
}

impl Ordinals {
    /// Forgets the ordinals of epochs before `epoch`. Returns true if that is a new one.
    fn enter(&mut self, epoch: Epoch) -> bool {
        let is_new = self.epoch != epoch;
        if is_new {
            self.epoch = epoch;
            self.of.clear();
            // Give back the memory of a long epoch.
            self.of.shrink_to(1024);
        }
        is_new
    }
}

/// The orders of deleted keys, which are forgotten once no earlier record can come.
struct Tombstones {
    earliest: Arc<Earliest>,
    by_order: BTreeSet<(Order, u32)>,
}

impl Tombstones {
    /// Returns those of a topic whose earliest position advances.
    fn of(earliest: Arc<Earliest>) -> Option<Self> {
        earliest.advances().then(|| Tombstones { earliest, by_order: BTreeSet::new() })
    }

    /// Takes the numbers of tombstones that no record of `epoch` or a later one precedes.
    fn expire(&mut self, epoch: Epoch) -> Vec<u32> {
        let Some(earliest) = self.earliest.at(epoch) else { return Vec::new() };
        let kept = self.by_order.split_off(&(earliest, 0));
        std::mem::replace(&mut self.by_order, kept).into_iter().map(|(_, number)| number).collect()
    }
}

/// A version as a snapshot holds it: the order of its record, and the digest of its value.
type SavedVersion = (Order, ByteArray<8>);

/// Returns the bits of the digest of a value by which sinks recognise the value; 0 without one.
fn short(digest: u64) -> u16 {
    if digest == 0 { 0 } else { ((digest >> 16) as u16).max(1) }
}

/// Returns the digests of the saved values in a bucket, as [`Upsert`]s have them, by the numbers of
/// their keys. `versions` is the cut of [`latest`].
///
/// # Errors
/// When they can't be read.
pub(crate) fn saved_digests(versions: &TableCut, bucket: u8) -> Result<Vec<(u32, u16)>> {
    match versions.take_digests(bucket) {
        Some(digests) => Ok(digests),
        None => Ok(digests_of(&versions.load::<SavedVersion>(bucket)?)),
    }
}

/// Returns the digests of the values of saved versions, without deleted ones.
fn digests_of(saved: &[(u32, SavedVersion)]) -> Vec<(u32, u16)> {
    let digest = |(number, (_, digest)): &(u32, SavedVersion)| {
        (*number, short(u64::from_le_bytes(**digest)))
    };
    saved.iter().map(digest).filter(|(_, digest)| *digest != 0).collect()
}

/// Emits the latest record of each key, by [`Order`]. Records that change nothing are dropped. In
/// `per_record` none is dropped, and the latest is the one that arrived last.
///
/// It keeps 16 bytes a key, order and digest, never the value. Of several rows of one record the
/// last is current, whatever their order of arrival.
///
/// A deleted key keeps its order, so that an earlier record that arrives late does not restore it.
/// Where `earliest` advances, the order is forgotten once no earlier record can come, and the
/// number of the key is released. No result depends on when that happens: every record that arrives
/// afterwards is later, and a tombstone for a key without a row changes nothing.
///
/// A snapshot saves the versions in `cut`, not the values. So after a restart only changed rows are
/// emitted. Orders that are forgotten stay in the snapshot, unless no partition is ever added: a
/// later run may read partitions that were added in between.
pub(crate) fn latest<'s, K: Datum, V: Datum>(
    input: StreamVec<'s, Epoch, Arrived<K, V>>,
    keys: Keys<K>,
    name: &str,
    counters: Arc<TopicCounters>,
    earliest: Option<Arc<Earliest>>,
    cut: Option<TableCut>,
    meter: Meter,
) -> Upserts<'s, V> {
    let (owners, seeds) = (keys.owners().clone(), keys.seeds());
    let per_record = owners.mode().is_per_record();
    let mut versions = Versions::new(seeds);
    let mut ordinals = Ordinals { epoch: 0, of: seeds.map() };
    let mut tombstones = earliest.and_then(Tombstones::of);
    let (mut numbers, mut changed) = (Vec::new(), Vec::<(u32, Option<SavedVersion>)>::new());
    if let Some(cut) = &cut {
        let mut count = Count::default();
        for bucket in cut.buckets() {
            let saved: Vec<(u32, SavedVersion)> = match cut.load(bucket) {
                Ok(rows) => rows,
                Err(error) => {
                    (cut.fail())(error);
                    break;
                }
            };
            cut.hold_digests(bucket, digests_of(&saved));
            let mut keys = keys.open();
            for (number, (order, digest)) in saved {
                let digest = u64::from_le_bytes(digest.into_array());
                versions.set(number, order, digest);
                keys.hold(number);
                count.keys += 1;
                count.rows += i64::from(digest != 0);
                if let (0, Some(tombstones)) = (digest, &mut tombstones) {
                    tombstones.by_order.insert((order, number));
                }
            }
        }
        count.add_to(&counters, 0);
    }
    let logic =
        move |epoch: Epoch, step: Step<'_, Vec<Arrived<K, V>>>, out: &mut Vec<Upsert<V>>| {
            let Step::Data(records) = step else { return false };
            let mut count = Count::default();
            let mut keys = keys.open();
            if ordinals.enter(epoch)
                && let Some(tombstones) = &mut tombstones
            {
                let is_final = tombstones.earliest.advances_for_ever();
                for number in tombstones.expire(epoch) {
                    if is_final {
                        changed.push((number, None));
                    }
                    versions.forget(number);
                    keys.release(number, epoch);
                    count.keys -= 1;
                }
            }
            keys.number_all(records.iter().map(|arrived| &arrived.key), &mut numbers);
            let numbered = records.drain(..).zip(numbers.iter().copied());
            for (Arrived { order, ordinal, digest, value, .. }, number) in numbered {
                let (before, old) = versions.at(number);
                let later = before.is_none_or(|before| match order.cmp(&before) {
                    Equal => ordinals.of.get(&number).is_some_and(|current| ordinal > *current),
                    // The recovery has no order of arrival.
                    than => than == Greater || (per_record && epoch > 0),
                });
                if !later {
                    count.outcomes.superseded += 1;
                    continue;
                }
                if !ordinal.is_empty() {
                    ordinals.of.insert(number, ordinal);
                }
                let digest = value.as_ref().map_or(0, |_| digest);
                versions.set(number, order, digest);
                if cut.is_some() {
                    changed.push((number, Some((order, ByteArray::new(digest.to_le_bytes())))));
                }
                if before.is_none() {
                    keys.hold(number);
                    count.keys += 1;
                }
                if let Some(tombstones) = &mut tombstones {
                    if let (0, Some(before)) = (old, before) {
                        tombstones.by_order.remove(&(before, number));
                    }
                    if digest == 0 {
                        tombstones.by_order.insert((order, number));
                    }
                }
                if old == digest {
                    count.outcomes.duplicates += 1;
                    if !per_record {
                        continue;
                    }
                } else {
                    count.outcomes.applied += 1;
                    count.outcomes.replaced += u64::from(old != 0 && value.is_some());
                    count.rows += i64::from(value.is_some()) - i64::from(old != 0);
                }
                out.push(Upsert { number, digest: short(digest), value });
            }
            count.add_to(&counters, epoch);
            drop(keys);
            if let Some(cut) = &cut {
                cut.put_all(epoch, changed.drain(..));
            }
            false
        };
    let route = move |arrived: &Arrived<K, V>| seeds.route(&arrived.key);
    in_epochs(input, route, &owners, name, meter, Box::new(logic), Rc::new)
}

/// Counts of the outcomes of a batch.
#[derive(Default)]
struct Count {
    outcomes: Tally,
    rows: i64,
    keys: i64,
}

impl Count {
    fn add_to(&self, counters: &TopicCounters, epoch: Epoch) {
        counters.count(epoch, self.outcomes);
        counters.rows.fetch_add(self.rows, Ordering::Relaxed);
        counters.keys.fetch_add(self.keys, Ordering::Relaxed);
    }
}
