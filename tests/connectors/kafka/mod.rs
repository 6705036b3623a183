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
use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use watershed::connect::{Partition, Poll, Sink, Source};
use watershed::connectors::kafka::{Kafka, KafkaTopic};
use watershed::row::Value;

use super::contract::{
    self, Held, Place, append_contract, owner_contract, snapshot_contract, source_contract,
};
use crate::support::proxy::Proxy;
use crate::support::services::{service, skipped};
use crate::support::until;

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

/// The error of a record that was not delivered, by topic.
#[derive(Default)]
struct Deliveries(Mutex<BTreeMap<String, String>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, delivered: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = delivered {
            self.0.lock().unwrap().insert(message.topic().to_string(), error.to_string());
        }
    }
}

/// The broker that all tests share.
pub(crate) struct Cluster {
    at: BTreeMap<String, String>,
    admin: AdminClient<DefaultClientContext>,
    producer: BaseProducer<Deliveries>,
    runtime: tokio::runtime::Runtime,
}

pub(crate) fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let start = || {
        let at = service("kafka")?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &at["KAFKA_PLAIN"]);
        let admin = config.create().unwrap();
        // One request in flight: with more, the first records of a new partition may be lost.
        config
            .set("message.max.bytes", "10485760")
            .set("linger.ms", "0")
            .set("enable.idempotence", "true")
            .set("max.in.flight", "1");
        let producer = config.create_with_context(Deliveries::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Some(Cluster { at, admin, producer, runtime })
    };
    CLUSTER.get_or_init(start).as_ref()
}

type Bytes<'a> = Option<&'a [u8]>;
pub(crate) type Records = Vec<(u64, Option<Vec<u8>>, Option<Vec<u8>>)>;

impl Cluster {
    /// Returns a name that no topic has.
    pub(crate) fn unique(&self) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let nanos = UNIX_EPOCH.elapsed().unwrap().as_nanos();
        format!("t{nanos}.{}", COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the URL of the topics whose names begin with `prefix`.
    pub(crate) fn url(&self, prefix: &str) -> String {
        format!("kafka://{}/{prefix}", self.at["KAFKA_PLAIN"])
    }

    /// Returns the proxy of the broker: one at a time, because clients get its one port.
    pub(crate) fn behind(&self) -> Option<Proxy> {
        let Some((server, front)) = self.at.get("KAFKA_BEHIND").zip(self.at.get("KAFKA_FRONT"))
        else {
            skipped(
                "the broker that runs here has no listener for a proxy: do tests/services/down kafka first",
            );
            return None;
        };
        let listener = std::iter::from_fn(|| match TcpListener::bind(front) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                std::thread::park_timeout(Duration::from_millis(100));
                Some(None)
            }
            bound => Some(Some(bound.unwrap())),
        });
        listener.flatten().next().map(|listener| Proxy::at(listener, server))
    }

    /// Creates a topic and returns its name.
    fn topic(&self, partitions: i32) -> String {
        let name = self.unique();
        assert!(self.create(&name, partitions));
        name
    }

    /// Returns false if a topic of this name still exists.
    pub(crate) fn create(&self, name: &str, partitions: i32) -> bool {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1))
            .set("max.message.bytes", "10485760");
        let created = self
            .runtime
            .block_on(self.admin.create_topics(&[topic], &AdminOptions::new()))
            .unwrap();
        let made = created.iter().all(Result::is_ok);
        if made {
            self.wait_for_partitions(name, partitions as usize);
        }
        made
    }

    fn delete(&self, name: &str) {
        let deleted =
            self.runtime.block_on(self.admin.delete_topics(&[name], &AdminOptions::new())).unwrap();
        deleted.into_iter().for_each(|topic| drop(topic.unwrap()));
    }

    pub(crate) fn grow(&self, name: &str, partitions: usize) {
        let more = NewPartitions::new(name, partitions);
        let grown = self
            .runtime
            .block_on(self.admin.create_partitions(&[more], &AdminOptions::new()))
            .unwrap();
        grown.into_iter().for_each(|topic| drop(topic.unwrap()));
        self.wait_for_partitions(name, partitions);
        // The producer otherwise refreshes its metadata every few minutes.
        self.producer.client().fetch_metadata(Some(name), Duration::from_secs(10)).unwrap();
    }

    /// Blocks until the broker has the partitions. Another component creates them, and a broker
    /// that has just started learns of them later.
    fn wait_for_partitions(&self, name: &str, partitions: usize) {
        let led = |topic: &MetadataTopic| {
            topic.partitions().iter().filter(|partition| partition.leader() >= 0).count()
        };
        let request =
            || self.admin.inner().fetch_metadata(Some(name), Duration::from_secs(10)).unwrap();
        until(name, || {
            request()
                .topics()
                .iter()
                .any(|topic| topic.error().is_none() && led(topic) >= partitions)
        });
    }

    /// Deletes the records before an offset, as retention does.
    pub(crate) fn expire(&self, topic: &str, partition: u32, before: u64) {
        let mut offsets = TopicPartitionList::new();
        offsets
            .add_partition_offset(topic, partition as i32, Offset::Offset(before as i64))
            .unwrap();
        self.runtime.block_on(self.admin.delete_records(&offsets, &AdminOptions::new())).unwrap();
    }

    /// Deletes all offsets of a group, as brokers do with a group without members and commits.
    fn forget(&self, group: &str) {
        let deleted = self
            .runtime
            .block_on(self.admin.delete_groups(&[group], &AdminOptions::new()))
            .unwrap();
        deleted.into_iter().for_each(|group| drop(group.unwrap()));
    }

    /// Returns the offsets of a group, by partition.
    fn offsets(&self, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
        let mut config = ClientConfig::new();
        let client: BaseConsumer = config
            .set("bootstrap.servers", &self.at["KAFKA_PLAIN"])
            .set("group.id", group)
            .create()
            .unwrap();
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_range(topic, 0, partitions - 1);
        let offsets = client.committed_offsets(offsets, Duration::from_secs(30)).unwrap();
        let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
        offsets.elements().iter().map(|element| offset(element.offset())).collect()
    }

    /// Appends records in one transaction. Its marker takes an offset of its own.
    pub(crate) fn commit(&self, topic: &str, partition: u32, values: &[&[u8]]) {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.at["KAFKA_PLAIN"])
            .set("transactional.id", self.unique());
        let producer: BaseProducer = config.create().unwrap();
        let timeout = Duration::from_secs(30);
        producer.init_transactions(timeout).unwrap();
        producer.begin_transaction().unwrap();
        for value in values {
            let record =
                BaseRecord::<[u8], [u8]>::to(topic).partition(partition as i32).payload(value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.commit_transaction(timeout).unwrap();
        self.settle(topic, partition);
    }

    pub(crate) fn append(
        &self,
        topic: &str,
        partition: u32,
        records: &[(Option<&[u8]>, Option<&[u8]>)],
    ) {
        self.send(topic, partition, records.iter().map(|(key, value)| (*key, *value, None)));
    }

    /// Appends values with timestamps in milliseconds.
    pub(crate) fn append_at(
        &self,
        topic: &str,
        partition: u32,
        records: &[(i64, Option<Vec<u8>>)],
    ) {
        self.send(
            topic,
            partition,
            records.iter().map(|(at, value)| (None, value.as_deref(), Some(*at))),
        );
    }

    fn send<'a>(
        &self,
        topic: &str,
        partition: u32,
        records: impl Iterator<Item = (Bytes<'a>, Bytes<'a>, Option<i64>)>,
    ) {
        for (key, value, at) in records {
            let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition as i32);
            (record.key, record.payload, record.timestamp) = (key, value, at);
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        self.producer.flush(Duration::from_secs(30)).unwrap();
        assert_eq!(
            self.producer.context().0.lock().unwrap().remove(topic),
            None,
            "every record is delivered to {topic}"
        );
    }

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
