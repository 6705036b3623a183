//! Following an archive, in many steps, leads where a replay in one go leads; every commit on the way is right.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Place, assert_same};

/// Copies the first `share` of `of` parts of each partition's objects that are not there yet, as a writer does: whole, by renaming.
pub(super) fn copy_share(from: &Path, to: &Path, share: usize, of: usize) {
    for topic in fs::read_dir(from.join("topics")).unwrap() {
        for partition in fs::read_dir(topic.unwrap().path()).unwrap() {
            let partition = partition.unwrap().path();
            let target = to.join(partition.strip_prefix(from).unwrap());
            fs::create_dir_all(&target).unwrap();
            let mut objects: Vec<_> = fs::read_dir(&partition).unwrap().map(|e| e.unwrap().path()).collect();
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

/// Waits until `done`, which must be soon.
pub(super) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} did not happen within a minute");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn terminate(child: &std::process::Child) {
    assert!(Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap().success());
}

#[test]
fn following_in_steps_equals_one_replay_and_every_commit_equals_the_oracle() {
    let place = Place::new();
    place.run(&["generate", "--to", "all", "--events", "1200", "--dirt", "0.2", "--records-per-object", "10"]);
    copy_share(&place.path("all"), &place.path("archive"), 1, 8);
    let mut child = place.spawn(&["run", "--from", "archive", "--lake", "lake", "--follow", "--commit-every", "50ms"]);
    for share in 2..=8 {
        copy_share(&place.path("all"), &place.path("archive"), share, 8);
        let expected = place.oracle("archive", &[]);
        until("the commit", || {
            place.path("lake/dead_letters/_delta_log").exists() && {
                let lake = place.lake("lake", None);
                lake.get("pin_table") == expected.get("pin_table") && lake.get("dead_letters") == expected.get("dead_letters")
            }
        });
    }
    terminate(&child);
    let mut screen = String::new();
    child.stdout.take().unwrap().read_to_string(&mut screen).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(screen.contains("category_by_country"), "a run that is stopped prints its answers: {screen}");
    assert_same("in the end", &place.oracle("all", &[]), &place.lake("lake", None));

    // Every commit binds ranges: the oracle over those ranges is what each table shows at that commit.
    let mut commits = 0;
    for entry in fs::read_dir(place.path("lake/_watershed/manifest")).unwrap() {
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
        let mut upto = serde_json::Map::new();
        for (topic, sources) in manifest["sources"].as_object().unwrap() {
            let partitions = sources[0]["partitions"].as_object().unwrap();
            let ends = partitions.iter().map(|(p, bound)| (p.clone(), bound["to"].clone())).collect();
            upto.insert(format!("demo.{topic}"), serde_json::Value::Object(ends));
        }
        let file = place.path("upto.json");
        fs::write(&file, serde_json::to_vec(&upto).unwrap()).unwrap();
        let n = manifest["n"].as_u64().unwrap();
        let expected = place.oracle("archive", &["--upto", file.to_str().unwrap()]);
        assert_same(&format!("commit {n}"), &expected, &place.lake("lake", Some(n)));
        commits += 1;
    }
    assert!(commits >= 3, "{commits} commits are too few to mean something");
}

#[test]
fn a_gap_is_waited_for_and_reported() {
    let place = Place::new();
    place.run(&["generate", "--to", "archive", "--events", "300", "--records-per-object", "10", "--partitions", "1"]);
    let hole = place.path("archive/topics/demo.pin/partition=0/demo.pin+0+0000000050.json");
    let aside = place.path("aside.json");
    fs::rename(&hole, &aside).unwrap();
    // A replay does not jump over it.
    let error = place.fail(&["run", "--from", "archive", "--lake", "strict"], 65);
    assert!(error.contains("50"), "{error}");
    let mut child = place.spawn(&["run", "--from", "archive", "--lake", "lake", "--follow", "--commit-every", "50ms"]);
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("50"), "the gap is reported: {line}");
    fs::rename(&aside, &hole).unwrap();
    let expected = place.oracle("archive", &[]);
    until("the rest", || place.path("lake/dead_letters/_delta_log").exists() && place.lake("lake", None) == expected);
    terminate(&child);
    assert!(child.wait().unwrap().success());
}
