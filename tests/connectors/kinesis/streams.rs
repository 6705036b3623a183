//! Managing streams, and writing into one.

use watershed::ErrorKind;

use super::{Numbers, World};

#[test]
fn a_stream_is_created_changed_described_and_deleted() {
    let Some(world) = World::new("managed", 2) else { return };
    let (kinesis, name) = (&world.kinesis, &world.name);
    assert!(kinesis.streams().unwrap().contains(name));
    assert_eq!(kinesis.create(name, 1).unwrap_err().kind(), ErrorKind::Connect, "it exists");
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
    assert_eq!(
        info.shards.iter().map(|shard| shard.closed).collect::<Vec<_>>(),
        [true, true, true, false, false]
    );
    kinesis.reshard(name, 4).unwrap();
    assert_eq!(kinesis.describe(name).unwrap().open_shards(), 4);
    assert_eq!(kinesis.split(name, 77).unwrap_err().kind(), ErrorKind::Config);
    kinesis.delete(name).unwrap();
    assert!(!kinesis.streams().unwrap().contains(name));
    assert_eq!(kinesis.describe(name).unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn written_rows_can_be_read_and_repeated_ones_told_apart() {
    let Some(world) = World::new("written", 3) else { return };
    let mut numbers = Numbers::default();
    numbers.write(50, 2, world.stream());
    numbers.write(50, 2, world.stream());
    let (numbers, records) = Numbers::of(&world.stream());
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    // A run that continues writes the last commit again, because it can't know whether that was
    // written before.
    assert!(records > 100, "{records}");
}
