//! Topics of the broker that the tests share.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value as Json;

use super::held::Held;
use super::portions::{Portion, Portions};
use super::transactions::{End, Transactions};
use super::{ABORTED, Address, COMMITTED, Change, Log, REDELIVERED, TOPICS, Tally};
use crate::faults::manifest::of_snapshot;
use crate::support::Dice;
use crate::support::broker::{Cluster, cluster};
use crate::support::proxy::Proxy;

/// The most partitions of a topic.
const MAX_PARTITIONS: u32 = 8;
/// One portion of so many is a transaction.
const TRANSACTION: u64 = 10;

/// Three topics, and the records in them.
pub(super) struct KafkaLog {
    cluster: &'static Cluster,
    /// The beginning of their names.
    prefix: String,
    /// The number of partitions by topic.
    partitions: BTreeMap<&'static str, u32>,
    /// The offset of the first record that retention left.
    lows: BTreeMap<(&'static str, u32), u64>,
    transactions: Transactions,
    portions: Portions,
    held: Held,
    dice: Dice,
    tally: Tally,
}

impl KafkaLog {
    pub(super) fn new(all: &Path, held: &Path, seed: u64) -> Self {
        let (cluster, mut dice) = (cluster().unwrap(), Dice::new(seed));
        let prefix = format!("{}.", cluster.unique());
        let partitions = TOPICS.map(|topic| (topic, 1 + dice.below(5) as u32));
        for (topic, count) in partitions {
            assert!(cluster.create(&format!("{prefix}demo.{topic}"), count as i32));
        }
        KafkaLog {
            cluster,
            prefix,
            partitions: partitions.into(),
            transactions: Transactions::new(cluster),
            lows: BTreeMap::new(),
            portions: Portions::new(all, &mut dice),
            held: Held::new(held),
            dice,
            tally: Tally::new(),
        }
    }

    fn name(&self, topic: &str) -> String {
        format!("{}demo.{topic}", self.prefix)
    }

    /// Deletes records at the beginning of partitions, at most those before the position of the
    /// youngest snapshot.
    fn expire(&mut self, lake: &Path) -> bool {
        let Some(covered) = of_snapshot(lake) else { return false };
        let mut any = false;
        for (topic, count) in self.partitions.clone() {
            for partition in 0..count {
                let bound = &covered["sources"][topic][0]["partitions"][partition.to_string()];
                let low = self.lows.get(&(topic, partition)).copied().unwrap_or(0);
                let room = bound["to"].as_u64().map_or(0, |to| to - low);
                // Often all that may go, up to the last record that was read.
                let deleted = match self.dice.below(3) {
                    0 => room,
                    _ => self.dice.below(room + 1),
                };
                if deleted > 0 {
                    self.cluster.expire(&self.name(topic), partition, low + deleted);
                    self.lows.insert((topic, partition), low + deleted);
                    any = true;
                }
            }
        }
        any
    }

    /// Adds records in a transaction, whose marker takes an offset of its own.
    fn transact(&mut self, topic: &'static str, partition: u32, values: &[Vec<u8>], end: End) {
        let count = values.len() as u64;
        let marker = self.held.end(topic, partition).unwrap_or(0) + count;
        self.transactions.make(&self.name(topic), partition, values, end, marker);
        match end {
            End::Commit => {
                values.iter().for_each(|value| self.held.add(topic, partition, 0, value));
                self.held.skip(topic, partition, 1);
                *self.tally.entry(COMMITTED).or_default() += 1;
            }
            End::Abort => {
                self.held.skip(topic, partition, count + 1);
                *self.tally.entry(ABORTED).or_default() += 1;
            }
        }
    }

    fn add_partition(&mut self) -> bool {
        let topic = TOPICS[self.dice.below(3) as usize];
        let more = self.partitions[topic] + 1;
        if more > MAX_PARTITIONS {
            return false;
        }
        self.cluster.grow(&self.name(topic), more as usize);
        self.transactions.refresh(&self.name(topic));
        self.partitions.insert(topic, more);
        true
    }
}

impl Log for KafkaLog {
    fn address(&self, proxy: Option<&Proxy>) -> Address {
        let url = match proxy {
            Some(proxy) => format!("kafka://{}/{}", proxy.address(), self.prefix),
            None => self.cluster.url(&self.prefix),
        };
        Address { args: vec!["--from".into(), url], environment: Vec::new() }
    }

    fn proxy(&self) -> Option<Proxy> {
        self.cluster.behind()
    }

    fn held(&self) -> &Path {
        self.held.archive()
    }

    fn left(&self) -> usize {
        self.portions.left()
    }

    fn feed(&mut self) {
        let Some(Portion { topic, values, again }) = self.portions.next(&mut self.dice) else {
            return;
        };
        let partition = self.dice.below(self.partitions[topic].into()) as u32;
        *self.tally.entry(REDELIVERED).or_default() += u64::from(again);
        if self.dice.below(TRANSACTION) == 0 {
            // The records of an aborted transaction are sent again.
            if self.dice.below(2) == 0 {
                self.transact(topic, partition, &values, End::Abort);
            }
            return self.transact(topic, partition, &values, End::Commit);
        }
        let records: Vec<_> = values.iter().map(|value| (None, Some(&value[..]))).collect();
        self.cluster.append(&self.name(topic), partition, &records);
        values.iter().for_each(|value| self.held.add(topic, partition, 0, value));
    }

    fn partitions(&self) -> usize {
        self.partitions.values().copied().max().unwrap_or_default() as usize
    }

    fn change(&mut self, change: Change, lake: &Path) -> bool {
        match change {
            Change::Retention => self.expire(lake),
            Change::AddPartition => self.add_partition(),
            Change::SplitShard | Change::MergeShards => false,
        }
    }

    fn misplaced(&self, topic: &str, source: &Json) -> Vec<String> {
        let mut found = Vec::new();
        for (partition, bound) in source["partitions"].as_object().unwrap() {
            let to = bound["to"].as_u64().unwrap();
            let topic = TOPICS.into_iter().find(|known| *known == topic).unwrap();
            let end = self.held.end(topic, partition.parse().unwrap()).unwrap_or(0);
            let last = &bound["last"]["offset"];
            if to > end || last.as_u64() != to.checked_sub(1) {
                found.push(format!(
                    "offset {to} of {topic} {partition}, whose last record is {last} and whose \
                     end is {end}"
                ));
            }
        }
        found
    }

    fn tally(&self) -> Tally {
        self.tally.clone()
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        TOPICS.iter().for_each(|topic| self.cluster.delete(&self.name(topic)));
    }
}
