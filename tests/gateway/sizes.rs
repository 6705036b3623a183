//! The cost of a request: its number of records is limited, and its memory is a small multiple of
//! its body.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use futures::executor::block_on;
use serde_json::json;
use watershed::connectors::archive::{AppendOptions, ArchiveAppender};
use watershed::gateway::{Append, Config, Gateway};

use super::{JSON, TestGateway};
use crate::support::http::Client;

/// The variable with the folder that the child process serves.
const FOLDER: &str = "WATERSHED_TEST_GATEWAY_FOLDER";

fn body(name: &str, records: usize, record: &str) -> String {
    format!(r#"{{"{name}":[{}]}}"#, vec![record; records].join(","))
}

#[test]
fn a_request_may_have_only_so_many_records() {
    let gateway = TestGateway::open(|_| {});
    let post = |records: usize| {
        gateway.ask("POST", "/topics/u.pin", &[JSON], &body("records", records, "{}"))
    };
    let reply = post(10_000);
    assert_eq!((reply.status, reply.json()["offsets"].as_array().unwrap().len()), (200, 10_000));
    let last = json!({"partition": 0, "offset": 9999, "error_code": null, "error": null});
    assert_eq!(reply.json()["offsets"][9999], last);
    let reply = post(10_001);
    let message = "records may have at most 10000 elements, not 10001";
    assert_eq!((reply.status, reply.json()), (422, json!({"error_code": 422, "message": message})));
    let (_, acknowledged) = gateway.close();
    assert_eq!(acknowledged, 10_000, "of what is too much nothing is taken");
}

/// The process whose memory is measured. It serves until its parent ends.
#[test]
#[ignore = "is started by its neighbour"]
fn the_child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let log = ArchiveAppender::open(folder.as_ref(), AppendOptions::default()).unwrap();
    block_on(log.create("u.pin", 1)).unwrap();
    let began = Instant::now();
    let config = Config::new(Arc::new(move || began.elapsed()));
    let gateway = Gateway::bind("127.0.0.1:0".parse().unwrap(), Arc::new(log), config).unwrap();
    println!("\nlistens at {}", gateway.address());
    let (gone, stop) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Blocks until the parent closes the pipe.
        let _ = std::io::stdin().read(&mut [0]);
        let _ = gone.send(());
    });
    gateway.run(async { drop(stop.await) }).unwrap();
}

/// A gateway in a child process.
struct Apart {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Apart {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "gateway::sizes::the_child", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path());
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address =
            lines.filter_map(|line| line.strip_prefix("listens at ")?.parse().ok()).next().unwrap();
        Apart { process, address, _folder: folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.process.id()))
    }

    /// Returns the peak memory since the last call, in bytes.
    fn most(&self) -> usize {
        let status = std::fs::read_to_string(self.file("status")).unwrap();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let most: usize = most.trim().trim_end_matches(" kB").parse().unwrap();
        std::fs::write(self.file("clear_refs"), "5").unwrap();
        most << 10
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_request_takes_no_more_memory_than_twenty_times_its_body() {
    let binary = ("Content-Type", "application/vnd.kafka.binary.v2+json");
    let plain = ("Content-Type", "application/json");
    let zeros = vec!["0"; 1_000_000].join(",");
    let text = "x".repeat(180);
    let put = |key: &str, data: &str| format!(r#"{{"PartitionKey":{key},"Data":{data}}}"#);
    let (pin, record, records) =
        ("/topics/u.pin", "/streams/u.pin/record", "/streams/u.pin/records");
    let cases = [
        ("POST", pin, JSON, body("records", 690_000, "{}"), 422),
        ("POST", pin, JSON, body("records", 170_000, r#"{"value":1}"#), 422),
        ("POST", pin, JSON, body("records", 10_000, &format!(r#"{{"value":"{text}"}}"#)), 200),
        ("POST", pin, binary, body("records", 10_000, &format!(r#"{{"value":"{text}"}}"#)), 200),
        ("POST", pin, JSON, body("records", 1, &format!(r#"{{"value":[{zeros}]}}"#)), 200),
        ("PUT", records, plain, body("records", 690_000, "{}"), 400),
        ("PUT", record, plain, put(r#""k""#, &format!("[{zeros}]")), 200),
        ("PUT", record, plain, put(&format!("[{zeros}]"), "1"), 400),
    ];
    for (method, path, kind, body, status) in cases {
        let apart = Apart::start();
        let mut client = Client::connect(apart.address);
        assert_eq!(
            client.ask("POST", pin, &[JSON], r#"{"records":[{"value":1}]}"#).unwrap().status,
            200
        );
        apart.most();
        let before = apart.most();
        let reply = client.ask(method, path, &[kind], &body).unwrap();
        assert_eq!(reply.status, status, "{}", &reply.body[..reply.body.len().min(300)]);
        let took = apart.most().saturating_sub(before);
        assert!(took <= 20 * body.len(), "{took} bytes for {} of {}", body.len(), &body[..40]);
    }
}
