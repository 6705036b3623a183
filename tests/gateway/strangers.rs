//! Requests that a page of another site makes a browser send, and other forbidden ones: refused,
//! and nothing is changed.

use std::sync::Arc;

use serde_json::json;

use super::{Door, JSON, records};
use crate::support::http::Reply;

const PLAIN: (&str, &str) = ("Content-Type", "application/json");
const ONE: &str = r#"{"records":[{"value":1}]}"#;
const PUT: &str = r#"{"Data":1,"PartitionKey":"k"}"#;

/// Asks with exactly these headers.
fn raw(door: &Door, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut client = door.client();
    client
        .send(&format!(
            "{method} {path} HTTP/1.1\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .unwrap();
    client.reply().unwrap()
}

/// Every way in, each with a request that is good.
const WAYS: [(&str, &str, (&str, &str), &str); 11] = [
    ("GET", "/topics", PLAIN, ""),
    ("POST", "/topics/u.pin", JSON, ONE),
    ("POST", "/prod/topics/u.geo/partitions/1", JSON, ONE),
    ("GET", "/streams", PLAIN, ""),
    ("GET", "/streams/u.pin", PLAIN, ""),
    ("PUT", "/streams/u.pin/record", PLAIN, PUT),
    ("PUT", "/streams/u.pin/records", PLAIN, r#"{"records":[{"data":1,"partition-key":"k"}]}"#),
    ("GET", "/metrics", PLAIN, ""),
    ("POST", "/streams/u.more", PLAIN, r#"{"ShardCount":1}"#),
    ("DELETE", "/prod/streams/u.more", PLAIN, ""),
    ("GET", "/nowhere", PLAIN, ""),
];

#[test]
fn a_page_of_another_site_makes_and_deletes_nothing() {
    let door = Door::open(|_| {});
    let (port, here) = (door.address.port(), door.address.to_string());
    let local = format!("localhost:{port}");
    let ours = [format!("http://{here}"), format!("http://{local}"), "http://here".into()];
    let foreign = [
        "http://evil.example".to_string(),
        "null".into(),
        format!("http://{here}.evil.example"),
        format!("http://localhost:{}", port ^ 1),
    ];
    let hosts = [
        format!("evil.example:{port}"),
        "evil.example".into(),
        "127.0.0.1".into(),
        format!("127.0.0.2:{port}"),
        "localhost".into(),
    ];
    for (method, path, kind, body) in WAYS {
        let ask =
            |headers: &[(&str, &str)]| raw(&door, method, path, &[&[kind], headers].concat(), body);
        for origin in &foreign {
            assert_eq!(
                ask(&[("Host", &here), ("Origin", origin)]).status,
                403,
                "{method} {path} from {origin}"
            );
        }
        assert_eq!(
            ask(&[("Host", &here), ("Origin", &ours[0]), ("Origin", "http://evil.example")]).status,
            403,
            "{path}"
        );
        for host in &hosts {
            assert_eq!(ask(&[("Host", host)]).status, 403, "{method} {path} as {host}");
            assert_eq!(
                ask(&[("Host", host), ("Origin", &format!("http://{host}"))]).status,
                403,
                "{method} {path} as {host}"
            );
        }
        let whole = format!("http://evil.example:{port}{path}");
        assert_eq!(
            raw(&door, method, &whole, &[kind, ("Host", &here)], body).status,
            403,
            "{method} {whole}"
        );
        let there = if method == "DELETE" {
            json!(["u.geo", "u.more", "u.pin"])
        } else {
            json!(["u.geo", "u.pin"])
        };
        assert_eq!(door.ask("GET", "/topics", &[], "").json(), there, "after {method} {path}");
        let right = if path == "/nowhere" { 404 } else { 200 };
        assert_eq!(ask(&[("Host", &local), ("Origin", &ours[1])]).status, right, "{method} {path}");
    }
    for origin in &ours {
        assert_eq!(
            raw(&door, "POST", "/topics/u.pin", &[("Host", "HERE"), ("Origin", origin), JSON], ONE)
                .status,
            200,
            "{origin}"
        );
    }
    let (folder, _) = door.close();
    assert_eq!(
        records(folder.path(), "u.pin", 0).len(),
        3 + ours.len(),
        "only what was allowed is there"
    );
}

#[test]
fn a_request_names_one_host() {
    for tokens in [vec![], vec!["secret".to_string()]] {
        let door = Door::open(|config| config.server.tokens = tokens.clone());
        let here = door.address.to_string();
        let bearer = ("Authorization", "Bearer secret");
        for (method, path, kind, body) in WAYS {
            for headers in [
                &[][..],
                &[("Host", here.as_str()); 2],
                &[("Host", "here"), ("Host", "there")],
                &[("Host", "")],
                &[("Host", "me@here")],
            ] {
                let reply = raw(&door, method, path, &[headers, &[kind, bearer]].concat(), body);
                assert_eq!(reply.status, 400, "{method} {path} {headers:?}: {reply:?}");
            }
        }
        // Whoever watches need not know its name, or any.
        assert_eq!(raw(&door, "GET", "/health", &[], "").status, 200);
        assert_eq!(raw(&door, "GET", "/ready", &[("Host", "10.1.2.3:9000")], "").status, 200);
        door.close();
    }
}

#[test]
fn a_token_is_proof_under_any_name() {
    let door = Door::open(|config| config.server.tokens = vec!["secret".into()]);
    let headers = [("Host", "gateway.example"), ("Origin", "https://console.example"), JSON];
    assert_eq!(raw(&door, "POST", "/topics/u.pin", &headers, ONE).status, 401);
    let headers = [&headers[..], &[("Authorization", "Bearer secret")]].concat();
    assert_eq!(raw(&door, "POST", "/topics/u.pin", &headers, ONE).status, 200);
    door.close();
}

#[test]
fn creations_need_json_and_have_a_limit() {
    let door = Door::open(|config| {
        config.owns = Some(Arc::new(|name| name.starts_with("u.")));
        (config.topics_limit, config.partitions_limit) = (4, 8);
    });
    let create = |name: &str, headers: &[(&str, &str)], shards: u32| {
        let body = json!({ "ShardCount": shards }).to_string();
        let reply = door.ask("POST", &format!("/streams/{name}"), headers, &body);
        (reply.status, reply.headers.get("x-amzn-errortype").cloned().unwrap_or_default())
    };
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "",
    ] {
        assert_eq!(
            create("u.new", &[("Content-Type", kind)], 1),
            (415, "UnsupportedMediaTypeException".into()),
            "{kind}"
        );
    }
    assert_eq!(create("u.new", &[], 1).0, 415);
    assert_eq!(door.ask("POST", "/streams/u.new", &[], "").status, 415);
    assert_eq!(create("other.new", &[PLAIN], 1), (400, "AccessDeniedException".into()));
    assert_eq!(
        door.ask("DELETE", "/streams/other.new", &[], "").json()["__type"],
        "AccessDeniedException"
    );
    for shards in [0, 9, u32::MAX] {
        assert_eq!(
            create("u.new", &[PLAIN], shards),
            (400, "ValidationException".into()),
            "{shards}"
        );
    }
    assert_eq!(create("u.new", &[PLAIN], 8).0, 200);
    assert_eq!(create("u.new", &[PLAIN], 8), (400, "ResourceInUseException".into()));
    // Of many that come at once, there is room for one.
    let made = std::thread::scope(|scope| {
        let create = &create;
        let makers: Vec<_> = (0..8)
            .map(|n| scope.spawn(move || create(&format!("u.many-{n}"), &[PLAIN], 1)))
            .collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(made.iter().filter(|made| made.0 == 200).count(), 1, "{made:?}");
    assert_eq!(
        made.iter().filter(|made| made.1 == "LimitExceededException").count(),
        7,
        "{made:?}"
    );
    assert_eq!(
        create("u.new", &[PLAIN], 8),
        (400, "ResourceInUseException".into()),
        "not for want of room"
    );
    assert_eq!(door.ask("DELETE", "/streams/u.new", &[], "").status, 200);
    assert_eq!(create("u.newer", &[PLAIN], 1).0, 200);
    door.close();
}
