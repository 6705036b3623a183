//! The Kafka broker that all tests share, with a client of its own.

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

use super::proxy::Proxy;
use super::services::{service, skipped};
use super::until;

/// The error of a record that was not delivered, by topic.
#[derive(Default)]
pub(crate) struct Deliveries(Mutex<BTreeMap<String, String>>);

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
    pub(crate) at: BTreeMap<String, String>,
    pub(crate) admin: AdminClient<DefaultClientContext>,
    pub(crate) producer: BaseProducer<Deliveries>,
    pub(crate) runtime: tokio::runtime::Runtime,
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
    pub(crate) fn topic(&self, partitions: i32) -> String {
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

    pub(crate) fn delete(&self, name: &str) {
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
    pub(crate) fn wait_for_partitions(&self, name: &str, partitions: usize) {
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
    pub(crate) fn forget(&self, group: &str) {
        let deleted = self
            .runtime
            .block_on(self.admin.delete_groups(&[group], &AdminOptions::new()))
            .unwrap();
        deleted.into_iter().for_each(|group| drop(group.unwrap()));
    }

    /// Returns the offsets of a group, by partition.
    pub(crate) fn offsets(&self, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
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
}
