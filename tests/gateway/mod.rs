//! The gateway in front of a log in a folder, through real sockets: responses, durability, limits.

mod answers;
mod damage;
mod holders;
mod keeping;
mod limits;
mod sizes;
mod strangers;
mod topics;
mod writers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use tokio::sync::oneshot;
use watershed::Result;
use watershed::connect::{Poll, Source};
use watershed::connectors::archive::Archive;
use watershed::connectors::archive::{AppendOptions, ArchiveAppender};
use watershed::gateway::{Append, Appended, Config, Gateway, NewRecord, Position, Refusal};

use crate::support::http::{Client, Reply};

/// The content type of REST Proxy clients.
const JSON: (&str, &str) = ("Content-Type", "application/vnd.kafka.json.v2+json");

/// A running gateway with the topics `u.pin`, of one partition, and `u.geo`, of three.
struct TestGateway {
    address: SocketAddr,
    folder: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<u64>>,
}

impl TestGateway {
    fn open(change: impl FnOnce(&mut Config)) -> Self {
        Self::with(AppendOptions::default(), change)
    }

    fn with(options: AppendOptions, change: impl FnOnce(&mut Config)) -> Self {
        Self::before(options, |log| log, change)
    }

    /// Starts a gateway in front of `log(appender)`.
    fn before<L: Append + 'static>(
        options: AppendOptions,
        log: impl FnOnce(ArchiveAppender) -> L,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let opened = ArchiveAppender::open(folder.path(), options).unwrap();
        block_on(opened.create("u.pin", 1)).unwrap();
        block_on(opened.create("u.geo", 3)).unwrap();
        let began = Instant::now();
        let mut config = Config::new(Arc::new(move || began.elapsed()));
        config.streams.insert("streaming-u-pin".into(), "u.pin".into());
        // The host name of handwritten requests.
        config.server.hosts.push("here".into());
        change(&mut config);
        let gateway =
            Gateway::bind("127.0.0.1:0".parse().unwrap(), Arc::new(log(opened)), config).unwrap();
        let address = gateway.address();
        let (stop, stopped) = oneshot::channel();
        let running = std::thread::spawn(move || gateway.run(async move { drop(stopped.await) }));
        TestGateway { address, folder, stop, running }
    }

    fn client(&self) -> Client {
        Client::connect(self.address)
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.client().ask(method, path, headers, body).unwrap()
    }

    /// Stops it. Returns the folder and the number of acknowledged records.
    fn close(self) -> (tempfile::TempDir, u64) {
        self.stop.send(()).unwrap();
        (self.folder, self.running.join().unwrap().unwrap())
    }
}

/// Reads the records of a partition in an archive, from offset 0 on.
fn records(root: &std::path::Path, topic: &str, partition: u32) -> Vec<String> {
    let topic = Archive::open(root.to_str().unwrap()).unwrap().topic(topic);
    let mut reader = topic.open(partition, Some(0), false).unwrap();
    let mut records = Vec::new();
    while let Poll::Batch(batch) = reader.poll().unwrap() {
        for span in &batch.records {
            assert_eq!(span.offset, records.len() as u64, "offsets have no gap");
            let value = span.value.clone().unwrap();
            records.push(
                String::from_utf8(batch.bytes[value.start as usize..value.end as usize].to_vec())
                    .unwrap(),
            );
        }
    }
    records
}

/// Options that keep records in the journal for longer than a test runs.
fn slow() -> AppendOptions {
    AppendOptions { object_interval: Duration::from_secs(3600), ..AppendOptions::default() }
}

/// Appends records to the topic `t`, and returns the acknowledged offsets.
fn append(log: &ArchiveAppender, values: &[String]) -> Vec<u64> {
    let places =
        block_on(log.append("t", values.iter().map(|value| entry(value)).collect())).unwrap();
    let offset = |place: Result<Appended, Refusal>| match place.unwrap().position {
        Position::Offset(offset) => offset,
        other => panic!("{other:?}"),
    };
    places.into_iter().map(offset).collect()
}

/// A record without a key.
fn entry(value: &str) -> NewRecord {
    NewRecord { value: Some(value.to_string().into()), ..NewRecord::default() }
}

/// Returns the only file in a folder.
fn only(folder: PathBuf) -> PathBuf {
    let files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}
