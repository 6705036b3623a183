//! Damaged records are reported as damaged. They are never skipped, retried for ever, or reported
//! as a network error.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use watershed::ErrorKind;
use watershed::connect::{Poll, Source};
use watershed::connectors::kafka::{Kafka, KafkaTopic};

use super::{Cluster, cluster};

/// Offsets in bytes in the header of a batch of records: its length, its format (magic) and its
/// checksum.
const LENGTH: u64 = 8;
const FORMAT: u64 = 16;
const CHECKSUM: u64 = 17;

/// Changes a byte of a topic's second batch in the broker's file, at an offset from the start of
/// the batch.
fn damage(cluster: &Cluster, topic: &str, offset: u64, change: impl Fn(u8) -> u8) {
    let run = Path::new(&cluster.at["KAFKA_TLS_CA"]).parent().unwrap();
    let path = run.join("data").join(format!("{topic}-0")).join("00000000000000000000.log");
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut length = [0; 4];
    file.read_exact_at(&mut length, LENGTH).unwrap();
    let second = 12 + u64::from(u32::from_be_bytes(length));
    let mut byte = [0];
    file.read_exact_at(&mut byte, second + offset).unwrap();
    file.write_all_at(&[change(byte[0])], second + offset).unwrap();
}

/// Reads until an error stops the reader. Returns the records before it, and the error.
#[track_caller]
fn read(case: &str, topic: &KafkaTopic, follow: bool) -> (Vec<Vec<u8>>, watershed::Error) {
    let mut reader = topic.open(0, None, follow).unwrap();
    let mut values = Vec::new();
    for _ in 0..600 {
        match reader.poll() {
            Ok(Poll::Batch(batch)) => {
                values.extend(batch.iter(0).map(|record| record.value.unwrap().to_vec()))
            }
            Ok(Poll::Idle) => drop(reader.wait(std::time::Duration::from_millis(100))),
            Ok(Poll::End) => panic!("{case}: it ended after {values:?}"),
            Err(error) => return (values, error),
        }
    }
    panic!("{case}: nothing stops it after {values:?}");
}

#[test]
fn a_damaged_record_is_a_data_error() {
    let Some(cluster) = cluster() else { return };
    let cases: [(&str, u64, fn(u8) -> u8); 4] = [
        ("its checksum", CHECKSUM, |byte| byte ^ 1),
        ("its content", 70, |byte| byte ^ 1),
        ("its format", FORMAT, |_| 9),
        ("its length", LENGTH + 3, |_| 1),
    ];
    for (case, offset, change) in cases {
        let topic = cluster.topic(1);
        for value in [&b"the first"[..], b"the second", b"the third"] {
            cluster.append(&topic, 0, &[(None, Some(value))]);
        }
        damage(cluster, &topic, offset, change);
        for follow in [false, true] {
            let (values, error) = read(case, &cluster.open(&topic), follow);
            assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Data, 65), "{case}: {error}");
            assert!(
                error.to_string().contains("damaged")
                    && error.to_string().contains("from offset 1"),
                "{case}: {error}"
            );
            assert_eq!(values, [b"the first".to_vec()], "{case}");
        }
    }
}

#[test]
fn only_transient_errors_are_retried() {
    use RDKafkaRespErr as E;
    let broker = MockCluster::new(1).unwrap();
    let topic = |name: &str| {
        Kafka::with(&format!("kafka://{}", broker.bootstrap_servers()), [])
            .unwrap()
            .topic(name)
            .unwrap()
    };
    let fill = |name: &str| {
        broker.create_topic(name, 1, 1).unwrap();
        let mut config = ClientConfig::new();
        let producer: BaseProducer =
            config.set("bootstrap.servers", broker.bootstrap_servers()).create().unwrap();
        producer
            .send(BaseRecord::<str, str>::to(name).payload("v"))
            .map_err(|(error, _)| error)
            .unwrap();
        producer.flush(std::time::Duration::from_secs(30)).unwrap();
    };
    for (name, code, kind) in [
        ("corrupt", E::RD_KAFKA_RESP_ERR_INVALID_MSG, ErrorKind::Data),
        ("packed", E::RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, ErrorKind::Data),
        ("unknown", E::RD_KAFKA_RESP_ERR_UNKNOWN, ErrorKind::Connect),
    ] {
        fill(name);
        broker.request_errors(RDKafkaApiKey::Fetch, &[code]);
        let (values, error) = read(name, &topic(name), true);
        assert_eq!((values.len(), error.kind()), (0, kind), "{name}: {error}");
        broker.clear_request_errors(RDKafkaApiKey::Fetch);
    }
    fill("transient");
    let transient = [
        E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        E::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        E::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
        E::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
        E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    ];
    broker.request_errors(RDKafkaApiKey::Fetch, &transient);
    let mut reader = topic("transient").open(0, None, true).unwrap();
    let mut values = 0;
    while values == 0 {
        match reader.poll().unwrap() {
            Poll::Batch(batch) => values += batch.records.len(),
            _ => drop(reader.wait(std::time::Duration::from_millis(100))),
        }
    }
}
