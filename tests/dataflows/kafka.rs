//! The program on a real broker: the records of an archive make the same tables from Kafka, after a
//! replay and while following.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Place;
use super::crash::{following, killed_again_and_again};
use super::follow::follows_to;
use crate::connectors::kafka::{Cluster, cluster};
use crate::support::services::service;

/// Appends part `part` of `of` of every partition of an archive to the topics of the same names
/// below `prefix`.
pub(super) fn send(cluster: &Cluster, place: &Place, prefix: &str, part: usize, of: usize) {
    for kind in ["pin", "geo", "user"] {
        let (topic, name) = (format!("demo.{kind}"), format!("{prefix}demo.{kind}"));
        if part == 0 {
            assert!(cluster.create(&name, 3));
        }
        for partition in 0..3 {
            let lines = place.lines("archive", &topic, partition);
            let records = &lines[lines.len() * part / of..lines.len() * (part + 1) / of];
            cluster.append(
                &name,
                partition,
                &records.iter().map(|line| (None, Some(&line[..]))).collect::<Vec<_>>(),
            );
        }
    }
}

#[test]
fn a_killed_run_on_kafka_equals_the_oracle_over_an_archive() {
    let Some(cluster) = cluster() else { return };
    let (place, prefix) = (Place::new(), format!("{}.", cluster.unique()));
    place.run(&[
        "generate",
        "--to",
        "archive",
        "--events",
        "600",
        "--dirt",
        "0.2",
        "--records-per-object",
        "50",
    ]);
    let url = cluster.url(&prefix);
    let args = ["run", "--from", &url, "--lake", "lake"];
    killed_again_and_again(
        8,
        || place.manifests().len(),
        |round| {
            send(cluster, &place, &prefix, round - 1, 9);
            following(&place, &args, round)
        },
    );
    send(cluster, &place, &prefix, 8, 9);
    follows_to(&place, &args, &place.oracle("archive", &[]));
    assert!(place.run(&["check", "--from", &url, "--lake", "lake"]).contains("all are equal"));
}

#[test]
fn a_gateway_that_is_not_let_in_is_one_clear_error() {
    let Some(at) = service("kafka") else { return };
    let url = |listener: &str| format!("kafka://{}", at[listener]);
    let (sasl, other) = (url("KAFKA_SASL"), url("KAFKA_OTHER"));
    let wrong = [
        ("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
        ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-256"),
        ("KAFKA_SASL_USERNAME", "alice"),
        ("KAFKA_SASL_PASSWORD", "wrong-secret"),
    ];
    let stranger =
        |ca: &str| [("KAFKA_SECURITY_PROTOCOL", "ssl"), ("KAFKA_SSL_CA_LOCATION", at[ca].as_str())];
    let (unknown, elsewhere) = (stranger("KAFKA_TLS_CA"), stranger("KAFKA_OTHER_CA"));
    let cases: [(&str, &[(&str, &str)], &str); 3] = [
        (&sasl, &wrong, "does not accept the credentials"),
        (&other, &unknown, "the TLS connection is refused"),
        (&other, &elsewhere, "the TLS connection is refused"),
    ];
    for command in ["gateway", "emulate"] {
        for (to, settings, says) in cases {
            let place = Place::new();
            let output = place
                .command(&[command, "--to", to])
                .envs(settings.iter().copied())
                .output()
                .unwrap();
            let printed = String::from_utf8(output.stderr).unwrap();
            assert!([69, 78].contains(&output.status.code().unwrap()), "{command} {to}: {printed}");
            assert!(
                printed.starts_with("pinterest: ")
                    && printed.contains("demo.pin")
                    && printed.contains(says),
                "{command} {to}: {printed}"
            );
            assert!(
                printed.lines().count() <= 2 && !printed.contains("secret"),
                "{command} {to}: {printed}"
            );
        }
    }
}

#[test]
fn a_gateway_with_tokens_appends_and_creates_no_topic() {
    let Some(cluster) = cluster() else { return };
    let (place, at, prefix) =
        (Place::new(), service("kafka").unwrap(), format!("{}.", cluster.unique()));
    let until = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() + 600;
    let token = [
        r#"{"alg":"none"}"#.to_string(),
        format!(r#"{{"sub":"alice","iat":{},"exp":{until}}}"#, until - 700),
    ];
    std::fs::write(
        place.path("token"),
        format!("{}.", token.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")),
    )
    .unwrap();
    let file =
        format!("sasl.oauthbearer.token.endpoint.url=file://{}\n", place.path("token").display());
    std::fs::write(place.path("properties"), file).unwrap();
    let emulate = || {
        let to = format!("kafka://{}/{prefix}", at["KAFKA_SASL"]);
        let mut command =
            place.command(&["emulate", "--rows", "3", "--events", "3", "--rate", "0", "--to", &to]);
        command
            .env("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext")
            .env("KAFKA_SASL_MECHANISM", "OAUTHBEARER");
        let output = command.env("KAFKA_PROPERTIES", place.path("properties")).output().unwrap();
        (
            output.status.success(),
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
        )
    };
    let (made, printed) = emulate();
    assert!(
        !made
            && printed.contains("demo.pin")
            && printed.contains("topics can't be created or deleted with tokens"),
        "{printed}"
    );
    for kind in ["pin", "geo", "user"] {
        assert!(cluster.create(&format!("{prefix}demo.{kind}"), 1));
    }
    let (sent, printed) = emulate();
    assert!(sent && printed.contains("9 records taken, 0 refused"), "{printed}");
}
