//! A run recognises its sources and tables by identity: it continues after a move, under other
//! names, through other brokers.

use std::fs;

use super::follow::copy_share;
use super::{Place, assert_same};

/// Runs the program, which must recover all records and read no new ones.
fn continued(place: &Place, args: &[&str]) {
    let printed = place.run(&[&["run"], args].concat());
    assert!(printed.contains("0 new records"), "{args:?}: {printed}");
}

#[test]
fn a_lake_and_an_archive_that_were_moved_are_continued() {
    let place = Place::new();
    place.run(&[
        "generate",
        "--to",
        "all",
        "--events",
        "300",
        "--dirt",
        "0.2",
        "--records-per-object",
        "20",
    ]);
    copy_share(&place.path("all"), &place.path("archive"), 1, 2);
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    let at = |name: &str| place.path(name).to_str().unwrap().to_string();
    let url = |name: &str| format!("file://{}", at(name));
    for (archive, lake) in [
        ("./archive", "./lake"),
        (&*at("archive"), &*at("lake")),
        (&*url("archive"), &*url("lake")),
    ] {
        continued(&place, &["--from", archive, "--lake", lake]);
    }
    fs::create_dir(place.path("moved")).unwrap();
    fs::rename(place.path("archive"), place.path("moved/history")).unwrap();
    fs::rename(place.path("lake"), place.path("moved/tables")).unwrap();
    continued(&place, &["--from", "moved/history", "--lake", "moved/tables"]);
    copy_share(&place.path("all"), &place.path("moved/history"), 2, 2);
    place.run(&["run", "--from", "moved/history", "--lake", "moved/tables"]);
    assert_same("moved", &place.oracle("all", &[]), &place.lake("moved/tables", None));
}

#[test]
fn another_archive_in_the_place_of_the_first_is_refused() {
    let place = Place::new();
    place.run(&["generate", "--to", "archive", "--events", "60"]);
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    let before = place.lake("lake", None);
    place.run(&["generate", "--to", "other", "--events", "60", "--seed", "7"]);
    let printed = place.fail(&["run", "--from", "other", "--lake", "lake"], 65);
    assert!(
        printed.contains("has another record at offset") || printed.contains("ends at"),
        "{printed}"
    );
    assert_same("refused", &before, &place.lake("lake", None));
    continued(&place, &["--from", "archive", "--lake", "lake"]);
}

#[cfg(feature = "kafka")]
mod kafka {
    use rdkafka::mocking::MockCluster;

    use super::{Place, assert_same, continued, copy_share, fs};
    use crate::connectors::kafka::cluster;
    use crate::dataflows::kafka::send;

    #[test]
    fn the_brokers_of_a_cluster_may_be_named_in_any_way() {
        let Some(cluster) = cluster() else { return };
        let (place, prefix) = (Place::new(), format!("{}.", cluster.unique()));
        place.run(&["generate", "--to", "archive", "--events", "90", "--records-per-object", "20"]);
        send(cluster, &place, &prefix, 0, 1);
        copy_share(&place.path("archive"), &place.path("part"), 1, 2);
        let one = cluster.url(&prefix);
        let brokers = one.strip_prefix("kafka://").unwrap().split('/').next().unwrap();
        let (_, port) = brokers.split_once(':').unwrap();
        let two = format!("kafka://{brokers},localhost:{port}/{prefix}");
        let turned = format!("kafka://localhost:{port},{brokers}/{prefix}");
        place.run(&["run", "--from", &one, "--lake", "lake"]);
        for url in [&two, &turned, &one] {
            continued(&place, &["--from", url, "--lake", "lake"]);
        }
        // One log in two places: both are recognised.
        place.run(&["run", "--from", "part", "--from", &one, "--lake", "both"]);
        fs::rename(place.path("part"), place.path("elsewhere")).unwrap();
        continued(&place, &["--from", "elsewhere", "--from", &two, "--lake", "both"]);
        assert_same("both", &place.oracle("archive", &[]), &place.lake("both", None));
        let printed = place.fail(&["run", "--from", "elsewhere", "--lake", "both"], 65);
        assert!(
            printed.contains("was read from") && printed.contains("continued by kafka topic"),
            "{printed}"
        );
        // A topic is one log under any addresses of its cluster.
        let printed = place.fail(&["run", "--from", &one, "--from", &two, "--lake", "twice"], 78);
        assert!(printed.contains("is bound twice to kafka topic"), "{printed}");
    }

    #[test]
    fn a_topic_of_the_same_name_in_another_cluster_is_refused() {
        let Some(cluster) = cluster() else { return };
        let (place, prefix) = (Place::new(), format!("{}.", cluster.unique()));
        let other = MockCluster::new(1).unwrap();
        for kind in ["pin", "geo", "user"] {
            let name = format!("{prefix}demo.{kind}");
            assert!(cluster.create(&name, 2));
            other.create_topic(&name, 2, 1).unwrap();
        }
        // The topics are nearly empty, so that only the cluster's id can distinguish them.
        cluster.append(&format!("{prefix}demo.pin"), 0, &[(None, Some(b"no pin"))]);
        place.run(&["run", "--from", &cluster.url(&prefix), "--lake", "lake"]);
        let theirs = format!("kafka://{}/{prefix}", other.bootstrap_servers());
        let printed = place.fail(&["run", "--from", &theirs, "--lake", "lake"], 65);
        assert!(
            printed.contains("pin was read from kafka topic")
                && printed.matches("(cluster ").count() == 2,
            "{printed}"
        );
        continued(&place, &["--from", &cluster.url(&prefix), "--lake", "lake"]);
    }
}

#[cfg(feature = "kinesis")]
#[test]
fn a_recreated_stream_is_another_one_even_if_empty() {
    use crate::connectors::kinesis::{World, server};
    let Some(server) = server() else { return };
    let mut place = Place::new();
    let credentials =
        [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")];
    place.environment = credentials.map(|(name, value)| (name, value.to_string())).into();
    place.environment.push(("AWS_ENDPOINT_URL_KINESIS", server));
    let user = format!("moved-{}", std::process::id());
    let stream = |kind: &str| World::named(format!("streaming-{user}-{kind}"), 1).unwrap();
    let (pins, _others) = (stream("pin"), [stream("geo"), stream("user")]);
    pins.put(&[("key".to_string(), b"no pin".to_vec())]);
    let args = ["--from", "kinesis://eu-west-1", "--lake", "lake", "--user-id", &user];
    place.run(&[&["run"], &args[..]].concat());
    continued(&place, &args);
    let name = format!("streaming-{user}-geo");
    let at = ["--at", "kinesis://eu-west-1"];
    place.run(&[&["streams", "delete", &name, "--yes"], &at[..]].concat());
    place.run(&[&["streams", "create", &name], &at[..]].concat());
    let printed = place.fail(&[&["run"], &args[..]].concat(), 65);
    assert!(
        printed.contains("was read from kinesis stream") && printed.contains("created"),
        "{printed}"
    );
}
