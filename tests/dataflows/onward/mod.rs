//! Records from HTTP clients or from emulated users, forwarded into Kafka and Kinesis.

#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kinesis")]
mod kinesis;
#[cfg(feature = "kinesis")]
mod world;

use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use crate::dataflows::posting::JSON;
use crate::support::http::{Client, Reply};

const PLAIN: (&str, &str) = ("Content-Type", "application/json");

/// Posts records in the format of the REST Proxy.
fn post(address: SocketAddr, topic: &str, records: &[Json]) -> Reply {
    let body = json!({ "records": records }).to_string();
    Client::connect(address).ask("POST", &format!("/topics/{topic}"), &[JSON], &body).unwrap()
}

fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Reply {
    Client::connect(address).ask(method, path, &[PLAIN], body).unwrap()
}

/// Checks that a gateway without its service returns retryable errors in both protocols.
fn assert_busy(address: SocketAddr, topic: &str, stream: &str) {
    let (posted, put) = std::thread::scope(|scope| {
        let posted = scope.spawn(|| post(address, topic, &[json!({"value": 1})]));
        let put = r#"{"Data":1,"PartitionKey":"k"}"#;
        let put = Client::connect(address)
            .ask("PUT", &format!("/streams/{stream}/record"), &[PLAIN], put)
            .unwrap();
        (posted.join().unwrap(), put)
    });
    assert_eq!(
        (posted.status, posted.json()["error_code"].as_u64()),
        (503, Some(50302)),
        "{posted:?}"
    );
    assert_eq!(
        (put.status, &put.json()["__type"]),
        (400, &json!("ProvisionedThroughputExceededException")),
        "{put:?}"
    );
    assert!([posted, put].iter().all(|reply| reply.headers.contains_key("retry-after")));
}
