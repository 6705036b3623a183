//! Readings of a topic once its transactions have ended. A broker acknowledges a commit first, and
//! then writes a marker to each partition; until then, readers end before the records. A commit of
//! a sink waits for the markers; those of other producers do not.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use watershed::connect::Source;

use super::reading::{send, transaction};
use super::{Cluster, Records, cluster, records};
use crate::support::until;

const TIMEOUT: Duration = Duration::from_secs(30);

impl Cluster {
    /// Returns all committed records of a partition, those of each acknowledged commit of any
    /// producer included. While a transaction is open, this waits: [`Cluster::read_now`] does not.
    pub(crate) fn read(&self, topic: &str, partition: u32) -> Records {
        self.settle(topic, partition);
        self.read_now(topic, partition)
    }

    /// Returns the committed records before the first transaction that is open.
    pub(super) fn read_now(&self, topic: &str, partition: u32) -> Records {
        let mut opened = Source::open(&self.open(topic), partition, None, false).unwrap();
        records(&mut *opened)
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

    /// Waits until the partition has the marker of each transaction that wrote to it so far.
    pub(super) fn settle(&self, topic: &str, partition: u32) {
        let end = self.end(topic, partition);
        until(&format!("the last marker of {topic}, partition {partition},"), || {
            self.stable_end(topic, partition) >= end
        });
    }

    /// Returns the offset after the last record of a partition, committed or not.
    pub(super) fn end(&self, topic: &str, partition: u32) -> i64 {
        static CLIENT: OnceLock<BaseConsumer> = OnceLock::new();
        end(CLIENT.get_or_init(|| self.client("read_uncommitted")), topic, partition)
    }

    /// Returns the end of a partition for readers: the first offset of an open transaction, if any.
    pub(super) fn stable_end(&self, topic: &str, partition: u32) -> i64 {
        static CLIENT: OnceLock<BaseConsumer> = OnceLock::new();
        end(CLIENT.get_or_init(|| self.client("read_committed")), topic, partition)
    }

    fn client(&self, isolation: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.at["KAFKA_PLAIN"]);
        config.set("isolation.level", isolation).create().unwrap()
    }
}

fn end(client: &BaseConsumer, topic: &str, partition: u32) -> i64 {
    // The client may know the topic from before it grew.
    client.fetch_metadata(Some(topic), TIMEOUT).unwrap();
    client.fetch_watermarks(topic, partition as i32, TIMEOUT).unwrap().1
}

#[test]
fn a_reading_includes_each_acknowledged_commit() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic(1);
    let producer = transaction(cluster, &topic);
    send(&producer, &topic, 0..3);
    assert_eq!((cluster.stable_end(&topic, 0), cluster.end(&topic, 0)), (0, 3));
    thread::scope(|scope| {
        let reading = scope.spawn(|| cluster.read(&topic, 0).len());
        // A reading that does not wait ends meanwhile.
        (0..3).for_each(|_| assert_eq!(cluster.read_now(&topic, 0), []));
        producer.commit_transaction(TIMEOUT).unwrap();
        assert_eq!(reading.join().unwrap(), 3);
    });
}
