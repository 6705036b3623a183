//! The exact statuses and bodies of both protocols.

use serde_json::{Value as Json, json};

use super::{JSON, TestGateway, records};

const PLAIN: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn producing_returns_the_responses_of_the_rest_proxy() {
    let gateway = TestGateway::open(|_| {});
    let binary = ("Content-Type", "application/vnd.kafka.binary.v2+json; charset=utf-8");
    let upper = ("content-type", "APPLICATION/VND.KAFKA.JSON.V2+JSON");
    let at = |places: &[(u32, u64)]| {
        let offset = |(partition, offset): &(u32, u64)| {
            let none = Json::Null;
            json!({"partition": partition, "offset": offset, "error_code": none, "error": none})
        };
        let offsets: Vec<_> = places.iter().map(offset).collect();
        json!({"offsets": offsets, "key_schema_id": null, "value_schema_id": null})
    };
    let error = |code: u32, message: &str| json!({"error_code": code, "message": message});
    let media = error(415, "HTTP 415 Unsupported Media Type");
    let one = r#"{"records":[{"value":{"ind":1}}]}"#;
    // A trailing `...` stands for any text of the JSON parser.
    let cases: &[(&str, (&str, &str), &str, u16, Json)] = &[
        ("/topics/u.pin", JSON, one, 200, at(&[(0, 0)])),
        (
            "/prod/topics/u.pin",
            upper,
            r#"{"records":[{"value":1},{"value":null}]}"#,
            200,
            at(&[(0, 1), (0, 2)]),
        ),
        (
            "/topics/u.pin",
            JSON,
            r#"{"key_schema":null,"records":[{"key":"k","value":[1.50, "é\n"],"partition":0}]}"#,
            200,
            at(&[(0, 3)]),
        ),
        ("/topics/u.pin", JSON, "{\"records\":[{\"value\":{\"a\":\r\n  1}}]}", 200, at(&[(0, 4)])),
        (
            "/topics/u.pin",
            binary,
            r#"{"records":[{"key":"aw==","value":"eyJhIjoyfQ=="}]}"#,
            200,
            at(&[(0, 5)]),
        ),
        ("/topics/u.geo/partitions/2", JSON, one, 200, at(&[(2, 0)])),
        ("/dev/topics/u.geo/partitions/2", JSON, one, 200, at(&[(2, 1)])),
        ("/topics/u.geo", JSON, r#"{"records":[{"value":1,"partition":1}]}"#, 200, at(&[(1, 0)])),
        ("/topics/u.pin", PLAIN, one, 415, media.clone()),
        (
            "/topics/u.pin",
            ("Content-Type", "application/vnd.kafka.v2+json"),
            one,
            415,
            media.clone(),
        ),
        (
            "/topics/u.pin",
            ("Content-Type", "application/vnd.kafka.avro.v2+json"),
            one,
            415,
            media.clone(),
        ),
        ("/topics/u.pin", ("X-None", "1"), one, 415, media),
        ("/topics/u.pin", JSON, "{\"records\":", 400, error(400, "EOF while parsing ...")),
        (
            "/topics/u.pin",
            JSON,
            r#"{"records":[{"valeu":1}]}"#,
            400,
            error(400, "unknown field `valeu`..."),
        ),
        ("/topics/u.pin", JSON, r#"{"records":1}"#, 400, error(400, "invalid type...")),
        ("/topics/u.pin", JSON, "[[]]", 400, error(400, "expected an object, found an array")),
        ("/topics/u.pin", JSON, "", 422, error(422, "Request body may not be null")),
        ("/topics/u.pin", JSON, "{}", 422, error(422, "records may not be empty")),
        ("/topics/u.pin", JSON, r#"{"records":[]}"#, 422, error(422, "records may not be empty")),
        (
            "/topics/u.pin",
            JSON,
            r#"{"records":[{"value":1,"partition":-1}]}"#,
            422,
            error(422, "partition must be ..."),
        ),
        (
            "/topics/u.pin",
            binary,
            r#"{"records":[{"value":"?"}]}"#,
            422,
            error(42203, "Conversion of JSON to Object failed: ..."),
        ),
        (
            "/topics/u.pin",
            binary,
            r#"{"records":[{"value":"Cg=="}]}"#,
            422,
            error(42203, "Conversion of JSON to Object failed: ..."),
        ),
        ("/topics/no.pin", JSON, one, 404, error(40401, "Topic not found.")),
        ("/topics/..%2f..%2fetc", JSON, one, 404, error(40401, "Topic not found.")),
        (
            "/topics/u.pin",
            JSON,
            r#"{"records":[{"value":1,"partition":1}]}"#,
            404,
            error(40402, "Partition not found."),
        ),
        ("/topics/u.geo/partitions/3", JSON, one, 404, error(40402, "Partition not found.")),
        ("/topics/u.geo/partitions/x", JSON, one, 404, error(40402, "Partition not found.")),
        ("/a/b/c/d", JSON, one, 404, error(404, "HTTP 404 Not Found")),
        ("/topics", JSON, one, 405, error(405, "HTTP 405 Method Not Allowed")),
    ];
    for (path, kind, body, status, expected) in cases {
        let reply = gateway.ask("POST", path, &[*kind], body);
        assert_eq!(
            (reply.status, same(expected, &reply.json())),
            (*status, true),
            "{path} {body}: {reply:?}, not {expected}"
        );
        assert_eq!(reply.headers["content-type"], "application/vnd.kafka.v2+json", "{path} {body}");
    }
    assert_eq!(gateway.ask("GET", "/topics", &[], "").json(), json!(["u.geo", "u.pin"]));
    assert_eq!(gateway.ask("GET", "/test/topics", &[], "").json(), json!(["u.geo", "u.pin"]));
    let (folder, acknowledged) = gateway.close();
    assert_eq!(acknowledged, 9);
    let pins = records(folder.path(), "u.pin", 0);
    assert_eq!(
        pins,
        [r#"{"ind":1}"#, "1", "null", r#"[1.50, "é\n"]"#, "{\"a\":    1}", r#"{"a":2}"#],
        "values as they were written"
    );
    assert_eq!(records(folder.path(), "u.geo", 2), [r#"{"ind":1}"#; 2]);
}

#[test]
fn stream_methods_return_the_responses_of_kinesis() {
    let gateway = TestGateway::open(|_| {});
    let sequence = |offset: u64| format!("49{offset:054}");
    let place = |partition: u32, offset: u64| {
        let shard = format!("shardId-{partition:012}");
        json!({"SequenceNumber": sequence(offset), "ShardId": shard})
    };
    let error = |kind: &str, message: &str| json!({"__type": kind, "message": message});
    let missing =
        error("ResourceNotFoundException", "Stream none under account 000000000000 not found.");
    let invalid = || error("ValidationException", "a ...");
    let texts: Vec<_> = (6..12).map(|offset| place(0, offset)).collect();
    let many =
        format!(r#"{{"records":[{}]}}"#, vec![r#"{"data":1,"partition-key":"k"}"#; 501].join(","));
    let cases: &[(&str, &str, &str, u16, Json)] = &[
        (
            "PUT",
            "/streams/streaming-u-pin/record",
            r#"{"StreamName":"other","Data":{"ind": 1},"PartitionKey":"a"}"#,
            200,
            place(0, 0),
        ),
        (
            "PUT",
            "/prod/streams/streaming-u-pin/record",
            r#"{"StreamName":"x","Data":"eyJhIjoyfQ==","PartitionKey":7}"#,
            200,
            place(0, 1),
        ),
        ("PUT", "/streams/u.pin/record", r#"{"Data":null,"PartitionKey":"a"}"#, 200, place(0, 2)),
        (
            "PUT",
            "/streams/streaming-u-pin/records",
            r#"{"records":[{"data":3,"partition-key":"k"},{"Data":4,"PartitionKey":"k"}]}"#,
            200,
            json!({"FailedRecordCount": 0, "Records": [place(0, 3), place(0, 4)]}),
        ),
        (
            "PUT",
            "/prod/streams/streaming-u-pin/records",
            r#"{"Records":[{"Data":5,"PartitionKey":"k"}]}"#,
            200,
            json!({"FailedRecordCount": 0, "Records": [place(0, 5)]}),
        ),
        (
            "PUT",
            "/prod/streams/u.pin/records",
            r#"{"records":[{"data":"{\"a\": \"\u00e9\"}","partition-key":"k"},{"data":"{\n\"a\":\r\n7}","partition-key":"k"},
                {"data":"eyJhIjoyfQ==","partition-key":"k"},{"data":"","partition-key":"k"},{"Data":"no JSON","PartitionKey":"k"},
                {"data":{"a": "x"},"partition-key":"k"}]}"#,
            200,
            json!({"FailedRecordCount": 0, "Records": texts}),
        ),
        (
            "PUT",
            "/streams/u.pin/records",
            r#"{"records":[{"data":"two\nlines","partition-key":"k"}]}"#,
            400,
            invalid(),
        ),
        (
            "PUT",
            "/streams/u.pin/records",
            r#"{"records":[{"data":"\ud800","partition-key":"k"}]}"#,
            400,
            error("SerializationException", "..."),
        ),
        ("PUT", "/streams/none/record", r#"{"Data":1,"PartitionKey":"a"}"#, 400, missing.clone()),
        ("GET", "/streams/none", "", 400, missing.clone()),
        ("DELETE", "/streams/none", "", 400, missing),
        ("PUT", "/streams/u.pin/record", r#"{"Data":1}"#, 400, invalid()),
        ("PUT", "/streams/u.pin/record", r#"{"PartitionKey":"a"}"#, 400, invalid()),
        ("PUT", "/streams/u.pin/record", r#"{"Data":1,"PartitionKey":""}"#, 400, invalid()),
        (
            "PUT",
            "/streams/u.pin/record",
            r#"{"Data":1,"PartitionKey":["a"]}"#,
            400,
            error("SerializationException", "a ..."),
        ),
        (
            "PUT",
            "/streams/u.pin/record",
            "nonsense",
            400,
            error("SerializationException", "expected ..."),
        ),
        ("PUT", "/streams/u.pin/records", r#"{"records":[]}"#, 400, invalid()),
        ("PUT", "/streams/u.pin/records", &many, 400, invalid()),
        (
            "POST",
            "/streams/u.pin",
            "{}",
            400,
            error(
                "ResourceInUseException",
                "Stream u.pin under account 000000000000 already exists.",
            ),
        ),
        ("POST", "/streams/new", r#"{"ShardCount":0}"#, 400, invalid()),
        ("POST", "/streams/new", r#"{"ShardCount":101}"#, 400, invalid()),
        ("POST", "/streams/a%2fb", r#"{"ShardCount":1}"#, 400, invalid()),
        ("PUT", "/streams/u.pin", "{}", 405, error("UnknownOperationException", "")),
        ("GET", "/streams/a/b/c", "", 404, error("UnknownOperationException", "")),
    ];
    for (method, path, body, status, expected) in cases {
        let reply = gateway.ask(method, path, &[PLAIN], body);
        assert_eq!(
            (reply.status, same(expected, &reply.json())),
            (*status, true),
            "{path} {body:.200}: {reply:?}, not {expected}"
        );
        assert_eq!(
            reply.headers.get("x-amzn-errortype").map(String::as_str),
            expected["__type"].as_str(),
            "{path}"
        );
    }
    assert_eq!(
        gateway.ask("PUT", "/streams/u.pin/record", &[("Content-Type", "text/plain")], "1").status,
        415
    );
    let (folder, _) = gateway.close();
    let one_by_one = [r#"{"ind": 1}"#, r#""eyJhIjoyfQ==""#, "null", "3", "4", "5"];
    let texts = [r#"{"a": "é"}"#, r#"{ "a":  7}"#, "eyJhIjoyfQ==", "", "no JSON", r#"{"a": "x"}"#];
    assert_eq!(records(folder.path(), "u.pin", 0), [one_by_one, texts].concat());
}

#[test]
fn streams_are_created_described_listed_and_set_aside() {
    let gateway = TestGateway::open(|_| {});
    let names = || gateway.ask("GET", "/streams", &[], "").json();
    assert_eq!(
        names(),
        json!({"HasMoreStreams": false, "StreamNames": ["streaming-u-pin", "u.geo"]})
    );
    let created = gateway.ask("POST", "/streams/new", &[PLAIN], r#"{"ShardCount":4}"#);
    assert_eq!((created.status, created.body.as_str()), (200, ""));
    assert_eq!(names()["StreamNames"], json!(["new", "streaming-u-pin", "u.geo"]));
    let described =
        gateway.ask("GET", "/prod/streams/new", &[], "").json()["StreamDescription"].take();
    assert_eq!(
        (&described["StreamName"], &described["StreamStatus"]),
        (&json!("new"), &json!("ACTIVE"))
    );
    let shards = described["Shards"].as_array().unwrap();
    assert_eq!(shards.len(), 4);
    assert_eq!(shards[3]["ShardId"], "shardId-000000000003");
    assert_eq!(shards[3]["HashKeyRange"]["EndingHashKey"], u128::MAX.to_string());

    gateway.ask("PUT", "/streams/new/record", &[PLAIN], r#"{"Data":1,"PartitionKey":"a"}"#);
    let deleted = gateway.ask("DELETE", "/streams/new", &[], "");
    assert_eq!((deleted.status, deleted.body.as_str()), (200, ""));
    assert_eq!(names()["StreamNames"], json!(["streaming-u-pin", "u.geo"]));
    // A topic that is created again starts at offset 0; its former records are kept.
    gateway.ask("POST", "/streams/new", &[PLAIN], "");
    let place = gateway
        .ask("PUT", "/streams/new/record", &[PLAIN], r#"{"Data":2,"PartitionKey":"a"}"#)
        .json();
    assert_eq!(place["SequenceNumber"], format!("49{:054}", 0));
    let (folder, _) = gateway.close();
    assert_eq!(records(folder.path(), "new", 0), ["2"]);
    let aside = folder.path().join("_gateway/deleted/new-1");
    let kept: Vec<String> = (0..4)
        .flat_map(|p| std::fs::read_dir(aside.join(format!("partition={p}"))).unwrap())
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert_eq!(kept, ["1\n"]);
}

/// Returns true if a body is as expected; a trailing `...` stands for any text.
fn same(expected: &Json, found: &Json) -> bool {
    match (expected, found) {
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, value)| b.get(name).is_some_and(|found| same(value, found)))
        }
        (Json::String(a), Json::String(b)) => {
            a.strip_suffix("...").map_or(a == b, |begin| b.starts_with(begin.trim_end()))
        }
        _ => expected == found,
    }
}
