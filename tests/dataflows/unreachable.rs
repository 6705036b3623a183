//! A service that is not there, or is not who it should be, or lets nobody in: one clear error, and
//! nothing is begun.

use std::time::{Duration, Instant};

use super::Place;
use crate::support::services::service;

/// What is tried, what is set for it, the exit codes it may end with, and what is said of it.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a [i32], &'a str);

/// When it is said at the latest that somebody gives no answer for twelve seconds, by a process
/// that began on a busy machine.
const PROMISED: Duration = Duration::from_secs(40);

/// Asserts it of all cases, which are tried at once: some wait for somebody who says nothing.
fn assert_refused(cases: &[Case<'_>]) {
    std::thread::scope(|scope| {
        cases.iter().for_each(|case| drop(scope.spawn(|| assert_one_is_refused(case))))
    });
}

fn assert_one_is_refused((args, settings, codes, says): &Case<'_>) {
    let (place, began) = (Place::new(), Instant::now());
    let output = place
        .command(args)
        .env("HOME", place.folder.path())
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let took = began.elapsed();
    let said = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code().unwrap();
    assert!(codes.contains(&code), "{args:?} {settings:?} ended with {code}: {said}");
    assert!(
        said.starts_with("pinterest: ") && said.contains(says) && said.lines().count() <= 2,
        "{args:?}: {said}"
    );
    assert!(!said.contains("secret"), "{args:?} tells a secret: {said}");
    assert!(
        std::fs::read_dir(place.folder.path()).unwrap().next().is_none(),
        "{args:?} has begun something"
    );
    assert!(
        !said.contains("no answer within") || took < PROMISED,
        "{args:?} took {took:?}: {said}"
    );
}

#[cfg(feature = "kafka")]
#[test]
fn a_broker_that_cannot_be_read_is_one_clear_error() {
    let Some(at) = service("kafka") else { return };
    let url = |listener: &str| format!("kafka://{}", at[listener]);
    let (plain, sasl, tls, other) =
        (url("KAFKA_PLAIN"), url("KAFKA_SASL"), url("KAFKA_TLS"), url("KAFKA_OTHER"));
    let alice = [
        ("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
        ("KAFKA_SASL_MECHANISM", "PLAIN"),
        ("KAFKA_SASL_USERNAME", "alice"),
    ];
    let wrong = [&alice[..], &[("KAFKA_SASL_PASSWORD", "wrong-secret")]].concat();
    let encrypted =
        |ca: &str| [("KAFKA_SECURITY_PROTOCOL", "ssl"), ("KAFKA_SSL_CA_LOCATION", at[ca].as_str())];
    let run = |from| ["run", "--from", from, "--lake", "lake"];
    assert_refused(&[
        (&run("kafka://127.0.0.1:1"), &[], &[69], "127.0.0.1:1"),
        (&run("kafka://no-such-host.invalid:9092"), &[], &[69], "no-such-host.invalid"),
        (&run(&plain), &[], &[78], "there is no kafka topic demo.pin"),
        (&run(&sasl), &wrong, &[78], "does not accept the credentials"),
        (&run(&tls), &[], &[69], "KAFKA_SECURITY_PROTOCOL"),
        (&run(&other), &encrypted("KAFKA_TLS_CA"), &[69], "KAFKA_SSL_CA_LOCATION"),
        (&run(&other), &encrypted("KAFKA_OTHER_CA"), &[69], "as their certificates do"),
        (
            &["check", "--from", &plain, "--lake", "lake"],
            &[],
            &[78],
            "there is no kafka topic demo.pin",
        ),
    ]);
}

#[cfg(feature = "kinesis")]
#[test]
fn a_stream_that_cannot_be_read_is_one_clear_error() {
    let Some(at) = service("kinesis") else { return };
    let to = |endpoint| {
        let credentials =
            [("AWS_ACCESS_KEY_ID", "someone"), ("AWS_SECRET_ACCESS_KEY", "the-secret")];
        [
            &credentials[..],
            &[("AWS_ENDPOINT_URL_KINESIS", endpoint), ("AWS_EC2_METADATA_DISABLED", "true")],
        ]
        .concat()
    };
    let (region, late) = ("kinesis://eu-west-1", "no answer within 12 seconds");
    let run = ["run", "--from", region, "--lake", "lake", "--user-id", "nobody"];
    // It lets everybody connect and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let silent = to(&silent);
    assert_refused(&[
        (&run, &to(&at["KINESIS_ENDPOINT"]), &[78], "there is no such stream"),
        (&run, &to("http://127.0.0.1:1"), &[69], "AWS_ENDPOINT_URL"),
        (&run, &[("AWS_EC2_METADATA_DISABLED", "true")], &[78], "credentials"),
        (&run, &silent, &[69], late),
        (&["streams", "list", "--at", region], &silent, &[69], late),
        (&["streams", "describe", "events", "--at", region], &silent, &[69], late),
        (&["streams", "create", "events", "--at", region], &silent, &[69], late),
        (&["gateway", "--listen", "127.0.0.1:0", "--to", region], &silent, &[69], late),
        (&["emulate", "--to", region, "--events", "1", "--rows", "10"], &silent, &[69], late),
    ]);
}

/// A certificate does not depend on what is spoken behind it.
#[cfg(feature = "kafka")]
#[test]
fn a_bucket_behind_a_strangers_certificate_is_one_clear_error() {
    let Some(at) = service("kafka") else { return };
    let endpoint = format!("https://{}", at["KAFKA_OTHER"]);
    let settings = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "someone"),
        ("AWS_SECRET_ACCESS_KEY", "the-secret"),
        ("AWS_REGION", "eu-west-1"),
    ];
    assert_refused(&[
        (
            &["run", "--from", "s3://bucket/archive", "--lake", "lake"],
            &settings,
            &[69],
            "certificate",
        ),
        (
            &["run", "--from", "s3://bucket/archive", "--lake", "lake"],
            &settings,
            &[69],
            "AWS_ENDPOINT_URL",
        ),
    ]);
}

#[test]
fn a_database_that_cannot_be_used_is_one_clear_error() {
    let Some(at) = service("mysql") else { return };
    let server = at["MYSQL_URL"].rsplit_once('@').unwrap().1.trim_end_matches('/');
    let (gone, there) = (
        format!("mysql://test@{server}/no_such"),
        format!("mysql://test@{server}/information_schema"),
    );
    // It lets everybody connect and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("mysql://test@{}/pinterest", silent.local_addr().unwrap());
    let (right, wrong) =
        ([("PINTEREST_DB_PASSWORD", "test")], [("PINTEREST_DB_PASSWORD", "wrong-secret")]);
    assert_refused(&[
        (
            &["generate", "--to", "mysql://test@127.0.0.1:1/pinterest", "--events", "3"],
            &right,
            &[69],
            "127.0.0.1:1",
        ),
        (
            &["generate", "--to", &silent, "--events", "3"],
            &right,
            &[69],
            "no answer within 10 seconds",
        ),
        (
            &["generate", "--to", &gone, "--events", "3"],
            &wrong,
            &[78],
            "Access denied for user 'test'",
        ),
        (&["generate", "--to", &gone, "--events", "3"], &right, &[78], "no_such"),
        (
            &["emulate", "--from", &gone, "--to", "http://127.0.0.1:1", "--events", "1"],
            &right,
            &[78],
            "no_such",
        ),
        (
            &["emulate", "--from", &there, "--to", "http://127.0.0.1:1", "--events", "1"],
            &right,
            &[78],
            "pinterest_data",
        ),
        (
            &["emulate", "--from", "mysql://test@127.0.0.1:1/pinterest"],
            &right,
            &[69],
            "Check host and port",
        ),
        (&["emulate", "--from", &silent], &right, &[69], "no answer within 10 seconds"),
        (&["emulate", "--from", &gone], &wrong, &[78], "Access denied for user 'test'"),
        (
            &["generate", "--to", "mysql://test:secret@127.0.0.1:1/pinterest"],
            &[],
            &[2],
            "PINTEREST_DB_PASSWORD",
        ),
    ]);
}

#[test]
fn a_silent_gateway_is_one_error_without_secrets() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let nowhere = "http://127.0.0.1:1";
    assert_refused(&[
        (
            &["emulate", "--to", nowhere, "--rows", "10"],
            &[],
            &[69],
            "can't reach http://127.0.0.1:1",
        ),
        (&["emulate", "--to", &silent, "--rows", "10"], &[], &[69], "no answer within 12 seconds"),
        (
            &["emulate", "--to", "http://someone:secret@127.0.0.1:1"],
            &[],
            &[2],
            "PINTEREST_GATEWAY_TOKEN",
        ),
        (&["emulate", "--to", "http://:secret"], &[], &[2], "can't post to a http:// URL"),
        (
            &["emulate", "--to", "ftp://someone:secret@host"],
            &[],
            &[78],
            "can't send to a ftp:// URL",
        ),
        (
            &["emulate", "--to", nowhere, "--from", "tape://someone:secret@host"],
            &[],
            &[78],
            "rows from a tape:// URL",
        ),
        (
            &["emulate", "--to", nowhere, "--from", "mysql://someone:secret@host:port/pins"],
            &[],
            &[2],
            "a mysql:// URL",
        ),
        (
            &["emulate", "--to", nowhere, "--credentials", "db_creds.yaml"],
            &[],
            &[2],
            "Give --from mysql://",
        ),
        (
            &["archive", "--from", "s3://someone:secret@bucket/archive"],
            &[],
            &[2],
            "only topics of Kafka",
        ),
    ]);
}

#[test]
fn numbers_that_mean_nothing_are_usage_errors() {
    let place = Place::new();
    let archive = ["archive", "--from", "kafka://127.0.0.1:1"];
    for (option, value) in [
        ("--flush-size", "0"),
        ("--flush-size", "many"),
        ("--rotate-interval", "0s"),
        ("--rotate-interval", "-1s"),
        ("--rotate-interval", "10"),
        ("--rotate-interval", "99999999999999999999h"),
    ] {
        let said = place.fail(&[&archive[..], &[&format!("{option}={value}")]].concat(), 2);
        assert!(said.contains(option) && said.contains(value), "{said}");
    }
    for (option, value) in [
        ("--rate", "-1"),
        ("--rate", "inf"),
        ("--rows", "0"),
        ("--in-flight", "0"),
        ("--events", "-1"),
    ] {
        let said = place.fail(&["emulate", option, value], 2);
        assert!(said.contains(value), "{said}");
    }
    for command in ["archive", "emulate"] {
        assert!(place.run(&[command, "--help"]).contains("Examples:\n  pinterest"));
    }
    assert!(std::fs::read_dir(place.folder.path()).unwrap().next().is_none());
}
