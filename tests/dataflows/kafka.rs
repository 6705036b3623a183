//! The program on a real broker: the records of an archive, in Kafka, make the same tables; and as they come, too.

use super::Place;
use super::crash::{following, killed_again_and_again};
use super::follow::follows_to;
use crate::connectors::kafka::{Cluster, cluster};

/// Puts part `part` of `of` of every partition of an archive into topics of the same names below `prefix`.
pub(super) fn send(cluster: &Cluster, place: &Place, prefix: &str, part: usize, of: usize) {
    for kind in ["pin", "geo", "user"] {
        let (topic, name) = (format!("demo.{kind}"), format!("{prefix}demo.{kind}"));
        if part == 0 {
            assert!(cluster.create(&name, 3));
        }
        for partition in 0..3 {
            let lines = place.lines("archive", &topic, partition);
            let records = &lines[lines.len() * part / of..lines.len() * (part + 1) / of];
            cluster.append(&name, partition, &records.iter().map(|line| (None, Some(&line[..]))).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_run_that_follows_kafka_and_is_killed_equals_the_oracle_over_an_archive_of_it() {
    let Some(cluster) = cluster() else { return };
    let (place, prefix) = (Place::new(), format!("{}.", cluster.unique()));
    place.run(&["generate", "--to", "archive", "--events", "600", "--dirt", "0.2", "--records-per-object", "50"]);
    let url = cluster.url(&prefix);
    let args = ["run", "--from", &url, "--lake", "lake"];
    killed_again_and_again(
        8,
        || place.manifests().len(),
        |round| {
            send(cluster, &place, &prefix, round - 1, 9);
            following(&place, &args, round)
        },
    );
    send(cluster, &place, &prefix, 8, 9);
    follows_to(&place, &args, &place.oracle("archive", &[]));
    assert!(place.run(&["check", "--from", &url, "--lake", "lake"]).contains("all are equal"));
}
