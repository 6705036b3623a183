//! Promises of the Kafka connector, against a real broker: the contract, [`reading`],
//! [`committed`], [`damage`], [`writing`], [`forgotten`], [`limits`], [`appending`],
//! [`refusals`], [`running`], [`tails`] and [`crashes`].

mod appending;
mod committed;
mod crashes;
mod damage;
mod forgotten;
mod limits;
mod reading;
mod refusals;
mod running;
mod tails;
mod writing;

use std::collections::BTreeMap;
use std::time::Duration;

use watershed::connect::{Partition, Poll, Sink, Source};
use watershed::connectors::kafka::{Kafka, KafkaTopic};
use watershed::row::Value;

use super::contract::{
    self, Held, Place, append_contract, owner_contract, snapshot_contract, source_contract,
};
pub(crate) use crate::support::broker::{Cluster, cluster};

#[test]
fn kafka_keeps_the_contract_of_sources() {
    let Some(cluster) = cluster() else { return };
    source_contract(|| Box::new(Log { cluster, topic: cluster.topic(12) }));
}

#[test]
fn kafka_keeps_the_contract_of_sinks_of_tables() {
    let Some(cluster) = cluster() else { return };
    snapshot_contract(|| Box::new(Log { cluster, topic: cluster.topic(3) }));
    owner_contract(&Log { cluster, topic: cluster.topic(2) }, true);
}

#[test]
fn kafka_keeps_the_contract_of_sinks_that_append() {
    let Some(cluster) = cluster() else { return };
    append_contract(|| Box::new(Log { cluster, topic: cluster.topic(3) }));
    contract::a_wrong_number_of_skipped_rows_is_refused(&Log { cluster, topic: cluster.topic(3) });
    owner_contract(&Log { cluster, topic: cluster.topic(2) }, false);
}

pub(crate) type Records = Vec<(u64, Option<Vec<u8>>, Option<Vec<u8>>)>;

impl Cluster {
    fn kafka(&self) -> Kafka {
        Kafka::with(&format!("kafka://{}", self.at["KAFKA_PLAIN"]), []).unwrap()
    }

    fn open(&self, topic: &str) -> KafkaTopic {
        self.kafka().topic(topic).unwrap()
    }
}

/// Returns the records up to the end.
fn records(partition: &mut dyn Partition) -> Records {
    let mut records = Records::new();
    loop {
        match partition.poll().unwrap() {
            Poll::Batch(batch) => {
                records.extend(batch.iter(0).map(|r| {
                    (r.order.offset, r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec))
                }));
            }
            Poll::Idle => assert!(partition.wait(Duration::from_millis(100))),
            Poll::End => return records,
        }
    }
}

/// A topic as a source and as a sink.
struct Log {
    cluster: &'static Cluster,
    topic: String,
}

impl Held for Log {
    fn append(&self, partition: u32, values: &[&[u8]]) {
        let records: Vec<_> = values.iter().map(|value| (None, Some(*value))).collect();
        self.cluster.append(&self.topic, partition, &records);
    }

    fn lose(&self, partition: u32, before: u64) -> bool {
        self.cluster.expire(&self.topic, partition, before);
        true
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(self.cluster.open(&self.topic))
    }

    fn partitions(&self) -> Vec<u32> {
        (0..12).collect()
    }
}

impl Place for Log {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.cluster.open(&self.topic))
    }

    fn rows(&self) -> Vec<Vec<Value>> {
        let (mut table, mut stream) = (BTreeMap::new(), Vec::new());
        for partition in Source::partitions(&self.cluster.open(&self.topic)).unwrap() {
            for (_, key, value) in self.cluster.read_now(&self.topic, partition) {
                match (key, value) {
                    (None, value) => stream.push(value.unwrap()),
                    (Some(key), Some(value)) => drop(table.insert(key, value)),
                    (Some(key), None) => drop(table.remove(&key)),
                }
            }
        }
        let row = |value: &Vec<u8>| -> Vec<Value> {
            let object: serde_json::Value = serde_json::from_slice(value).unwrap();
            let columns = contract::columns();
            assert_eq!(object.as_object().unwrap().len(), columns.len());
            columns.iter().map(|column| super::value(&object[&column.name], column.ty)).collect()
        };
        for (key, value) in &table {
            let (key, value): (serde_json::Value, serde_json::Value) =
                (serde_json::from_slice(key).unwrap(), serde_json::from_slice(value).unwrap());
            assert_eq!(key, serde_json::json!({ "id": value["id"] }));
        }
        let mut rows: Vec<_> = table.values().chain(&stream).map(row).collect();
        rows.sort();
        rows
    }
}
