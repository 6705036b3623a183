//! Durability of a log in a folder: every acknowledged record stays at its offset, after torn
//! writes, kills and missing files.

use std::fs;
use std::time::Duration;

use futures::executor::block_on;
use watershed::connect::Source;
use watershed::connectors::archive::Archive;
use watershed::connectors::archive::{AppendOptions, ArchiveAppender};
use watershed::gateway::{Append, Refusal};
use watershed::{ErrorKind, Timestamp};

use super::{append, entry, only, records, slow};

/// Bytes of a segment before its first frame, and of a frame without records.
const HEAD_BYTES: usize = 40;
const SEAL: usize = 48;

#[test]
fn offsets_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    for (round, three) in values.chunks(3).enumerate() {
        let log = ArchiveAppender::open(
            folder.path(),
            if round % 2 == 0 { slow() } else { AppendOptions::default() },
        )
        .unwrap();
        if round == 0 {
            block_on(log.create("t", 1)).unwrap();
        }
        let first = round as u64 * 3;
        assert_eq!(append(&log, three), [first, first + 1, first + 2]);
        if round % 3 == 0 {
            block_on(log.close()).unwrap();
            assert_eq!(
                block_on(log.append("t", vec![entry("late")])),
                Err(Refusal::Busy("the archive is closed".into()))
            );
        }
    }
    drop(ArchiveAppender::open(folder.path(), slow()).unwrap());
    assert_eq!(records(folder.path(), "t", 0), values);
}

#[test]
fn a_torn_tail_is_dropped_and_all_before_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    let values = ["first", "second", "third"].map(String::from);
    let name = only(folder.path().join("_gateway/journal")).file_name().unwrap().to_owned();
    let ends: Vec<usize> = values
        .iter()
        .map(|value| {
            append(&log, std::slice::from_ref(value));
            only(folder.path().join("_gateway/journal")).metadata().unwrap().len() as usize - SEAL
        })
        .collect();
    let journal = fs::read(only(folder.path().join("_gateway/journal"))).unwrap();
    drop(log);
    for length in (0..journal.len()).step_by(5).chain(ends.iter().flat_map(|end| [*end - 1, *end]))
    {
        for dirt in [&b""[..], b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", b"#####"] {
            if length < HEAD_BYTES && !dirt.is_empty() {
                continue;
            }
            let place = tempfile::tempdir().unwrap();
            let segments = place.path().join("_gateway/journal");
            fs::create_dir_all(place.path().join("topics/t/partition=0")).unwrap();
            fs::create_dir_all(&segments).unwrap();
            let torn = [&journal[..length], dirt].concat();
            fs::write(segments.join(&name), &torn).unwrap();
            let whole = ends.iter().filter(|end| **end <= length).count();
            let log = ArchiveAppender::open(place.path(), slow()).unwrap();
            assert_eq!(records(place.path(), "t", 0), &values[..whole], "cut at {length}");
            assert_eq!(append(&log, &["next".into()]), [whole as u64]);
            // The cut bytes are kept with their offset; frames and cut bytes together are the whole
            // file.
            for entry in fs::read_dir(&segments).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "cut") {
                    let stem = path.file_stem().unwrap().to_str().unwrap().to_string();
                    let at: usize = stem.split_once('.').unwrap().1.parse().unwrap();
                    assert!(
                        fs::read(&path).unwrap() == torn[at..] && at <= length,
                        "{}",
                        path.display()
                    );
                }
            }
        }
    }
}

#[test]
fn a_log_killed_while_opening_a_torn_tail_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    let journal = only(folder.path().join("_gateway/journal"));
    append(&log, &["first".into()]);
    let whole = fs::read(&journal).unwrap();
    append(&log, &["second".into()]);
    let torn = fs::read(&journal).unwrap()[..whole.len() + 9].to_vec();
    let name = journal.file_name().unwrap();
    drop(log);
    for next in [None, Some("0000000001.log")] {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("topics/t/partition=0")).unwrap();
        let segments = place.path().join("_gateway/journal");
        fs::create_dir_all(&segments).unwrap();
        let first = segments.join(name);
        fs::write(&first, &torn).unwrap();
        next.iter().for_each(|next| fs::write(segments.join(next), "").unwrap());
        // A second link keeps the file as the log left it before it was deleted.
        fs::hard_link(&first, place.path().join("kept")).unwrap();
        drop(ArchiveAppender::open(place.path(), slow()).unwrap());
        assert!(fs::read(place.path().join("kept")).unwrap() == whole, "the torn end is cut off");
        // The state after a kill between beginning the next segment and deleting the first.
        fs::hard_link(place.path().join("kept"), &first).unwrap();
        for value in ["next", "last"] {
            let log = ArchiveAppender::open(place.path(), slow()).unwrap();
            append(&log, &[value.into()]);
        }
        drop(ArchiveAppender::open(place.path(), slow()).unwrap());
        assert_eq!(records(place.path(), "t", 0), ["first", "next", "last"]);
    }
}

#[test]
fn damage_before_the_tail_is_an_error_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    ["first", "second"].iter().for_each(|value| drop(append(&log, &[value.to_string()])));
    drop(log);
    let journal = only(folder.path().join("_gateway/journal"));
    let good = fs::read(&journal).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2 - 3] ^= 1;
    fs::write(&journal, &bad).unwrap();
    let error = ArchiveAppender::open(folder.path(), slow()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(fs::read(only(folder.path().join("_gateway/journal"))).unwrap() == bad);
    // A torn frame with another segment behind it is no tail either.
    let next = journal.with_file_name("0000000009.log");
    fs::write(&journal, &good[..good.len() - 3]).unwrap();
    fs::write(&next, &good).unwrap();
    let error = ArchiveAppender::open(folder.path(), slow()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(fs::read(&journal).unwrap() == good[..good.len() - 3]);
    fs::remove_file(&next).unwrap();
    fs::write(&journal, &good).unwrap();
    drop(ArchiveAppender::open(folder.path(), slow()).unwrap());
    assert_eq!(records(folder.path(), "t", 0), ["first", "second"]);
}

#[test]
fn a_journal_that_goes_on_behind_missing_objects_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), AppendOptions::default()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    append(&log, &["first".into()]);
    block_on(log.close()).unwrap();
    drop(log);
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    append(&log, &["second".into()]);
    drop(log);
    let object = only(folder.path().join("topics/t/partition=0"));
    let text = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    let error = ArchiveAppender::open(folder.path(), slow()).err().unwrap();
    assert!(error.kind() == ErrorKind::Data && error.to_string().contains("offset 0"), "{error}");
    fs::write(&object, text).unwrap();
    drop(ArchiveAppender::open(folder.path(), slow()).unwrap());
    assert_eq!(records(folder.path(), "t", 0), ["first", "second"]);
}

#[test]
fn objects_that_a_run_has_deleted_are_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("_gateway/journal");
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    append(&log, &["first".into()]);
    let segment = only(journal.clone());
    let held = fs::read(&segment).unwrap();
    block_on(log.close()).unwrap();
    drop(log);
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    append(&log, &["second".into(), "third".into()]);
    block_on(log.close()).unwrap();
    drop(log);
    let topic = Archive::open(folder.path().to_str().unwrap()).unwrap().topic("t");
    let topic = topic.with_retention(Duration::ZERO);
    topic.released(&[(0, 3)].into(), Timestamp(0));
    assert_eq!(topic.span(0).unwrap(), Some(1..3));
    // A kill has left the journal with records that are in the archive.
    fs::remove_dir_all(&journal).unwrap();
    fs::create_dir(&journal).unwrap();
    fs::write(&segment, held).unwrap();
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    assert_eq!(append(&log, &["fourth".into()]), [3]);
    block_on(log.close()).unwrap();
    assert_eq!(topic.span(0).unwrap(), Some(1..4));
}

#[test]
fn one_process_at_a_time_opens_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    assert_eq!(
        ArchiveAppender::open(folder.path(), slow()).err().unwrap().kind(),
        ErrorKind::Connect
    );
    drop(log);
    drop(ArchiveAppender::open(folder.path(), slow()).unwrap());
    fs::create_dir_all(folder.path().join("topics/t")).unwrap();
    fs::write(folder.path().join("topics/t/_writer"), "an application").unwrap();
    assert_eq!(ArchiveAppender::open(folder.path(), slow()).err().unwrap().kind(), ErrorKind::Data);
}

#[test]
fn a_topic_in_a_foreign_layout_is_not_appended_to() {
    for path in [
        "year=2020/hour=03/t+0+0000000000.json",
        "partition=0/t+0+0000000000.json.gz",
        "partition=0/t+0+0.json",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
        block_on(log.create("t", 1)).unwrap();
        drop(log);
        let object = folder.path().join("topics/t").join(path);
        fs::create_dir_all(object.parent().unwrap()).unwrap();
        fs::write(&object, "{}\n").unwrap();
        let error = ArchiveAppender::open(folder.path(), slow()).err().unwrap();
        assert!(error.kind() == ErrorKind::Data && error.to_string().contains(path), "{error}");
        fs::remove_file(object).unwrap();
        // An empty folder of another layout is refused as well.
        drop(fs::remove_dir_all(folder.path().join("topics/t/year=2020")));
        drop(ArchiveAppender::open(folder.path(), slow()).unwrap());
    }
}

#[test]
fn keys_stay_together_and_the_rest_is_spread() {
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), AppendOptions::default()).unwrap();
    block_on(log.create("t", 4)).unwrap();
    let places = |key: Option<&str>| {
        let mut record = entry("1");
        record.key = key.map(|key| key.to_string().into());
        block_on(log.append("t", vec![record])).unwrap().remove(0).unwrap().partition
    };
    for key in ["a", "b", "c", "d", "e", "f"] {
        let first = places(Some(key));
        assert!((0..5).all(|_| places(Some(key)) == first), "{key}");
    }
    let mut spread: Vec<u32> = (0..8).map(|_| places(None)).collect();
    spread.sort_unstable();
    assert_eq!(spread, [0, 0, 1, 1, 2, 2, 3, 3]);
}

#[test]
fn a_long_journal_is_many_files_and_all_of_them_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    let values: Vec<String> = (0..40).map(|n| n.to_string().repeat(500_000)).collect();
    values.iter().for_each(|value| drop(append(&log, std::slice::from_ref(value))));
    let files = || fs::read_dir(folder.path().join("_gateway/journal")).unwrap().count();
    assert!(files() > 2, "{} files", files());
    drop(log);
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    assert_eq!((files(), records(folder.path(), "t", 0) == values), (1, true));
    assert_eq!(append(&log, &["next".into()]), [40]);
}
