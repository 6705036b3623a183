//! Retention of an archive: objects are deleted that were released and are old, but never the
//! newest.

use std::time::{Duration, UNIX_EPOCH};

use watershed::Timestamp;
use watershed::connect::Source;

use super::contract::Held;
use super::{Spot, Topic};
use crate::support::bucket::bucket;

const HOUR: Duration = Duration::from_secs(3600);

/// Creates a topic with objects of 7 records in two partitions.
fn filled(spot: Spot) -> Topic {
    let place = Topic::new(spot);
    for partition in [0, 3] {
        (0..5).for_each(|_| place.append(partition, &[&b"v"[..]; 7]));
    }
    place
}

/// Releases the records before `ends` of the two partitions, `later` from now.
fn release(place: &Topic, age: Duration, later: Duration, ends: [u64; 2]) {
    let now = UNIX_EPOCH.elapsed().unwrap() + later;
    let topic = place.topic().with_retention(age);
    let ends = [0, 3].into_iter().zip(ends).collect();
    topic.released(&ends, Timestamp(now.as_micros() as i64));
}

/// The offsets at which the partitions begin.
fn begins(place: &Topic) -> [u64; 2] {
    [0, 3].map(|partition| place.topic().span(partition).unwrap().unwrap().start)
}

fn released_objects_are_deleted(spot: impl Fn() -> Spot) {
    let place = filled(spot());
    place.topic().released(&[(0, 35)].into(), Timestamp(i64::MAX));
    assert_eq!(begins(&place), [0, 0], "only with retention");
    release(&place, 2 * HOUR, HOUR, [30, 30]);
    assert_eq!(begins(&place), [0, 0], "none is old enough");
    // The object with the last released record stays.
    release(&place, 2 * HOUR, 3 * HOUR, [20, 21]);
    assert_eq!(begins(&place), [14, 14]);
    release(&place, 2 * HOUR, 3 * HOUR, [22, 7]);
    assert_eq!(begins(&place), [21, 14]);
    release(&place, Duration::ZERO, Duration::ZERO, [35, 1000]);
    assert_eq!(begins(&place), [28, 28], "the newest object stays");
    place.append(0, &[b"next"]);
    assert_eq!(place.topic().span(0).unwrap(), Some(28..36));
    let place = filled(spot());
    place.0.store.put("topics/topic/_writer", b"program-1").unwrap();
    release(&place, Duration::ZERO, Duration::ZERO, [35, 35]);
    assert_eq!(begins(&place), [0, 0], "a run recovers its output from all objects");
}

#[test]
fn objects_are_deleted_once_they_are_released_and_old() {
    released_objects_are_deleted(Spot::folder);
    released_objects_are_deleted(Spot::memory);
}

#[test]
fn objects_are_deleted_once_they_are_released_and_old_on_s3() {
    let Some(url) = bucket(objects_are_deleted_once_they_are_released_and_old_on_s3) else {
        return;
    };
    released_objects_are_deleted(|| Spot::within(&url));
}

#[test]
fn objects_in_any_folder_are_deleted() {
    let place = Topic::new(Spot::memory());
    for path in ["hour=03/topic+0+0.json", "a+b/topic+0+001.json.gz", "topic+0+2.json"] {
        place.0.store.put(&format!("topics/topic/{path}"), b"v\n").unwrap();
    }
    let topic = place.topic().with_retention(Duration::ZERO);
    topic.released(&[(0, 3)].into(), Timestamp(0));
    assert_eq!(topic.span(0).unwrap(), Some(2..3));
}
