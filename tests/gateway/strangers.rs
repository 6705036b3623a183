//! Forbidden requests, such as those that another site's page makes a browser send: they are
//! refused and change nothing.

use std::sync::Arc;

use serde_json::json;

use super::{JSON, TestGateway, records};
use crate::support::http::Reply;

const PLAIN: (&str, &str) = ("Content-Type", "application/json");
const ONE: &str = r#"{"records":[{"value":1}]}"#;
const PUT: &str = r#"{"Data":1,"PartitionKey":"k"}"#;

/// Sends a request with exactly these headers.
fn raw(
    gateway: &TestGateway,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut client = gateway.client();
    client
        .send(&format!(
            "{method} {path} HTTP/1.1\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .unwrap();
    client.reply().unwrap()
}

/// Every kind of request that changes something, each in a valid form.
const REQUESTS: [(&str, &str, (&str, &str), &str); 11] = [
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
    let gateway = TestGateway::open(|_| {});
    let (port, here) = (gateway.address.port(), gateway.address.to_string());
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
    for (method, path, kind, body) in REQUESTS {
        let ask = |headers: &[(&str, &str)]| {
            raw(&gateway, method, path, &[&[kind], headers].concat(), body)
        };
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
            raw(&gateway, method, &whole, &[kind, ("Host", &here)], body).status,
            403,
            "{method} {whole}"
        );
        let there = if method == "DELETE" {
            json!(["u.geo", "u.more", "u.pin"])
        } else {
            json!(["u.geo", "u.pin"])
        };
        assert_eq!(gateway.ask("GET", "/topics", &[], "").json(), there, "after {method} {path}");
        let right = if path == "/nowhere" { 404 } else { 200 };
        assert_eq!(ask(&[("Host", &local), ("Origin", &ours[1])]).status, right, "{method} {path}");
    }
    for origin in &ours {
        assert_eq!(
            raw(
                &gateway,
                "POST",
                "/topics/u.pin",
                &[("Host", "HERE"), ("Origin", origin), JSON],
                ONE
            )
            .status,
            200,
            "{origin}"
        );
    }
    let (folder, _) = gateway.close();
    assert_eq!(
        records(folder.path(), "u.pin", 0).len(),
        3 + ours.len(),
        "only what was allowed is there"
    );
}

#[test]
fn a_request_names_one_host() {
    for tokens in [vec![], vec!["secret".to_string()]] {
        let gateway = TestGateway::open(|config| config.server.tokens = tokens.clone());
        let here = gateway.address.to_string();
        let bearer = ("Authorization", "Bearer secret");
        for (method, path, kind, body) in REQUESTS {
            for headers in [
                &[][..],
                &[("Host", here.as_str()); 2],
                &[("Host", "here"), ("Host", "there")],
                &[("Host", "")],
                &[("Host", "me@here")],
            ] {
                let reply = raw(&gateway, method, path, &[headers, &[kind, bearer]].concat(), body);
                assert_eq!(reply.status, 400, "{method} {path} {headers:?}: {reply:?}");
            }
        }
        // A health check may name any host, or none.
        assert_eq!(raw(&gateway, "GET", "/health", &[], "").status, 200);
        assert_eq!(raw(&gateway, "GET", "/ready", &[("Host", "10.1.2.3:9000")], "").status, 200);
        gateway.close();
    }
}

#[test]
fn a_token_is_proof_under_any_name() {
    let gateway = TestGateway::open(|config| config.server.tokens = vec!["secret".into()]);
    let headers = [("Host", "gateway.example"), ("Origin", "https://console.example"), JSON];
    assert_eq!(raw(&gateway, "POST", "/topics/u.pin", &headers, ONE).status, 401);
    let headers = [&headers[..], &[("Authorization", "Bearer secret")]].concat();
    assert_eq!(raw(&gateway, "POST", "/topics/u.pin", &headers, ONE).status, 200);
    gateway.close();
}

#[test]
fn creations_need_json_and_have_a_limit() {
    let gateway = TestGateway::open(|config| {
        config.owns = Some(Arc::new(|name| name.starts_with("u.")));
        (config.topics_limit, config.partitions_limit) = (4, 8);
    });
    let create = |name: &str, headers: &[(&str, &str)], shards: u32| {
        let body = json!({ "ShardCount": shards }).to_string();
        let reply = gateway.ask("POST", &format!("/streams/{name}"), headers, &body);
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
    assert_eq!(gateway.ask("POST", "/streams/u.new", &[], "").status, 415);
    assert_eq!(create("other.new", &[PLAIN], 1), (400, "AccessDeniedException".into()));
    assert_eq!(
        gateway.ask("DELETE", "/streams/other.new", &[], "").json()["__type"],
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
    // Of many simultaneous creations one succeeds, because there is room for one topic.
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
    assert_eq!(gateway.ask("DELETE", "/streams/u.new", &[], "").status, 200);
    assert_eq!(create("u.newer", &[PLAIN], 1).0, 200);
    gateway.close();
}
