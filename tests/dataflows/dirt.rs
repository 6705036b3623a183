//! Bad input follows the rule of the specification or becomes a dead letter. A bad environment
//! causes one clear error and no change.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::{Place, assert_same};

#[test]
fn each_line_of_the_dirty_corpus_is_a_row_or_a_dead_letter() {
    let place = Place::new();
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dirty");
    super::follow::copy_share(corpus.as_ref(), &place.path("archive"), 1, 1);
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    assert_same("the corpus", &place.oracle("archive", &[]), &place.lake("lake", None));
}

#[test]
fn junk_and_half_objects_are_counted_and_change_nothing() {
    let place = Place::new();
    place.run(&[
        "generate",
        "--to",
        "archive",
        "--events",
        "200",
        "--dirt",
        "0",
        "--partitions",
        "1",
    ]);
    let clean = place.oracle("archive", &[]);
    let folder = place.path("archive/topics/demo.pin/partition=0");
    let first = fs::read(folder.join("demo.pin+0+0000000000.json")).unwrap();
    let mut junk = b"no json\n\n\xff\xfe\x00\n".to_vec();
    junk.extend(std::iter::repeat_n(b'[', 100_000));
    junk.push(b'\n');
    junk.extend(format!("{{\"unique_id\":\"{}\",\"index\":1}}\n", "x".repeat(2 << 20)).bytes());
    // Half an object, cut in the middle of its last line.
    junk.extend(&first[..first.iter().rposition(|b| *b == b'}').unwrap() - 5]);
    fs::write(folder.join("demo.pin+0+0000000200.json"), junk).unwrap();
    fs::write(folder.join("README.txt"), "left alone").unwrap();
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    let lake = place.lake("lake", None);
    assert_eq!(lake["dead_letters"].len(), 6);
    assert_eq!(lake["category_by_country"], clean["category_by_country"]);
    assert_same("junk", &place.oracle("archive", &[]), &lake);
}

#[test]
fn only_files_are_objects_and_piped_logs_have_no_colours() {
    let place = Place::new();
    place.run(&["generate", "--to", "archive", "--events", "60", "--partitions", "1"]);
    let object = |partition: u32| {
        let folder = place.path(&format!("archive/topics/demo.pin/partition={partition}"));
        fs::create_dir_all(&folder).unwrap();
        folder.join(format!("demo.pin+{partition}+0000000000.json"))
    };
    // Opening a socket fails; a pipe would block the run, and a device would never end.
    let _socket = UnixListener::bind(object(1)).unwrap();
    fs::create_dir(object(2)).unwrap();
    symlink(object(1), object(3)).unwrap();
    let output = place.output(&["run", "--from", "archive", "--lake", "lake"]);
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && printed.contains("partition=3"), "{printed}");
    assert!(!printed.contains('\u{1b}'), "{printed:?}");
    fs::remove_dir(object(2)).unwrap();
    [1, 3].iter().for_each(|partition| fs::remove_file(object(*partition)).unwrap());
    assert_same("without them", &place.oracle("archive", &[]), &place.lake("lake", None));
}

#[test]
fn bad_surroundings_get_one_clear_error_and_their_exit_code() {
    let place = Place::new();
    place.fail(&["run", "--workers", "0"], 2);
    place.fail(&["run", "--user-id", "../x"], 2);
    place.fail(&["generate", "--events", &u64::MAX.to_string()], 2);
    place.fail(&["run", "--post-years", "2022..2018"], 2);
    assert!(place.fail(&["run", "--from", "nowhere"], 78).contains("generate --to nowhere"));
    assert!(place.fail(&["run", "--from", "tape://x"], 78).contains("tape://"));
    assert!(place.fail(&["answers", "--lake", "nowhere"], 78).contains("pinterest run"));
    assert!(place.fail(&["answers", "no_such_view"], 2).contains("category_by_country"));

    place.run(&["generate", "--to", "archive", "--events", "50"]);
    fs::create_dir_all(place.path("lake/demo_pin_table")).unwrap();
    fs::write(place.path("lake/demo_pin_table/notes.txt"), "not a table").unwrap();
    let error = place.fail(&["run", "--from", "archive", "--lake", "lake"], 65);
    assert!(error.contains("demo_pin_table"), "{error}");
    assert_eq!(
        fs::read_dir(place.path("lake/demo_pin_table")).unwrap().count(),
        1,
        "nothing is added to it"
    );

    place.run(&["run", "--from", "archive", "--lake", "good"]);
    let before = place.lake("good", None);
    place.run(&["generate", "--to", "other", "--events", "60"]);
    assert!(place.fail(&["run", "--from", "other", "--lake", "good"], 65).contains("archive"));
    // Change a record that was read before.
    let object = place.path("archive/topics/demo.geo/partition=0/demo.geo+0+0000000000.json");
    let text = fs::read_to_string(&object).unwrap();
    fs::write(&object, text.replacen("20", "21", 1)).unwrap();
    // With a snapshot it is not read again.
    fs::remove_dir_all(place.path("good/_watershed/snap")).unwrap();
    let error = place.fail(&["run", "--from", "archive", "--lake", "good"], 65);
    assert!(error.contains("demo.geo"), "{error}");
    assert_same("after refusals", &before, &place.lake("good", None));
    // A run without the state must not take over the tables.
    fs::remove_dir_all(place.path("good/_watershed")).unwrap();
    fs::write(&object, text).unwrap();
    place.fail(&["run", "--from", "archive", "--lake", "good"], 65);
    assert_same("without its state", &before, &place.lake("good", None));
}

#[test]
fn check_finds_a_planted_difference() {
    let place = Place::new();
    place.run(&[
        "generate",
        "--to",
        "archive",
        "--events",
        "100",
        "--partitions",
        "1",
        "--dirt",
        "0",
    ]);
    place.run(&["run", "--from", "archive", "--lake", "lake"]);
    place.run(&["check", "--from", "archive", "--lake", "lake"]);
    let object = place.path("archive/topics/demo.user/partition=0/demo.user+0+0000000000.json");
    let text = fs::read_to_string(&object).unwrap();
    let line = text.lines().next().unwrap().to_string();
    fs::write(&object, text.replacen(&line, "{}", 1)).unwrap();
    place.fail(&["check", "--from", "archive", "--lake", "lake"], 1);
    // The exit code is right even if the reader of the output has closed its pipe.
    let exit_code = |lake| {
        let mut check = place.spawn(&["check", "--from", "archive", "--lake", lake]);
        drop(check.stdout.take());
        check.wait().unwrap().code()
    };
    assert_eq!(exit_code("lake"), Some(1));
    place.run(&["run", "--from", "archive", "--lake", "fresh"]);
    assert_eq!(exit_code("fresh"), Some(0));
}
