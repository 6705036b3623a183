//! A request that is too large, too slow or not allowed gets an error, and no other client is
//! affected.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use serde_json::json;
use tokio::sync::watch;
use watershed::connectors::archive::{AppendOptions, ArchiveAppender};
use watershed::gateway::{Answer, Append, Appended, Identity, NewRecord, PartitionInfo, Refusal};

use super::{JSON, TestGateway, records};
use crate::support::services::skipped;
use crate::support::until;

const ONE: &str = r#"{"records":[{"value":1}]}"#;

#[test]
fn a_slow_head_or_body_is_cut_off() {
    let gateway = TestGateway::open(|config| {
        config.server.limits.head_timeout = Duration::from_millis(200);
        config.server.limits.body_timeout = Duration::from_millis(200);
    });
    let mut half = gateway.client();
    half.send("POST /topics/u.pin HTTP/1.1\r\nHost: he").unwrap();
    let mut slow = gateway.client();
    slow.send("POST /topics/u.pin HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n{").unwrap();
    let reply = slow.reply().unwrap();
    assert_eq!(
        (reply.status, reply.json()),
        (408, json!({"error_code": 408, "message": "HTTP 408 Request Timeout"}))
    );
    assert!(slow.is_closed());
    assert!(half.is_closed());
    assert_eq!(gateway.ask("POST", "/topics/u.pin", &[JSON], ONE).status, 200);
    gateway.close();
}

#[test]
fn a_body_that_is_too_long_is_not_read() {
    let gateway = TestGateway::open(|config| config.server.limits.body_max_bytes = 1000);
    let long = format!(r#"{{"records":[{{"value":"{}"}}]}}"#, "x".repeat(1000));
    let reply = gateway.ask("POST", "/topics/u.pin", &[JSON], &long);
    assert_eq!((reply.status, &reply.json()["error_code"]), (413, &json!(413)));
    let mut chunked = gateway.client();
    let head = "POST /topics/u.pin HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n";
    chunked.send(&format!("{head}{:x}\r\n{long}\r\n", long.len())).unwrap();
    assert_eq!(chunked.reply().unwrap().status, 413);
    let mut headers = gateway.client();
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    headers.send(&format!("GET /topics HTTP/1.1\r\n{many}\r\n")).unwrap();
    assert_eq!(headers.reply().unwrap().status, 431);
    let (folder, acknowledged) = gateway.close();
    assert_eq!((acknowledged, records(folder.path(), "u.pin", 0).len()), (0, 0));
}

#[test]
fn pending_bytes_are_bounded_and_the_client_gets_a_retry_time() {
    let options =
        AppendOptions { object_interval: Duration::from_secs(3600), pending_max_bytes: 1000 };
    let gateway = TestGateway::with(options, |config| {
        (config.server.limits.bodies_max_bytes, config.server.limits.address_share_percent) =
            (600, 100)
    });
    let value = format!(r#"{{"records":[{{"value":"{}"}}]}}"#, "x".repeat(500));
    assert_eq!(gateway.ask("POST", "/topics/u.pin", &[JSON], &value).status, 200);
    let full = gateway.ask("POST", "/topics/u.pin", &[JSON], &value);
    assert_eq!(
        (full.status, &full.json()["error_code"], full.headers["retry-after"].as_str()),
        (503, &json!(50302), "1")
    );
    let put = format!(r#"{{"Data":"{}","PartitionKey":"k"}}"#, "x".repeat(500));
    let full = gateway.ask("PUT", "/streams/u.pin/record", &[], &put);
    assert_eq!(
        (full.status, &full.json()["__type"]),
        (400, &json!("ProvisionedThroughputExceededException"))
    );
    assert_eq!(full.headers["retry-after"], "1");
    // One body is being received, and leaves no room for another.
    let mut slow = gateway.client();
    let expects = "POST /topics/u.pin HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\n";
    slow.send(&format!("{expects}Content-Length: 550\r\n\r\n")).unwrap();
    assert_eq!(slow.reply().unwrap().status, 100);
    slow.send(&"x".repeat(549)).unwrap();
    let before_the_log = || {
        gateway.ask("POST", "/topics/u.pin", &[JSON], &value).json()["message"]
            == "too many bytes are in flight"
    };
    until("no room", before_the_log);
    drop(slow);
    let (folder, acknowledged) = gateway.close();
    assert_eq!(
        (acknowledged, records(folder.path(), "u.pin", 0).len()),
        (1, 1),
        "a stop puts it where readers see it"
    );
}

/// A log whose appends block until they are released, like a stalled service.
struct Stalled {
    log: ArchiveAppender,
    reached: Arc<AtomicUsize>,
    let_go: watch::Receiver<bool>,
}

impl Append for Stalled {
    fn describe(&self) -> String {
        self.log.describe()
    }

    fn topics(&self) -> Answer<'_, Vec<String>> {
        self.log.topics()
    }

    fn partitions<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<PartitionInfo>> {
        self.log.partitions(topic)
    }

    fn append<'a>(
        &'a self,
        topic: &'a str,
        entries: Vec<NewRecord>,
    ) -> Answer<'a, Vec<Result<Appended, Refusal>>> {
        let mut let_go = self.let_go.clone();
        async move {
            self.reached.fetch_add(1, Ordering::SeqCst);
            let_go.wait_for(|go| *go).await.unwrap();
            self.log.append(topic, entries).await
        }
        .boxed()
    }

    fn create<'a>(&'a self, topic: &'a str, partitions: u32) -> Answer<'a, ()> {
        self.log.create(topic, partitions)
    }

    fn delete<'a>(&'a self, topic: &'a str) -> Answer<'a, ()> {
        self.log.delete(topic)
    }

    fn close(&self) -> Answer<'_, ()> {
        self.log.close()
    }
}

#[test]
fn pending_appends_of_a_stalled_log_take_room() {
    let (go, let_go) = watch::channel(false);
    let reached = Arc::new(AtomicUsize::new(0));
    let log = |log| Stalled { log, reached: reached.clone(), let_go };
    let gateway = TestGateway::before(AppendOptions::default(), log, |config| {
        (config.server.limits.bodies_max_bytes, config.server.limits.address_share_percent) =
            (1200, 100)
    });
    let long = format!(r#"{{"records":[{{"value":"{}"}}]}}"#, "x".repeat(500));
    let put = format!(r#"{{"Data":"{}","PartitionKey":"k"}}"#, "x".repeat(500));
    let head = |method: &str, path: &str, kind: &str, length: usize| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: here\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut waits = gateway.client();
    waits.send(&(head("POST", "/topics/u.pin", JSON.1, long.len()) + &long)).unwrap();
    let mut gone = TcpStream::connect(gateway.address).unwrap();
    gone.write_all(
        (head("PUT", "/streams/u.pin/record", "application/json", put.len()) + &put).as_bytes(),
    )
    .unwrap();
    until("both to come to the log", || reached.load(Ordering::SeqCst) == 2);
    gone.shutdown(Shutdown::Write).unwrap();
    assert_eq!(gone.read(&mut [0; 1]).unwrap(), 0, "there is no answer yet");

    let full = gateway.ask("POST", "/topics/u.pin", &[JSON], &long);
    assert_eq!(
        (full.status, &full.json()["error_code"], full.headers["retry-after"].as_str()),
        (503, &json!(50302), "1")
    );
    let full = gateway.ask("PUT", "/streams/u.pin/record", &[], &put);
    assert_eq!(
        (full.status, &full.json()["__type"]),
        (400, &json!("ProvisionedThroughputExceededException"))
    );
    assert_eq!(full.headers["retry-after"], "1");
    // A request without a body needs no room.
    assert_eq!(
        ["/topics", "/streams", "/metrics"].map(|path| gateway.ask("GET", path, &[], "").status),
        [200; 3]
    );
    assert_eq!(reached.load(Ordering::SeqCst), 2, "what is refused never came to the log");

    go.send(true).unwrap();
    assert_eq!(waits.reply().unwrap().status, 200);
    until("room", || gateway.ask("POST", "/topics/u.pin", &[JSON], &long).status == 200);
    let (folder, acknowledged) = gateway.close();
    assert_eq!((acknowledged, records(folder.path(), "u.pin", 0).len()), (3, 3));
}

#[test]
fn a_read_body_of_unknown_length_takes_its_length_of_room() {
    let (go, let_go) = watch::channel(false);
    let reached = Arc::new(AtomicUsize::new(0));
    let log = |log| Stalled { log, reached: reached.clone(), let_go };
    let gateway = TestGateway::before(AppendOptions::default(), log, |config| {
        (config.server.limits.body_max_bytes, config.server.limits.bodies_max_bytes) = (1000, 1200)
    });
    let mut chunked: Vec<_> = (0..3).map(|_| gateway.client()).collect();
    for (n, client) in chunked.iter_mut().enumerate() {
        let head =
            format!("POST /topics/u.pin HTTP/1.1\r\nHost: here\r\nContent-Type: {}\r\n", JSON.1);
        client
            .send(&format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{ONE}\r\n0\r\n\r\n",
                ONE.len()
            ))
            .unwrap();
        until("it to come to the log", || reached.load(Ordering::SeqCst) == n + 1);
    }
    go.send(true).unwrap();
    assert!(chunked.iter_mut().all(|client| client.reply().unwrap().status == 200));
    gateway.close();
}

#[test]
fn requests_need_a_token_and_each_token_has_a_quota() {
    let now = Arc::new(AtomicU64::new(0));
    let clock = now.clone();
    let gateway = TestGateway::open(|config| {
        config.server.tokens = vec!["first-secret".into(), "second".into()];
        config.server.requests_per_second = Some(3);
        config.server.clock =
            Arc::new(move || Duration::from_millis(clock.load(Ordering::Relaxed)));
    });
    let ask = |token: &str| {
        gateway.ask("POST", "/topics/u.pin", &[JSON, ("Authorization", token)], ONE).status
    };
    let reply = gateway.ask("POST", "/topics/u.pin", &[JSON], ONE);
    assert_eq!((reply.status, reply.headers["www-authenticate"].as_str()), (401, "Bearer"));
    assert_eq!(reply.json()["error_code"], 40101);
    let reply = gateway.ask("GET", "/streams", &[], "");
    assert_eq!((reply.status, &reply.json()["__type"]), (400, &json!("AccessDeniedException")));
    for wrong in [
        "first-secret",
        "Bearer",
        "Bearer first-secre",
        "Bearer first-secret2",
        "Basic first-secret",
    ] {
        assert_eq!(ask(wrong), 401, "{wrong}");
    }
    assert_eq!(gateway.ask("GET", "/metrics", &[], "").status, 401);
    assert_eq!(gateway.ask("GET", "/health", &[], "").status, 200);
    let first = [(); 4].map(|()| ask("Bearer first-secret"));
    assert_eq!(first, [200, 200, 200, 429]);
    assert_eq!(ask("bearer second"), 200, "another one's quota is another");
    now.store(400, Ordering::Relaxed);
    assert_eq!([ask("Bearer first-secret"), ask("Bearer first-secret")], [200, 429]);
    let reply = gateway.ask("GET", "/topics", &[("Authorization", "Bearer first-secret")], "");
    assert_eq!((reply.status, reply.headers["retry-after"].as_str()), (429, "1"));
    gateway.close();
}

#[test]
fn metrics_and_logs_reveal_no_sent_data() {
    let printed = Arc::new(Mutex::new(Vec::new()));
    let kept = printed.clone();
    let gateway = TestGateway::open(|config| {
        config.access_log =
            Some(Arc::new(move |access| kept.lock().unwrap().push(format!("{access:?}"))));
    });
    let secret = r#"{"records":[{"key":"hidden","value":{"name":"hidden"}},{"value":2}]}"#;
    gateway.ask("POST", "/prod/topics/u.pin?hidden=1", &[JSON, ("X-Hidden", "hidden")], secret);
    gateway.ask("POST", "/topics/hidden", &[JSON], secret);
    let metrics = gateway.ask("GET", "/metrics", &[], "");
    assert!(metrics.headers["content-type"].starts_with("text/plain"), "{metrics:?}");
    for line in [
        r#"watershed_gateway_requests_total{method="POST",route="/{stage}/topics/{topic}",status="200"} 1"#,
        r#"watershed_gateway_requests_total{method="POST",route="/topics/{topic}",status="404"} 1"#,
        r#"watershed_gateway_records_total{topic="u.pin"} 2"#,
        "watershed_gateway_request_seconds_count 2",
    ] {
        assert!(
            metrics.body.lines().any(|found| found == line),
            "{line} is not in {}",
            metrics.body
        );
    }
    gateway.close();
    let printed = printed.lock().unwrap().join("\n");
    assert!(printed.contains("/{stage}/topics/{topic}") && printed.contains("404"), "{printed}");
    assert!(
        !printed.contains("hidden") && !metrics.body.contains("hidden"),
        "{printed} {}",
        metrics.body
    );
}

#[test]
fn a_gateway_with_a_certificate_speaks_only_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-out".as_ref(), certificate.as_os_str(), "-keyout".as_ref(), key.as_os_str()])
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        skipped("no certificate could be made, because there is no openssl");
        return;
    }
    assert!(Identity::read(&key, &certificate).is_err());
    let gateway = TestGateway::open(|config| {
        config.server.identity = Some(Identity::read(&certificate, &key).unwrap())
    });
    let trusted = reqwest::Certificate::from_pem(&std::fs::read(&certificate).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([trusted]).no_proxy().build().unwrap();
    let url = format!("https://{}/topics", gateway.address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let names =
        runtime.block_on(async { client.get(url).send().await.unwrap().text().await.unwrap() });
    assert_eq!(names, r#"["u.geo","u.pin"]"#);
    drop((client, runtime));
    assert!(gateway.client().ask("GET", "/topics", &[], "").is_err(), "plain HTTP is no answer");
    gateway.close();
}
