//! The whole program on archives of Confluent's partitioners by time and by field, and on archives
//! without a readable object.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::follow::{follows_to, terminate, until};
use super::s3::upload;
use super::{Place, assert_same, tables};
use crate::support::bucket::bucket;

const TOPICS: [&str; 3] = ["demo.pin", "demo.geo", "demo.user"];

/// Copies the first `share` of `of` parts of each partition into the layouts of other partitioners:
/// pins by hour, geos by country, users unchanged. Every third object is packed. Each appears
/// complete, by renaming.
fn lay_out(place: &Place, from: &str, to: &str, share: usize, of: usize) {
    for topic in TOPICS {
        for partition in 0..3 {
            let own = format!("topics/{topic}/partition={partition}");
            let mut objects: Vec<_> = fs::read_dir(place.path(from).join(&own))
                .unwrap()
                .map(|e| e.unwrap().path())
                .collect();
            objects.sort();
            for (number, object) in objects[..objects.len() * share / of].iter().enumerate() {
                let folder = match topic {
                    "demo.pin" => {
                        format!("topics/{topic}/year=2020/month=08/day=28/hour={:02}", number / 5)
                    }
                    "demo.geo" => format!(
                        "topics/{topic}/country={}",
                        ["Chile", "Peru", "Côte d'Ivoire"][number % 3]
                    ),
                    _ => own.clone(),
                };
                let name = object.file_name().unwrap().to_str().unwrap();
                add(
                    &place.path(to).join(folder),
                    name,
                    &fs::read(object).unwrap(),
                    number % 3 == 1,
                );
            }
        }
    }
}

fn add(folder: &Path, name: &str, bytes: &[u8], packed: bool) {
    let name = folder.join(if packed { format!("{name}.gz") } else { name.to_string() });
    if name.exists() {
        return;
    }
    fs::create_dir_all(folder).unwrap();
    let staged = folder.join(".staged");
    if packed {
        let mut encoder = GzEncoder::new(fs::File::create(&staged).unwrap(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap();
    } else {
        fs::write(&staged, bytes).unwrap();
    }
    fs::rename(staged, name).unwrap();
}

fn with_archive() -> Place {
    let place = Place::new();
    place.run(&[
        "generate",
        "--to",
        "archive",
        "--events",
        "400",
        "--dirt",
        "0.2",
        "--records-per-object",
        "10",
    ]);
    place
}

#[test]
fn an_archive_in_other_layouts_equals_the_oracle() {
    let place = with_archive();
    let expected = place.oracle("archive", &[]);
    lay_out(&place, "archive", "others", 1, 1);
    place.run(&["run", "--from", "others", "--lake", "lake"]);
    assert_same("a replay", &expected, &place.lake("lake", None));
    assert!(
        place
            .run(&["run", "--from", "others", "--lake", "lake", "--workers", "3"])
            .contains("0 new records")
    );
    assert!(place.run(&["check", "--from", "others", "--lake", "lake"]).contains("all are equal"));
}

#[test]
fn new_folders_are_followed() {
    let place = with_archive();
    let expected = place.oracle("archive", &[]);
    lay_out(&place, "archive", "others", 1, 8);
    let args = ["run", "--from", "others", "--lake", "lake"];
    let mut child = place.spawn(&[&args[..], &["--follow", "--commit-every", "50ms"]].concat());
    for share in 2..6 {
        let before = place.manifests().len();
        until("a commit", || {
            place.manifests().len() > before || child.try_wait().unwrap().is_some()
        });
        lay_out(&place, "archive", "others", share, 8);
    }
    terminate(&child);
    assert!(child.wait().unwrap().success());
    lay_out(&place, "archive", "others", 6, 8);
    let rest = std::thread::scope(|scope| {
        let rest = scope.spawn(|| lay_out(&place, "archive", "others", 1, 1));
        follows_to(&place, &args, &expected);
        rest.join()
    });
    rest.unwrap();
}

#[test]
fn new_folders_are_found_where_they_cannot_be_watched() {
    let place = with_archive();
    let expected = place.oracle("archive", &[]);
    lay_out(&place, "archive", "others", 1, 8);
    let args = ["run", "--from", "others", "--lake", "lake", "--follow", "--commit-every", "50ms"];
    let mut command = place.command(&args);
    // The limit is reached on the way.
    let mut child = command.env("WATERSHED_LIMITS", "watched_folders=4").spawn().unwrap();
    let (mut printed, mut warned) = (BufReader::new(child.stderr.take().unwrap()), String::new());
    printed.read_line(&mut warned).unwrap();
    assert!(warned.contains("can't watch folders") && warned.contains("No space"), "{warned}");
    lay_out(&place, "archive", "others", 1, 1);
    until("what has come", || {
        place.path("lake/dead_letters/_delta_log").exists() && place.lake("lake", None) == expected
    });
    terminate(&child);
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    printed.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("can't watch"), "it warns once: {rest}");
}

#[test]
fn an_archive_in_other_layouts_is_read_and_followed_on_s3() {
    let Some(url) = bucket(an_archive_in_other_layouts_is_read_and_followed_on_s3) else { return };
    let place = with_archive();
    let (expected, archive, lake) =
        (place.oracle("archive", &[]), format!("{url}/archive"), format!("{url}/lake"));
    let send = |share, of| {
        lay_out(&place, "archive", "others", share, of);
        upload(&place.path("others"), &archive);
    };
    send(1, 3);
    place.run(&["run", "--from", &archive, "--lake", &lake]);
    let mut child = place.spawn(&[
        "run",
        "--from",
        &archive,
        "--lake",
        &lake,
        "--follow",
        "--commit-every",
        "50ms",
    ]);
    send(2, 3);
    send(1, 1);
    until("all of it", || tables(&lake, None) == expected || child.try_wait().unwrap().is_some());
    terminate(&child);
    assert!(child.wait().unwrap().success());
    assert_same("in the end", &expected, &tables(&lake, None));
}

#[cfg(feature = "kafka")]
#[test]
fn an_archive_in_other_layouts_is_continued_by_kafka() {
    let Some(cluster) = crate::connectors::kafka::cluster() else { return };
    let (place, prefix) = (with_archive(), format!("{}.", cluster.unique()));
    let (expected, kafka) = (place.oracle("archive", &[]), cluster.url(&prefix));
    lay_out(&place, "archive", "others", 1, 3);
    super::kafka::send(cluster, &place, &prefix, 0, 1);
    place.run(&["run", "--from", "others", "--from", &kafka, "--lake", "lake"]);
    assert_same("the two as one log", &expected, &place.lake("lake", None));
    // This program writes the later objects in its own layout; both layouts are read as one
    // archive.
    place.run(&["archive", "--from", &kafka, "--to", "others", "--flush-size", "1"]);
    place.run(&["run", "--from", "others", "--lake", "archived"]);
    assert_same("the archive that goes on", &expected, &place.lake("archived", None));
}

#[test]
fn an_error_for_a_topic_without_objects_lists_its_files() {
    let place = with_archive();
    let topics = place.path("archive/topics");
    fs::rename(topics.join("demo.geo"), place.path("aside")).unwrap();
    let run = ["run", "--from", "archive", "--lake", "lake"];
    let printed = place.fail(&run, 78);
    assert!(
        printed.contains("demo.geo+<partition>+<offset>.json or .json.gz")
            && printed.contains("is missing or empty"),
        "{printed}"
    );
    assert!(printed.contains("demo.pin, demo.user"), "{printed}");
    add(&topics.join("demo.geo/year=2020/hour=03"), "demo.geo+0+0000000000.avro", b"Obj", false);
    add(&topics.join("demo.geo/partition=x"), "demo.geo+x+0000000000.json", b"{}\n", false);
    let printed = place.fail(&run, 78);
    assert!(
        printed.contains("has 2 other files")
            && printed.contains("partition=x/demo.geo+x+0000000000.json"),
        "{printed}"
    );
    assert!(
        printed.contains("year=2020/hour=03/demo.geo+0+0000000000.avro")
            && !place.path("lake").exists(),
        "{printed}"
    );
    // Another archive that is read with it may have the topic.
    fs::create_dir_all(place.path("second/topics")).unwrap();
    fs::rename(place.path("aside"), place.path("second/topics/demo.geo")).unwrap();
    place.run(&["run", "--from", "archive", "--from", "second", "--lake", "both"]);
}

#[test]
fn a_topic_without_objects_is_waited_for_when_following() {
    let place = with_archive();
    let expected = place.oracle("archive", &[]);
    lay_out(&place, "archive", "others", 1, 1);
    fs::rename(place.path("others/topics/demo.geo"), place.path("aside")).unwrap();
    let mut child = place.spawn(&[
        "run",
        "--from",
        "others",
        "--lake",
        "lake",
        "--follow",
        "--commit-every",
        "50ms",
    ]);
    let (mut printed, mut warned) = (BufReader::new(child.stderr.take().unwrap()), String::new());
    printed.read_line(&mut warned).unwrap();
    assert!(warned.contains("demo.geo is missing or empty"), "{warned}");
    fs::rename(place.path("aside"), place.path("others/topics/demo.geo")).unwrap();
    until("what has come", || {
        place.path("lake/dead_letters/_delta_log").exists() && place.lake("lake", None) == expected
    });
    terminate(&child);
    assert!(child.wait().unwrap().success());
}
