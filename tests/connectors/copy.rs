//! A copy of a log in an archive has the same records, offsets and objects, whatever happens on the
//! way.

use std::time::Duration;

use watershed::connect::{Poll, Source};
use watershed::connectors::archive::{ArchiveTopic, Copier, Rotation};
use watershed::record::Batch;
use watershed::{ErrorKind, Result, Timestamp};

use super::{Spot, Topic};
use crate::support::Dice;
use crate::support::bucket::bucket;

const FIVE_RECORDS: Rotation = Rotation { flush_size: 5, rotate_interval: None };

/// Records `r<n>` of partition 2, each with the timestamp `at(n)` in milliseconds.
fn batch(range: std::ops::Range<u64>, at: impl Fn(u64) -> i64) -> Batch {
    let mut batch = Batch { partition: 2, first: range.start, next: range.end, ..Batch::default() };
    for offset in range {
        batch.push(
            offset,
            Some(Timestamp::from_millis(at(offset))),
            None,
            Some(format!("r{offset}").as_bytes()),
        );
    }
    batch
}

fn copy(topic: &ArchiveTopic, rotation: Rotation) -> Copier {
    topic.copy(2, rotation).unwrap()
}

/// First offsets of the objects.
fn objects(place: &Topic) -> Vec<u64> {
    let listed = place.0.store.list("topics/topic/partition=2").unwrap();
    listed
        .iter()
        .map(|(name, _)| {
            name.strip_prefix("topic+2+").unwrap().strip_suffix(".json").unwrap().parse().unwrap()
        })
        .collect()
}

/// Offsets and values of all records.
fn records(topic: &ArchiveTopic) -> Vec<(u64, String)> {
    let mut reader = Source::open(topic, 2, None, false).unwrap();
    let mut records = Vec::new();
    while let Poll::Batch(batch) = reader.poll().unwrap() {
        records.extend(
            batch
                .iter(0)
                .map(|r| (r.order.offset, String::from_utf8(r.value.unwrap().to_vec()).unwrap())),
        );
    }
    records
}

fn expected(range: std::ops::Range<u64>) -> Vec<(u64, String)> {
    range.map(|n| (n, format!("r{n}"))).collect()
}

#[test]
fn complete_objects_are_created_and_the_rest_is_read_again() {
    let place = Topic::new(Spot::folder());
    let topic = place.topic();
    let mut first = copy(&topic, FIVE_RECORDS);
    assert_eq!(first.next(), None);
    first.push(&batch(7..19, |_| 0)).unwrap();
    assert_eq!((objects(&place), first.next()), (vec![7, 12], Some(19)));
    // A new copier reads the rest again, as after a crash.
    let mut second = copy(&topic, FIVE_RECORDS);
    assert_eq!(second.next(), Some(17));
    second.push(&batch(15..30, |_| 0)).unwrap();
    assert_eq!(objects(&place), [7, 12, 17, 22]);
    assert_eq!(records(&topic), expected(7..27));
}

#[test]
fn an_object_ends_before_the_first_record_past_its_interval() {
    let place = Topic::new(Spot::folder());
    let rotation = Rotation { flush_size: 100, rotate_interval: Some(Duration::from_secs(1)) };
    let mut copier = copy(&place.topic(), rotation);
    // Records every 400 ms, and one late record with an early timestamp.
    copier.push(&batch(0..10, |n| if n == 4 { 0 } else { n as i64 * 400 })).unwrap();
    assert_eq!(objects(&place), [0, 3, 6]);
    assert_eq!(records(&place.topic()), expected(0..9));
}

#[test]
fn batches_and_crashes_change_no_object() {
    let at = |n: u64| (n * 7919 % 13) as i64 * 300 + n as i64 * 100;
    let rotation = Rotation { flush_size: 6, rotate_interval: Some(Duration::from_secs(1)) };
    let whole = Topic::new(Spot::folder());
    copy(&whole.topic(), rotation).push(&batch(3..500, at)).unwrap();
    for seed in 0..5 {
        let (place, mut dice) = (Topic::new(Spot::folder()), Dice::new(seed));
        let mut copier = copy(&place.topic(), rotation);
        let mut other = copy(&place.topic(), rotation);
        while copier.next() != Some(500) {
            let from = copier.next().unwrap_or(3);
            copier.push(&batch(from..(from + 1 + dice.below(20)).min(500), at)).unwrap();
            match dice.below(8) {
                0 => copier = copy(&place.topic(), rotation),
                1 => std::mem::swap(&mut copier, &mut other),
                _ => {}
            }
        }
        assert_eq!(objects(&place), objects(&whole), "seed {seed}");
        assert_eq!(records(&place.topic()), records(&whole.topic()), "seed {seed}");
    }
}

#[test]
fn any_value_becomes_a_line() {
    let place = Topic::new(Spot::folder());
    let mut odd = batch(0..6, |_| 0);
    odd.records[1].value = None;
    odd.bytes[..2].copy_from_slice(b"\n1");
    let mut copier = copy(&place.topic(), FIVE_RECORDS);
    copier.push(&odd).unwrap();
    assert_eq!((objects(&place), copier.waiting()), (vec![0], 1));
    let text =
        place.0.store.get("topics/topic/partition=2/topic+2+0000000000.json").unwrap().unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), " 1\nnull\nr2\nr3\nr4\n");
}

#[test]
fn a_gap_is_refused_and_everything_before_it_is_kept() {
    for (before, after) in [(5..11, 12), (5..10, 11), (0..5, 6)] {
        let place = Topic::new(Spot::folder());
        let (first, whole) = (before.start, before.end - before.end % 5);
        copy(&place.topic(), FIVE_RECORDS).push(&batch(before.clone(), |_| 0)).unwrap();
        for mut copier in [copy(&place.topic(), FIVE_RECORDS), copy(&place.topic(), FIVE_RECORDS)] {
            copier.push(&batch(whole..before.end, |_| 0)).unwrap();
            let error = copier.push(&batch(after..after + 9, |_| 0)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Data);
            assert!(
                error.to_string().contains(&format!("from {} up to {after}", before.end)),
                "{error}"
            );
        }
        assert_eq!(records(&place.topic()), expected(first..whole));
    }
}

#[test]
fn other_records_or_another_writer_are_refused() {
    let place = Topic::new(Spot::folder());
    let (mut one, mut two) =
        (copy(&place.topic(), FIVE_RECORDS), copy(&place.topic(), FIVE_RECORDS));
    one.push(&batch(0..5, |_| 0)).unwrap();
    let mut others = batch(0..5, |_| 0);
    others.bytes.make_ascii_uppercase();
    let refused = |result: Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::Data);
    refused(two.push(&others));
    assert_eq!(records(&place.topic()), expected(0..5));
    assert_eq!(
        place.topic().copy(2, Rotation { flush_size: 0, ..FIVE_RECORDS }).err().unwrap().kind(),
        ErrorKind::Usage
    );
    let application = Topic::new(Spot::folder());
    application.0.store.put("topics/topic/_writer", b"app-1").unwrap();
    refused(application.topic().copy(2, FIVE_RECORDS).map(|_| ()));
}

#[test]
fn a_copy_is_the_same_on_s3() {
    let Some(url) = bucket(a_copy_is_the_same_on_s3) else { return };
    let place = Topic::new(Spot::within(&url));
    for to in [4, 12, 40] {
        let mut copier = copy(&place.topic(), FIVE_RECORDS);
        let from = copier.next().unwrap_or(0);
        copier.push(&batch(from..to, |_| 0)).unwrap();
    }
    assert_eq!(objects(&place), [0, 5, 10, 15, 20, 25, 30, 35]);
    assert_eq!(records(&place.topic()), expected(0..40));
}
