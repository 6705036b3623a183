//! A gateway into Kafka: every acknowledged record is in the topic at its acknowledged offset.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use serde_json::{Value as Json, json};

use super::{ask, assert_busy, post};
use crate::connectors::kafka::{Cluster, cluster};
use crate::dataflows::follow::until;
use crate::dataflows::posting::{Posted, Running};
use crate::dataflows::{Place, assert_same};

fn gateway(place: &Place, to: &str, args: &[&str]) -> Running {
    Running::of(place.spawn(&[&["gateway", "--listen", "127.0.0.1:0", "--to", to], args].concat()))
}

/// Every record of a topic's first partitions, by partition and offset.
fn records(cluster: &Cluster, topic: &str, partitions: u32) -> BTreeMap<(u32, u64), String> {
    let of = |partition| {
        let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap()).unwrap();
        cluster
            .read(topic, partition)
            .into_iter()
            .map(move |(offset, _, value)| ((partition, offset), text(value)))
    };
    (0..partitions).flat_map(of).collect()
}

#[test]
fn acknowledged_records_are_in_kafka_after_any_kill() {
    let Some(cluster) = cluster() else { return };
    let (place, prefix, posted) =
        (Place::new(), format!("{}.", cluster.unique()), Posted::default());
    for round in 0..3 {
        posted.until_killed(
            gateway(&place, &cluster.url(&prefix), &["--partitions", "2"]),
            round,
            150 + 37 * round,
        );
    }
    posted.assert_in(&records(cluster, &format!("{prefix}demo.pin"), 2));
}

#[test]
fn both_protocols_return_kafkas_results() {
    let Some(cluster) = cluster() else { return };
    let (place, prefix) = (Place::new(), format!("{}.", cluster.unique()));
    let running = gateway(&place, &cluster.url(&prefix), &["--partitions", "3"]);
    let at = running.address;
    assert_eq!(ask(at, "GET", "/topics", "").json(), json!(["demo.geo", "demo.pin", "demo.user"]));
    let streams = json!(["streaming-demo-geo", "streaming-demo-pin", "streaming-demo-user"]);
    assert_eq!(ask(at, "GET", "/streams", "").json()["StreamNames"], streams);

    // The key decides the partition, unless one is given.
    let records: Vec<Json> =
        (0..9).map(|n| json!({"key": format!("k{}", n % 3), "value": n})).collect();
    let places = post(at, "demo.pin", &records).json();
    let partition = |n: usize| places["offsets"][n]["partition"].as_u64().unwrap() as u32;
    assert!((0..9).all(|n| partition(n) == partition(n % 3)), "{places}");
    let place_of = |reply: Json| {
        (reply["offsets"][0]["partition"].as_u64().unwrap(), reply["offsets"][0]["offset"].as_u64())
    };
    let given =
        post(at, "demo.geo/partitions/2", &[json!({"key": "k0", "value": {"a": 1.50}})]).json();
    assert_eq!(place_of(given), (2, Some(0)));
    assert_eq!(
        place_of(
            post(at, "demo.geo", &[json!({"value": null, "key": "k", "partition": 2})]).json()
        ),
        (2, Some(1))
    );
    let geo = cluster.read(&format!("{prefix}demo.geo"), 2);
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(geo, [(0, bytes("\"k0\""), bytes("{\"a\":1.5}")), (1, bytes("\"k\""), None)]);
    let put = ask(
        at,
        "PUT",
        "/streams/streaming-demo-user/record",
        r#"{"Data":{"a":1.50},"PartitionKey":"7"}"#,
    )
    .json();
    let shard: u32 = put["ShardId"].as_str().unwrap()["shardId-".len()..].parse().unwrap();
    let user = cluster.read(&format!("{prefix}demo.user"), shard);
    assert_eq!(user, [(0, bytes("7"), bytes("{\"a\":1.50}"))]);

    // A missing topic or partition, a large record, and a topic that is created, extended by
    // others, and deleted.
    let code = |reply: crate::support::http::Reply| {
        (reply.status, reply.json()["error_code"].as_u64().unwrap())
    };
    assert_eq!(code(post(at, "demo.none", &[json!({"value": 1})])), (404, 40401));
    assert_eq!(code(post(at, "demo.geo/partitions/3", &[json!({"value": 1})])), (404, 40402));
    let large = "x".repeat(1_500_000);
    assert_eq!(
        post(at, "demo.pin", &[json!({"value": large})]).json()["offsets"][0]["error_code"],
        50002
    );
    assert_eq!(ask(at, "POST", "/streams/demo.more", r#"{"ShardCount":2}"#).status, 200);
    assert_eq!(
        ask(at, "POST", "/streams/demo.more", r#"{"ShardCount":2}"#).json()["__type"],
        "ResourceInUseException"
    );
    assert_eq!(
        ask(at, "POST", "/streams/demo.huge", r#"{"ShardCount":2000000000}"#).json()["__type"],
        "ValidationException"
    );
    let shards = |reply: Json| reply["StreamDescription"]["Shards"].as_array().unwrap().len();
    assert_eq!(shards(ask(at, "GET", "/streams/demo.more", "").json()), 2);
    cluster.grow(&format!("{prefix}demo.more"), 3);
    until("the partition that was added", || {
        post(at, "demo.more/partitions/2", &[json!({"value": 1})]).status == 200
    });
    assert_eq!(ask(at, "DELETE", "/streams/demo.more", "").status, 200);
    until("its end", || post(at, "demo.more", &[json!({"value": 1})]).status == 404);
    assert_eq!(
        ask(at, "DELETE", "/streams/demo.more", "").json()["__type"],
        "ResourceNotFoundException"
    );
    running.stop();
}

#[test]
fn posts_make_the_same_tables_by_kafka_and_by_an_archive() {
    let Some(cluster) = cluster() else { return };
    let (place, url) = (Place::new(), cluster.url(&format!("{}.", cluster.unique())));
    let emulate =
        ["emulate", "--rows", "60", "--events", "60", "--in-order", "--rate", "0", "--to"];
    for to in ["archive", &url] {
        let printed = place.run(&[&emulate[..], &[to]].concat());
        assert!(printed.contains("180 records taken, 0 refused"), "{printed}");
    }
    place.run(&["run", "--from", &url, "--lake", "lake"]);
    let expected = place.oracle("archive", &[]);
    assert_eq!((expected["pin_table"].len(), expected["dead_letters"].len()), (60, 0));
    assert_same("what is in Kafka", &expected, &place.lake("lake", None));
}

#[test]
fn a_gateway_without_responsive_brokers_answers_busy() {
    let place = Place::new();
    let mock = MockCluster::new(1).unwrap();
    for kind in ["pin", "geo", "user"] {
        mock.create_topic(&format!("demo.{kind}"), 2, 1).unwrap();
    }
    let running = gateway(&place, &format!("kafka://{}", mock.bootstrap_servers()), &[]);
    assert_eq!(post(running.address, "demo.pin", &[json!({"value": 1})]).status, 200);
    mock.broker_round_trip_time(1, Duration::from_secs(600)).unwrap();
    assert_busy(running.address, "demo.pin", "streaming-demo-geo");
    mock.broker_round_trip_time(1, Duration::ZERO).unwrap();
    until("an answer", || post(running.address, "demo.pin", &[json!({"value": 1})]).status == 200);
    mock.broker_down(1).unwrap();
    assert_busy(running.address, "demo.pin", "streaming-demo-geo");
    assert_eq!(ask(running.address, "GET", "/topics", "").status, 503);
    mock.broker_up(1).unwrap();
    until("an answer", || post(running.address, "demo.pin", &[json!({"value": 1})]).status == 200);
    running.stop();
}

#[test]
fn a_gateway_reports_unreachable_brokers_without_secrets() {
    let place = Place::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for command in ["gateway", "emulate"] {
        let printed = place.fail(&[command, "--to", &format!("kafka://{free}")], 69);
        assert!(printed.contains("demo.pin") && printed.contains(&free.to_string()), "{printed}");
        let printed = place.fail(&[command, "--to", "kafka://alice:hush@x:1"], 78);
        assert!(!printed.contains("hush"), "{printed}");
    }
}
