//! Readers of a service that fails, deletes records, or returns empty pages.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::api::{CallErrorKind, Start};
use super::super::{KinesisStream, OFFSETS_PER_SHARD};
use super::fake::{Fake, drain, read, values};
use crate::connect::{Partition, Poll, Source};
use crate::error::ErrorKind;

fn numbered(shard: u32, records: std::ops::Range<u64>) -> Vec<super::fake::ReadRecord> {
    let base = u64::from(shard) * OFFSETS_PER_SHARD;
    records.map(|n| (shard, base + n, format!("k{}", n % 3), n.to_string())).collect()
}

fn fill(fake: &Fake, shard: u32, records: std::ops::Range<u64>) {
    records.for_each(|n| fake.append(shard, &format!("k{}", n % 3), n.to_string()));
}

/// Returns the stream in another process, which continues from a commit at these ends.
fn continued(fake: &Fake, source: &KinesisStream, ends: &[(u32, u64)]) -> KinesisStream {
    let memory = source.state(&ends.iter().copied().collect());
    let next = fake.stream();
    next.restore(&serde_json::from_str(&memory.to_string()).unwrap()).unwrap();
    next
}

/// Returns the error of opening or reading the shard.
fn refused(source: &KinesisStream, shard: u32, from: u64) -> crate::Error {
    let mut partition = match source.open(shard, Some(from), true) {
        Ok(partition) => partition,
        Err(error) => return error,
    };
    loop {
        match partition.poll() {
            Ok(Poll::Idle) => assert!(partition.wait(Duration::from_secs(10))),
            Ok(other) => panic!("{other:?}"),
            Err(error) => return error,
        }
    }
}

#[test]
fn every_position_is_found_with_and_without_saved_positions() {
    let fake = Fake::of(3);
    fill(&fake, 2, 0..40);
    let source = fake.stream();
    source.partitions().unwrap();
    assert_eq!(read(&source, 2, None), numbered(2, 0..40));
    let base = 2 * OFFSETS_PER_SHARD;
    for from in 0..=40 {
        assert_eq!(read(&source, 2, Some(base + from)), numbered(2, from..40), "from {from}");
        assert_eq!(
            read(&fake.stream(), 2, Some(base + from)),
            numbered(2, from..40),
            "from {from}, in another process"
        );
        let next = continued(&fake, &source, &[(2, base + from)]);
        assert_eq!(
            read(&next, 2, Some(base + from)),
            numbered(2, from..40),
            "from {from}, continued"
        );
    }
    for follow in [false, true] {
        let error =
            source.open(2, Some(base + 41), follow).err().expect("the offset does not exist");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(
            source.open(2, Some(41), follow).err().unwrap().kind(),
            ErrorKind::Data,
            "another shard's offset"
        );
    }
}

#[test]
fn a_continued_run_requests_only_new_records() {
    let fake = Fake::of(1);
    fill(&fake, 0, 0..40);
    let source = fake.stream();
    read(&source, 0, None);
    let next = continued(&fake, &source, &[(0, 40)]);
    fake.with(|stream| stream.starts.clear());
    fill(&fake, 0, 40..43);
    assert_eq!(read(&next, 0, Some(40)), numbered(0, 40..43));
    assert_eq!(
        fake.with(|stream| stream.starts.clone()),
        [Start::AtSequence(format!("4{:055}", 40))]
    );
}

#[test]
fn an_expired_iterator_is_renewed_at_the_position() {
    let fake = Fake::of(1);
    let source = fake.stream();
    let mut reader = source.open(0, None, true).unwrap();
    for step in 0..5 {
        fill(&fake, 0, step * 7..step * 7 + 7);
        assert_eq!(drain(&mut *reader, 7).0, numbered(0, step * 7..step * 7 + 7));
        fake.expire();
    }
}

#[test]
fn throttling_and_transient_failures_lose_nothing() {
    let fake = Fake::of(1);
    fill(&fake, 0, 0..25);
    fake.with(|stream| stream.failures = [CallErrorKind::Transient; 3].into());
    let source = fake.stream();
    assert_eq!(source.partitions().unwrap(), [0]);
    fake.with(|stream| stream.failures = [CallErrorKind::Transient; 4].into());
    assert_eq!(read(&source, 0, None), numbered(0, 0..25));
}

#[test]
fn a_missing_service_is_an_error_only_before_the_first_list() {
    let fake = Fake::of(2);
    let source = fake.stream();
    fake.with(|stream| stream.failures = [CallErrorKind::Transient; 6].into());
    assert_eq!(source.partitions().unwrap_err().kind(), ErrorKind::Connect);
    assert_eq!(source.partitions().unwrap(), [0, 1]);
    fake.with(|stream| stream.failures = [CallErrorKind::Transient; 6].into());
    assert_eq!(source.partitions().unwrap(), [0, 1]);
    fake.with(|stream| stream.failures = [CallErrorKind::Missing].into());
    let error = source.partitions().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("no such stream"), "{error}");
}

#[test]
fn empty_pages_are_not_the_end() {
    let fake = Fake::of(1);
    fill(&fake, 0, 0..25);
    fake.with(|stream| stream.empty = 3);
    let source = fake.stream();
    assert_eq!(read(&source, 0, None), numbered(0, 0..25));
    assert_eq!(read(&source, 0, Some(20)), numbered(0, 20..25));
    assert_eq!(read(&fake.stream(), 0, Some(20)), numbered(0, 20..25));
}

#[test]
fn records_deleted_by_retention_are_refused() {
    let fake = Fake::of(1);
    fill(&fake, 0, 0..20);
    let source = fake.stream();
    read(&source, 0, None);
    let next = continued(&fake, &source, &[(0, 20)]);
    fake.with(|stream| stream.shards[0].trimmed = 5);
    assert_eq!(refused(&next, 0, 0).kind(), ErrorKind::Data, "the first record is gone");
    assert_eq!(read(&next, 0, Some(20)), [], "the last record exists");
    fill(&fake, 0, 20..30);
    fake.with(|stream| stream.shards[0].trimmed = 25);
    let error = refused(&next, 0, 20);
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("Retention"), "{error}");
}

#[test]
fn records_deleted_between_two_pages_are_refused() {
    // The record before a position is read again, together with the next records.
    for (trims, enough) in [(vec![15], 10), (vec![0, 20], 19), (vec![10], 10)] {
        let fake = Fake::of(1);
        fill(&fake, 0, 0..30);
        fake.with(|stream| (stream.old, stream.trims) = (true, trims.into()));
        let source = fake.stream();
        let mut reader = source.open(0, None, false).unwrap();
        let mut got = Vec::new();
        let error = loop {
            match reader.poll() {
                Ok(Poll::Idle) => assert!(reader.wait(Duration::from_secs(10))),
                Ok(Poll::Batch(batch)) => {
                    got.extend(batch.iter(0).map(|record| record.order.offset))
                }
                Ok(Poll::End) => panic!("the reading ended after {} records", got.len()),
                Err(error) => break error,
            }
        };
        assert_eq!((got, error.kind()), ((0..enough).collect(), ErrorKind::Data));
    }
}

#[test]
fn old_records_are_read_to_the_end_with_any_page_size() {
    for (page, empty) in [(1, 0), (1, 2), (10, 0), (10, 1)] {
        let fake = Fake::of(1);
        fill(&fake, 0, 0..25);
        fake.with(|stream| (stream.old, stream.page, stream.empty) = (true, page, empty));
        assert_eq!(read(&fake.stream(), 0, None), numbered(0, 0..25));
        assert_eq!(read(&fake.stream(), 0, Some(13)), numbered(0, 13..25));
    }
}

#[test]
fn a_reader_behind_retention_with_an_old_iterator_is_refused() {
    let fake = Fake::of(1);
    fill(&fake, 0, 0..5);
    let source = fake.stream();
    let mut reader = source.open(0, None, true).unwrap();
    assert_eq!(drain(&mut *reader, 5).0.len(), 5);
    fake.with(|stream| stream.shards[0].trimmed = 5);
    fake.expire();
    let error = loop {
        match reader.poll() {
            Ok(Poll::Idle) => assert!(reader.wait(Duration::from_secs(10))),
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Data);
}

#[test]
fn a_recreated_stream_is_refused() {
    let fake = Fake::of(1);
    fill(&fake, 0, 0..20);
    let source = fake.stream();
    read(&source, 0, None);
    let next = continued(&fake, &source, &[(0, 20)]);
    fake.with(|stream| stream.shards[0].records.clear());
    fill(&fake, 0, 0..30);
    assert_eq!(refused(&next, 0, 0).kind(), ErrorKind::Data);
    assert_eq!(refused(&next, 0, 20).kind(), ErrorKind::Data);
}

#[test]
fn children_wait_until_all_their_parents_are_read() {
    let fake = Fake::of(2);
    fill(&fake, 0, 0..5);
    fill(&fake, 1, 0..5);
    fake.reshard(&[0, 1], 1);
    fill(&fake, 2, 0..5);
    let source = fake.stream();
    assert_eq!(source.partitions().unwrap(), [0, 1, 2]);
    let mut child = source.open(2, None, true).unwrap();
    let mut parents = [0, 1].map(|shard| source.open(shard, None, true).unwrap());
    for parent in &mut parents {
        assert!(
            matches!(child.poll().unwrap(), Poll::Idle) && child.wait(Duration::from_millis(20))
        );
        assert!(matches!(drain(&mut *child, 0), (none, Poll::Idle) if none.is_empty()));
        let (records, end) = drain(&mut **parent, usize::MAX);
        assert_eq!(records.len(), 5);
        assert!(matches!(end, Poll::End), "a closed shard ends for a follower too");
    }
    assert_eq!(values(&drain(&mut *child, 5).0), ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_position_in_a_child_does_not_wait_for_its_parents() {
    let fake = Fake::of(1);
    fill(&fake, 0, 0..5);
    fake.reshard(&[0], 2);
    fill(&fake, 1, 0..5);
    let first = fake.stream();
    first.partitions().unwrap();
    read(&first, 0, None);
    read(&first, 1, None);
    let next = continued(&fake, &first, &[(0, 5), (1, OFFSETS_PER_SHARD + 5)]);
    assert_eq!(next.partitions().unwrap(), [0, 1, 2]);
    assert_eq!(read(&next, 1, Some(OFFSETS_PER_SHARD)), numbered(1, 0..5));
}

#[test]
fn children_do_not_wait_for_parents_that_are_gone() {
    let fake = Fake::of(1);
    fill(&fake, 0, 0..5);
    fake.reshard(&[0], 1);
    fill(&fake, 1, 0..5);
    fake.with(|stream| stream.shards[0].trimmed = 5);
    let source = fake.stream();
    assert_eq!(source.partitions().unwrap(), [1]);
    assert_eq!(read(&source, 1, None), numbered(1, 0..5));
}

#[test]
fn a_shard_that_was_read_to_its_end_may_lose_all_records() {
    let fake = Fake::of(1);
    fill(&fake, 0, 0..5);
    fake.reshard(&[0], 1);
    fill(&fake, 1, 0..5);
    let source = fake.stream();
    source.partitions().unwrap();
    read(&source, 0, None);
    read(&source, 1, None);
    let next = continued(&fake, &source, &[(0, 5), (1, OFFSETS_PER_SHARD + 5)]);
    let early = continued(&fake, &source, &[(0, 4)]);
    fill(&fake, 1, 5..9);
    fake.with(|stream| (stream.shards[0].trimmed, stream.shards[1].trimmed) = (5, 4));
    assert_eq!(next.partitions().unwrap(), [1]);
    assert_eq!(read(&next, 0, Some(5)), []);
    assert_eq!(read(&next, 1, Some(OFFSETS_PER_SHARD + 5)), numbered(1, 5..9));
    assert_eq!(refused(&early, 0, 4).kind(), ErrorKind::Data, "the fifth record was not read");
    // The same from a state that was restored.
    let last = continued(&fake, &next, &[(0, 5), (1, OFFSETS_PER_SHARD + 9)]);
    assert_eq!(read(&last, 0, Some(5)), []);
    fake.with(|stream| stream.shards[1].trimmed = 9);
    assert_eq!(refused(&last, 1, OFFSETS_PER_SHARD + 9).kind(), ErrorKind::Data, "it is open");
}

#[test]
fn a_closed_empty_shard_is_not_listed_again() {
    let fake = Fake::of(1);
    fake.reshard(&[0], 1);
    let source = fake.stream();
    assert_eq!(source.partitions().unwrap(), [0, 1]);
    assert_eq!(read(&source, 0, None), []);
    assert_eq!(source.partitions().unwrap(), [1]);
    assert_eq!(fake.stream().partitions().unwrap(), [0, 1]);
}

#[test]
fn readers_that_are_not_polled_do_not_block_others() {
    let fake = Fake::of(40);
    (0..40).for_each(|shard| fill(&fake, shard, 0..30));
    let source = fake.stream();
    let mut readers: BTreeMap<u32, Box<dyn Partition>> = source
        .partitions()
        .unwrap()
        .into_iter()
        .map(|shard| (shard, source.open(shard, None, true).unwrap()))
        .collect();
    let last = readers.get_mut(&39).unwrap();
    assert_eq!(drain(&mut **last, 30).0, numbered(39, 0..30));
}

#[test]
fn saved_positions_stay_small() {
    let fake = Fake::of(1);
    fake.with(|stream| stream.page = 1);
    let source = fake.stream();
    fill(&fake, 0, 0..50);
    read(&source, 0, None);
    let memory = source.state(&BTreeMap::from([(0, 30)]));
    assert_eq!(memory["0"]["ends"].as_object().unwrap().len(), 1);
    assert_eq!(read(&source, 0, Some(30)), numbered(0, 30..50), "later positions are still known");
    assert_eq!(source.restore(&serde_json::json!({"0": 7})).unwrap_err().kind(), ErrorKind::Data);
}
