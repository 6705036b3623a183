//! `run --reset`: the program begins anew although a state exists.

use super::{Place, assert_same};

const RUN: [&str; 7] = ["run", "--from", "archive", "--lake", "lake", "--workers", "2"];

/// Returns a place with an archive and a lake of it.
fn with_lake() -> Place {
    let place = Place::new();
    place.run(&[
        "generate",
        "--to",
        "archive",
        "--events",
        "60",
        "--dirt",
        "0.2",
        "--records-per-object",
        "5",
    ]);
    place.run(&RUN);
    place
}

#[test]
fn a_reset_lake_equals_the_oracle_and_answers_as_of_before() {
    let place = with_lake();
    let answers = |n: &str| {
        let args = ["answers", "top_country", "--lake", "lake", "--format", "csv", "--as-of", n];
        place.run(&args)
    };
    let (before, last) = (place.manifests().len(), place.manifests().len().to_string());
    let first = answers(&last);
    place.run(&[&RUN[..], &["--reset"]].concat());
    assert!(place.manifests().len() > before + 1, "the reset, and a commit after it");
    assert_same("after the reset", &place.oracle("archive", &[]), &place.lake("lake", None));
    assert_eq!(answers(&last), first);
    assert_eq!(answers(&(before + 1).to_string()).lines().count(), 1, "only the header");
    assert!(place.run(&["check", "--from", "archive", "--lake", "lake"]).contains("equal"));
    place.run(&RUN);
    assert_same("later", &place.oracle("archive", &[]), &place.lake("lake", None));
}

#[test]
fn a_reset_without_the_first_objects_is_refused_unchanged() {
    let place = with_lake();
    let topics = place.path("archive/topics");
    let pin = std::fs::read_dir(topics).unwrap().map(|entry| entry.unwrap().path());
    let pin = pin.into_iter().find(|path| path.ends_with("demo.pin")).unwrap();
    let mut objects: Vec<_> = std::fs::read_dir(pin.join("partition=0"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    objects.sort();
    std::fs::remove_file(&objects[0]).unwrap();
    let before = (place.manifests().len(), place.lake("lake", None));
    let error = place.fail(&[&RUN[..], &["--reset"]].concat(), 65);
    for part in ["topic pin lacks its first records", "from offset 0", "give another --state"] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    assert_eq!((place.manifests().len(), place.lake("lake", None)), before);
    place.run(&RUN);
    let error = place.fail(&[&RUN[..], &["--reset", "--adopt"]].concat(), 2);
    assert!(error.contains("--adopt"), "{error}");
}
