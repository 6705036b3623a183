//! The current versions of the keys of a table: the position of each record, and half the digest of
//! its value.

use crate::operators::column::Column;
use crate::operators::seeds::{Map, Seeds};
use crate::record::{Order, PartitionId};

/// The current version of a key. A table has one for each key, so it is small.
#[derive(Clone, Copy)]
struct Version {
    /// The number of topic, source and partition, followed by the offset in [`OFFSET_BITS`].
    place: u64,
    /// Half the digest of the value, 0 if it is deleted.
    digest: u64,
}

const OFFSET_BITS: u32 = 48;
/// Before any record.
const NEVER: u64 = u64::MAX;
/// The order is too large for the bits of a place.
const WIDE: u64 = u64::MAX - 1;

impl Default for Version {
    fn default() -> Self {
        Version { place: NEVER, digest: 0 }
    }
}

/// The current versions, by the numbers of the keys.
pub(super) struct Versions {
    column: Column<Version>,
    logs: Logs,
    /// The orders of [`WIDE`] versions, by the numbers of the keys. Few logs have such offsets.
    wide: Map<u32, Order>,
}

impl Versions {
    pub(super) fn new(seeds: Seeds) -> Self {
        Versions { column: Column::new(), logs: Logs::new(seeds), wide: seeds.map() }
    }

    /// Returns the order of the current record of a key, if there was one, and its digest.
    pub(super) fn at(&mut self, number: u32) -> (Option<Order>, u64) {
        let Version { place, digest } = *self.column.at(number);
        let order = match place {
            NEVER => None,
            WIDE => self.wide.get(&number).copied(),
            place => self.logs.order(place),
        };
        (order, digest)
    }

    /// Sets the order and the digest of the current record of a key.
    pub(super) fn set(&mut self, number: u32, order: Order, digest: u64) {
        let place = self.logs.place(order);
        let version = self.column.at(number);
        if version.place == WIDE {
            self.wide.remove(&number);
        }
        *version = Version { place: place.unwrap_or(WIDE), digest };
        if place.is_none() {
            self.wide.insert(number, order);
        }
    }

    /// Forgets that a key had a record.
    pub(super) fn forget(&mut self, number: u32) {
        self.wide.remove(&number);
        *self.column.at(number) = Version::default();
    }
}

/// Numbers for partitions. There are few partitions, compared to records.
struct Logs {
    known: Vec<PartitionId>,
    numbers: Map<PartitionId, u32>,
    /// The number of the latest record: records of one partition arrive in runs.
    last: u32,
}

impl Logs {
    fn new(seeds: Seeds) -> Self {
        Logs { known: Vec::new(), numbers: seeds.map(), last: 0 }
    }

    fn number(&mut self, order: Order) -> u32 {
        let log = order.partition_id();
        if self.known.get(self.last as usize) != Some(&log) {
            let next = self.known.len() as u32;
            self.last = *self.numbers.entry(log).or_insert(next);
            if self.last == next {
                self.known.push(log);
            }
        }
        self.last
    }

    /// Returns the place of an order, unless it is too large.
    fn place(&mut self, order: Order) -> Option<u64> {
        let log = u64::from(self.number(order));
        let place = log << OFFSET_BITS | order.offset;
        (order.offset < 1 << OFFSET_BITS && log < 1 << (64 - OFFSET_BITS) && place < WIDE)
            .then_some(place)
    }

    fn order(&self, place: u64) -> Option<Order> {
        let log = self.known.get((place >> OFFSET_BITS) as usize)?;
        Some(log.at(place & ((1 << OFFSET_BITS) - 1)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn versions_have_orders_of_any_size() {
        let mut versions = Versions::new(Seeds::of_a_plan());
        let mut expected = BTreeMap::new();
        let mut state = 1_u64;
        for step in 0..300_000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = (state >> 40) as u32 % 5_000;
            let wide = [0, 1 << 48, (1 << 48) - 1, u64::MAX - 1, u64::MAX];
            let offset = match step % 7 {
                0 => wide[(state >> 20) as usize % wide.len()],
                _ => u64::from(step),
            };
            // More partitions than a place has numbers for.
            let order = Order { topic: 1, source: 0, offset, partition: step % 70_000 };
            if step % 11 == 0 {
                versions.forget(number);
                expected.remove(&number);
            } else {
                versions.set(number, order, state);
                expected.insert(number, (order, state));
            }
        }
        for number in 0..5_000 {
            let known = expected.get(&number);
            let expected = (known.map(|(order, _)| *order), known.map_or(0, |(_, digest)| *digest));
            assert_eq!(versions.at(number), expected);
        }
        assert!(!versions.wide.is_empty());
    }
}
