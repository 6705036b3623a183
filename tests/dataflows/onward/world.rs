//! A user of the Kinesis test server, and a proxy to it that can be cut.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use aws_sdk_kinesis::Client as Sdk;
use aws_sdk_kinesis::types::ShardIteratorType;
use serde_json::Value as Json;
use tokio::runtime::Runtime;

use crate::connectors::kinesis::{config, server};
use crate::dataflows::posting::Running;
use crate::dataflows::{Place, support};

/// The environment of the program and of boto3.
pub(super) const AWS: [(&str, &str); 4] = [
    ("AWS_REGION", "eu-west-1"),
    ("AWS_DEFAULT_REGION", "eu-west-1"),
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "secret-of-the-test"),
];

/// A user of the test server, whose streams are deleted on drop.
pub(super) struct World {
    place: Place,
    pub(super) user: String,
    pub(super) endpoint: String,
    sdk: Sdk,
    runtime: Runtime,
}

impl World {
    pub(super) fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let endpoint = server()?;
        let config = config(&endpoint);
        let http = aws_smithy_http_client::Builder::new().build_http();
        let sdk = Sdk::from_conf(
            aws_sdk_kinesis::config::Builder::from(&config).http_client(http).build(),
        );
        let user = format!("u{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Some(World { place: Place::new(), user, endpoint, sdk, runtime })
    }

    pub(super) fn stream(&self, kind: &str) -> String {
        format!("streaming-{}-{kind}", self.user)
    }

    /// A command of the program with `endpoint` in its environment.
    pub(super) fn command(&self, endpoint: &str, args: &[&str]) -> Command {
        let mut command = self.place.command(args);
        command.env("AWS_ENDPOINT_URL_KINESIS", endpoint).envs(AWS);
        command
    }

    /// Runs a script of `tests/support`, and returns its lines of JSON.
    pub(super) fn script(&self, python: &Path, name: &str, args: &[&str]) -> Vec<Json> {
        let mut command = Command::new(python);
        command
            .arg(support(name))
            .args(args)
            .env("AWS_ENDPOINT_URL_KINESIS", &self.endpoint)
            .envs(AWS);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(super) fn gateway(&self, endpoint: &str) -> Running {
        let args = [
            "gateway",
            "--listen",
            "127.0.0.1:0",
            "--to",
            "kinesis://eu-west-1",
            "--user-id",
            &self.user,
        ];
        Running::of(
            self.command(endpoint, &[&args[..], &["--partitions", "2"]].concat()).spawn().unwrap(),
        )
    }

    /// Runs the command `streams` with these arguments and this input.
    pub(super) fn streams(&self, args: &[&str], typed: &str) -> Output {
        let mut child = self
            .command(&self.endpoint, &[&["streams"], args].concat())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // A command without a question may have ended already.
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs the command `streams`, which must succeed, and returns its standard output.
    pub(super) fn prints(&self, args: &[&str], typed: &str) -> String {
        let output = self.streams(args, typed);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the command `streams`, which must exit with `code`, and returns its standard error.
    pub(super) fn fails(&self, args: &[&str], typed: &str, code: i32) -> String {
        let output = self.streams(args, typed);
        let printed = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {printed}");
        assert!(!printed.contains("secret-of-the-test"), "{printed}");
        printed
    }

    /// Every record of a stream: key and value, by shard and sequence number.
    pub(super) fn records(&self, stream: &str) -> BTreeMap<(String, String), (String, String)> {
        let mut records = BTreeMap::new();
        self.runtime.block_on(async {
            let shards =
                self.sdk.list_shards().stream_name(stream).send().await.unwrap().shards.unwrap();
            for shard in shards {
                let call =
                    self.sdk.get_shard_iterator().stream_name(stream).shard_id(&shard.shard_id);
                let mut iterator = call
                    .shard_iterator_type(ShardIteratorType::TrimHorizon)
                    .send()
                    .await
                    .unwrap()
                    .shard_iterator;
                while let Some(at) = iterator {
                    let page = self.sdk.get_records().shard_iterator(at).send().await.unwrap();
                    iterator =
                        page.next_shard_iterator.filter(|_| page.millis_behind_latest != Some(0));
                    for record in page.records {
                        let value = String::from_utf8(record.data.into_inner()).unwrap();
                        let key = record.partition_key.unwrap_or_default();
                        records
                            .insert((shard.shard_id.clone(), record.sequence_number), (key, value));
                    }
                }
            }
        });
        records
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for kind in ["pin", "geo", "user"] {
            // A failure to delete does no harm.
            let _ = self
                .runtime
                .block_on(self.sdk.delete_stream().stream_name(self.stream(kind)).send());
        }
    }
}

/// A proxy to `to` whose connections can be cut.
pub(super) struct Way {
    pub(super) address: SocketAddr,
    open: &'static Mutex<Option<Vec<TcpStream>>>,
}

impl Way {
    pub(super) fn to(to: &str) -> Self {
        let to = to.strip_prefix("http://").unwrap().to_string();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open: &'static Mutex<Option<Vec<TcpStream>>> =
            Box::leak(Box::new(Mutex::new(Some(Vec::new()))));
        thread::spawn(move || {
            for near in listener.incoming() {
                let (near, mut all) = (near.unwrap(), open.lock().unwrap());
                let Some(all) = all.as_mut() else { continue };
                let far = TcpStream::connect(&to).unwrap();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || io::copy(&mut from, &mut to));
                }
                all.extend([near, far]);
            }
        });
        Way { address, open }
    }

    pub(super) fn cut(&self) {
        for end in self.open.lock().unwrap().take().unwrap() {
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
    }
}
