//! Streams of the Kinesis server that all tests share, with a client of their own.

use std::cell::Cell;
use std::collections::BTreeMap;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Credentials;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, PutRecordsResultEntry, ShardIteratorType};
use tokio::runtime::{Builder, Runtime};
use watershed::connectors::kinesis::{Kinesis, KinesisStream};

use super::services::service;

pub(crate) fn runtime() -> Runtime {
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

/// The place of a record.
pub(crate) struct PlaceInShard {
    /// The number of the shard.
    pub(crate) shard: u32,
    pub(crate) sequence: String,
}

/// A stream for one test, which deletes it at the end.
pub(crate) struct World {
    pub(crate) config: SdkConfig,
    pub(crate) kinesis: Kinesis,
    pub(crate) name: String,
    client: Client,
    runtime: Runtime,
    /// The number of records written of each key.
    written: Cell<BTreeMap<String, u64>>,
}

impl World {
    pub(crate) fn new(name: &str, shards: u32) -> Option<Self> {
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
    pub(crate) fn stream(&self) -> KinesisStream {
        Kinesis::with(&self.config).unwrap().stream(&self.name)
    }

    /// Writes records with these keys and values. Returns their places in the order of the records.
    pub(crate) fn put(&self, records: &[(String, Vec<u8>)]) -> Vec<PlaceInShard> {
        let mut places = Vec::new();
        for call in records.chunks(100) {
            let entry = |(key, data): &(String, Vec<u8>)| {
                PutRecordsRequestEntry::builder()
                    .partition_key(key)
                    .data(Blob::new(data.as_slice()))
                    .build()
                    .unwrap()
            };
            places.extend(self.call(call.iter().map(entry).collect()));
        }
        places
    }

    /// Writes records in one call, which must accept all of them.
    pub(crate) fn call(&self, entries: Vec<PutRecordsRequestEntry>) -> Vec<PlaceInShard> {
        let sent =
            self.client.put_records().stream_name(&self.name).set_records(Some(entries)).send();
        let answer = self.runtime.block_on(sent).unwrap();
        let refused = answer.records.iter().find(|record| record.error_code.is_some());
        assert!(refused.is_none(), "{refused:?}");
        let place = |record: PutRecordsResultEntry| PlaceInShard {
            shard: record.shard_id.unwrap().strip_prefix("shardId-").unwrap().parse().unwrap(),
            sequence: record.sequence_number.unwrap(),
        };
        answer.records.into_iter().map(place).collect()
    }

    /// Writes the next `each` numbers of every key.
    pub(crate) fn number(&self, each: u64) {
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

    pub(crate) fn written(&self) -> BTreeMap<String, u64> {
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
