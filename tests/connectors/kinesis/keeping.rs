//! Kinesis keeps the contract of connectors. All shards exist from the start, offsets begin with
//! the number of the shard, and repeated rows have the same name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use serde_json::Value as Json;
use watershed::connect::{Sink, Source};
use watershed::row::Value;

use super::super::contract::{self, Held, Place, at_least_once_contract, source_contract};
use super::{World, server};

/// The limits of one call, and of one record with its key.
const CALL_MAX_BYTES: usize = 5 << 20;
const RECORD_MAX_BYTES: usize = 1 << 20;
const KEY: &str = "k";
/// The first offset of a shard is its number times this.
const OFFSETS_PER_SHARD: u64 = 1 << 42;

/// Creates a stream with this number of shards.
fn stream(shards: u32) -> World {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    World::new(&format!("contract-{}", COUNT.fetch_add(1, Ordering::Relaxed)), shards)
        .expect("the server runs")
}

#[test]
fn kinesis_keeps_the_contract_of_sources() {
    if server().is_some() {
        source_contract(|| Box::new(Log::of(stream(12))));
    }
}

#[test]
fn kinesis_keeps_the_contract_of_at_least_once_sinks() {
    if server().is_some() {
        at_least_once_contract(|| Box::new(Log::of(stream(3))));
    }
}

/// A stream as a source and as a sink.
struct Log {
    world: World,
    /// A hash for each shard, which goes to it.
    hashes: Vec<String>,
}

impl Log {
    fn of(world: World) -> Self {
        let shards = world.kinesis.describe(&world.name).unwrap().shards;
        Log { world, hashes: shards.iter().map(|shard| shard.hashes.0.to_string()).collect() }
    }
}

impl Held for Log {
    fn append(&self, partition: u32, values: &[&[u8]]) {
        let entry = |value: &[u8]| {
            let entry = PutRecordsRequestEntry::builder().partition_key(KEY).data(Blob::new(value));
            entry.explicit_hash_key(&self.hashes[partition as usize]).build().unwrap()
        };
        let longest = values.iter().map(|value| value.len() + KEY.len()).max().unwrap_or(KEY.len());
        for call in values.chunks((CALL_MAX_BYTES / longest).min(500)) {
            self.world.call(call.iter().map(|value| entry(value)).collect());
        }
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(self.world.stream())
    }

    fn partitions(&self) -> Vec<u32> {
        (0..self.hashes.len() as u32).collect()
    }

    fn first(&self, partition: u32) -> u64 {
        u64::from(partition) * OFFSETS_PER_SHARD
    }

    fn longest(&self) -> usize {
        RECORD_MAX_BYTES - KEY.len()
    }

    /// The service reports how far a reader is behind the newest record, but not the end of an open
    /// shard.
    fn tells_its_end(&self) -> bool {
        false
    }
}

impl Place for Log {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.world.stream())
    }

    /// Returns each row once. Rows of the same name must be equal, and the first rows of each key
    /// must be in order.
    fn rows(&self) -> Vec<Vec<Value>> {
        let (mut named, mut last) = (BTreeMap::new(), BTreeMap::new());
        for shard in Held::partitions(self) {
            for record in self.world.shard(shard) {
                let mut object: Json = serde_json::from_slice(&record).unwrap();
                let name = object
                    .as_object_mut()
                    .unwrap()
                    .remove("_record")
                    .unwrap()
                    .as_str()
                    .unwrap()
                    .to_string();
                let columns = contract::columns();
                assert_eq!(object.as_object().unwrap().len(), columns.len());
                let value = |column: &watershed::row::Column| {
                    super::super::value(&object[&column.name], column.ty)
                };
                let row: Vec<Value> = columns.iter().map(value).collect();
                let parts: Vec<&str> = name.split('/').collect();
                let ["app", commit, number] = parts[..] else {
                    panic!("{name} names no row of this application")
                };
                let at: (u64, u64) = (commit.parse().unwrap(), number.parse().unwrap());
                match named.insert(at, row.clone()) {
                    Some(before) => assert_eq!(before, row, "{name} is two rows"),
                    None => {
                        let before = last.insert(row[0].clone(), (shard, at));
                        let behind = |(of, before)| of == shard && before < at;
                        assert!(
                            before.is_none_or(behind),
                            "{name} comes in shard {shard} after {before:?} of its key"
                        );
                    }
                }
            }
        }
        let mut rows: Vec<_> = named.into_values().collect();
        rows.sort();
        rows
    }
}
