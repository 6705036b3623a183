//! The order of records in a topic, and of rows derived from one record.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The order of a record among all records of its topic; the greater is the later.
///
/// Between partitions, the record with the greater `(offset, partition)` is later. Between sources
/// of one topic, it is the one of the source that is bound later. Between merged topics, it is the
/// one of the topic that the topology names later.
///
/// ```
/// use watershed::record::Order;
///
/// let order = |topic, source, offset, partition| Order { topic, source, offset, partition };
/// assert!(order(0, 0, 8, 0) > order(0, 0, 7, 1) && order(0, 0, 7, 1) > order(0, 0, 7, 0));
/// assert!(order(0, 1, 0, 0) > order(0, 0, 8, 0) && order(1, 0, 0, 0) > order(0, 1, 0, 0));
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Order {
    /// Rank of the topic among those of the topology.
    pub topic: u16,
    /// Rank of the source among those bound to the topic.
    pub source: u16,
    /// Offset in the partition.
    pub offset: u64,
    /// Partition of the topic.
    pub partition: u32,
}

impl Order {
    /// Returns the partition of the record.
    pub(crate) fn partition_id(&self) -> PartitionId {
        PartitionId { topic: self.topic, source: self.source, partition: self.partition }
    }
}

/// A partition of a source of a topic, identified by the numbers of a run.
///
/// Topics are numbered in the order in which the topology reads them, and the sources of a topic in
/// the order in which they are bound. An [`Order`] has the same numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PartitionId {
    /// Number of the topic.
    pub(crate) topic: u16,
    /// Number of the source among those of the topic.
    pub(crate) source: u16,
    /// Partition of the source.
    pub(crate) partition: u32,
}

impl PartitionId {
    /// Returns the id of a partition.
    ///
    /// # Errors
    /// When the number of the topic or of the source is above 65,535: records of two of them would
    /// have one order.
    pub(crate) fn new(topic: usize, source: usize, partition: u32) -> Result<Self> {
        match (u16::try_from(topic), u16::try_from(source)) {
            (Ok(topic), Ok(source)) => Ok(PartitionId { topic, source, partition }),
            _ => Err(Error::internal(format!(
                "can't number partition {partition} of source {source} of topic {topic}: \
                 the numbers go up to {}",
                u16::MAX
            ))),
        }
    }

    /// Returns the id of another partition of the same source.
    pub(crate) fn with_partition(self, partition: u32) -> Self {
        PartitionId { partition, ..self }
    }

    /// Returns the order of the record at `offset`.
    pub(crate) fn at(self, offset: u64) -> Order {
        let PartitionId { topic, source, partition } = self;
        Order { topic, source, offset, partition }
    }
}

/// The ordinal of a row among all rows derived from one record; the greater is the later.
///
/// It has one number for each operator that may derive several rows from one, counted as by SQL's
/// `WITH ORDINALITY`. A row that is the only one of its record has no numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Ordinal {
    /// The number from the first such operator, counted from 1; 0 without any.
    number: u64,
    /// The numbers from later operators.
    next: Option<Box<Ordinal>>,
}

impl Ordinal {
    /// Returns an ordinal for rows that share one position and differ by `key`: arbitrary, but the
    /// same in every run.
    pub(crate) fn of_key<K: Hash>(key: &K) -> Self {
        Ordinal { number: FixedState::with_seed(0x00de_c1de).hash_one(key) | 1, next: None }
    }

    /// Returns true if the ordinal has no number.
    pub(crate) fn is_empty(&self) -> bool {
        self.number == 0
    }

    /// Returns the ordinal of row `index`, counted from 0, among the rows derived from this one.
    pub(crate) fn then(&self, index: usize) -> Self {
        let mut ordinal = self.clone();
        ordinal.push(index as u64 + 1);
        ordinal
    }

    fn push(&mut self, number: u64) {
        match &mut self.next {
            Some(next) => next.push(number),
            None if self.number == 0 => self.number = number,
            None => self.next = Some(Box::new(Ordinal { number, next: None })),
        }
    }

    /// Returns the ordinal in a merged stream, where rows of the same record from `earlier` other
    /// inputs come first.
    pub(crate) fn after(self, earlier: u64) -> Self {
        let next = (!self.is_empty()).then(|| Box::new(self));
        Ordinal { number: earlier + 1, next }
    }

    /// Returns the ordinal of a pair of rows at the order of the later one. It differs from that of
    /// any other pair of two rows. Pairs are ordered by their later row, then by the earlier one.
    ///
    /// `is_left` is true if the later row is the left one.
    pub(crate) fn of_pair(later: &Self, earlier: (Order, &Self), is_left: bool) -> Self {
        /// Marks a number of the later row. The next number without the mark ends them.
        const OF_LATER: u64 = 1 << 63;
        let (order, ordinal) = earlier;
        let topic = (u64::from(order.topic) << 16 | u64::from(order.source)) + 1;
        let partition = (u64::from(order.partition) << 1 | u64::from(is_left)) + 1;
        let next = (!ordinal.is_empty()).then(|| Box::new(ordinal.clone()));
        let place = Ordinal { number: partition, next };
        let place = Ordinal { number: order.offset, next: Some(Box::new(place)) };
        let place = Ordinal { number: topic, next: Some(Box::new(place)) };
        let links = std::iter::successors(Some(later), |ordinal| ordinal.next.as_deref());
        let numbers: Vec<u64> =
            links.map(|ordinal| ordinal.number).take_while(|number| *number != 0).collect();
        numbers.into_iter().rfold(place, |next, number| Ordinal {
            number: number | OF_LATER,
            next: Some(Box::new(next)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_rows_are_ordered_by_the_later_row_first() {
        let order = |offset, partition| Order { topic: 0, source: 0, offset, partition };
        let (none, one) = (Ordinal::default(), Ordinal::default().then(0));
        let (two, inner) = (Ordinal::default().then(1), Ordinal::default().then(0).then(4));
        let mut last = Ordinal::default();
        for later in [&none, &one, &inner, &two] {
            for place in [order(0, 0), order(0, 1), order(7, 0)] {
                for earlier in [&none, &one, &inner, &two] {
                    for is_left in [false, true] {
                        let pair = Ordinal::of_pair(later, (place, earlier), is_left);
                        assert!(!pair.is_empty() && pair.then(0) < pair.then(1));
                        if earlier.is_empty() {
                            assert!(pair > last, "{later:?} {place:?} {is_left}");
                            last = pair;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn an_order_and_its_partition_have_the_same_numbers() {
        let id = PartitionId::new(65_535, 65_534, 3).unwrap();
        assert_eq!(id.at(7), Order { topic: 65_535, source: 65_534, offset: 7, partition: 3 });
        assert_eq!(id.at(7).partition_id(), id);
        assert!(PartitionId::new(65_536, 0, 0).is_err() && PartitionId::new(0, 65_536, 0).is_err());
    }
}
