//! A gateway in front of Kafka: the cost of a request, and replies about a topic that is gone.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::producer::Producer;
use tokio::sync::oneshot;
use watershed::gateway::{Append, Config, Gateway, NewRecord};

use super::cluster;
use crate::support::http::Client;
use crate::support::until;

const JSON: (&str, &str) = ("Content-Type", "application/vnd.kafka.json.v2+json");

#[test]
fn the_records_of_a_request_wake_its_task_together() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic(1);
    let log = cluster.kafka().appender().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let polls = |records: usize| {
        let mut polls = 0;
        let mut append = log.append(
            &topic,
            vec![NewRecord { value: Some("".into()), ..NewRecord::default() }; records],
        );
        let places = runtime.block_on(poll_fn(|context| {
            polls += 1;
            append.as_mut().poll(context)
        }));
        assert!(places.unwrap().iter().all(Result::is_ok));
        polls
    };
    // Each wake-up may look at all records, and a runtime lets it look at 128 at a time.
    let (few, many) = (polls(1000), polls(80_000));
    assert!(many <= few + 160, "{many} for 80,000 records, {few} for 1,000");
}

#[test]
fn the_next_request_does_not_find_a_deleted_topic() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic(1);
    let began = Instant::now();
    let config = Config::new(Arc::new(move || began.elapsed()));
    let log = Arc::new(cluster.kafka().appender().unwrap());
    let gateway = Gateway::bind("127.0.0.1:0".parse().unwrap(), log, config).unwrap();
    let address = gateway.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = std::thread::spawn(move || gateway.run(async move { drop(stopped.await) }));
    let mut client = Client::connect(address);
    let mut post = || {
        client
            .ask(
                "POST",
                &format!("/topics/{topic}"),
                &[JSON],
                r#"{"records":[{"value":1},{"value":2}]}"#,
            )
            .unwrap()
    };
    assert_eq!(post().status, 200);
    cluster.delete(&topic);
    let found =
        || cluster.producer.client().fetch_metadata(Some(&topic), Duration::from_secs(30)).unwrap();
    until("its end", || found().topics().iter().all(|topic| topic.error().is_some()));
    for _ in 0..2 {
        let reply = post();
        assert_eq!((reply.status, &reply.json()["error_code"]), (404, &40401.into()), "{reply:?}");
    }
    let put = Client::connect(address).ask(
        "PUT",
        &format!("/streams/{topic}/record"),
        &[],
        r#"{"Data":1,"PartitionKey":"k"}"#,
    );
    assert_eq!(put.unwrap().json()["__type"], "ResourceNotFoundException");
    // A new topic of the same name is found.
    assert!((0..1000).any(|_| cluster.create(&topic, 1)));
    until("the new one", || post().status == 200);
    stop.send(()).unwrap();
    running.join().unwrap().unwrap();
}
