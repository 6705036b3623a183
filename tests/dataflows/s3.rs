//! The whole program on a real bucket: its tables equal those of a folder, and each failure is one
//! clear error.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;
use watershed::store::Store;

use super::crash::{following, killed_again_and_again};
use super::follow::copy_share;
use super::{Place, assert_same, lines, tables};
use crate::support::bucket::bucket;
use crate::support::services::skipped;

/// Copies the files below a folder that the bucket lacks.
pub(super) fn upload(folder: &Path, url: &str) {
    let store = Store::open(url).unwrap();
    let mut folders = vec![String::new()];
    while let Some(below) = folders.pop() {
        let there: Vec<String> =
            store.list(&below).unwrap().into_iter().map(|(name, _)| name).collect();
        for entry in fs::read_dir(folder.join(&below)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            if entry.path().is_dir() {
                folders.push(path);
            } else if !there.contains(&name) {
                store.put(&path, &fs::read(entry.path()).unwrap()).unwrap();
            }
        }
    }
}

#[test]
fn generating_on_s3_resumes_and_equals_a_folder() {
    let Some(url) = bucket(generating_on_s3_resumes_and_equals_a_folder) else {
        return;
    };
    let place = Place::new();
    let generate =
        ["generate", "--events", "300", "--dirt", "0.2", "--records-per-object", "20", "--to"];
    place.run(&[&generate[..], &["archive"]].concat());
    // An object from a first, interrupted attempt.
    let (store, first) =
        (Store::open(&url).unwrap(), "topics/demo.pin/partition=0/demo.pin+0+0000000000.json");
    store.put(first, &fs::read(place.path("archive").join(first)).unwrap()).unwrap();
    let printed = place.run(&[&generate[..], &[&url]].concat());
    assert!(printed.contains(&format!("generated 300 events in {url}")), "{printed}");
    let mut objects = 0;
    for topic in ["pin", "geo", "user"] {
        for partition in 0..3 {
            let folder = format!("topics/demo.{topic}/partition={partition}");
            let names: Vec<String> =
                store.list(&folder).unwrap().into_iter().map(|(name, _)| name).collect();
            assert_eq!(
                names.len(),
                fs::read_dir(place.path("archive").join(&folder)).unwrap().count(),
                "{folder}"
            );
            for name in names {
                let path = format!("{folder}/{name}");
                assert_eq!(
                    store.get(&path).unwrap().unwrap(),
                    fs::read(place.path("archive").join(&path)).unwrap(),
                    "{path}"
                );
                objects += 1;
            }
        }
    }
    assert!(objects > 36, "{objects}");
    store.put(first, b"other\n").unwrap();
    assert!(
        place.fail(&[&generate[..], &[&url]].concat(), 65).contains("which holds other records")
    );
}

#[test]
fn a_run_on_s3_equals_the_oracle_and_a_run_in_folders() {
    let Some(url) = bucket(a_run_on_s3_equals_the_oracle_and_a_run_in_folders) else {
        return;
    };
    let place = Place::new();
    place.run(&[
        "generate",
        "--to",
        "archive",
        "--events",
        "1500",
        "--dirt",
        "0.2",
        "--records-per-object",
        "20",
    ]);
    let (archive, lake) = (format!("{url}/archive"), format!("{url}/lake"));
    upload(&place.path("archive"), &archive);
    let screen = place.run(&["run", "--from", &archive, "--lake", &lake]);
    assert!(screen.contains("category_by_country"), "{screen}");
    let there = tables(&lake, None);
    assert_same("on S3", &place.oracle("archive", &[]), &there);
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    assert_same("in a folder", &place.lake("lake", None), &there);
    let again = place.run(&["run", "--from", &archive, "--lake", &lake, "--workers", "3"]);
    assert!(again.contains("0 new records"), "{again}");
    assert!(place.run(&["check", "--from", &archive, "--lake", &lake]).contains("all are equal"));
    let topics: Vec<(&str, &str)> = there
        .keys()
        .filter(|name| *name != "dead_letters")
        .map(|name| (&**name, folder(name)))
        .collect();
    for (reader, seen) in independent(&lake, &topics) {
        for (topic, table) in &topics {
            let rows = lines(seen[*table].as_array().unwrap());
            assert!(rows == there[*topic], "{reader} reads other rows in {table}");
        }
    }
}

/// The name of a table's folder.
fn folder(topic: &str) -> &str {
    match topic {
        "pin_table" => "demo_pin_table",
        "geo_table" => "demo_geo_table",
        "user_table" => "demo_user_table",
        view => view,
    }
}

/// Reads the tables with independent readers. Where they can't be installed, reports a skipped
/// check.
fn independent(lake: &str, tables: &[(&str, &str)]) -> serde_json::Map<String, Json> {
    let support = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support");
    let venv = Command::new("bash").arg(support.join("venv.sh")).output().unwrap();
    let python = String::from_utf8(venv.stdout).unwrap();
    if python.trim().is_empty() {
        skipped("no Python environment with deltalake could be made");
        return serde_json::Map::new();
    }
    let mut command = Command::new(python.trim());
    let output = command
        .arg(support.join("s3_reader.py"))
        .arg(lake)
        .args(tables.iter().map(|(_, table)| table))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "other readers can't read: {error}");
    eprint!("{error}");
    let Json::Object(seen) = serde_json::from_slice(&output.stdout).unwrap() else {
        panic!("no readers")
    };
    assert!(seen.contains_key("delta-rs"), "{error}");
    seen
}

#[test]
fn a_run_on_s3_killed_many_times_loses_and_repeats_nothing() {
    let Some(url) = bucket(a_run_on_s3_killed_many_times_loses_and_repeats_nothing) else {
        return;
    };
    let place = Place::new();
    place.run(&[
        "generate",
        "--to",
        "all",
        "--events",
        "600",
        "--dirt",
        "0.1",
        "--records-per-object",
        "10",
    ]);
    let (archive, lake) = (format!("{url}/archive"), format!("{url}/lake"));
    let state = Store::open(&format!("{lake}/_watershed")).unwrap();
    let manifests = || state.list("manifest").unwrap().len();
    let args = ["run", "--from", &archive, "--lake", &lake];
    killed_again_and_again(8, manifests, |round| {
        copy_share(&place.path("all"), &place.path("archive"), round, 8);
        upload(&place.path("archive"), &archive);
        following(&place, &args, round)
    });
    place.run(&args);
    assert_same("after the last kill", &place.oracle("all", &[]), &tables(&lake, None));
}

#[test]
fn an_unusable_bucket_is_one_clear_error() {
    let Some(url) = bucket(an_unusable_bucket_is_one_clear_error) else {
        return;
    };
    let place = Place::new();
    // A port whose connections are never accepted, so no response ever arrives.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let cases: [(&str, &[(&str, &str)], i32, &str); 6] = [
        ("s3://no-such-bucket-here/lake", &[], 78, "NoSuchBucket"),
        (&url, &[("AWS_SECRET_ACCESS_KEY", "wrong")], 78, "SignatureDoesNotMatch"),
        (&url, &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")], 69, "127.0.0.1:1"),
        (&url, &[("AWS_ENDPOINT_URL", &silent)], 69, "no answer"),
        (&url, &[("AWS_ENDPOINT_URL", "http://10.0.0.1")], 78, "without encryption"),
        ("s3://key:secret@bucket/lake", &[], 78, "begin with the name of a bucket"),
    ];
    for (from, settings, code, says) in cases {
        let mut command: Command = place.command(&["run", "--from", from, "--lake", "lake"]);
        let output = command.envs(settings.iter().copied()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{from} {settings:?}: {error}");
        assert!(
            error.contains(says) && !error.contains("secret") && !error.contains('<'),
            "{error}"
        );
        assert!(error.lines().count() <= 2, "{error}");
        assert!(!place.path("lake").exists());
    }
}
