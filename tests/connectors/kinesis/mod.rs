//! Tests of Kinesis against a server on this machine: the contract ([`keeping`]), managing and
//! writing ([`streams`]), runs around splits and merges ([`resharding`]), a bad network
//! ([`network`]), and errors ([`errors`]).

mod errors;
mod keeping;
mod network;
mod resharding;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use serde_json::Value as Json;
use watershed::connect::memory::MemoryLog;
use watershed::connect::{Partition, Poll, Source};
use watershed::connectors::kinesis::KinesisStream;
use watershed::options::{Consumed, Produced};
use watershed::runtime::{Config, Streams};
use watershed::serdes::{self, Utf8};
use watershed::store::Store;
use watershed::{StreamsBuilder, Topology};

pub(crate) use crate::support::shards::{World, config, server};

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
