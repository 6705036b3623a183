//! Readers of topics with transactions, headers and retention, and of topics that change, disappear
//! or come back.

use std::time::Duration;

use rdkafka::admin::AdminOptions;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use watershed::connect::{Partition, Poll, Source};
use watershed::connectors::kafka::Kafka;
use watershed::{Error, ErrorKind};

use super::{Cluster, cluster, records};

/// Returns a producer with an open transaction.
pub(super) fn transaction(cluster: &Cluster, id: &str) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &cluster.at["KAFKA_PLAIN"]).set("transactional.id", id);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    producer
}

pub(super) fn send(producer: &BaseProducer, topic: &str, values: std::ops::Range<u32>) {
    for value in values {
        let value = value.to_string();
        let record = BaseRecord::<str, str>::to(topic).partition(0).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

/// Returns the error that stops a reader; ignores the records before it.
fn stopping_error(partition: &mut dyn Partition) -> Error {
    for _ in 0..600 {
        match partition.poll() {
            Ok(Poll::Idle) => assert!(partition.wait(Duration::from_millis(100))),
            Ok(Poll::Batch(_)) => {}
            Ok(Poll::End) => panic!("the reading ended"),
            Err(error) => return error,
        }
    }
    panic!("no error stops the reader")
}

fn values(from: u32, to: u32) -> Vec<String> {
    (from..to).map(|value| value.to_string()).collect()
}

#[test]
fn aborted_records_are_passed_over() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic(1);
    let producer = transaction(cluster, &topic);
    send(&producer, &topic, 0..10);
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 100..110);
    producer.abort_transaction(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 10..20);
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    let read = cluster.read(&topic, 0);
    let texts: Vec<String> = read
        .iter()
        .map(|(_, _, value)| String::from_utf8(value.clone().unwrap()).unwrap())
        .collect();
    assert_eq!(texts, values(0, 20));
    // A marker after each of the three transactions, and ten aborted records.
    assert_eq!((read[9].0, read[10].0, read[19].0), (9, 22, 31));
    let source = cluster.open(&topic);
    for from in 0..=33 {
        let mut opened = source.open(0, Some(from), false).unwrap();
        let expected: Vec<_> =
            read.iter().filter(|(offset, ..)| *offset >= from).cloned().collect();
        assert_eq!(records(&mut *opened), expected, "from {from}");
    }
}

#[test]
fn records_of_an_open_transaction_are_not_read() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic(1);
    cluster.append(&topic, 0, &[(None, Some(b"before"))]);
    let producer = transaction(cluster, &topic);
    send(&producer, &topic, 0..5);
    cluster.append(&topic, 0, &[(None, Some(b"after"))]);
    assert_eq!(cluster.read_now(&topic, 0).len(), 1, "the reading ends before it");
    let mut follower = cluster.open(&topic).open(0, Some(1), true).unwrap();
    assert!(matches!(follower.poll(), Ok(Poll::Idle)));
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    let mut read = 0;
    while read < 6 {
        match follower.poll().unwrap() {
            Poll::Batch(batch) => read += batch.records.len(),
            other => assert!(matches!(other, Poll::Idle) && follower.wait(Duration::from_secs(30))),
        }
    }
    assert_eq!(cluster.read(&topic, 0).len(), 7);
}

#[test]
fn keys_tombstones_timestamps_and_headers_are_read() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic(1);
    let sent: [(Option<&[u8]>, Option<&[u8]>); 4] =
        [(Some(b"k"), Some(b"v")), (Some(b"k"), None), (None, Some(b"")), (Some(b""), None)];
    cluster.append(&topic, 0, &sent);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "trace", value: Some("one") })
        .insert(Header { key: "none", value: None::<&str> })
        .insert(Header { key: "trace", value: Some("") });
    let record = BaseRecord::<str, str>::to(&topic)
        .partition(0)
        .payload("dated")
        .timestamp(1_598_586_767_123)
        .headers(headers);
    cluster.producer.send(record).map_err(|(error, _)| error).unwrap();
    cluster.producer.flush(Duration::from_secs(30)).unwrap();
    let mut opened = cluster.open(&topic).open(0, None, false).unwrap();
    let mut read = Vec::new();
    loop {
        match opened.poll().unwrap() {
            Poll::Batch(batch) => {
                for record in batch.iter(0) {
                    let headers: Vec<_> = record
                        .headers
                        .map(|(name, value)| (name.to_string(), value.map(<[u8]>::to_vec)))
                        .collect();
                    let bytes = [record.key, record.value].map(|bytes| bytes.map(<[u8]>::to_vec));
                    read.push((bytes, record.timestamp.unwrap().0, headers));
                }
            }
            Poll::Idle => assert!(opened.wait(Duration::from_secs(1))),
            Poll::End => break,
        }
    }
    for ((key, value), read) in sent.iter().zip(&read) {
        assert_eq!(
            ([*key, *value].map(|bytes| bytes.map(<[u8]>::to_vec)), &vec![]),
            (read.0.clone(), &read.2)
        );
    }
    let headers = [("trace", Some(&b"one"[..])), ("none", None), ("trace", Some(b""))];
    let headers = headers.map(|(name, value)| (name.to_string(), value.map(<[u8]>::to_vec)));
    assert_eq!((read[4].1, &read[4].2[..]), (1_598_586_767_123_000, &headers[..]));
}

#[test]
fn an_added_partition_is_read_from_its_beginning() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic(1);
    let source = cluster.open(&topic);
    assert_eq!(source.partitions().unwrap(), [0]);
    cluster.grow(&topic, 3);
    let grown = (0..100).any(|_| source.partitions().unwrap() == [0, 1, 2]);
    assert!(grown);
    cluster.append(&topic, 2, &[(None, Some(b"first"))]);
    let mut opened = source.open(2, None, true).unwrap();
    assert!(opened.wait(Duration::from_secs(30)));
    assert_eq!(cluster.read(&topic, 2).len(), 1);
}

#[test]
fn a_range_deleted_by_retention_is_refused() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic(1);
    cluster.append(&topic, 0, &[(None, Some(&b"v"[..])); 10]);
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&topic, 0, Offset::Offset(4)).unwrap();
    cluster.runtime.block_on(cluster.admin.delete_records(&before, &AdminOptions::new())).unwrap();
    let source = cluster.open(&topic);
    for follow in [false, true] {
        let error = source.open(0, Some(3), follow).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(error.to_string().contains("from offset 3: it begins at 4"), "{error}");
    }
    assert_eq!(records(&mut *source.open(0, Some(4), false).unwrap()).len(), 6);
    assert_eq!(cluster.read(&topic, 0).len(), 6);
}

#[test]
fn a_recreated_topic_stops_its_reader() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic(2);
    cluster.append(&topic, 0, &[(None, Some(&b"v"[..])); 10]);
    let source = cluster.open(&topic);
    let mut follower = source.open(0, None, true).unwrap();
    take(&mut *follower, 10).unwrap();
    cluster.delete(&topic);
    let gone = (0..1000).find_map(|_| source.partitions().err()).unwrap();
    assert_eq!(gone.kind(), ErrorKind::Data, "{gone}");
    assert!((0..1000).any(|_| cluster.create(&topic, 2)));
    cluster.append(&topic, 0, &[(None, Some(&b"w"[..])); 3]);
    let error = stopping_error(&mut *follower);
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    let error = cluster.open(&topic).open(0, Some(10), true).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains("it ends at 3"), "{error}");
}

/// Reads exactly `count` more records.
fn take(follower: &mut dyn Partition, count: usize) -> Result<(), Error> {
    let mut read = 0;
    while read < count {
        match follower.poll()? {
            Poll::Batch(batch) => read += batch.records.len(),
            other => assert!(matches!(other, Poll::Idle) && follower.wait(Duration::from_secs(1))),
        }
    }
    assert_eq!(read, count);
    Ok(())
}

#[test]
fn a_recreated_topic_stops_its_reader_even_if_it_is_longer() {
    let Some(cluster) = cluster() else { return };
    // With and without more records read, and refreshes, before the refresh that detects it.
    for (refreshed, read) in [(false, false), (false, true), (true, false), (true, true)] {
        let topic = cluster.topic(2);
        cluster.append(&topic, 0, &[(None, Some(&b"v"[..])); 10]);
        let source = cluster.open(&topic);
        let mut follower = source.open(0, None, true).unwrap();
        take(&mut *follower, 10).unwrap();
        (0..if refreshed { 30 } else { 0 })
            .for_each(|_| assert_eq!(source.partitions().unwrap(), [0, 1]));
        cluster.delete(&topic);
        assert!((0..1000).any(|_| cluster.create(&topic, 2)));
        cluster.append(&topic, 0, &[(None, Some(&b"w"[..])); 25]);
        // A reader that polls while the topic does not exist detects it by itself.
        let error = Some(&mut follower)
            .filter(|_| read)
            .and_then(|follower| take(&mut **follower, 15).err());
        let error =
            error.unwrap_or_else(|| (0..100).find_map(|_| source.partitions().err()).unwrap());
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(error.to_string().contains("recreated"), "{error}");
    }
}

#[test]
fn retention_behind_a_reader_does_not_stop_it() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic(2);
    let source = cluster.open(&topic);
    let mut follower = source.open(0, None, true).unwrap();
    for round in 1..6 {
        cluster.append(&topic, 0, &[(Some(&b"k"[..]), Some(&b"v"[..])); 9]);
        // A marker, with no record after it.
        cluster.commit(&topic, 0, &[b"w"]);
        take(&mut *follower, 10).unwrap();
        (0..30).for_each(|_| assert_eq!(source.partitions().unwrap(), [0, 1]));
        if round % 2 == 0 {
            cluster.expire(&topic, 0, round * 11 - u64::from(round == 2));
        }
    }
}

#[test]
fn a_reader_survives_the_restart_of_a_broker() {
    // A broker of its own, because other tests need the shared one.
    let broker = MockCluster::new(1).unwrap();
    broker.create_topic("t", 1, 1).unwrap();
    let mut config = ClientConfig::new();
    let producer: BaseProducer =
        config.set("bootstrap.servers", broker.bootstrap_servers()).create().unwrap();
    send(&producer, "t", 0..5);
    let source = Kafka::with(&format!("kafka://{}", broker.bootstrap_servers()), [])
        .unwrap()
        .topic("t")
        .unwrap();
    let mut follower = source.open(0, None, true).unwrap();
    take(&mut *follower, 5).unwrap();
    broker.broker_down(1).unwrap();
    for _ in 0..2 {
        assert_eq!(source.partitions().unwrap(), [0], "the partition is known from before");
    }
    broker.broker_up(1).unwrap();
    send(&producer, "t", 5..9);
    take(&mut *follower, 4).unwrap();
    assert_eq!(source.partitions().unwrap(), [0]);
}

#[test]
fn a_partition_without_a_leader_is_not_reported_as_gone() {
    let broker = MockCluster::new(1).unwrap();
    broker.create_topic("t", 1, 1).unwrap();
    let mut config = ClientConfig::new();
    let producer: BaseProducer =
        config.set("bootstrap.servers", broker.bootstrap_servers()).create().unwrap();
    send(&producer, "t", 0..5);
    let topic = || {
        Kafka::with(&format!("kafka://{}", broker.bootstrap_servers()), [])
            .unwrap()
            .topic("t")
            .unwrap()
    };
    let source = topic();
    assert_eq!(source.span(0).unwrap(), Some(0..5));
    broker.partition_leader("t", 0, None).unwrap();
    // A client with metadata from before, and a new one.
    for error in [source.span(0).unwrap_err(), topic().open(0, Some(5), true).err().unwrap()] {
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    }
    // Often enough to verify the topic once.
    (0..11).for_each(|_| assert_eq!(source.partitions().unwrap(), [0]));
    broker.partition_leader("t", 0, Some(1)).unwrap();
    send(&producer, "t", 5..9);
    assert_eq!(source.span(0).unwrap(), Some(0..9));
    take(&mut *source.open(0, Some(5), true).unwrap(), 4).unwrap();
}
