//! Runs with Kafka: the offsets of a group follow the commits, and partitions may be added.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use watershed::runtime::{Config, Streams};
use watershed::store::Store;

use super::crashes::{Run, program};
use super::{Cluster, cluster};
use crate::support::processes::run_in;
use crate::support::until;

type Sent = [(Option<&'static [u8]>, Option<&'static [u8]>); 4];

const RECORDS: Sent = [
    (Some(b"a"), Some(b"1")),
    (Some(b"b"), Some(b"2")),
    (Some(b"a"), Some(b"3")),
    (Some(b"c"), Some(b"4")),
];

/// Creates a topic for each of the program's.
fn topics(cluster: &Cluster) -> String {
    let topic = cluster.unique();
    for kind in ["events", "all", "sums"] {
        assert!(cluster.create(&format!("{topic}.{kind}"), 2));
    }
    topic
}

/// Returns the number of rows written.
fn written(cluster: &Cluster, topic: &str) -> usize {
    (0..2).map(|partition| cluster.read_now(&format!("{topic}.all"), partition).len()).sum()
}

#[test]
fn a_lag_group_follows_every_commit_and_moves_no_run() {
    let Some(cluster) = cluster() else { return };
    let (topic, state) = (topics(cluster), tempfile::tempdir().unwrap());
    let (events, group) = (format!("{topic}.events"), format!("{topic}.watchers"));
    let run = || {
        let open = |kind: &str| cluster.open(&format!("{topic}.{kind}"));
        let config = Config {
            workers: 2,
            state: Some(Store::open(state.path().to_str().unwrap()).unwrap()),
            ..Config::default()
        };
        let streams = Streams::new(program()).source("events", open("events").watched_as(&group));
        streams.sink("all", open("all")).sink("sums", open("sums")).run(config).unwrap();
    };
    let client: BaseConsumer = {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &cluster.at["KAFKA_PLAIN"])
            .set("group.id", &group)
            .create()
            .unwrap()
    };
    let (mut ends, mut sent) = ([0, 0], 0);
    // Another program sets the offsets back, ahead, and deletes them.
    for set in [Some([0, 1]), Some([1_000_000, 2]), None, Some([3, 3])] {
        for (partition, records) in [(0, &RECORDS[..]), (1, &RECORDS[..3])] {
            cluster.append(&events, partition, records);
            ends[partition as usize] += records.len() as i64;
            sent += records.len();
        }
        run();
        assert_eq!(written(cluster, &topic), sent);
        until("the last commit's offsets", || {
            cluster.offsets(&group, &events, 2) == ends.map(Some)
        });
        match set {
            Some(set) => {
                let mut offsets = TopicPartitionList::new();
                for (partition, offset) in (0..).zip(set) {
                    offsets
                        .add_partition_offset(&events, partition, Offset::Offset(offset))
                        .unwrap();
                }
                client.commit(&offsets, CommitMode::Sync).unwrap();
                assert_eq!(cluster.offsets(&group, &events, 2), set.map(Some));
            }
            None => cluster.forget(&group),
        }
    }
}

/// Returns the last sum of each key in a topic of two partitions.
fn sums(cluster: &Cluster, topic: &str) -> BTreeMap<Option<Vec<u8>>, Option<Vec<u8>>> {
    let partition = |partition| cluster.read(&format!("{topic}.sums"), partition);
    (0..2).flat_map(partition).map(|(_, key, value)| (key, value)).collect()
}

#[test]
fn any_number_of_processes_writes_the_rows_of_a_topic_once() {
    let Some(cluster) = cluster() else { return };
    let (topic, state) = (topics(cluster), tempfile::tempdir().unwrap());
    let open = |kind: &str| cluster.open(&format!("{topic}.{kind}"));
    let streams = || {
        let streams = Streams::new(program()).source("events", open("events"));
        streams.sink("all", open("all")).sink("sums", open("sums"))
    };
    let config = |_| Config {
        workers: 2,
        state: Some(Store::open(state.path().to_str().unwrap()).unwrap()),
        ..Config::default()
    };
    for (life, processes) in [2, 1, 3].into_iter().enumerate() {
        for partition in [0, 1] {
            cluster.append(&format!("{topic}.events"), partition, &RECORDS);
        }
        for result in run_in(processes, streams, config) {
            result.unwrap();
        }
        let lives = life + 1;
        assert_eq!(written(cluster, &topic), 8 * lives, "{processes} processes");
        let sum = |key: &str, sum: usize| {
            let value = format!(r#"{{"key":"{key}","value":{}}}"#, 2 * lives * sum);
            (Some(format!(r#"{{"key":"{key}"}}"#).into()), Some(value.into()))
        };
        let expected = BTreeMap::from([sum("a", 4), sum("b", 2), sum("c", 4)]);
        assert_eq!(sums(cluster, &topic), expected, "{processes} processes");
    }
}

#[test]
fn a_following_run_reads_added_partitions() {
    let Some(cluster) = cluster() else { return };
    let (topic, state) = (topics(cluster), tempfile::tempdir().unwrap());
    let events = format!("{topic}.events");
    let state = state.path().to_str().unwrap();
    cluster.append(&events, 1, &RECORDS);
    let run = Run::start(cluster, &topic, state, "follow");
    until("the first rows", || written(cluster, &topic) == 4);
    cluster.grow(&events, 4);
    for (partition, rows) in [(3, 8), (2, 12), (0, 16)] {
        cluster.append(&events, partition, &RECORDS);
        until(&format!("{rows} rows, some of partition {partition},"), || {
            written(cluster, &topic) == rows
        });
    }
    run.kill();
    Run::end(cluster, &topic, state);
    assert_eq!(written(cluster, &topic), 16);
}
