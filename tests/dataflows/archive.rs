//! The command `archive` from a real broker into a real bucket. The records alone determine the
//! objects.

use std::collections::BTreeMap;
use std::fs;
use std::time::UNIX_EPOCH;

use watershed::store::Store;

use super::crash::killed_again_and_again;
use super::follow::{terminate, until};
use super::posting::{JSON, Running};
use super::{Place, assert_same, tables};
use crate::connectors::kafka::{Cluster, cluster};
use crate::support::Dice;
use crate::support::bucket::bucket;
use crate::support::http::Client;

const TOPICS: [&str; 3] = ["demo.pin", "demo.geo", "demo.user"];
const PARTITIONS: u32 = 2;
const MINUTE_MILLIS: i64 = 60_000;

/// The records of a partition, each with its timestamp in milliseconds.
type Feed = Vec<(i64, Option<Vec<u8>>)>;
/// Feeds by topic and partition.
type Feeds = BTreeMap<(&'static str, u32), Feed>;
/// Contents of the objects of an archive, by path.
type Objects = BTreeMap<String, Vec<u8>>;

/// Yesterday: neither in the future nor past the broker's retention.
fn yesterday() -> i64 {
    UNIX_EPOCH.elapsed().unwrap().as_millis() as i64 - 24 * 60 * MINUTE_MILLIS
}

/// The records to archive: generated ones, a tombstone and a value of two lines. Timestamps repeat,
/// advance, jump and go back.
fn feeds(place: &Place) -> Feeds {
    place.run(&[
        "generate",
        "--to",
        "generated",
        "--events",
        "240",
        "--dirt",
        "0.2",
        "--partitions",
        "2",
    ]);
    let mut dice = Dice::new(11);
    let mut feed = |topic, partition| -> Feed {
        let mut values: Vec<_> =
            place.lines("generated", topic, partition).into_iter().map(Some).collect();
        values.insert(5, None);
        values.insert(17, Some(b"{\n}".to_vec()));
        let mut at = yesterday();
        let mut stamped = |value| {
            at += match dice.below(9) {
                0 => MINUTE_MILLIS,
                1 => 3 * MINUTE_MILLIS,
                2 => -MINUTE_MILLIS / 2,
                3 => 0,
                _ => dice.below(20_000) as i64,
            };
            (at, value)
        };
        values.into_iter().map(&mut stamped).collect()
    };
    let partitions = TOPICS
        .into_iter()
        .flat_map(|topic| (0..PARTITIONS).map(move |partition| (topic, partition)));
    partitions.map(|(topic, partition)| ((topic, partition), feed(topic, partition))).collect()
}

/// The lines of archived records.
fn archived(feed: &[(i64, Option<Vec<u8>>)]) -> Vec<u8> {
    let line = |value: &Option<Vec<u8>>| match value {
        Some(value) => value
            .iter()
            .map(|byte| if *byte == b'\n' { b' ' } else { *byte })
            .chain([b'\n'])
            .collect(),
        None => b"null\n".to_vec(),
    };
    feed.iter().flat_map(|(_, value)| line(value)).collect()
}

/// The expected complete objects. An object has `flush` records, or ends before the first record
/// that is `interval` milliseconds later than its first.
fn whole(feeds: &Feeds, flush: usize, interval: i64) -> Objects {
    let mut objects = Objects::new();
    for ((topic, partition), feed) in feeds {
        let mut first = 0;
        for next in 1..=feed.len() {
            let late = feed.get(next).is_some_and(|(at, _)| at - feed[first].0 >= interval);
            if next - first == flush || late {
                let path = format!(
                    "topics/{topic}/partition={partition}/{topic}+{partition}+{first:010}.json"
                );
                objects.insert(path, archived(&feed[first..next]));
                first = next;
            }
        }
    }
    objects
}

/// Reads all objects of the store.
fn objects(store: &Store) -> Objects {
    let mut objects = Objects::new();
    for folder in paths(store) {
        let held = store.get(&folder).unwrap().unwrap();
        objects.insert(folder, held);
    }
    objects
}

fn paths(store: &Store) -> Vec<String> {
    let topics =
        store.folders("topics").unwrap().into_iter().map(|topic| format!("topics/{topic}"));
    let below = |topic: String| {
        store
            .folders(&topic)
            .unwrap()
            .into_iter()
            .map(move |partition| format!("{topic}/{partition}"))
    };
    let inside = |folder: String| {
        store.list(&folder).unwrap().into_iter().map(move |(name, _)| format!("{folder}/{name}"))
    };
    topics.flat_map(below).flat_map(inside).collect()
}

/// Creates the topics, and returns the prefix of their names.
fn topics(cluster: &Cluster, partitions: u32) -> String {
    let prefix = format!("{}.", cluster.unique());
    assert!(
        TOPICS.iter().all(|topic| cluster.create(&format!("{prefix}{topic}"), partitions as i32))
    );
    prefix
}

#[test]
fn a_killed_copy_to_s3_has_every_record_once() {
    let Some(url) = bucket(a_killed_copy_to_s3_has_every_record_once) else {
        return;
    };
    let Some(cluster) = cluster() else { return };
    let (place, prefix) = (Place::new(), topics(cluster, PARTITIONS));
    let (feeds, kafka, archive) = (feeds(&place), cluster.url(&prefix), format!("{url}/archive"));
    let store = Store::open(&archive).unwrap();
    let promised = whole(&feeds, 7, MINUTE_MILLIS);
    let full = promised
        .values()
        .filter(|lines| lines.iter().filter(|byte| **byte == b'\n').count() == 7)
        .count();
    assert!(
        full > 10 && promised.len() > full + 10,
        "{full} of {} are full: one of the two rules decides nothing",
        promised.len()
    );

    let args = [
        "archive",
        "--from",
        &kafka,
        "--to",
        &archive,
        "--flush-size",
        "7",
        "--rotate-interval",
        "1m",
    ];
    let follow = || place.spawn(&[&args[..], &["--follow"]].concat());
    let (rounds, mut rival) = (8, None);
    let send = |part: usize| {
        for ((topic, partition), feed) in &feeds {
            let part = &feed[feed.len() * part / rounds..feed.len() * (part + 1) / rounds];
            cluster.append_at(&format!("{prefix}{topic}"), *partition, part);
        }
    };
    let end = |rival: &mut Option<std::process::Child>| {
        if let Some(mut child) = rival.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // An object never has other contents than its name promises, at any moment.
        for (path, held) in objects(&store) {
            assert!(
                promised.get(&path) == Some(&held),
                "{path} is {:?}",
                String::from_utf8_lossy(&held)
            );
        }
    };
    killed_again_and_again(
        rounds,
        || paths(&store).len(),
        |round| {
            end(&mut rival);
            send(round - 1);
            // A rival process archives the same topics at the same time.
            rival = (round % 3 == 0).then(follow);
            follow()
        },
    );
    end(&mut rival);
    place.run(&args);
    let (found, names) =
        (objects(&store), |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>());
    assert_eq!(names(&promised), names(&found));
    assert!(promised == found, "an object holds something else");
    assert!(place.run(&args).contains("pin: 0 records archived"));

    // With one record an object, the rest is archived too, and existing objects don't change.
    place.run(&["archive", "--from", &kafka, "--to", &archive, "--flush-size", "1"]);
    let all = objects(&store);
    assert!(found.iter().all(|(path, held)| all.get(path) == Some(held)));
    for ((topic, partition), feed) in &feeds {
        let folder = format!("topics/{topic}/partition={partition}/");
        let held: Vec<u8> = all
            .iter()
            .filter(|(path, _)| path.starts_with(&folder))
            .flat_map(|(_, held)| held.clone())
            .collect();
        assert!(held == archived(feed), "{folder} has other lines than the topic has records");
    }
    for (path, held) in &all {
        fs::create_dir_all(place.path("held").join(path).parent().unwrap()).unwrap();
        fs::write(place.path("held").join(path), held).unwrap();
    }
    place.run(&["run", "--from", &archive, "--lake", "archived"]);
    place.run(&["run", "--from", &kafka, "--lake", "live"]);
    let expected = place.oracle("held", &[]);
    assert!(expected["pin_table"].len() > 200 && expected["dead_letters"].len() > 10);
    assert_same("the archive", &expected, &place.lake("archived", None));
    assert_same("Kafka", &expected, &place.lake("live", None));
}

#[test]
fn a_record_after_the_interval_ends_an_object() {
    let Some(url) = bucket(a_record_after_the_interval_ends_an_object) else {
        return;
    };
    let Some(cluster) = cluster() else { return };
    let (place, prefix, start) = (Place::new(), topics(cluster, 1), yesterday());
    let (kafka, archive) = (cluster.url(&prefix), format!("{url}/archive"));
    let store = Store::open(&archive).unwrap();
    let append = |topic: &str, at: i64, n: i64| {
        cluster.append_at(
            &format!("{prefix}{topic}"),
            0,
            &[(start + at, Some(format!("{{\"ind\":{n}}}").into_bytes()))],
        );
    };
    // A record just below the interval, and an earlier one: both belong to the first object.
    for (n, at) in [0, 10_000, 2 * MINUTE_MILLIS - 1, -MINUTE_MILLIS].into_iter().enumerate() {
        TOPICS.iter().for_each(|topic| append(topic, at, n as i64));
    }
    let args = [
        "archive",
        "--from",
        &kafka,
        "--to",
        &archive,
        "--flush-size",
        "1000",
        "--rotate-interval",
        "2m",
    ];
    let printed = place.run(&args);
    assert_eq!(
        (paths(&store), printed.matches("0 records archived, 4 wait").count()),
        (Vec::new(), 3),
        "{printed}"
    );

    let child = place.spawn(&[&args[..], &["--follow"]].concat());
    append("demo.geo", 2 * MINUTE_MILLIS, 4);
    until("the object that is not full", || !paths(&store).is_empty());
    append("demo.geo", 4 * MINUTE_MILLIS, 5);
    until("the next one", || paths(&store).len() > 1);
    terminate(&child);
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("geo: 5 records archived, 1 wait"),
        "{printed}"
    );
    let path = |first: u64| format!("topics/demo.geo/partition=0/demo.geo+0+{first:010}.json");
    let lines = |range: std::ops::Range<i64>| {
        range.map(|n| format!("{{\"ind\":{n}}}\n")).collect::<String>().into_bytes()
    };
    assert_eq!(objects(&store), Objects::from([(path(0), lines(0..4)), (path(4), lines(4..5))]));

    // Archive and topic together have every record, though most are in no object yet.
    let screen =
        place.run(&["run", "--from", &archive, "--from", &kafka, "--lake", &format!("{url}/lake")]);
    assert!(screen.contains("14 new records"), "{screen}");
    assert_eq!(tables(&format!("{url}/lake"), None)["dead_letters"].len(), 14);
}

#[test]
fn a_gateway_and_an_archive_never_replace_objects_of_each_other() {
    let Some(cluster) = cluster() else { return };
    let (place, prefix) = (Place::new(), topics(cluster, 1));
    let kafka = cluster.url(&prefix);
    let append = |first: i64| {
        let records: Vec<_> = (first..first + 20)
            .map(|n| (yesterday(), Some(format!("{{\"ind\":{n}}}").into_bytes())))
            .collect();
        TOPICS.iter().for_each(|topic| cluster.append_at(&format!("{prefix}{topic}"), 0, &records));
    };
    append(0);
    let args = ["archive", "--from", &kafka, "--to", "archive", "--flush-size", "10"];
    let gateway =
        || Running::of(place.spawn(&["gateway", "--listen", "127.0.0.1:0", "--to", "archive"]));
    let running = gateway();
    assert!(place.fail(&args, 69).contains("another process does: a gateway"));
    running.stop();

    let child = place.spawn(&[&args[..], &["--follow"]].concat());
    until("two objects", || {
        objects(&Store::open(place.path("archive").to_str().unwrap()).unwrap()).len() == 6
    });
    let printed = place.fail(&["gateway", "--listen", "127.0.0.1:0", "--to", "archive"], 69);
    assert!(printed.contains("another process does: a copy of a log"), "{printed}");
    terminate(&child);
    assert!(child.wait_with_output().unwrap().status.success());

    // When both have written one after the other, the archive differs from the topic. The later
    // writer reports it and changes nothing.
    let running = gateway();
    let one = r#"{"records":[{"value":{"index":0}}]}"#;
    let reply =
        Client::connect(running.address).ask("POST", "/topics/demo.pin", &[JSON], one).unwrap();
    assert_eq!(reply.json()["offsets"][0]["offset"], 20, "{reply:?}");
    running.stop();
    append(20);
    let store = Store::open(place.path("archive").to_str().unwrap()).unwrap();
    let before = objects(&store);
    place.fail(&args, 65);
    assert!(before.len() == 7 && objects(&store) == before);
}
