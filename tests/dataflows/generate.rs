//! A generated archive appears complete or not at all, whatever interrupts the generation.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::follow::until;
use super::{Place, assert_same};

/// Every file below `folder`, with its contents.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(
                files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)),
            );
        } else {
            found.insert(name, fs::read(path).unwrap());
        }
    }
    found
}

/// The place of a partition until the archive is published.
const PARTIAL: &str = ".demo.partial/demo.pin/partition=0";

/// Returns true if the archive has objects that are not yet published.
fn begun(place: &Place, archive: &str) -> bool {
    let object =
        |file: std::io::Result<fs::DirEntry>| file.is_ok_and(|file| file.file_name() != "left");
    fs::read_dir(place.path(archive).join(PARTIAL)).is_ok_and(|mut files| files.any(object))
}

#[test]
fn the_next_run_replaces_a_killed_generation() {
    let place = Place::new();
    let many = ["generate", "--to", "archive", "--events", "500000", "--records-per-object", "50"];
    for signal in ["-KILL", "-TERM"] {
        let mut child = place.spawn(&many);
        until("an object", || begun(&place, "archive"));
        // The archive is locked meanwhile.
        assert!(place.fail(&many, 69).contains("another process"));
        super::follow::signal(&child, signal);
        assert!(!child.wait().unwrap().success());
        // Empty this partition, so that the next round can detect its first object.
        let left = place.path("archive").join(PARTIAL);
        fs::remove_dir_all(&left).unwrap();
        fs::create_dir(&left).unwrap();
        fs::write(left.join("left"), "").unwrap();
        assert!(
            place
                .fail(&["run", "--from", "archive", "--lake", "lake"], 78)
                .contains("generate --to archive")
        );
        assert!(!place.path("lake").exists());
    }
    let few = ["--events", "200", "--seed", "7"];
    place.run(&[&["generate", "--to", "archive"], &few[..]].concat());
    place.run(&[&["generate", "--to", "undisturbed"], &few[..]].concat());
    assert!(
        files(&place.path("archive")) == files(&place.path("undisturbed")),
        "what was left is in the way"
    );
    assert_eq!(
        fs::read_dir(place.path("archive")).unwrap().count(),
        1,
        "nothing but the topics is left"
    );
    let before = files(&place.path("archive"));
    assert!(place.fail(&many, 65).contains("--to"));
    assert!(before == files(&place.path("archive")), "an archive is never written over");
}

#[test]
fn the_first_command_starts_over_after_a_kill() {
    let place = Place::new();
    let mut child = place.spawn(&[]);
    until("an object", || {
        begun(&place, "data/archive") || place.path("data/archive/topics").exists()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    // If the command was too fast for the kill, create the files of a killed one.
    let left = place.path("data/archive/.demo.partial/demo.pin/partition=9");
    if place.path("data/archive/topics").exists() {
        fs::remove_dir_all(place.path("data")).unwrap();
    }
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("demo.pin+9+0000000000.json"), "{}\n").unwrap();
    let screen = place.run(&[]);
    assert!(screen.contains("generated 11,154 events"), "{screen}");
    assert!(!left.exists());
    assert_same(
        "the first command",
        &place.oracle("data/archive", &[]),
        &place.lake("data/lake", None),
    );
}
