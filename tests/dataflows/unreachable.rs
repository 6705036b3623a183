//! A service that is absent, has the wrong identity, or refuses access: one clear error, and
//! nothing is begun.

use std::time::{Duration, Instant};

use super::Place;
use crate::support::services::service;

/// An attempt that must fail.
struct Case<'a> {
    args: &'a [&'a str],
    settings: &'a [(&'a str, &'a str)],
    /// The allowed exit codes.
    codes: &'a [i32],
    /// A part of the error message.
    message: &'a str,
}

fn case<'a>(
    args: &'a [&'a str],
    settings: &'a [(&'a str, &'a str)],
    codes: &'a [i32],
    message: &'a str,
) -> Case<'a> {
    Case { args, settings, codes, message }
}

/// The latest end of a process that reports "no answer within 12 seconds", on a busy machine.
const ERROR_DEADLINE: Duration = Duration::from_secs(40);

/// Tries all cases at once, because some wait for a timeout.
fn assert_refused(cases: &[Case<'_>]) {
    std::thread::scope(|scope| {
        cases.iter().for_each(|case| drop(scope.spawn(|| assert_one_is_refused(case))))
    });
}

fn assert_one_is_refused(case: &Case<'_>) {
    let Case { args, settings, codes, message } = case;
    let (place, began) = (Place::new(), Instant::now());
    let output = place
        .command(args)
        .env("HOME", place.folder.path())
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let took = began.elapsed();
    let printed = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code().unwrap();
    assert!(codes.contains(&code), "{args:?} {settings:?} ended with {code}: {printed}");
    assert!(
        printed.starts_with("pinterest: ")
            && printed.contains(message)
            && printed.lines().count() <= 2,
        "{args:?}: {printed}"
    );
    assert!(!printed.contains("secret"), "{args:?} reveals a secret: {printed}");
    assert!(
        std::fs::read_dir(place.folder.path()).unwrap().next().is_none(),
        "{args:?} has created files"
    );
    assert!(
        !printed.contains("no answer") || took < ERROR_DEADLINE,
        "{args:?} took {took:?}: {printed}"
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
        case(&run("kafka://127.0.0.1:1"), &[], &[69], "127.0.0.1:1"),
        case(&run("kafka://no-such-host.invalid:9092"), &[], &[69], "no-such-host.invalid"),
        case(&run(&plain), &[], &[78], "there is no kafka topic demo.pin"),
        case(&run(&sasl), &wrong, &[78], "does not accept the credentials"),
        case(&run(&tls), &[], &[69], "KAFKA_SECURITY_PROTOCOL"),
        case(&run(&other), &encrypted("KAFKA_TLS_CA"), &[69], "KAFKA_SSL_CA_LOCATION"),
        case(&run(&other), &encrypted("KAFKA_OTHER_CA"), &[69], "as their certificates do"),
        case(
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
    let (region, late) = ("kinesis://eu-west-1", "within 12 seconds");
    let run = ["run", "--from", region, "--lake", "lake", "--user-id", "nobody"];
    // A server that accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let silent = to(&silent);
    assert_refused(&[
        case(&run, &to(&at["KINESIS_ENDPOINT"]), &[78], "there is no such stream"),
        case(&run, &to("http://127.0.0.1:1"), &[69], "AWS_ENDPOINT_URL"),
        case(&run, &[("AWS_EC2_METADATA_DISABLED", "true")], &[78], "credentials"),
        case(&run, &silent, &[69], late),
        case(&["streams", "list", "--at", region], &silent, &[69], late),
        case(&["streams", "describe", "events", "--at", region], &silent, &[69], late),
        case(&["streams", "create", "events", "--at", region], &silent, &[69], late),
        case(&["gateway", "--listen", "127.0.0.1:0", "--to", region], &silent, &[69], late),
        case(&["emulate", "--to", region, "--events", "1", "--rows", "10"], &silent, &[69], late),
    ]);
}

/// A certificate can be tested with any protocol behind it.
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
        case(
            &["run", "--from", "s3://bucket/archive", "--lake", "lake"],
            &settings,
            &[69],
            "certificate",
        ),
        case(
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
    // A server that accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("mysql://test@{}/pinterest", silent.local_addr().unwrap());
    let (right, wrong) =
        ([("PINTEREST_DB_PASSWORD", "test")], [("PINTEREST_DB_PASSWORD", "wrong-secret")]);
    assert_refused(&[
        case(
            &["generate", "--to", "mysql://test@127.0.0.1:1/pinterest", "--events", "3"],
            &right,
            &[69],
            "127.0.0.1:1",
        ),
        case(
            &["generate", "--to", &silent, "--events", "3"],
            &right,
            &[69],
            "no answer within 10 seconds",
        ),
        case(
            &["generate", "--to", &gone, "--events", "3"],
            &wrong,
            &[78],
            "Access denied for user 'test'",
        ),
        case(&["generate", "--to", &gone, "--events", "3"], &right, &[78], "no_such"),
        case(
            &["emulate", "--from", &gone, "--to", "http://127.0.0.1:1", "--events", "1"],
            &right,
            &[78],
            "no_such",
        ),
        case(
            &["emulate", "--from", &there, "--to", "http://127.0.0.1:1", "--events", "1"],
            &right,
            &[78],
            "pinterest_data",
        ),
        case(
            &["emulate", "--from", "mysql://test@127.0.0.1:1/pinterest"],
            &right,
            &[69],
            "Check host and port",
        ),
        case(&["emulate", "--from", &silent], &right, &[69], "no answer within 10 seconds"),
        case(&["emulate", "--from", &gone], &wrong, &[78], "Access denied for user 'test'"),
        case(
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
        case(
            &["emulate", "--to", nowhere, "--rows", "10"],
            &[],
            &[69],
            "can't reach http://127.0.0.1:1",
        ),
        case(
            &["emulate", "--to", &silent, "--rows", "10"],
            &[],
            &[69],
            "no answer within 12 seconds",
        ),
        case(
            &["emulate", "--to", "http://someone:secret@127.0.0.1:1"],
            &[],
            &[2],
            "PINTEREST_GATEWAY_TOKEN",
        ),
        case(&["emulate", "--to", "http://:secret"], &[], &[2], "can't post to a http:// URL"),
        case(
            &["emulate", "--to", "ftp://someone:secret@host"],
            &[],
            &[78],
            "can't send to a ftp:// URL",
        ),
        case(
            &["emulate", "--to", nowhere, "--from", "tape://someone:secret@host"],
            &[],
            &[78],
            "rows from a tape:// URL",
        ),
        case(
            &["emulate", "--to", nowhere, "--from", "mysql://someone:secret@host:port/pins"],
            &[],
            &[2],
            "a mysql:// URL",
        ),
        case(
            &["emulate", "--to", nowhere, "--credentials", "db_creds.yaml"],
            &[],
            &[2],
            "Give --from mysql://",
        ),
        case(
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
        let printed = place.fail(&[&archive[..], &[&format!("{option}={value}")]].concat(), 2);
        assert!(printed.contains(option) && printed.contains(value), "{printed}");
    }
    for (option, value) in [
        ("--rate", "-1"),
        ("--rate", "inf"),
        ("--rows", "0"),
        ("--in-flight", "0"),
        ("--events", "-1"),
    ] {
        let printed = place.fail(&["emulate", option, value], 2);
        assert!(printed.contains(value), "{printed}");
    }
    for command in ["archive", "emulate"] {
        assert!(place.run(&[command, "--help"]).contains("Examples:\n  pinterest"));
    }
    assert!(std::fs::read_dir(place.folder.path()).unwrap().next().is_none());
}
