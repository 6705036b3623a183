//! Managing streams, and writing into one.

use std::sync::Arc;

use object_store::memory::InMemory;
use serde_json::Value as Json;
use watershed::connect::memory::MemoryLog;
use watershed::connect::{Source, Store};
use watershed::options::{Consumed, Produced};
use watershed::runtime::{Config, Streams};
use watershed::serdes::{self, Utf8};
use watershed::{ErrorKind, StreamsBuilder, Topology};

use super::{World, drain};

#[test]
fn a_stream_is_made_changed_shown_and_deleted() {
    let Some(world) = World::new("managed", 2) else { return };
    let (kinesis, name) = (&world.kinesis, &world.name);
    assert!(kinesis.streams().unwrap().contains(name));
    assert_eq!(kinesis.create(name, 1).unwrap_err().kind(), ErrorKind::Connect, "there is one");
    let info = kinesis.describe(name).unwrap();
    assert_eq!(
        (info.name.as_str(), info.status.as_str(), info.open_shards(), info.on_demand),
        (name.as_str(), "ACTIVE", 2, false)
    );
    assert_eq!((info.shards[0].hashes.0, info.shards[1].hashes.1), (0, u128::MAX));
    kinesis.split(name, 1).unwrap();
    kinesis.merge(name, 0, 2).unwrap();
    let info = kinesis.describe(name).unwrap();
    let parents: Vec<&[u32]> = info.shards.iter().map(|shard| shard.parents.as_slice()).collect();
    assert_eq!(parents, [&[][..], &[], &[1], &[1], &[0, 2]]);
    assert_eq!(info.shards.iter().map(|shard| shard.closed).collect::<Vec<_>>(), [true, true, true, false, false]);
    kinesis.reshard(name, 4).unwrap();
    assert_eq!(kinesis.describe(name).unwrap().open_shards(), 4);
    assert_eq!(kinesis.split(name, 77).unwrap_err().kind(), ErrorKind::Config);
    kinesis.delete(name).unwrap();
    assert!(!kinesis.streams().unwrap().contains(name));
    assert_eq!(kinesis.describe(name).unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn what_a_run_writes_is_there_and_what_it_writes_again_can_be_told() {
    let Some(world) = World::new("written", 3) else { return };
    let log = MemoryLog::default();
    let program = || {
        Topology::new("program", |builder: &StreamsBuilder<'_>| {
            let events = builder.stream::<String, i64>("events", Consumed::with(Utf8, serdes::Json));
            events.to("out", Produced::columns(["key", "number"]));
        })
    };
    let objects = Arc::new(InMemory::new());
    let mut next = 0;
    for _ in 0..2 {
        for _ in 0..50 {
            log.append(0, Some(format!("k{}", next % 5).as_bytes()), Some(next.to_string().as_bytes()));
            next += 1;
        }
        let state = Some(Store::objects(objects.clone(), "state").unwrap());
        let streams = Streams::new(program()).source("events", log.clone()).sink("out", world.stream());
        streams.run(Config { workers: 2, state, ..Config::default() }).unwrap();
    }
    let source = world.stream();
    let mut rows: Vec<Json> = Vec::new();
    for shard in source.partitions().unwrap() {
        let records = drain(&mut *source.open(shard, None, false).unwrap(), usize::MAX);
        rows.extend(records.iter().map(|(_, value)| serde_json::from_slice::<Json>(value).unwrap()));
    }
    // A run that continues writes the last commit again: nothing says whether it was written before.
    assert!(rows.len() > 100, "{}", rows.len());
    let mut known = std::collections::BTreeMap::new();
    for row in rows {
        let record = row["_record"].as_str().unwrap().to_string();
        assert_eq!(*known.entry(record).or_insert_with(|| row.clone()), row, "one name, one record");
    }
    let mut numbers: Vec<i64> = known.values().map(|row| row["number"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}
