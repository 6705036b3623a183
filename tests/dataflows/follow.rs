//! Following an archive step by step ends like one replay, and every commit on the way is correct.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Command;

use super::readers::assert_every_commit_equals_the_oracle;
use super::{Place, Tables, assert_same};
pub(super) use crate::support::until;

/// Copies the missing objects of the first `share` of `of` parts of each partition. Each appears
/// complete, by renaming, as a real writer does it.
pub(super) fn copy_share(from: &Path, to: &Path, share: usize, of: usize) {
    for topic in fs::read_dir(from.join("topics")).unwrap() {
        for partition in fs::read_dir(topic.unwrap().path()).unwrap() {
            let partition = partition.unwrap().path();
            let target = to.join(partition.strip_prefix(from).unwrap());
            fs::create_dir_all(&target).unwrap();
            let mut objects: Vec<_> =
                fs::read_dir(&partition).unwrap().map(|e| e.unwrap().path()).collect();
            objects.sort();
            for object in &objects[..objects.len() * share / of] {
                let name = target.join(object.file_name().unwrap());
                if !name.exists() {
                    let staged = target.join(".staged");
                    fs::copy(object, &staged).unwrap();
                    fs::rename(&staged, name).unwrap();
                }
            }
        }
    }
}

/// Sends a signal, such as `-TERM`.
pub(super) fn signal(child: &std::process::Child, signal: &str) {
    assert!(
        Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap().success()
    );
}

pub(super) fn terminate(child: &std::process::Child) {
    signal(child, "-TERM");
}

/// Follows with `args` until the lake is as `expected`, then stops the run. It must print its
/// answers.
#[cfg_attr(
    not(any(feature = "kafka", feature = "kinesis")),
    allow(dead_code, reason = "logs of services are followed")
)]
pub(super) fn follows_to(place: &Place, args: &[&str], expected: &Tables) {
    let mut child = place.spawn(&[args, &["--follow", "--commit-every", "50ms"]].concat());
    let all = || {
        place.path("lake/dead_letters/_delta_log").exists() && place.lake("lake", None) == *expected
    };
    until("all of it", || all() || child.try_wait().unwrap().is_some());
    terminate(&child);
    let mut screen = String::new();
    child.stdout.take().unwrap().read_to_string(&mut screen).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(
        screen.contains("category_by_country"),
        "a run that is stopped prints its answers: {screen}"
    );
    assert_same("in the end", expected, &place.lake("lake", None));
}

/// Returns true if a table with deleted rows has been compacted.
fn compacted(place: &Place) -> bool {
    ["demo_pin_table", "demo_geo_table", "demo_user_table"].iter().any(|table| {
        let log = place.path("lake").join(table).join("_delta_log");
        let mut versions = (0..)
            .map_while(|version| fs::read_to_string(log.join(format!("{version:020}.json"))).ok());
        versions.any(|version| version.contains(r#""operation":"OPTIMIZE""#))
    })
}

#[test]
fn following_equals_a_replay_and_each_commit_the_oracle() {
    let place = Place::new();
    place.run(&[
        "generate",
        "--to",
        "all",
        "--events",
        "2900",
        "--dirt",
        "0.2",
        "--records-per-object",
        "4",
    ]);
    // The first copy makes the large tables too large for rewriting, so that each later commit adds
    // files and deletion vectors.
    copy_share(&place.path("all"), &place.path("archive"), 160, 200);
    let mut child = place.spawn(&[
        "run",
        "--from",
        "archive",
        "--lake",
        "lake",
        "--follow",
        "--commit-every",
        "50ms",
        "--workers",
        "2",
    ]);
    until("the first commit", || !place.manifests().is_empty());
    let mut more = 3;
    for share in 161..200 {
        let before = place.manifests().len();
        copy_share(&place.path("all"), &place.path("archive"), share, 200);
        until("a commit", || place.manifests().len() > before);
        // Wait for some commits after a compaction: they delete rows from the compacted file.
        more -= i32::from(compacted(&place));
        if more == 0 {
            break;
        }
    }
    copy_share(&place.path("all"), &place.path("archive"), 1, 1);
    let expected = place.oracle("archive", &[]);
    until("the last commit", || {
        let lake = place.lake("lake", None);
        lake.get("pin_table") == expected.get("pin_table")
            && lake.get("dead_letters") == expected.get("dead_letters")
    });
    terminate(&child);
    let mut screen = String::new();
    child.stdout.take().unwrap().read_to_string(&mut screen).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(
        screen.contains("category_by_country"),
        "a run that is stopped prints its answers: {screen}"
    );
    assert_same("in the end", &expected, &place.lake("lake", None));

    let commits = place.manifests().len();
    assert!(commits >= 10, "{commits} commits are too few to mean something");
    if let Some(seen) = assert_every_commit_equals_the_oracle(&place, "archive") {
        let what = |name: &str| seen[name].as_u64().unwrap();
        assert!(
            what("compactions") > 0 && what("vectors") > 0,
            "too little happened to mean something: {seen}"
        );
        // Views and dead letters need no support for deletion vectors; a large table does.
        let plain = |table: &str| seen["plain"][table].as_u64().unwrap();
        assert!(["top_country", "dead_letters"].iter().all(|table| plain(table) > 0), "{seen}");
        assert!(
            place.declared("top_country").is_empty()
                && !place.declared("demo_pin_table").is_empty(),
            "{seen}"
        );
    }
}

#[test]
fn a_gap_is_waited_for_and_reported() {
    let place = Place::new();
    place.run(&[
        "generate",
        "--to",
        "archive",
        "--events",
        "300",
        "--records-per-object",
        "10",
        "--partitions",
        "1",
    ]);
    let hole = place.path("archive/topics/demo.pin/partition=0/demo.pin+0+0000000050.json");
    let aside = place.path("aside.json");
    fs::rename(&hole, &aside).unwrap();
    // A replay does not skip the gap.
    let error = place.fail(&["run", "--from", "archive", "--lake", "strict"], 65);
    assert!(error.contains("50"), "{error}");
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
    let mut printed = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    printed.read_line(&mut line).unwrap();
    assert!(line.contains("50"), "the gap is reported: {line}");
    fs::rename(&aside, &hole).unwrap();
    let expected = place.oracle("archive", &[]);
    until("the rest", || {
        place.path("lake/dead_letters/_delta_log").exists() && place.lake("lake", None) == expected
    });
    terminate(&child);
    assert!(child.wait().unwrap().success());
}

/// The situation of `pinterest run --follow 2>&1 | tee log` when Ctrl-C ends both.
#[test]
fn a_run_with_closed_output_stops_with_its_exit_code() {
    let place = Place::new();
    place.run(&["generate", "--to", "archive", "--events", "60"]);
    let unread = |args: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        place.command(args).stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap()
    };
    // This warning has no reader either.
    fs::write(place.path("archive/topics/demo.pin/partition=0/README.txt"), "left alone").unwrap();
    let mut child = unread(&["run", "--from", "archive", "--lake", "lake", "--follow"]);
    until("the first commit", || {
        !place.manifests().is_empty() || child.try_wait().unwrap().is_some()
    });
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_same("in the end", &place.oracle("archive", &[]), &place.lake("lake", None));
    assert_eq!(unread(&["run", "--from", "nowhere"]).wait().unwrap().code(), Some(78));
}

#[test]
fn a_partition_added_to_fixed_ones_is_refused() {
    let place = Place::new();
    place.run(&["generate", "--to", "archive", "--events", "60"]);
    let printed = place.fail(&["run", "--from", "archive", "--fixed-partitions"], 2);
    assert!(printed.contains("--follow"), "{printed}");
    let args = ["run", "--from", "archive", "--lake", "lake", "--follow", "--fixed-partitions"];
    let mut child = place.spawn(&args);
    until("the first commit", || !place.manifests().is_empty());
    let partition = place.path("archive/topics/demo.geo/partition=9");
    fs::create_dir_all(&partition).unwrap();
    fs::write(partition.join("demo.geo+9+0000000000.json"), "{}\n").unwrap();
    let mut printed = String::new();
    child.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(65), "{printed}");
    assert!(printed.contains("has a new partition, 9"), "{printed}");
    assert!(printed.contains("leave out --fixed-partitions"), "{printed}");
    // The next run reads it: the record is a dead letter.
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    assert_eq!(place.lake("lake", None)["dead_letters"], ["geo 9 0"]);
}
