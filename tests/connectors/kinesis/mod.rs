//! Tests of Kinesis against a server on this machine: the contract ([`keeping`]), managing and
//! writing ([`streams`]), runs around splits and merges ([`resharding`]), a bad network
//! ([`network`]), and errors ([`errors`]).

mod errors;
mod keeping;
mod network;
mod resharding;
mod streams;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Credentials;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use object_store::memory::InMemory;
use serde_json::Value as Json;
use tokio::runtime::{Builder, Runtime};
use watershed::connect::memory::MemoryLog;
use watershed::connect::{Partition, Poll, Source};
use watershed::connectors::kinesis::{Kinesis, KinesisStream};
use watershed::options::{Consumed, Produced};
use watershed::runtime::{Config, Streams};
use watershed::serdes::{self, Utf8};
use watershed::store::Store;
use watershed::{StreamsBuilder, Topology};

use crate::support::services::service;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Returns a configuration for `endpoint`, with made-up credentials.
pub(crate) fn config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("test", "secret-of-the-test", None, None, "tests");
    let loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new("eu-west-1"));
    runtime().block_on(loader.endpoint_url(endpoint).credentials_provider(credentials).load())
}

/// Returns the endpoint of the server; prints the reason if there is none.
pub(crate) fn server() -> Option<String> {
    service("kinesis")?.remove("KINESIS_ENDPOINT")
}

/// Runs of one program that write the numbers 0, 1, 2 … into a stream. Each continues where the
/// previous one ended.
#[derive(Default)]
struct Numbers {
    log: MemoryLog,
    state: Arc<InMemory>,
    next: u64,
}

impl Numbers {
    fn write(&mut self, count: u64, workers: usize, stream: KinesisStream) {
        for number in self.next..self.next + count {
            self.log.append(
                0,
                Some(format!("k{}", number % 40).as_bytes()),
                Some(number.to_string().as_bytes()),
            );
        }
        self.next += count;
        let program = |builder: &StreamsBuilder<'_>| {
            let events =
                builder.stream::<String, i64>("events", Consumed::with(Utf8, serdes::Json));
            events.to("out", Produced::columns(["key", "number"]));
        };
        let streams = Streams::new(Topology::new("program", program))
            .source("events", self.log.clone())
            .sink("out", stream);
        let state = Some(Store::objects(self.state.clone(), "state").unwrap());
        streams.run(Config { workers, state, ..Config::default() }).unwrap();
    }

    /// Returns the numbers in a stream, each name once, and the number of records.
    fn of(stream: &KinesisStream) -> (Vec<i64>, usize) {
        let (mut named, mut records) = (BTreeMap::new(), 0);
        for shard in stream.partitions().unwrap() {
            for (_, value) in drain(&mut *stream.open(shard, None, false).unwrap(), usize::MAX) {
                let row: Json = serde_json::from_slice(&value).unwrap();
                let name = row["_record"].as_str().unwrap().to_string();
                assert_eq!(
                    *named.entry(name).or_insert_with(|| row.clone()),
                    row,
                    "rows of one name are equal"
                );
                records += 1;
            }
        }
        let mut numbers: Vec<i64> =
            named.values().map(|row| row["number"].as_i64().unwrap()).collect();
        numbers.sort_unstable();
        (numbers, records)
    }
}

/// A stream for one test, which deletes it at the end.
pub(crate) struct World {
    config: SdkConfig,
    kinesis: Kinesis,
    pub(crate) name: String,
    client: Client,
    runtime: Runtime,
    /// The number of records written of each key.
    written: Cell<BTreeMap<String, u64>>,
}

impl World {
    fn new(name: &str, shards: u32) -> Option<Self> {
        Self::named(format!("{name}-{}", std::process::id()), shards)
    }

    /// Creates a stream with exactly this name.
    pub(crate) fn named(name: String, shards: u32) -> Option<Self> {
        let config = config(&server()?);
        let kinesis = Kinesis::with(&config).unwrap();
        kinesis.create(&name, shards).unwrap();
        let http = aws_smithy_http_client::Builder::new().build_http();
        let client = Client::from_conf(
            aws_sdk_kinesis::config::Builder::from(&config).http_client(http).build(),
        );
        Some(World { config, kinesis, name, client, runtime: runtime(), written: Cell::default() })
    }

    /// Returns the stream, as another process opens it.
    fn stream(&self) -> KinesisStream {
        Kinesis::with(&self.config).unwrap().stream(&self.name)
    }

    /// Writes records with these keys and values.
    pub(crate) fn put(&self, records: &[(String, Vec<u8>)]) {
        for call in records.chunks(100) {
            let entry = |(key, data): &(String, Vec<u8>)| {
                PutRecordsRequestEntry::builder()
                    .partition_key(key)
                    .data(Blob::new(data.as_slice()))
                    .build()
                    .unwrap()
            };
            self.call(call.iter().map(entry).collect());
        }
    }

    /// Writes records in one call, which must accept all of them.
    fn call(&self, entries: Vec<PutRecordsRequestEntry>) {
        let sent =
            self.client.put_records().stream_name(&self.name).set_records(Some(entries)).send();
        let answer = self.runtime.block_on(sent).unwrap();
        let refused = answer.records.iter().find(|record| record.error_code.is_some());
        assert!(refused.is_none(), "{refused:?}");
    }

    /// Writes the next `each` numbers of every key.
    fn number(&self, each: u64) {
        let mut written = self.written.take();
        let mut records = Vec::new();
        for _ in 0..each {
            for key in 0..8 {
                let next = written.entry(format!("key-{key}")).or_default();
                records.push((format!("key-{key}"), next.to_string().into_bytes()));
                *next += 1;
            }
        }
        self.put(&records);
        self.written.set(written);
    }

    /// Returns every record of a shard, without the connector.
    pub(crate) fn shard(&self, number: u32) -> Vec<Vec<u8>> {
        let shard = format!("shardId-{number:012}");
        let earliest = self.client.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let earliest = earliest.shard_iterator_type(ShardIteratorType::TrimHorizon).send();
        let mut iterator = self.runtime.block_on(earliest).unwrap().shard_iterator;
        let mut records = Vec::new();
        loop {
            let page = self
                .runtime
                .block_on(self.client.get_records().set_shard_iterator(iterator).send())
                .unwrap();
            records.extend(page.records.iter().map(|record| record.data.as_ref().to_vec()));
            if page.millis_behind_latest == Some(0) {
                return records;
            }
            iterator = page.next_shard_iterator;
        }
    }

    fn written(&self) -> BTreeMap<String, u64> {
        let written = self.written.take();
        self.written.set(written.clone());
        written
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The stream of a failed test does no harm.
        let _ = self.kinesis.delete(&self.name);
    }
}

/// Reads until there are `enough` records, or the end. Returns offsets and values.
fn drain(partition: &mut dyn Partition, enough: usize) -> Vec<(u64, Vec<u8>)> {
    let mut records = Vec::new();
    while records.len() < enough {
        match partition.poll().unwrap() {
            Poll::Batch(batch) => {
                assert!(
                    batch.bytes.len()
                        <= (1 << 20)
                            + batch
                                .records
                                .iter()
                                .map(|r| r.value.as_ref().unwrap().len())
                                .max()
                                .unwrap()
                );
                records.extend(
                    batch
                        .iter(0)
                        .map(|record| (record.order.offset, record.value.unwrap().to_vec())),
                );
            }
            Poll::Idle => assert!(partition.wait(Duration::from_secs(10))),
            Poll::End => return records,
        }
    }
    records
}
