//! An archive and its Kafka topic as one log: for any writer of the archive and any end of it. Also
//! the command that writes it.

use std::fs;
use std::io::Read;

use super::crash::{following, killed_again_and_again};
use super::follow::{copy_share, follows_to, terminate, until};
use super::kafka::send;
use super::s3::upload;
use super::{Place, assert_same, tables};
use crate::connectors::kafka::{Cluster, cluster};
use crate::support::bucket::bucket;

const TOPICS: [&str; 3] = ["demo.pin", "demo.geo", "demo.user"];

/// A place with an archive, a prefix for empty topics, and the URL of Kafka.
fn place(cluster: &Cluster) -> (Place, String, String) {
    let (place, prefix) = (Place::new(), format!("{}.", cluster.unique()));
    place.run(&[
        "generate",
        "--to",
        "archive",
        "--events",
        "600",
        "--dirt",
        "0.2",
        "--records-per-object",
        "20",
    ]);
    let url = cluster.url(&prefix);
    (place, prefix, url)
}

/// Expires in Kafka all records of each partition of `part`, except the last `kept`.
fn forget(cluster: &Cluster, place: &Place, prefix: &str, part: &str, kept: usize) {
    for topic in TOPICS {
        for partition in 0..3 {
            let end = place.lines(part, topic, partition).len();
            cluster.expire(&format!("{prefix}{topic}"), partition, end.saturating_sub(kept) as u64);
        }
    }
}

/// The first offsets of the objects of a partition.
fn objects(place: &Place, archive: &str, topic: &str, partition: u32) -> Vec<u64> {
    let folder = place.path(archive).join(format!("topics/{topic}/partition={partition}"));
    let names = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let first = |name: String| {
        name.strip_prefix(&format!("{topic}+{partition}+"))?.strip_suffix(".json")?.parse().ok()
    };
    let mut found: Vec<u64> = names.filter_map(first).collect();
    found.sort_unstable();
    found
}

fn count(place: &Place, archive: &str) -> usize {
    TOPICS
        .iter()
        .map(|topic| {
            (0..3).map(|partition| objects(place, archive, topic, partition).len()).sum::<usize>()
        })
        .sum()
}

#[test]
fn kafka_continues_an_archive_at_the_next_offset() {
    let Some(cluster) = cluster() else { return };
    let (place, prefix, url) = place(cluster);
    let expected = place.oracle("archive", &[]);
    send(cluster, &place, &prefix, 0, 1);
    for (share, kept) in [(0, 0), (1, 9), (2, 0), (3, 3)] {
        let part = format!("part{share}");
        copy_share(&place.path("archive"), &place.path(&part), share, 3);
        forget(cluster, &place, &prefix, &part, kept);
        let lake = format!("lake{share}");
        let args = ["--from", &part, "--from", &url, "--lake", &lake];
        place.run(&[&["run"], &args[..]].concat());
        assert_same(&part, &expected, &place.lake(&lake, None));
        assert!(place.run(&[&["check"], &args[..]].concat()).contains("all are equal"));
        let again = place.run(&[&["run", "--workers", "3"], &args[..]].concat());
        assert!(again.contains("0 new records"), "{again}");
    }
    // The records that were read from Kafka have expired there, and are now in the archive.
    copy_share(&place.path("archive"), &place.path("part1"), 3, 3);
    let again = place.run(&["run", "--from", "part1", "--from", &url, "--lake", "lake1"]);
    assert!(again.contains("0 new records"), "{again}");
    // A third of the records is in neither.
    let printed = place.fail(&["run", "--from", "part2", "--from", &url, "--lake", "lake"], 65);
    assert!(
        printed.contains("lacks the offsets from") && !place.path("lake").exists(),
        "{printed}"
    );
    // As two separate logs, all of both is read and the later log wins.
    let two = place.run(&["run", "--from", "part2", "--from", &url, "--lake", "two", "--apart"]);
    assert!(two.contains("new records"), "{two}");
    assert!(
        place
            .run(&["describe", "--from", "part2", "--from", &url])
            .contains("topic demo.pin, continued by kafka topic")
    );
}

#[test]
fn a_killed_run_of_archive_and_kafka_equals_the_oracle() {
    let Some(cluster) = cluster() else { return };
    let (place, prefix, url) = place(cluster);
    let args = ["run", "--from", "part", "--from", &url, "--lake", "lake"];
    send(cluster, &place, &prefix, 0, 9);
    copy_share(&place.path("archive"), &place.path("part"), 0, 9);
    killed_again_and_again(
        8,
        || place.manifests().len(),
        |round| {
            // The archive is one part behind, and Kafka keeps some archived records.
            copy_share(&place.path("archive"), &place.path("part"), round - 1, 9);
            send(cluster, &place, &prefix, round, 9);
            forget(cluster, &place, &prefix, "part", 2 * round);
            following(&place, &args, round)
        },
    );
    follows_to(&place, &args, &place.oracle("archive", &[]));
    assert!(place.run(&[&["check"], &args[1..]].concat()).contains("all are equal"));
}

#[test]
fn a_state_of_an_archive_on_s3_continues_with_kafka() {
    let Some(url) = bucket(a_state_of_an_archive_on_s3_continues_with_kafka) else {
        return;
    };
    let Some(cluster) = cluster() else { return };
    let (place, prefix, kafka) = place(cluster);
    let (archive, lake) = (format!("{url}/archive"), format!("{url}/lake"));
    copy_share(&place.path("archive"), &place.path("part"), 1, 2);
    upload(&place.path("part"), &archive);
    place.run(&["run", "--from", &archive, "--lake", &lake]);
    send(cluster, &place, &prefix, 0, 1);
    forget(cluster, &place, &prefix, "part", 1);
    let summary = place.run(&["run", "--from", &archive, "--from", &kafka, "--lake", &lake]);
    assert!(summary.contains("of earlier runs"), "{summary}");
    assert_same("on S3", &place.oracle("archive", &[]), &tables(&lake, None));
}

#[test]
fn a_killed_copy_has_the_objects_of_confluents_sink() {
    let Some(cluster) = cluster() else { return };
    let (place, prefix, url) = place(cluster);
    let args = ["archive", "--from", &url, "--to", "copied", "--flush-size", "7"];
    killed_again_and_again(
        8,
        || count(&place, "copied"),
        |round| {
            send(cluster, &place, &prefix, round - 1, 8);
            place.spawn(&[&args, &["--follow"][..]].concat())
        },
    );
    let printed = place.run(&args);
    assert!(printed.contains("pin: ") && printed.contains("wait for a whole object"), "{printed}");
    for topic in TOPICS {
        for partition in 0..3 {
            let (whole, copied) =
                (place.lines("archive", topic, partition), place.lines("copied", topic, partition));
            let held = cluster.read(&format!("{prefix}{topic}"), partition);
            assert!(
                held.iter().map(|(_, _, value)| value.as_ref().unwrap()).eq(&whole),
                "{topic} {partition}: Kafka"
            );
            assert!(
                copied == whole[..whole.len() / 7 * 7],
                "{topic} {partition}: {} of {}",
                copied.len(),
                whole.len()
            );
            let firsts: Vec<u64> = (0..whole.len() as u64 / 7).map(|n| n * 7).collect();
            assert_eq!(objects(&place, "copied", topic, partition), firsts);
        }
    }
    let expected = place.oracle("archive", &[]);
    forget(cluster, &place, &prefix, "copied", 0);
    follows_to(&place, &["run", "--from", "copied", "--from", &url, "--lake", "lake"], &expected);
    // The rest is archived once objects are smaller.
    place.run(&["archive", "--from", &url, "--to", "copied", "--flush-size", "1"]);
    place.run(&["run", "--from", "copied", "--lake", "whole"]);
    assert_same("the archive alone", &expected, &place.lake("whole", None));
}

#[test]
fn archiving_stops_cleanly_and_refuses_unequal_logs() {
    let Some(cluster) = cluster() else { return };
    let (place, prefix, url) = place(cluster);
    send(cluster, &place, &prefix, 0, 2);
    let args = [
        "archive",
        "--from",
        &url,
        "--to",
        "copied",
        "--flush-size",
        "20",
        "--rotate-interval",
        "10m",
    ];
    let mut child = place.spawn(&[&args, &["--follow"][..]].concat());
    until("an object", || count(&place, "copied") > 0);
    terminate(&child);
    let mut screen = String::new();
    child.stdout.take().unwrap().read_to_string(&mut screen).unwrap();
    assert!(child.wait().unwrap().success() && screen.contains("records archived"), "{screen}");
    place.run(&args);
    assert!(place.run(&args).contains("pin: 0 records archived"));
    // Records of a transaction, and one after its marker.
    let topic = format!("{prefix}demo.geo");
    (0..20).for_each(|_| cluster.commit(&topic, 1, &[b"{}"]));
    let printed = place.fail(&args, 65);
    assert!(printed.contains("has no records at the offsets from"), "{printed}");
    // An archive of other records, and one with more records.
    place.run(&["generate", "--to", "other", "--events", "600", "--seed", "7"]);
    copy_share(&place.path("other"), &place.path("longer"), 1, 1);
    let printed = place.fail(&["archive", "--from", &url, "--to", "longer"], 65);
    assert!(printed.contains("is not one log"), "{printed}");
    assert!(
        place
            .fail(&["archive", "--from", "kinesis://eu-west-1", "--to", "copied"], 2)
            .contains("only topics of Kafka")
    );
    assert!(place.run(&["archive", "--help"]).contains("Confluent's S3"));
}
