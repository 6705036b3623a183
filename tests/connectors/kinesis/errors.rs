//! Errors of a missing service, stream or credentials: one error that names it, without any secret.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use aws_config::{BehaviorVersion, Region};
use futures::executor::block_on;
use watershed::connect::Source;
use watershed::connectors::kinesis::Kinesis;
use watershed::gateway::{Append, Refusal};
use watershed::{Error, ErrorKind};

use super::{World, config};
use crate::support::shards::runtime;

fn failed(kinesis: &Kinesis, kind: ErrorKind) -> Error {
    let error = kinesis.stream("events").partitions().unwrap_err();
    assert_eq!(error.kind(), kind);
    let text = error.to_string();
    assert!(
        text.starts_with("can't list the shards of kinesis stream events in eu-west-1: "),
        "{text}"
    );
    assert!(!text.contains("secret-of-the-test"), "{text}");
    error
}

/// Returns the address of a server that replies to every call with an error.
fn failing_server(code: &'static str) -> String {
    server(move |_| Some(code))
}

/// Returns the address of a server that replies to a call with the error of its name, or with
/// success.
fn server(error: impl Fn(&str) -> Option<&'static str> + Copy + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |mut stream: TcpStream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let (mut length, mut call) = (0, String::new());
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                if let Some(text) =
                    line.to_lowercase().strip_prefix("x-amz-target: kinesis_20131202.")
                {
                    call = text.trim().to_string();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let (status, body) = match error(&call) {
                Some(code) => (
                    "400 Bad Request",
                    format!(r#"{{"__type":"{code}","message":"it was requested"}}"#),
                ),
                None => ("200 OK", "{}".to_string()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}",
                body.len()
            );
            if write!(stream, "{head}\r\n\r\n{body}").is_err() {
                return;
            }
        }
    };
    thread::spawn(move || {
        listener.incoming().for_each(|stream| drop(thread::spawn(move || answer(stream.unwrap()))))
    });
    format!("http://{address}")
}

#[test]
fn a_missing_stream_is_named() {
    let Some(world) = World::new("other", 1) else { return };
    let text = failed(&world.kinesis, ErrorKind::Config).to_string();
    assert!(
        text.contains("there is no such stream") && text.contains("Create the stream"),
        "{text}"
    );
}

#[test]
fn refused_credentials_are_named() {
    for code in [
        "UnrecognizedClientException",
        "AccessDeniedException",
        "ExpiredTokenException",
        "InvalidSignatureException",
    ] {
        let text =
            failed(&Kinesis::with(&config(&failing_server(code))).unwrap(), ErrorKind::Config)
                .to_string();
        assert!(
            text.contains("Kinesis denies access")
                && text.contains(code)
                && text.contains("credentials"),
            "{text}"
        );
    }
}

#[test]
fn a_change_without_the_right_to_describe_ends_at_once() {
    let endpoint =
        server(|call| (call == "describestreamsummary").then_some("AccessDeniedException"));
    let kinesis = Kinesis::with(&config(&endpoint)).unwrap();
    for done in
        [kinesis.create("events", 1), kinesis.delete("events"), kinesis.reshard("events", 2)]
    {
        let error = done.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(
            text.starts_with("can't confirm the change: ")
                && text.contains("AccessDeniedException"),
            "{text}"
        );
    }
    let log = kinesis.appender();
    for done in [log.create("events", 1), log.delete("events")] {
        assert!(matches!(block_on(done), Err(Refusal::Denied(_))));
    }
}

#[test]
fn a_change_is_retried_only_if_nothing_was_done() {
    static REQUESTS: AtomicUsize = AtomicUsize::new(0);
    let request = |code: &'static str| {
        let times = REQUESTS.fetch_add(1, Ordering::SeqCst) + 1;
        (code != "LimitExceededException" || times < 3).then_some(code)
    };
    for (code, times) in
        [("LimitExceededException", 3), ("InternalFailure", 1), ("ResourceInUseException", 1)]
    {
        REQUESTS.store(0, Ordering::SeqCst);
        let endpoint = server(move |call| {
            if call == "createstream" { request(code) } else { Some("AccessDeniedException") }
        });
        let text =
            Kinesis::with(&config(&endpoint)).unwrap().create("events", 1).unwrap_err().to_string();
        assert_eq!(REQUESTS.load(Ordering::SeqCst), times, "{text}");
        assert_eq!(text.starts_with("can't confirm the change: "), times > 1, "{text}");
    }
}

#[test]
fn no_credentials_are_an_error_of_their_own() {
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .no_credentials();
    let config = runtime().block_on(loader.endpoint_url(failing_server("InternalFailure")).load());
    failed(&Kinesis::with(&config).unwrap(), ErrorKind::Connect);
}

#[test]
fn a_silent_or_failing_endpoint_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for endpoint in [silent, format!("http://{free}"), failing_server("InternalFailure")] {
        let text =
            failed(&Kinesis::with(&config(&endpoint)).unwrap(), ErrorKind::Connect).to_string();
        assert!(text.contains("AWS_ENDPOINT_URL"), "{text}");
    }
}

#[test]
fn a_url_is_a_region() {
    for url in [
        "kinesis://",
        "kinesis:///x",
        "kinesis://eu west",
        "kafka://eu-west-1",
        "kinesis://eu-west-1/stream",
        "eu-west-1",
    ] {
        assert_eq!(
            Kinesis::open(url).err().map(|error| error.kind()),
            Some(ErrorKind::Config),
            "{url}"
        );
    }
    for url in ["kinesis://eu-west-1", "kinesis://eu-west-1/"] {
        let source = Kinesis::open(url).unwrap().stream("events");
        assert_eq!(source.describe(), "kinesis stream events in eu-west-1");
    }
}
