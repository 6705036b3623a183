//! Secrets stay secret: passwords in URLs, tokens, and the rules for connections without
//! encryption.

use std::io::{BufRead, BufReader};
use std::process::Child;

use super::Place;
use super::follow::terminate;
use super::posting::JSON;
use crate::support::http::Client;

#[test]
fn a_password_in_a_url_is_refused_and_never_repeated() {
    let place = Place::new();
    place.run(&["generate", "--to", "archive", "--events", "3"]);
    let urls = [
        "https://me:hunter2@host/a",
        "mysql://me:hunter2@host/db",
        "kafka://me:hunter2@host:1",
        "s3://key:hunter2@bucket/a",
    ];
    let mut given: Vec<Vec<&str>> =
        vec![vec!["emulate", "--from", "mysql://me@host/db?password=hunter2"]];
    for url in urls {
        given.extend([
            vec![url],
            vec!["generate", "--to", url],
            vec!["generate", "--events", url],
            vec!["run", "--from", url],
            vec!["run", "--from", "archive", "--lake", url],
            vec!["run", "--from", "archive", "--state", url],
            vec!["answers", "--lake", url],
            vec!["answers", url],
            vec!["check", "--from", "archive", "--lake", url],
            vec!["describe", "--from", url],
            vec!["describe", "--from", "archive", "--lake", url],
            vec!["describe", "--from", "archive", "--state", url],
            vec!["archive", "--from", url],
            vec!["archive", "--from", "kafka://127.0.0.1:1", "--to", url],
            vec!["gateway", "--to", url],
            vec!["gateway", "--listen", url],
            vec!["emulate", "--events", "1", "--to", url],
            vec!["emulate", "--events", "1", "--from", url],
            vec!["streams", "--at", url, "list"],
        ]);
    }
    for args in given {
        let output = place.output(&args);
        let printed =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(matches!(output.status.code(), Some(2 | 78)), "pinterest {args:?}: {printed}");
        assert!(
            !printed.is_empty() && !printed.contains("hunter2"),
            "pinterest {args:?}: {printed}"
        );
    }
    let there: Vec<_> = std::fs::read_dir(place.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(there, ["archive"], "a folder was made of a URL");
}

#[test]
fn an_archive_is_generated_only_where_one_can_be() {
    let place = Place::new();
    for url in ["kafka://127.0.0.1:9092", "https://host/a", "kinesis://eu-west-1", "tape://x"] {
        let printed = place.fail(&["generate", "--to", url, "--events", "3"], 78);
        assert!(
            ["folder", "file://", "s3://", "mysql://"].iter().all(|kind| printed.contains(kind)),
            "{printed}"
        );
    }
    let url = format!("file://{}", place.path("archive").display());
    place.run(&["generate", "--to", &url, "--events", "3"]);
    assert!(place.path("archive/topics/demo.pin").is_dir());
}

/// Starts a gateway, and returns it with the line that prints its address.
fn gateway(place: &Place, args: &[&str], token: Option<&str>) -> (Child, String) {
    let mut command = place.command(&[&["gateway", "--to", "archive"], args].concat());
    token.iter().for_each(|token| {
        command.env("PINTEREST_GATEWAY_TOKEN", token);
    });
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

/// Stops it, and returns its standard error.
fn end(child: Child) -> String {
    terminate(&child);
    String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()
}

fn port(line: &str) -> u16 {
    let address = line.split(',').next().unwrap();
    address.rsplit(':').next().unwrap().parse().unwrap_or_else(|_| panic!("not listening: {line}"))
}

#[test]
fn a_blank_token_is_refused_and_a_byte_order_mark_is_none_of_it() {
    let place = Place::new();
    for command in [
        &["gateway", "--to", "archive"][..],
        &["emulate", "--to", "http://127.0.0.1:1", "--rows", "10"],
    ] {
        let output = place.command(command).env("PINTEREST_GATEWAY_TOKEN", " \t").output().unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(78) && printed.contains("blank"), "{printed}");
    }
    std::fs::write(place.path("tokens"), "\u{feff}first\r\n \nsecond\n").unwrap();
    let (child, line) =
        gateway(&place, &["--listen", "localhost:0", "--tokens", "tokens"], Some(" third "));
    let mut client = Client::connect(([127, 0, 0, 1], port(&line)).into());
    let mut ask = |token: &str| {
        let bearer = ("Authorization", &*format!("Bearer {token}"));
        client
            .ask("POST", "/topics/demo.pin", &[JSON, bearer], r#"{"records":[{"value":1}]}"#)
            .unwrap()
            .status
    };
    assert_eq!(["first", "second", "third", "", "fourth"].map(&mut ask), [200, 200, 200, 401, 401]);
    drop(client);
    let printed = end(child);
    assert!(
        !printed.contains("token") && printed.lines().count() == 1,
        "on this machine nobody listens in: {printed}"
    );
}

#[test]
fn tokens_beyond_this_machine_without_encryption_are_warned_of() {
    let place = Place::new();
    let (child, line) = gateway(&place, &["--listen", ":0"], Some("a"));
    assert!(line.starts_with("listening on http://0.0.0.0:"), "{line}");
    assert!(end(child).contains("without encryption"));
    let mut emulate = place.command(&[
        "emulate",
        "--to",
        "http://gateway.invalid",
        "--rows",
        "10",
        "--events",
        "1",
        "--rate",
        "0",
    ]);
    let output = emulate.env("PINTEREST_GATEWAY_TOKEN", "a").output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("without encryption"));
    assert!(
        place.fail(&["gateway", "--listen", "nowhere.invalid:1"], 2).contains("localhost:8082")
    );
}

#[test]
fn a_stage_has_a_name() {
    let place = Place::new();
    let (child, line) = gateway(&place, &["--listen", "127.0.0.1:0"], None);
    let mut client = Client::connect(([127, 0, 0, 1], port(&line)).into());
    let mut ask = |path: &str| {
        client.ask("POST", path, &[JSON], r#"{"records":[{"value":1}]}"#).unwrap().status
    };
    assert_eq!(
        ["/topics/demo.pin", "/prod/topics/demo.pin", "//topics/demo.pin"].map(&mut ask),
        [200, 200, 404]
    );
    drop(client);
    end(child);
}
