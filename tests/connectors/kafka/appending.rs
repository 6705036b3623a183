//! A gateway before Kafka: what a request costs.

use std::future::poll_fn;

use watershed::gateway::{Entry, Log};

use super::cluster;

#[test]
fn many_records_of_a_request_wake_their_waiter_together() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic(1);
    let log = cluster.kafka().log().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let polls = |records: usize| {
        let mut polls = 0;
        let mut append = log.append(&topic, vec![Entry { value: Some("".into()), ..Entry::default() }; records]);
        let places = runtime.block_on(poll_fn(|context| {
            polls += 1;
            append.as_mut().poll(context)
        }));
        assert!(places.unwrap().iter().all(Result::is_ok));
        polls
    };
    // Each time it is woken it may look at all of them, and a runtime lets it look at 128 at a time.
    let (few, many) = (polls(1000), polls(80_000));
    assert!(many <= few + 160, "{many} for 80,000 records, {few} for 1,000");
}
