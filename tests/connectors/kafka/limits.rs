//! Topics with a lower limit of batches. The limit is the batch's: only a record that is refused
//! alone is too large.

use futures::executor::block_on;
use futures::future::join_all;
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use watershed::ErrorKind;
use watershed::connect::Mode;
use watershed::connectors::kafka::Kafka;
use watershed::gateway::{Append, Appended as At, NewRecord, Position, Refusal};

use super::refusals::token;
use super::writing::{SinkTopic, commit, put, stage};
use super::{Cluster, cluster};
use crate::support::until;

impl Cluster {
    /// Limits the batches of a topic.
    fn limit(&self, topic: &str, bytes: usize) {
        let (options, bytes) = (AdminOptions::new(), bytes.to_string());
        let changed =
            [&AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", &bytes)];
        let altered = self.runtime.block_on(self.admin.alter_configs(changed, &options)).unwrap();
        altered.into_iter().for_each(|topic| drop(topic.unwrap()));
        let resources = [ResourceSpecifier::Topic(topic)];
        let described = || {
            self.runtime
                .block_on(self.admin.describe_configs(&resources, &options))
                .unwrap()
                .remove(0)
                .unwrap()
        };
        until(topic, || {
            described().get("max.message.bytes").and_then(|entry| entry.value.clone()).as_ref()
                == Some(&bytes)
        });
    }
}

/// A record of `bytes` bytes.
fn record(number: usize, bytes: usize) -> NewRecord {
    NewRecord { value: Some(format!("{number:0bytes$}").into()), ..NewRecord::default() }
}

/// Returns the numbers of the records in a topic with one partition.
fn numbers(cluster: &Cluster, topic: &str) -> Vec<usize> {
    let number =
        |value: Option<Vec<u8>>| String::from_utf8(value.unwrap()).unwrap().parse().unwrap();
    cluster.read(topic, 0).into_iter().map(|(_, _, value)| number(value)).collect()
}

#[track_caller]
fn offset(place: &Result<At, Refusal>) -> u64 {
    match place {
        Ok(At { partition: 0, position: Position::Offset(offset) }) => *offset,
        other => panic!("{other:?}"),
    }
}

#[test]
fn any_number_of_small_records_is_accepted_at_once() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic(1);
    cluster.limit(&topic, 20_000);
    let log = cluster.kafka().appender().unwrap();
    let at_once = |numbers: std::ops::Range<usize>| {
        let appended =
            join_all(numbers.map(|number| log.append(&topic, vec![record(number, 1500)])));
        for places in block_on(appended) {
            offset(&places.unwrap()[0]);
        }
    };
    at_once(0..600);
    let one =
        block_on(log.append(&topic, (600..1200).map(|number| record(number, 1500)).collect()))
            .unwrap();
    assert!(one.iter().map(offset).is_sorted());
    let mixed = vec![record(1200, 1500), record(0, 25_000), record(1201, 1500)];
    let mixed = block_on(log.append(&topic, mixed)).unwrap();
    assert!(matches!(&mixed[..], [Ok(_), Err(Refusal::Invalid(_)), Ok(_)]), "{mixed:?}");
    // Now each record is sent alone. The client has to find out by itself.
    cluster.limit(&topic, 4000);
    at_once(1202..1802);
    let mut read = numbers(cluster, &topic);
    assert!(read[600..1202].is_sorted(), "the order of a request is that of its records");
    read.sort_unstable();
    assert_eq!(read, (0..1802).collect::<Vec<_>>());
}

#[test]
fn an_undisclosed_limit_is_found_by_trying() {
    let Some(cluster) = cluster() else { return };
    let (topic, folder) = (cluster.topic(1), tempfile::tempdir().unwrap());
    cluster.limit(&topic, 20_000);
    // With tokens, limits are not requested.
    let properties = token(&folder.path().join("token"), -10..600);
    let log = Kafka::with(&format!("kafka://{}", cluster.at["KAFKA_SASL"]), properties)
        .unwrap()
        .appender()
        .unwrap();
    for _ in 0..2 {
        let appended =
            join_all((0..600).map(|number| log.append(&topic, vec![record(number, 1500)])));
        for places in block_on(appended) {
            offset(&places.unwrap()[0]);
        }
    }
    let large = block_on(log.append(&topic, vec![record(0, 25_000), record(0, 1500)])).unwrap();
    assert!(matches!(&large[..], [Err(Refusal::Invalid(_)), Ok(_)]), "{large:?}");
    assert_eq!(cluster.read(&topic, 0).len(), 1201);
}

#[test]
fn records_keep_their_order_when_a_limit_falls() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic(1);
    let log = cluster.kafka().appender().unwrap();
    let mut due: Vec<usize> = (0..300).collect();
    for limit in [100_000, 20_000, 4000] {
        block_on(log.append(&topic, vec![record(0, 1500)])).unwrap();
        cluster.limit(&topic, limit);
        let places =
            block_on(log.append(&topic, due.iter().map(|number| record(*number, 1500)).collect()))
                .unwrap();
        let confirmed: Vec<u64> = places.iter().filter(|place| place.is_ok()).map(offset).collect();
        assert!(confirmed.is_sorted(), "{confirmed:?}");
        let busy = |place: &Result<At, Refusal>| matches!(place, Ok(_) | Err(Refusal::Busy(_)));
        assert!(places.iter().all(busy), "{places:?}");
    }
    // By now the limit is known.
    due.retain(|number| *number > 0);
    let places =
        block_on(log.append(&topic, due.iter().map(|number| record(*number, 1500)).collect()))
            .unwrap();
    assert!(places.iter().map(offset).is_sorted());
}

#[test]
fn a_commit_is_made_once_in_batches_within_the_limit() {
    let Some(cluster) = cluster() else { return };
    let place = SinkTopic::new(cluster, Mode::Append);
    cluster.limit(&place.topic, 20_000);
    let text = "x".repeat(1500);
    let rows: Vec<(i64, &str)> = (0..900).map(|id| (id, text.as_str())).collect();
    let line = |(id, text): &(i64, &str)| format!(r#"- {{"id":{id},"text":"{text}"}}"#);
    let lines: Vec<String> = rows.iter().map(line).collect();
    let mut run = place.start(1, 0, None, &[]);
    put(&mut run, &rows[..600]);
    commit(&mut run, 1);
    assert!(place.read() == lines[..600]);
    // The limit falls below the batches of a running writer: each record is sent alone.
    cluster.limit(&place.topic, 4000);
    put(&mut run, &rows[600..800]);
    commit(&mut run, 2);
    assert!(place.read() == lines[..800]);
    put(&mut run, &rows[800..]);
    let content = stage(&mut run, 3);
    drop(run);
    let mut next = place.start(2, 3, Some(&content), &rows);
    assert!(place.read() == lines);
    put(&mut next, &[(1, "fits"), (2, &"x".repeat(9000)), (3, "fits")]);
    let content = stage(&mut next, 4);
    let error = next.committer.commit(4, &content).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains("a record is larger than the topic accepts"), "{error}");
    assert!(place.read() == lines, "the commit is not visible");
    // Once the record fits again, the commit is made.
    drop(next);
    cluster.limit(&place.topic, 20_000);
    let large = "x".repeat(9000);
    let all = [&rows[..], &[(1, "fits"), (2, &large), (3, "fits")]].concat();
    drop(place.start(3, 4, Some(&content), &all));
    assert!(place.read() == all.iter().map(line).collect::<Vec<_>>());
}
