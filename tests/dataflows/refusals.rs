//! A refused run changes nothing: names, sizes and times of all files stay the same.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::SystemTime;

use super::Place;
use super::follow::{copy_share, terminate, until};

/// Size and time of everything below `folder`, by path. Links are not followed.
fn listing(folder: &Path) -> BTreeMap<String, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let there = path.symlink_metadata().unwrap();
        if there.is_dir() {
            found.extend(listing(&path));
        }
        found.insert(path.display().to_string(), (there.len(), there.modified().unwrap()));
    }
    found
}

/// Runs the program with `args`, which must exit with `code` and leave all files unchanged. Returns
/// its standard error.
fn refused(place: &Place, args: &[&str], code: i32) -> String {
    let before = listing(place.folder.path());
    let printed = place.fail(&[&["run", "--from", "archive"], args].concat(), code);
    assert_eq!(listing(place.folder.path()), before, "pinterest {args:?}, which printed {printed}");
    printed
}

fn file(place: &Place, name: &str, text: &str) {
    let path = place.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn with_archive() -> Place {
    let place = Place::new();
    place.run(&["generate", "--to", "archive", "--events", "60"]);
    place
}

#[test]
fn a_folder_of_something_else_is_no_state() {
    let place = with_archive();
    for name in ["notes.txt", "photos/cat.jpg", "gen/readme.md", "manifest/app.json"] {
        file(&place, &format!("things of {name}/{name}"), "not ours");
        let printed =
            refused(&place, &["--lake", "lake", "--state", &format!("things of {name}")], 65);
        assert!(printed.contains("is not a state") && printed.contains("--state"), "{printed}");
        file(&place, &format!("lake of {name}/_watershed/{name}"), "not ours");
        refused(&place, &["--lake", &format!("lake of {name}")], 65);
    }
    let generation = format!("gen/{:020}", 1);
    file(
        &place,
        &format!("theirs/{generation}"),
        r#"{"format":2,"app":"other-1","secret":"00000000000000000000000000000007","program":"other"}"#,
    );
    assert!(
        refused(&place, &["--lake", "lake", "--state", "theirs"], 65)
            .contains("the state of other")
    );
    file(&place, &format!("torn/{generation}"), "");
    refused(&place, &["--lake", "lake", "--state", "torn"], 65);
    file(&place, "a file", "not ours");
    refused(&place, &["--lake", "lake", "--state", "a file"], 69);
    refused(&place, &["--lake", "a file"], 69);
}

#[test]
fn a_folder_of_something_else_is_no_table() {
    let place = with_archive();
    for (n, name) in [
        "demo_pin_table/notes.txt",
        "dead_letters/part-0.parquet",
        "top_country/year=2020/part-0.parquet",
    ]
    .into_iter()
    .enumerate()
    {
        let lake = format!("lake{n}");
        file(&place, &format!("{lake}/{name}"), "not ours");
        let printed = refused(&place, &["--lake", &lake], 65);
        assert!(printed.contains(name.split('/').next().unwrap()), "{printed}");
        // With its state elsewhere, the run is refused before that state begins.
        refused(&place, &["--lake", &lake, "--state", "elsewhere"], 65);
    }
}

#[test]
fn tables_of_another_state_or_topology_are_left_unchanged() {
    let place = with_archive();
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    refused(&place, &["--lake", "lake", "--post-years", "2018..2020"], 65);
    refused(&place, &["--lake", "lake", "--state", "elsewhere"], 65);
    refused(&place, &["--lake", "other", "--state", "lake/_watershed"], 65);
    refused(&place, &["--lake", "lake", "--user-id", "other"], 65);
    fs::rename(place.path("lake/dead_letters"), place.path("aside")).unwrap();
    refused(&place, &["--lake", "lake"], 65);
    fs::rename(place.path("aside"), place.path("lake/dead_letters")).unwrap();
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
}

#[test]
fn a_state_of_an_earlier_format_is_refused_with_words() {
    let place = with_archive();
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    let manifest = place.manifests().into_iter().max().unwrap();
    let written = fs::read_to_string(&manifest).unwrap();
    let other = written.replacen("\"format\":", "\"format\":9", 1);
    assert_ne!(written, other);
    fs::write(&manifest, other).unwrap();
    let printed = refused(&place, &["--lake", "lake"], 65);
    assert!(printed.contains("is the state of a later version"), "{printed}");
}

#[test]
fn an_empty_place_name_is_refused() {
    let place = with_archive();
    for lake in ["", "s3://", "file://"] {
        let printed = refused(&place, &["--lake", lake], 2);
        assert!(printed.contains("--lake"), "{printed}");
        place.fail(&["answers", "--lake", lake], 2);
    }
    assert!(refused(&place, &["--lake", "lake", "--state", ""], 78).contains("no name"));
    assert!(refused(&place, &["--lake", "lake", "--from", ""], 78).contains("no name"));
}

#[test]
fn an_unreadable_part_of_a_source_is_an_error() {
    let place = with_archive();
    let linked = place.path("archive/topics/demo.pin/partition=7");
    // A broken link, like a partition on a disk that is not mounted.
    std::os::unix::fs::symlink("elsewhere", &linked).unwrap();
    assert!(refused(&place, &["--lake", "lake"], 69).contains("partition=7"));
    fs::remove_file(&linked).unwrap();
    let topics = place.path("archive/topics");
    fs::rename(&topics, place.path("aside")).unwrap();
    std::os::unix::fs::symlink(&topics, &topics).unwrap();
    assert!(refused(&place, &["--lake", "lake"], 69).contains("can't read archive/topics"));
}

#[test]
fn a_source_that_cannot_be_read_begins_nothing() {
    let place = with_archive();
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    let topic = place.path("archive/topics/demo.geo");
    fs::rename(&topic, place.path("aside")).unwrap();
    // A link to itself is unreadable for every user.
    std::os::unix::fs::symlink(&topic, &topic).unwrap();
    for lake in ["lake", "fresh"] {
        let printed = refused(&place, &["--lake", lake], 69);
        assert!(printed.contains("demo.geo"), "{printed}");
    }
    fs::remove_file(&topic).unwrap();
    fs::rename(place.path("aside"), &topic).unwrap();
    for lake in ["lake", "fresh"] {
        place.run(&["run", "--from", "archive", "--lake", lake]);
    }
}

#[test]
fn an_error_for_an_unknown_user_lists_the_known_users() {
    let place = with_archive();
    let printed = refused(&place, &["--lake", "lake", "--user-id", "dmeo"], 78);
    assert!(
        printed.contains("no topics of the user dmeo in archive\n  Give --user-id demo"),
        "{printed}"
    );
    place.run(&["generate", "--to", "archive", "--events", "60", "--user-id", "anna.b"]);
    let printed = refused(&place, &["--lake", "lake", "--user-id", "dmeo"], 78);
    assert!(printed.contains("one of anna.b, demo."), "{printed}");
    fs::create_dir_all(place.path("empty/topics")).unwrap();
    let printed = place.fail(&["run", "--from", "empty", "--lake", "lake"], 78);
    assert!(
        printed
            .contains("user demo in empty\n  Give another --from: there are no topics of any user"),
        "{printed}"
    );
    // Of two archives one may lack the topics.
    place.run(&["run", "--from", "empty", "--from", "archive", "--lake", "both"]);
}

#[test]
fn following_waits_for_a_user_without_topics() {
    let place = Place::new();
    fs::create_dir_all(place.path("archive/topics/other.pin")).unwrap();
    let mut child = place.spawn(&[
        "run",
        "--from",
        "archive",
        "--lake",
        "lake",
        "--follow",
        "--commit-every",
        "50ms",
    ]);
    let (mut printed, mut warned) = (BufReader::new(child.stderr.take().unwrap()), String::new());
    printed.read_line(&mut warned).unwrap();
    assert!(warned.contains("no topics of the user demo"), "{warned}");
    place.run(&["generate", "--to", "late", "--events", "60"]);
    copy_share(&place.path("late"), &place.path("archive"), 1, 1);
    let expected = place.oracle("late", &[]);
    until("the records that came", || {
        place.path("lake/dead_letters/_delta_log").exists() && place.lake("lake", None) == expected
    });
    terminate(&child);
    assert!(child.wait().unwrap().success());
}
