//! The contract of sources as it is for a stream: shards are there from the start, and offsets begin with the shard's number.

use std::time::Duration;

use watershed::ErrorKind;
use watershed::connect::{Poll, Source};

use super::{World, drain};

/// Offsets of shard 1 begin here.
const BASE: u64 = 1 << 42;

/// Records that go to shard 1 of two: this key's hash is in the upper half.
fn fill(world: &World, numbers: std::ops::Range<u64>) {
    world.put(&numbers.map(|n| ("b".into(), n.to_string().into_bytes())).collect::<Vec<_>>());
}

fn numbered(numbers: std::ops::Range<u64>) -> Vec<(u64, Vec<u8>)> {
    numbers.map(|n| (BASE + n, n.to_string().into_bytes())).collect()
}

#[test]
fn a_reading_resumes_where_another_process_was() {
    let Some(world) = World::new("resume", 2) else { return };
    fill(&world, 0..30);
    let source = world.stream();
    assert_eq!(source.partitions().unwrap(), [0, 1]);
    assert_eq!(drain(&mut *source.open(0, None, false).unwrap(), usize::MAX), []);
    let mut reader = source.open(1, None, false).unwrap();
    assert_eq!(drain(&mut *reader, usize::MAX), numbered(0..30));
    assert!(matches!(reader.poll().unwrap(), Poll::End), "an end is for ever");
    assert_eq!(reader.remaining(), 0);
    for from in [0, 1, 7, 29, 30] {
        let memory = source.remember(&[(1, BASE + from)].into());
        let next = world.stream();
        next.recall(&memory).unwrap();
        for source in [&source, &next, &world.stream()] {
            let mut reader = source.open(1, Some(BASE + from), false).unwrap();
            assert_eq!(drain(&mut *reader, usize::MAX), numbered(from..30), "from {from}");
        }
    }
    for follow in [false, true] {
        let error = source.open(1, Some(BASE + 31), follow).err().expect("what is not there can't be read");
        assert_eq!(error.kind(), ErrorKind::Data);
    }
    assert_eq!(world.stream().describe(), source.describe(), "one log has one name");
}

#[test]
fn a_follower_waits_and_sees_what_comes() {
    let Some(world) = World::new("follow", 2) else { return };
    let source = world.stream();
    let mut reader = source.open(1, None, true).unwrap();
    assert!(matches!(reader.poll().unwrap(), Poll::Idle));
    assert!(reader.wait(Duration::from_millis(1)));
    let mut seen = 0;
    for end in [10, 11, 40] {
        fill(&world, seen..end);
        assert_eq!(drain(&mut *reader, (end - seen) as usize), numbered(seen..end));
        assert!(matches!(reader.poll().unwrap(), Poll::Idle));
        seen = end;
    }
}

#[test]
fn records_of_every_length_are_whole() {
    let Some(world) = World::new("lengths", 1) else { return };
    let huge = vec![b'x'; 700_000];
    let values: Vec<(String, Vec<u8>)> =
        [&b"a"[..], b"", &huge, b"z", &huge[..300_000], &huge[..300_000]].map(|value| ("k".into(), value.to_vec())).into();
    values.chunks(2).for_each(|pair| world.put(pair));
    let read = drain(&mut *world.stream().open(0, None, false).unwrap(), usize::MAX);
    assert!(read.iter().map(|(_, value)| value).eq(values.iter().map(|(_, value)| value)));
}
