//! A gateway into Kinesis: every acknowledged record is in the stream under its acknowledged
//! sequence number. Also the command `streams`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;

use serde_json::{Value as Json, json};

use super::world::{Way, World};
use super::{JSON, ask, assert_busy, post};
use crate::dataflows::follow::until;
use crate::dataflows::python;
use crate::support::http::Client;
use crate::support::services::skipped;

#[test]
fn acknowledged_records_are_in_kinesis_after_any_kill() {
    let Some(world) = World::new() else { return };
    let stream = world.stream("pin");
    let acknowledged: Mutex<BTreeMap<(String, String), (String, String)>> = Mutex::default();
    let sent: Mutex<BTreeSet<String>> = Mutex::default();
    let send = |address: SocketAddr, round: usize, sender: usize| {
        let mut client = Client::connect(address);
        for n in 0.. {
            let (key, values) = (
                format!("{sender}-{n}"),
                [0, 1, 2].map(|k| format!(r#"{{"id":"{round}-{sender}-{n}-{k}"}}"#)),
            );
            sent.lock().unwrap().extend(values.iter().cloned());
            let record = |value: &String| format!(r#"{{"data":{value},"partition-key":"{key}"}}"#);
            let body = format!(
                r#"{{"records":[{}]}}"#,
                values.iter().map(record).collect::<Vec<_>>().join(",")
            );
            let Ok(reply) =
                client.ask("PUT", &format!("/prod/streams/{stream}/records"), &[], &body)
            else {
                return;
            };
            // The server of the tests may be slower than the gateway's deadline; a refused record
            // is not acknowledged.
            let answer = reply.json();
            let places = answer["Records"].as_array().cloned().unwrap_or_default();
            let mut acknowledged = acknowledged.lock().unwrap();
            for (value, place) in
                values.into_iter().zip(places).filter(|(_, place)| place.get("ErrorCode").is_none())
            {
                let text = |name: &str| place[name].as_str().unwrap().to_string();
                assert_eq!(
                    acknowledged
                        .insert((text("ShardId"), text("SequenceNumber")), (key.clone(), value)),
                    None
                );
            }
        }
    };
    for round in 0..2 {
        let mut running = world.gateway(&world.endpoint);
        let before = acknowledged.lock().unwrap().len();
        thread::scope(|scope| {
            (0..2).for_each(|sender| {
                let send = &send;
                let address = running.address;
                scope.spawn(move || send(address, round, sender));
            });
            until("enough records", || {
                acknowledged.lock().unwrap().len() > before + 30 + 17 * round
            });
            running.child.kill().unwrap();
        });
        running.child.wait().unwrap();
    }
    let found = world.records(&stream);
    let acknowledged = acknowledged.into_inner().unwrap();
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|(place, record)| found.get(place) != Some(record))
        .take(5)
        .collect();
    assert!(
        lost.is_empty(),
        "of {} acknowledged records these are not there: {lost:?}",
        acknowledged.len()
    );
    let sent = sent.into_inner().unwrap();
    assert!(
        found.values().all(|(_, value)| sent.contains(value)),
        "a record is there that nobody sent"
    );
}

#[test]
fn both_protocols_return_kinesis_results() {
    let Some(world) = World::new() else { return };
    let running = world.gateway(&world.endpoint);
    let (at, user) = (running.address, &world.user);
    let mine = |list: &Json| {
        let names = list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_string());
        names.filter(|name| name.contains(user.as_str())).collect::<Vec<_>>()
    };
    let streams = ["geo", "pin", "user"].map(|kind| world.stream(kind));
    assert_eq!(mine(&ask(at, "GET", "/streams", "").json()["StreamNames"]), streams);
    assert_eq!(
        mine(&ask(at, "GET", "/topics", "").json()),
        ["geo", "pin", "user"].map(|kind| format!("{user}.{kind}"))
    );

    // The REST Proxy has no sequence numbers; a partition is a shard.
    let reply = post(
        at,
        &format!("{user}.geo/partitions/1"),
        &[json!({"key": "k", "value": {"a": 1}}), json!({"value": 2})],
    );
    let offset = json!({"partition": 1, "offset": null, "error_code": null, "error": null});
    assert_eq!((reply.status, &reply.json()["offsets"]), (200, &json!([offset, offset])));
    let found: Vec<_> = world
        .records(&world.stream("geo"))
        .into_iter()
        .map(|((shard, _), (_, value))| (shard, value))
        .collect();
    assert_eq!(
        found,
        [
            ("shardId-000000000001".into(), "{\"a\":1}".into()),
            ("shardId-000000000001".into(), "2".into())
        ]
    );

    let path = |kind: &str| format!("/streams/{}", world.stream(kind));
    let put = ask(
        at,
        "PUT",
        &format!("{}/record", path("user")),
        r#"{"Data":{"a":1.50},"PartitionKey":"7"}"#,
    )
    .json();
    let place = ["ShardId", "SequenceNumber"].map(|name| put[name].as_str().unwrap().to_string());
    assert_eq!(
        world.records(&world.stream("user"))[&place.into()],
        ("7".to_string(), "{\"a\":1.50}".to_string())
    );

    let code = |reply: crate::support::http::Reply| {
        (reply.status, reply.json()["error_code"].as_u64().unwrap())
    };
    assert_eq!(code(post(at, "demo.none", &[json!({"value": 1})])), (404, 40401));
    assert_eq!(
        code(post(at, &format!("{user}.geo/partitions/7"), &[json!({"value": 1})])),
        (404, 40402)
    );
    assert_eq!(code(post(at, &format!("{user}.geo"), &[json!({"value": null})])), (422, 42203));
    let gone = ask(at, "PUT", "/streams/none/record", r#"{"Data":1,"PartitionKey":"k"}"#);
    assert_eq!(gone.json()["__type"], "ResourceNotFoundException");

    // The description follows a change; then the stream is deleted and created again.
    world.prints(&["reshard", &world.stream("pin"), "--shards", "3"], "");
    let described = ask(at, "GET", &path("pin"), "").json();
    let shards = described["StreamDescription"]["Shards"].as_array().unwrap().clone();
    assert_eq!(shards.len(), 3, "{described}");
    assert!(
        shards.iter().all(|shard| shard["ShardId"] != "shardId-000000000000"),
        "closed ones take no records: {described}"
    );
    assert_eq!(ask(at, "DELETE", &path("pin"), "").status, 200);
    assert_eq!(ask(at, "GET", &path("pin"), "").json()["__type"], "ResourceNotFoundException");
    assert_eq!(ask(at, "POST", &path("pin"), r#"{"ShardCount":1}"#).status, 200);
    assert_eq!(ask(at, "POST", &path("pin"), "").json()["__type"], "ResourceInUseException");
    assert_eq!(post(at, &format!("{user}.pin"), &[json!({"value": 1})]).status, 200);
    assert_eq!(running.stop(), "4 records acknowledged\n");
}

#[test]
fn boto3_reads_posted_records_once_and_byte_for_byte() {
    let Some(world) = World::new() else { return };
    let Some(python) = python() else {
        return skipped("no Python environment with requests and boto3 could be made");
    };
    let running = world.gateway(&world.endpoint);
    let mut posted = Vec::new();
    for (style, stage, first) in [("rest-proxy", "", "0"), ("kinesis-proxy", "/test", "20")] {
        let url = format!("{}{stage}", running.url());
        posted.extend(world.script(&python, "post.py", &[&url, style, &world.user, first, "20"]));
    }
    assert_eq!((posted.len(), running.stop().as_str()), (120, "120 records acknowledged\n"));

    let streams = ["pin", "geo", "user"].map(|kind| world.stream(kind));
    let found = world.script(&python, "kinesis_reader.py", &streams.each_ref().map(String::as_str));
    let bytes = |data: &Json| {
        data.as_array().unwrap().iter().map(|byte| byte.as_u64().unwrap() as u8).collect::<Vec<_>>()
    };
    let text = |record: &Json, name: &str| record[name].as_str().unwrap().to_string();
    let stream = |posted: &Json| world.stream(text(posted, "topic").rsplit('.').next().unwrap());
    let mut sent: Vec<_> =
        posted.iter().map(|posted| (stream(posted), text(posted, "text").into_bytes())).collect();
    let mut read: Vec<_> =
        found.iter().map(|record| (text(record, "stream"), bytes(&record["data"]))).collect();
    sent.sort();
    read.sort();
    assert!(
        sent == read,
        "{} records were sent and {} are there, or their bytes are others",
        sent.len(),
        read.len()
    );

    // The methods of Kinesis return a record's shard and sequence number, and require a key.
    let place =
        |stream, record: &Json, names: [&str; 2]| (stream, names.map(|name| text(record, name)));
    let record = |record: &Json| (text(record, "key"), bytes(&record["data"]));
    let at = |found| (place(text(found, "stream"), found, ["shard", "sequence"]), record(found));
    let placed: BTreeMap<_, _> = found.iter().map(at).collect();
    for posted in &posted[60..] {
        let number = posted["value"].get("index").or(posted["value"].get("ind")).unwrap();
        let place = place(stream(posted), &posted["answer"], ["ShardId", "SequenceNumber"]);
        assert_eq!(placed[&place], (number.to_string(), text(posted, "text").into_bytes()));
    }
}

#[test]
fn a_kinesis_that_is_gone_makes_a_gateway_busy() {
    let Some(world) = World::new() else { return };
    let way = Way::to(&world.endpoint);
    let running = world.gateway(&format!("http://{}", way.address));
    let (topic, stream) = (format!("{}.pin", world.user), world.stream("geo"));
    let body = json!({"records": [{"value": 1}]}).to_string();
    let reply = Client::connect(running.address)
        .ask("POST", &format!("/topics/{topic}"), &[JSON], &body)
        .unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    way.cut();
    assert_busy(running.address, &topic, &stream);
    assert_eq!(ask(running.address, "GET", "/topics", "").status, 503);
    running.stop();
}

#[test]
fn emulated_users_post_to_kinesis_by_row_number() {
    let Some(world) = World::new() else { return };
    let args = [
        "emulate",
        "--to",
        "kinesis://eu-west-1",
        "--user-id",
        &world.user,
        "--rows",
        "30",
        "--events",
        "30",
    ];
    let output = world
        .command(&world.endpoint, &[&args[..], &["--in-order", "--rate", "0"]].concat())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("90 records taken, 0 refused"));
    for kind in ["pin", "geo", "user"] {
        let keys: BTreeSet<String> =
            world.records(&world.stream(kind)).into_values().map(|(key, _)| key).collect();
        assert_eq!(keys, (0..30).map(|row| row.to_string()).collect(), "of {kind}");
    }
}

#[test]
fn streams_are_made_shown_changed_and_deleted_by_command() {
    let Some(world) = World::new() else { return };
    let user = ["--user-id", world.user.as_str()];
    let streams = ["pin", "geo", "user"].map(|kind| world.stream(kind));
    let made = world.prints(&[&["create", "--shards", "2"], &user[..]].concat(), "");
    assert_eq!(made, streams.each_ref().map(|name| format!("created {name}: 2 shards\n")).concat());
    assert!(world.fails(&["create", &streams[0]], "", 69).contains(&streams[0]), "there is one");
    let listed = world.prints(&["list", "--at", "kinesis://eu-west-1"], "");
    assert!(streams.iter().all(|name| listed.lines().any(|line| line == name)), "{listed}");
    let described = world.prints(&[&["describe"], &user[..]].concat(), "");
    assert_eq!(
        described.matches("ACTIVE, provisioned, 2 shards open, records by key").count(),
        3,
        "{described}"
    );
    let resharded = world.prints(&["reshard", &streams[1], "--shards", "4"], "");
    assert_eq!(resharded, format!("resharded {}: 4 shards open, 2 before\n", streams[1]));
    let described = world.prints(&["describe", &streams[1]], "");
    assert_eq!(
        (described.matches(" open ").count(), described.matches(" closed ").count()),
        (4, 2),
        "{described}"
    );

    // A deletion requires the name as confirmation.
    for typed in ["", "\n", "yes\n"] {
        assert!(world.fails(&["delete", &streams[2]], typed, 2).contains("its name was not typed"));
    }
    assert_eq!(
        world.prints(&["delete", &streams[2]], &format!("{}\n", streams[2])),
        format!("deleted {}\n", streams[2])
    );
    world.prints(&["delete", &streams[1], "--yes"], "");
    assert!(world.fails(&["describe", &streams[2]], "", 78).contains("there is no such stream"));
    assert!(
        world
            .fails(&["reshard", &streams[2], "--shards", "2"], "", 78)
            .contains("there is no such stream")
    );
    world.fails(&["list", "--at", "kafka://x"], "", 78);
    world.fails(&["create", "--shards", "0"], "", 2);
    let nowhere = world
        .command(&world.endpoint, &["streams", "list"])
        .env_remove("AWS_REGION")
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("AWS_REGION"));
}
