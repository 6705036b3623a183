//! `run --keep` deletes the objects of an archive that no restart needs, and the answers stay
//! right.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Place;
use super::follow::follows_to;
use crate::support::disk::{DiskCalls, watched};

/// Copies the objects of a share of each partition: `parts` of 4.
fn add(from: &Path, to: &Path, parts: Range<usize>) {
    for topic in fs::read_dir(from.join("topics")).unwrap() {
        for partition in fs::read_dir(topic.unwrap().path()).unwrap() {
            let partition = partition.unwrap().path();
            let target = to.join(partition.strip_prefix(from).unwrap());
            fs::create_dir_all(&target).unwrap();
            let mut objects: Vec<_> =
                fs::read_dir(&partition).unwrap().map(|entry| entry.unwrap().path()).collect();
            objects.sort();
            let at = |part: usize| objects.len() * part / 4;
            for object in &objects[at(parts.start)..at(parts.end)] {
                fs::copy(object, target.join(object.file_name().unwrap())).unwrap();
            }
        }
    }
}

/// The objects of an archive, by topic and offset.
fn paths(archive: &Path) -> Vec<PathBuf> {
    let topics = fs::read_dir(archive.join("topics")).unwrap();
    let folders = topics.map(|topic| topic.unwrap().path().join("partition=0"));
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths
}

#[test]
fn a_run_that_deletes_old_objects_ends_like_a_replay() {
    let mut place = Place::new();
    // Snapshots that share no layer are rare without it.
    place.environment.push(("WATERSHED_LIMITS", "layers=0".into()));
    let (events, each) = ("40", "5");
    let generate = ["generate", "--to", "full", "--events", events, "--partitions", "1"];
    place.run(&[&generate[..], &["--records-per-object", each]].concat());
    let (full, archive) = (place.path("full"), place.path("archive"));
    let args = ["run", "--from", "archive", "--lake", "lake", "--keep", "0s"];
    for part in 0..3 {
        add(&full, &archive, part..part + 1);
        let before = paths(&archive);
        let log = place.path("calls");
        let _ = fs::remove_file(&log);
        // One commit, at the end: it has a snapshot of its own.
        let mut command = place.command(&[&args[..], &["--commit-every", "1h"]].concat());
        watched(&mut command, &log, None);
        assert!(command.output().unwrap().status.success());
        // In the order of offsets, so that a crash leaves no gap.
        let calls = DiskCalls::read(&log);
        let removed = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            calls.first("removed", |path| path.ends_with(name))
        };
        let removed: Vec<_> = before.iter().map(removed).collect();
        let in_order =
            |pair: &[Option<usize>]| pair[1].is_none() || pair[0].is_none() || pair[0] < pair[1];
        assert!(removed.windows(2).all(in_order), "{removed:?}");
    }
    add(&full, &archive, 3..4);
    let expected = place.oracle("full", &[]);
    follows_to(&place, &args, &expected);
    follows_to(&place, &args, &expected);
    let objects = |archive: &Path| paths(archive).len();
    assert!(objects(&archive) < objects(&full), "{} are left", objects(&archive));
    // A week is not over.
    let left = objects(&archive);
    let week = ["run", "--from", "archive", "--lake", "lake", "--keep", "7d"];
    place.run(&week);
    assert_eq!(objects(&archive), left);
    let error = place.fail(&["run", "--from", "archive", "--lake", "other", "--keep", "7x"], 2);
    assert!(error.contains("7d") || error.contains(" d"), "{error}");
    let error = place.fail(&["run", "--from", "kinesis://eu-west-1", "--keep", "7d"], 2);
    assert!(error.contains("no archive is read"), "{error}");
}
