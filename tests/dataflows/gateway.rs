//! Records posted over HTTP are in the archive at their acknowledged offsets, after any kill, and
//! in the answers.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value as Json, json};

use super::follow::{terminate, until};
use super::posting::*;
use super::{Place, assert_same, support};
use crate::support::http::Client;
use crate::support::services::skipped;

#[test]
fn acknowledged_records_survive_any_kill_of_the_gateway() {
    let (place, posted) = (Place::new(), Posted::default());
    for round in 0..8 {
        // With the longest interval every record is still in the journal at the kill; with none,
        // objects are being written.
        let every = ["0ms", "20ms", "60m"][round % 3];
        posted.until_killed(
            gateway(&place, &["--partitions", "2", "--object-every", every]),
            round,
            100 + 37 * round,
        );
    }
    gateway(&place, &[]).stop();
    posted.assert_in(&records(&place.path("archive"), "demo.pin"));
}

#[test]
fn posted_records_reach_the_answers_of_a_following_run() {
    let place = Place::new();
    let running = gateway(&place, &["--partitions", "3"]);
    let follower = place.spawn(&[
        "run",
        "--from",
        "archive",
        "--lake",
        "lake",
        "--follow",
        "--commit-every",
        "20ms",
    ]);
    for (style, seed) in [("rest-proxy", "1"), ("kinesis-proxy", "2")] {
        let to =
            if style == "rest-proxy" { running.url() } else { format!("{}/prod", running.url()) };
        let printed = place.run(&[
            "emulate", "--to", &to, "--style", style, "--seed", seed, "--events", "300", "--rows",
            "250", "--rate", "0",
        ]);
        assert!(
            printed.starts_with("300 events") && printed.contains("900 records taken, 0 refused"),
            "{printed}"
        );
    }
    let printed = running.stop();
    assert_eq!(printed, "1,800 records acknowledged\n");
    let expected = place.oracle("archive", &[]);
    until("the answers", || {
        place.path("lake/dead_letters/_delta_log").exists() && place.lake("lake", None) == expected
    });
    terminate(&follower);
    assert!(follower.wait_with_output().unwrap().status.success());
    assert_same("in the end", &expected, &place.lake("lake", None));
    assert!(
        expected["pin_table"].len() > 150,
        "{} rows are too few to mean something",
        expected["pin_table"].len()
    );
}

/// A script like the original one posts. Where its packages can't be installed, the test is
/// skipped.
#[test]
fn the_records_of_a_python_script_are_the_lines_of_the_archive() {
    let venv = Command::new("bash").arg(support("venv.sh")).output().unwrap();
    let python = String::from_utf8(venv.stdout).unwrap();
    if python.trim().is_empty() {
        skipped("no Python environment with requests could be made");
        return;
    }
    let place = Place::new();
    let running = gateway(&place, &[]);
    let mut taken = Vec::new();
    for (style, stage, first) in [("rest-proxy", "", "0"), ("kinesis-proxy", "/test", "40")] {
        let url = format!("{}{stage}", running.url());
        let output = Command::new(python.trim())
            .arg(support("post.py"))
            .args([&url, style, "demo", first, "40"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        taken.extend(
            String::from_utf8(output.stdout)
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str::<Json>(line).unwrap()),
        );
    }
    assert_eq!(taken.len(), 240);
    running.stop();
    let topics = ["demo.pin", "demo.geo", "demo.user"]
        .map(|topic| (topic, records(&place.path("archive"), topic)));
    let topics = BTreeMap::from(topics);
    for taken in taken {
        let answer = &taken["answer"];
        let offset = match answer.get("SequenceNumber") {
            Some(number) => number.as_str().unwrap()[2..].parse().unwrap(),
            None => answer["offsets"][0]["offset"].as_u64().unwrap(),
        };
        let line = &topics[taken["topic"].as_str().unwrap()][&(0, offset)];
        assert_eq!(serde_json::from_str::<Json>(line).unwrap(), taken["value"]);
    }
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    let expected = place.oracle("archive", &[]);
    assert_eq!((expected["pin_table"].len(), expected["dead_letters"].len()), (80, 0));
    assert_same("what a script posts", &expected, &place.lake("lake", None));
}

/// API Gateway's usual mapping takes the characters of `data`, so clients send the JSON of a row
/// inside a string.
#[test]
fn rows_that_are_put_as_texts_are_in_the_answers() {
    let place = Place::new();
    let running = gateway(&place, &[]);
    let mut client = Client::connect(running.address);
    let mut put = |kind: &str, records: &Json| {
        let path = format!("/test/streams/streaming-demo-{kind}/records");
        let reply = client
            .ask("PUT", &path, &[("Content-Type", "application/json")], &records.to_string())
            .unwrap();
        assert_eq!(
            (reply.status, &reply.json()["FailedRecordCount"]),
            (200, &json!(0)),
            "{reply:?}"
        );
    };
    for (kind, field) in [("pin", "unique_id"), ("geo", "timestamp"), ("user", "date_joined")] {
        let row = |ind: u64| json!({ "ind": ind, field: null });
        let one = |data: Json| json!({ "data": data, "partition-key": "k" });
        let texts = (0..3).map(|ind| one(row(ind).to_string().into())).chain([one(row(3))]);
        put(kind, &json!({ "records": texts.collect::<Vec<_>>() }));
    }
    running.stop();
    // The record as such a client leaves it in an archive.
    let object = place.path("archive/topics/demo.pin/partition=0/demo.pin+0+0000000004.json");
    std::fs::write(object, json!(r#"{"ind":4,"unique_id":"a \"text\""}"#).to_string()).unwrap();
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    let expected = place.oracle("archive", &[]);
    let count = |table: &str| expected[table].len();
    assert_eq!(
        [count("pin_table"), count("geo_table"), count("user_table"), count("dead_letters")],
        [5, 4, 4, 0]
    );
    assert_same("rows as texts", &expected, &place.lake("lake", None));
    assert!(place.run(&["check", "--from", "archive", "--lake", "lake"]).contains("equal"));
}

#[test]
fn a_gateway_creates_and_deletes_only_its_users_topics() {
    let place = Place::new();
    let running = gateway(&place, &["--user-id", "u", "--host", "door"]);
    let mut client = Client::connect(running.address);
    let mut ask = |method: &str, stream: &str, headers: &[(&str, &str)]| {
        let reply = client.ask(method, &format!("/streams/{stream}"), headers, "").unwrap();
        (reply.status, reply.headers.get("x-amzn-errortype").cloned().unwrap_or_default())
    };
    let json = ("Content-Type", "application/json");
    for name in ["other.pin", "streaming-other-pin", "streaming-u-x-pin", "u.x.pin", "u"] {
        for method in ["POST", "DELETE"] {
            assert_eq!(
                ask(method, name, &[json]),
                (400, "AccessDeniedException".into()),
                "{method} {name}"
            );
        }
    }
    for name in ["streaming-u-more", "u.more"] {
        assert_eq!(ask("POST", name, &[json, ("Origin", "http://evil.example")]).0, 403);
        assert_eq!(ask("POST", name, &[json, ("Origin", "http://door")]).0, 200);
    }
    assert_eq!(ask("DELETE", "streaming-u-pin", &[]).0, 200);
    running.stop();
    let made = std::fs::read_dir(place.path("archive/topics"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut made: Vec<String> = made.map(|name| name.into_string().unwrap()).collect();
    made.sort();
    assert_eq!(made, ["streaming-u-more", "u.geo", "u.more", "u.user"]);
}

#[test]
fn an_archive_is_a_target_and_dates_follow_the_option() {
    let place = Place::new();
    let args = [
        "emulate",
        "--to",
        "archive",
        "--rows",
        "40",
        "--events",
        "40",
        "--in-order",
        "--rate",
        "0",
        "--date-format",
        "american",
    ];
    place.run(&args);
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    let expected = place.oracle("archive", &[]);
    assert_eq!((expected["geo_table"].len(), expected["dead_letters"].len()), (40, 0));
    assert_same("an archive", &expected, &place.lake("lake", None));
    let geos = records(&place.path("archive"), "demo.geo");
    assert!(geos.values().all(|geo| geo.contains(", ") && geo.contains('/')), "{geos:?}");
}

#[test]
fn a_gateway_that_can_not_serve_reports_the_reason() {
    let place = Place::new();
    assert!(place.fail(&["gateway", "--listen", "0.0.0.0:0"], 78).contains("--tokens"));
    assert!(place.fail(&["gateway", "--to", "tape://x"], 78).contains("tape://"));
    for (kind, built) in
        [("kafka", cfg!(feature = "kafka")), ("kinesis", cfg!(feature = "kinesis"))]
    {
        if !built {
            let printed = place.fail(&["gateway", "--to", &format!("{kind}://secret@x")], 78);
            assert!(
                printed.contains(&format!("--features {kind}")) && !printed.contains("secret"),
                "{printed}"
            );
        }
    }
    assert!(place.fail(&["gateway", "--to", ""], 78).contains("no name"));
    // Secrets in the wrong place must not appear in a log.
    let (other, web) = ("tape://me:secret@x/y", "http://me:secret@127.0.0.1:1");
    for args in [
        ["run", "--from", other],
        ["emulate", "--to", other],
        ["emulate", "--to", web],
        ["emulate", "--from", other],
    ] {
        let output = place.output(
            &[
                &args[..],
                &["--events", "1", "--rows", "10"][..if args[0] == "run" { 0 } else { 4 }],
            ]
            .concat(),
        );
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && !printed.contains("secret"), "{printed}");
    }
    std::fs::write(place.path("none"), "\n\n").unwrap();
    assert!(place.fail(&["gateway", "--tokens", "none"], 78).contains("no token"));
    let running = gateway(&place, &[]);
    assert!(
        place
            .fail(&["gateway", "--listen", "127.0.0.1:0", "--to", "archive"], 69)
            .contains("another process does: a gateway")
    );
    let taken = running.address.to_string();
    assert!(place.fail(&["gateway", "--listen", &taken, "--to", "other"], 69).contains(&taken));
    running.stop();
    let gone = place.fail(
        &[
            "emulate",
            "--to",
            &format!("http://{taken}"),
            "--events",
            "1",
            "--rate",
            "0",
            "--rows",
            "10",
        ],
        69,
    );
    assert!(gone.contains(&format!("can't reach http://{taken}")), "{gone}");
    for rate in ["-1", "1e-20", "9e-7", "1e7", "inf", "nan"] {
        assert!(
            place
                .fail(&["emulate", &format!("--rate={rate}"), "--to", "none"], 2)
                .contains("rate from 0.000001")
        );
    }
    place
        .run(&["emulate", "--rate", "0.000001", "--to", "seldom", "--events", "1", "--rows", "10"]);
}

#[test]
fn an_archive_open_in_a_gateway_has_no_other_writer() {
    let place = Place::new();
    let running = gateway(&place, &[]);
    let one = r#"{"records":[{"value":{"index":0}}]}"#;
    let reply =
        Client::connect(running.address).ask("POST", "/topics/demo.pin", &[JSON], one).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let others = ["generate", "--to", "archive", "--user-id", "other", "--events", "10"];
    let users = ["emulate", "--to", "archive", "--events", "3", "--rate", "0", "--rows", "10"];
    for writer in [&others[..], &users] {
        let printed = place.fail(writer, 69);
        assert!(
            printed.contains("another process does: a gateway")
                && printed.contains("one writer at a time"),
            "{printed}"
        );
    }
    let mut child = running.child;
    child.kill().unwrap();
    child.wait().unwrap();
    // The lock of a dead process blocks nobody.
    place.run(&users);
    place.run(&others);
    assert_eq!(records(&place.path("archive"), "demo.pin").len(), 4);
    let left: Vec<_> = std::fs::read_dir(place.path("archive"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "the topics and what is the gateway's own: {left:?}");
}
