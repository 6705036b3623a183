//! Archives in other writers' layouts are read wherever the objects are, packed or not. A follower
//! finds new folders and wider names. In a folder, an object store and a real bucket.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use watershed::ErrorKind;
use watershed::connect::{Partition, Poll, Source};
use watershed::connectors::archive::Rotation;
use watershed::record::Batch;

use super::{Spot, Topic};
use crate::support::bucket::bucket;
use crate::support::until;

/// Creates an object with the lines `r<first>` and so on, packed if its name ends in `.gz`.
fn put(place: &Topic, path: &str, lines: u64) {
    let (name, packed) = path.strip_suffix(".gz").map_or((path, false), |name| (name, true));
    let first: u64 =
        name.rsplit('+').next().unwrap().strip_suffix(".json").unwrap().parse().unwrap();
    let text: String = (first..first + lines).map(|n| format!("r{n}\n")).collect();
    let mut bytes = text.into_bytes();
    if packed {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&bytes).unwrap();
        bytes = encoder.finish().unwrap();
    }
    place.0.store.put(&format!("topics/topic/{path}"), &bytes).unwrap();
}

/// Reads on until the offset `to` is next, and checks the value of each record.
fn reads(reader: &mut dyn Partition, mut from: u64, to: u64) {
    let mut step = || match reader.poll().unwrap() {
        Poll::Batch(batch) => {
            for record in batch.iter(0) {
                assert_eq!(
                    (record.order.offset, record.value),
                    (from, Some(format!("r{from}").as_bytes()))
                );
                from += 1;
            }
            from >= to
        }
        Poll::Idle => {
            if !reader.wait(Duration::from_millis(1)) {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            false
        }
        Poll::End => panic!("it ends at {from}"),
    };
    until(&format!("offset {to}"), &mut step);
    assert_eq!(from, to);
}

fn objects_are_read_wherever_they_lie(place: &Topic) {
    let topic = place.topic();
    put(place, "partition=2/topic+2+0000000000.json", 2);
    put(place, "year=2020/month=08/day=28/hour=03/topic+2+0000000002.json.gz", 3);
    put(place, "year=2020/month=08/day=28/hour=03/topic+11+0000000007.json", 1);
    put(place, "country=Chile/topic+2+5.json", 1);
    put(place, "partition=2/deeper/topic+2+0000000000006.json.gz", 2);
    put(place, "topic+2+08.json", 1);
    place.0.store.put("topics/topic/year=2020/month=08/topic+2+0000000009.avro", b"Obj").unwrap();
    assert_eq!(Source::partitions(&topic).unwrap(), [2, 11]);
    assert_eq!((topic.span(2).unwrap(), topic.span(11).unwrap()), (Some(0..9), Some(7..8)));
    for from in 0..9 {
        reads(&mut *topic.open(2, Some(from), false).unwrap(), from, 9);
    }
    reads(&mut *topic.open(11, None, false).unwrap(), 7, 8);
    assert_eq!(topic.ignored_files(), 1);
    // A writer continues after the existing objects.
    let mut copier = topic.copy(2, Rotation { flush_size: 3, rotate_interval: None }).unwrap();
    assert_eq!(copier.next(), Some(9));
    let mut batch = Batch { partition: 2, first: 9, next: 12, ..Batch::default() };
    (9..12).for_each(|n| batch.push(n, None, None, Some(format!("r{n}").as_bytes())));
    copier.push(&batch).unwrap();
    reads(&mut *topic.open(2, None, false).unwrap(), 0, 12);
    put(place, "country=Peru/topic+2+3.json", 1);
    let mut reader = topic.open(2, None, false).unwrap();
    let error = std::iter::repeat_with(|| reader.poll()).find_map(Result::err).unwrap();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("hour=03/topic+2+0000000002.json.gz and "), "{error}");
    assert!(error.to_string().contains("country=Peru/topic+2+3.json"), "{error}");
}

/// Deletes an object.
fn lose(place: &Topic, path: &str) {
    place.0.store.delete(&format!("topics/topic/{path}")).unwrap();
}

fn deleted_objects_are_refused(place: &Topic) {
    let topic = place.topic();
    let objects = ["partition=2/topic+2+0000000000.json", "hour=03/topic+2+2.json.gz"];
    objects.iter().for_each(|object| put(place, object, 2));
    put(place, "country=Chile/topic+2+00004.json", 3);
    put(place, "partition=2/topic+2+0000000007.json.gz", 2);
    let refuses = |from: u64, bound: u64| {
        for follow in [false, true] {
            let error = topic.open(2, Some(from), follow).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Data, "{error}");
            let expected = format!("from offset {from}: it begins at {bound}");
            assert!(error.to_string().contains(&expected), "{error}");
        }
    };
    objects.iter().for_each(|object| lose(place, object));
    refuses(3, 4);
    (4..9).for_each(|from| reads(&mut *topic.open(2, Some(from), false).unwrap(), from, 9));
    lose(place, "country=Chile/topic+2+00004.json");
    refuses(6, 7);
    reads(&mut *topic.open(2, Some(8), true).unwrap(), 8, 9);
    // A gap behind the position.
    put(place, "hour=04/topic+2+11.json", 1);
    let mut reader = topic.open(2, Some(8), false).unwrap();
    let error = std::iter::repeat_with(|| reader.poll()).find_map(Result::err).unwrap();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains("lacks the offsets from 9 on"), "{error}");
}

fn new_folders_are_followed(place: &Topic) {
    let topic = place.topic();
    put(place, "hour=03/topic+2+0.json", 2);
    put(place, "country=Chile/topic+2+2.json", 1);
    let mut follower = topic.open(2, None, true).unwrap();
    reads(&mut *follower, 0, 3);
    put(place, "hour=03/topic+2+3.json.gz", 2);
    reads(&mut *follower, 3, 5);
    put(place, "hour=04/topic+2+5.json", 2);
    // Late object of an early folder, and a new partition.
    put(place, "country=Argentina/topic+2+8.json", 2);
    put(place, "hour=04/topic+7+0.json", 2);
    reads(&mut *follower, 5, 7);
    put(place, "hour=02/topic+2+7.json", 1);
    reads(&mut *follower, 7, 10);
    put(place, "partition=2/topic+2+0000000010.json", 1);
    put(place, "hour=05/late/topic+2+11.json.gz", 4);
    reads(&mut *follower, 10, 15);
    until("the new partition", || Source::partitions(&topic).unwrap() == [2, 7]);
    reads(&mut *topic.open(7, None, true).unwrap(), 0, 2);
}

fn names_of_other_widths_are_followed(place: &Topic) {
    let topic = place.topic();
    for (folder, partition, first, width) in [
        ("partition=0", 0, 9_999_999_990_u64, 10),
        ("partition=1", 1, 90, 1),
        ("hour=03", 2, 9_999_999_990, 10),
        ("partition=3", 3, 990, 3),
    ] {
        let object = |first: u64| format!("{folder}/topic+{partition}+{first:0width$}.json");
        put(place, &object(first), 10);
        let mut follower = topic.open(partition, None, true).unwrap();
        reads(&mut *follower, first, first + 10);
        put(place, &object(first + 10), 10);
        reads(&mut *follower, first + 10, first + 20);
        put(place, &object(first + 20), 10);
        put(place, &object(first + 30), 10);
        reads(&mut *follower, first + 20, first + 40);
        reads(&mut *topic.open(partition, None, false).unwrap(), first, first + 40);
    }
}

fn layouts(spot: impl Fn() -> Spot) {
    objects_are_read_wherever_they_lie(&Topic::new(spot()));
    deleted_objects_are_refused(&Topic::new(spot()));
    new_folders_are_followed(&Topic::new(spot()));
    names_of_other_widths_are_followed(&Topic::new(spot()));
}

#[test]
fn the_archive_is_read_in_every_layout() {
    layouts(Spot::folder);
    layouts(Spot::memory);
}

#[test]
fn the_archive_is_read_in_every_layout_on_s3() {
    let Some(url) = bucket(the_archive_is_read_in_every_layout_on_s3) else { return };
    layouts(|| Spot::within(&url));
}
