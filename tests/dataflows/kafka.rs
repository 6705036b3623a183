//! The program on a real broker: the records of an archive, in Kafka, make the same tables; and as they come, too.

use std::fs;
use std::io::Read;

use super::follow::{terminate, until};
use super::{Place, assert_same};
use crate::connectors::kafka::{Cluster, cluster};

/// Puts part `part` of `of` of every partition of the archive into topics of the same names below `prefix`.
fn send(cluster: &Cluster, place: &Place, prefix: &str, part: usize, of: usize) {
    for topic in fs::read_dir(place.path("archive/topics")).unwrap().map(|entry| entry.unwrap()) {
        let name = format!("{prefix}{}", topic.file_name().to_str().unwrap());
        let mut partitions: Vec<_> = fs::read_dir(topic.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        partitions.sort();
        if part == 0 {
            assert!(cluster.create(&name, partitions.len() as i32));
        }
        for (number, partition) in (0..).zip(&partitions) {
            let mut objects: Vec<_> = fs::read_dir(partition).unwrap().map(|entry| entry.unwrap().path()).collect();
            objects.sort();
            let bytes: Vec<u8> = objects.iter().flat_map(|object| fs::read(object).unwrap()).collect();
            let lines: Vec<&[u8]> = bytes.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
            let records = &lines[lines.len() * part / of..lines.len() * (part + 1) / of];
            cluster.append(&name, number, &records.iter().map(|line| (None, Some(*line))).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_run_that_follows_kafka_and_is_killed_equals_the_oracle_over_an_archive_of_it() {
    let Some(cluster) = cluster() else { return };
    let (place, prefix) = (Place::new(), format!("{}.", cluster.unique()));
    place.run(&["generate", "--to", "archive", "--events", "600", "--dirt", "0.2", "--records-per-object", "50"]);
    let expected = place.oracle("archive", &[]);
    let url = cluster.url(&prefix);
    let follow = ["run", "--from", &url, "--lake", "lake", "--follow", "--commit-every", "50ms"];

    send(cluster, &place, &prefix, 0, 3);
    let mut first = place.spawn(&follow);
    until("the first commit", || !place.manifests().is_empty());
    send(cluster, &place, &prefix, 1, 3);
    let commits = place.manifests().len();
    until("another commit", || place.manifests().len() > commits);
    first.kill().unwrap();
    first.wait().unwrap();

    let mut second = place.spawn(&follow);
    send(cluster, &place, &prefix, 2, 3);
    until("all of it", || place.path("lake/dead_letters/_delta_log").exists() && place.lake("lake", None) == expected);
    terminate(&second);
    let mut screen = String::new();
    second.stdout.take().unwrap().read_to_string(&mut screen).unwrap();
    assert!(second.wait().unwrap().success());
    assert!(screen.contains("category_by_country"), "{screen}");
    assert_same("in the end", &expected, &place.lake("lake", None));
}
