//! Access to the broker: each failure is one error with a hint, and without any secret.

use std::ops::Range;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use watershed::connect::{Sink, Source};
use watershed::connectors::kafka::{Kafka, KafkaTopic};
use watershed::{Error, ErrorKind};

use super::{Cluster, cluster};

/// A topic at one of the broker's listeners, with properties written `name=value`.
fn topic(cluster: &Cluster, listener: &str, topic: &str, properties: &[&str]) -> KafkaTopic {
    let properties = properties
        .iter()
        .map(|p| p.split_once('=').unwrap())
        .map(|(n, v)| (n.to_string(), v.to_string()));
    Kafka::with(&format!("kafka://{}", cluster.at[listener]), properties)
        .unwrap()
        .topic(topic)
        .unwrap()
}

#[track_caller]
fn refused(topic: &KafkaTopic, kind: ErrorKind, expected: &str) -> Error {
    let error = topic.partitions().unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(expected), "{error}");
    for text in [error.to_string(), Source::describe(topic), Sink::describe(topic)] {
        assert!(!text.contains("secret") && !text.contains("wrong-pass"), "{text}");
    }
    error
}

const ALICE: [&str; 2] = ["sasl.username=alice", "sasl.password=alice-secret"];

#[test]
fn the_right_password_gives_access() {
    let Some(cluster) = cluster() else { return };
    let name = cluster.topic(2);
    let ca = format!("ssl.ca.location={}", cluster.at["KAFKA_TLS_CA"]);
    for (listener, protocol) in [("KAFKA_SASL", "sasl_plaintext"), ("KAFKA_TLS", "sasl_ssl")] {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let (protocol, mechanism) =
                (format!("security.protocol={protocol}"), format!("sasl.mechanism={mechanism}"));
            let mut properties = vec![&*protocol, &mechanism, ALICE[0], ALICE[1]];
            if listener == "KAFKA_TLS" {
                properties.push(&ca);
            }
            assert_eq!(topic(cluster, listener, &name, &properties).partitions().unwrap(), [0, 1]);
        }
    }
}

#[test]
fn tls_alone_gives_access_without_authentication() {
    let Some(cluster) = cluster() else { return };
    let name = cluster.topic(2);
    // The certificate of that listener is for another host, and would be refused with the usual
    // check.
    let ca = format!("ssl.ca.location={}", cluster.at["KAFKA_OTHER_CA"]);
    let properties = ["security.protocol=ssl", &ca, "ssl.endpoint.identification.algorithm=none"];
    let topic = topic(cluster, "KAFKA_OTHER", &name, &properties);
    assert_eq!(topic.partitions().unwrap(), [0, 1]);
    cluster.append(&name, 1, &[(None, Some(b"encrypted"))]);
    assert_eq!(super::records(&mut *Source::open(&topic, 1, None, false).unwrap()).len(), 1);
}

/// Writes a token that is valid in a range of seconds, counted from now. Returns the properties
/// that name its file.
pub(super) fn token(path: &Path, seconds: Range<i64>) -> Vec<(String, String)> {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    let encode = |json: String| URL_SAFE_NO_PAD.encode(json);
    let claims =
        format!(r#"{{"sub":"alice","iat":{},"exp":{}}}"#, now + seconds.start, now + seconds.end);
    std::fs::write(path, format!("{}.{}.\n", encode(r#"{"alg":"none"}"#.into()), encode(claims)))
        .unwrap();
    let properties = [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.token.endpoint.url", &format!("file://{}", path.display())),
    ];
    properties.map(|(name, value)| (name.to_string(), value.to_string())).to_vec()
}

#[test]
fn a_token_in_a_file_gives_access_until_it_expires() {
    let Some(cluster) = cluster() else { return };
    let (name, folder) = (cluster.topic(2), tempfile::tempdir().unwrap());
    let path = folder.path().join("token");
    let properties: Vec<String> =
        token(&path, -10..600).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
    assert_eq!(topic(cluster, "KAFKA_SASL", &name, &properties).partitions().unwrap(), [0, 1]);
    token(&path, -600..-10);
    refused(&topic(cluster, "KAFKA_SASL", &name, &properties), ErrorKind::Config, "credentials");
    std::fs::write(&path, "no token").unwrap();
    refused(&topic(cluster, "KAFKA_SASL", &name, &properties), ErrorKind::Config, "credentials");
}

#[test]
fn a_wrong_password_is_named_in_the_error() {
    let Some(cluster) = cluster() else { return };
    let name = cluster.topic(1);
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let mechanism = format!("sasl.mechanism={mechanism}");
        let properties = [
            "security.protocol=sasl_plaintext",
            &mechanism,
            "sasl.username=alice",
            "sasl.password=wrong-pass",
        ];
        refused(
            &topic(cluster, "KAFKA_SASL", &name, &properties),
            ErrorKind::Config,
            "does not accept the credentials",
        );
    }
}

#[test]
fn a_wrong_certificate_is_refused() {
    let Some(cluster) = cluster() else { return };
    let name = cluster.topic(1);
    for ca in ["KAFKA_OTHER_CA", "KAFKA_TLS_CA"] {
        let ca = format!("ssl.ca.location={}", cluster.at[ca]);
        refused(
            &topic(cluster, "KAFKA_OTHER", &name, &["security.protocol=ssl", &ca]),
            ErrorKind::Connect,
            "TLS",
        );
    }
}

#[test]
fn a_silent_broker_or_missing_topic_is_named_in_the_error() {
    let Some(cluster) = cluster() else { return };
    // Port 1 is closed. The listener with TLS does not understand a plain client.
    let silent = Kafka::with("kafka://127.0.0.1:1", []).unwrap().topic("t").unwrap();
    refused(&silent, ErrorKind::Connect, "127.0.0.1:1");
    refused(&topic(cluster, "KAFKA_TLS", "t", &[]), ErrorKind::Connect, &cluster.at["KAFKA_TLS"]);
    let error = topic(cluster, "KAFKA_PLAIN", "not-there", &[]).partitions().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("there is no kafka topic not-there at"), "{error}");
}
