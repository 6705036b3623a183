//! Transactions of a producer to Kafka.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::broker::Cluster;
use crate::support::until;

/// The longest wait for a reply of the broker.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The end of a transaction.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    Commit,
    Abort,
}

/// A producer with transactions.
pub(super) struct Transactions {
    cluster: &'static Cluster,
    producer: BaseProducer,
}

impl Transactions {
    pub(super) fn new(cluster: &'static Cluster) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &cluster.at["KAFKA_PLAIN"])
            .set("message.max.bytes", "10485760")
            .set("transactional.id", cluster.unique());
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(TIMEOUT).unwrap();
        Transactions { cluster, producer }
    }

    /// Fetches the partitions of a topic that has grown. The producer otherwise refreshes them
    /// every few minutes.
    pub(super) fn refresh(&self, topic: &str) {
        self.producer.client().fetch_metadata(Some(topic), TIMEOUT).unwrap();
    }

    /// Sends records in a transaction, and waits until its marker is at the offset `marker`.
    pub(super) fn make(
        &self,
        topic: &str,
        partition: u32,
        values: &[Vec<u8>],
        end: End,
        marker: u64,
    ) {
        self.producer.begin_transaction().unwrap();
        for value in values {
            let record =
                BaseRecord::<[u8], [u8]>::to(topic).partition(partition as i32).payload(value);
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        // An abort would drop records that are not sent yet.
        self.producer.flush(TIMEOUT).unwrap();
        match end {
            End::Commit => self.producer.commit_transaction(TIMEOUT).unwrap(),
            End::Abort => self.producer.abort_transaction(TIMEOUT).unwrap(),
        }
        until("the marker of a transaction", || {
            let client = self.cluster.admin.inner();
            client.fetch_watermarks(topic, partition as i32, TIMEOUT).unwrap().1 > marker as i64
        });
    }
}
