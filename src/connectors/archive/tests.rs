//! Promises of the archive to its readers.

mod sizes;

use std::sync::Arc;
use std::{fs, str};

use object_store::memory::InMemory;

use super::source::{CHUNK_BYTES, Limits, Reader};
use super::*;
use crate::connect::{Partition, Poll, Source};
use crate::error::ErrorKind;
use crate::record::CUT_VALUE_BYTES;

/// A topic with a `+` in its name, so that every test reads names from the right.
const TOPIC: &str = "demo+1.pin";

struct Folder {
    root: tempfile::TempDir,
    topic: ArchiveTopic,
}

impl Folder {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let topic = Archive::open(root.path().to_str().unwrap()).unwrap().topic(TOPIC);
        fs::create_dir_all(root.path().join(format!("topics/{TOPIC}/partition=3"))).unwrap();
        Folder { root, topic }
    }

    fn with(objects: &[(u64, &str)]) -> Self {
        let folder = Self::new();
        objects.iter().for_each(|(first, text)| folder.put(&name(*first), text));
        folder
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.root.path().join(format!("topics/{TOPIC}/partition=3")).join(name), text)
            .unwrap();
    }

    fn read(&self, from: u64) -> Vec<(u64, String)> {
        drain(&mut *self.topic.open(3, Some(from), false).unwrap())
    }

    fn refused(&self, from: u64) -> String {
        match self.topic.open(3, Some(from), false).and_then(|mut p| {
            while let Poll::Batch(_) = p.poll()? {}
            Ok(())
        }) {
            Err(e) if e.kind() == ErrorKind::Data => e.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

fn name(first: u64) -> String {
    format!("{TOPIC}+3+{first:010}.json")
}

/// Returns all records up to the first poll without any, and checks every batch.
fn drain(partition: &mut dyn Partition) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    while let Poll::Batch(batch) = partition.poll().unwrap() {
        assert_eq!((batch.partition, batch.first), (3, batch.records[0].offset));
        assert_eq!(batch.next, batch.records.last().unwrap().offset + 1);
        for record in batch.iter(0) {
            assert_eq!((record.key, record.timestamp), (None, None));
            let value = str::from_utf8(record.value.unwrap()).unwrap();
            all.push((record.order.offset, value.to_string()));
        }
    }
    assert!(all.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "{all:?}");
    all
}

fn numbered(from: u64, lines: &[&str]) -> Vec<(u64, String)> {
    (from..).zip(lines.iter().map(ToString::to_string)).collect()
}

#[test]
fn every_line_is_a_record_and_an_object_without_bytes_has_none() {
    let folder = Folder::with(&[(0, "{\"a\":1}\n\n{\"b\":"), (3, "\n"), (4, "x\n"), (5, "")]);
    assert_eq!(folder.read(0), numbered(0, &["{\"a\":1}", "", "{\"b\":", "", "x"]));
    assert_eq!(folder.topic.ignored_files(), 0);
    assert_eq!(Folder::new().read(0), []);
    assert_eq!(Folder::with(&[(0, "")]).read(0), []);
}

#[test]
fn files_of_other_names_are_left_alone_and_counted() {
    let folder = Folder::with(&[(0, "a\n"), (1, "b\n")]);
    let others = [
        "demo+1.pin+3+0000000002.avro",
        "demo+1.pin+3+0000000002.json.zst",
        "demo+1.pin+03+0000000002.json",
        "demo+1.pin+3++000000002.json",
        "demo+1.pin+4+0000000002.json",
        "demo+1.pin+3+0000000002",
        "demo+3+0000000002.json",
        "1.pin+3+0000000002.json",
        "demo+1.pin+3+0+0000000002.json",
        "_SUCCESS",
    ];
    others.iter().for_each(|name| folder.put(name, "z\n"));
    folder.put(".demo+1.pin+3+0000000002.json.77.tmp", "half");
    assert_eq!(folder.read(0), numbered(0, &["a", "b"]));
    assert_eq!(folder.read(1).len(), 1);
    assert_eq!(folder.topic.ignored_files(), others.len() as u64);
}

#[test]
fn partitions_are_the_folders_with_a_number() {
    let folder = Folder::new();
    for name in ["partition=10", "partition=0", "partition=01", "partition=x", "_staged"] {
        fs::create_dir_all(folder.root.path().join("topics").join(TOPIC).join(name)).unwrap();
    }
    assert_eq!(Source::partitions(&folder.topic).unwrap(), [0, 3, 10]);
    let archive = Archive::open(&format!("file://{}/", folder.root.path().display())).unwrap();
    assert_eq!(Source::partitions(&archive.topic("absent")).unwrap(), [0; 0]);
    for topic in ["", "..", "a/b"] {
        assert_eq!(
            Source::partitions(&archive.topic(topic)).unwrap_err().kind(),
            ErrorKind::Config
        );
    }
    assert_eq!(archive.topic(TOPIC).describe(), folder.topic.describe());
    assert_eq!(
        folder.topic.describe(),
        format!("archive {} topic {TOPIC}", folder.root.path().display())
    );
    assert_eq!(Archive::open("s3://bucket").err().unwrap().kind(), ErrorKind::Config);
}

#[test]
fn an_unreadable_folder_is_a_connect_error() {
    let folder = Folder::new();
    fs::write(folder.root.path().join("topics").join(TOPIC).join("partition=5"), "no folder")
        .unwrap();
    let error = folder.topic.open(5, None, false).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(
        error.to_string().contains("partition=5") && error.to_string().contains("Check"),
        "{error}"
    );
}

#[test]
fn reading_resumes_at_every_offset() {
    let folder = Folder::with(&[(7, "a\nb\nc\n"), (10, "d"), (11, "\n\n"), (13, "e\nf")]);
    let all = numbered(7, &["a", "b", "c", "d", "", "", "e", "f"]);
    for from in 7..=15 {
        assert_eq!(folder.read(from), all[from as usize - 7..], "from {from}");
    }
    assert!(folder.refused(6).contains("from offset 6: it begins at 7"));
    assert!(folder.refused(0).contains("begins at 7"));
    assert!(folder.refused(16).contains("from offset 16: it ends at 15"));
    assert!(folder.topic.open(3, Some(16), true).is_err());
    assert_eq!(drain(&mut *folder.topic.open(3, None, false).unwrap()), all);
    assert!(Folder::new().refused(1).contains("it holds nothing"));
}

#[test]
fn large_objects_are_cut_at_line_ends_for_any_chunk() {
    let lines: Vec<String> = (0..40).map(|i: usize| "x".repeat(i * 7 % 23)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (one, two) = (lines[..30].join("\n"), lines[30..].join("\n") + "\n");
    let folder = Folder::with(&[(0, &one), (30, &two)]);
    for chunk in 1..=one.len() + two.len() + 2 {
        for from in [0, 29, 40] {
            let objects = folder.topic.objects(3).unwrap();
            let limits = Limits { batch_bytes: chunk, ..Limits::default() };
            let mut reader = Reader::open(objects, Some(from), false, limits).unwrap();
            assert_eq!(
                drain(&mut reader),
                numbered(0, &lines)[from as usize..],
                "chunk {chunk} from {from}"
            );
            assert_eq!(reader.remaining(), 0);
        }
    }
}

#[test]
fn long_records_are_whole_and_oversized_ones_are_cut() {
    let lines = ["", "a", &"y".repeat(100), &"z".repeat(101), "b", &"w".repeat(700)];
    let folder = Folder::with(&[(0, &lines[..4].join("\n")), (4, &lines[4..].join("\n"))]);
    for chunk in 1..=300 {
        for from in 0..=6 {
            let objects = folder.topic.objects(3).unwrap();
            let limits = Limits { batch_bytes: chunk, line_bytes: 100 };
            let mut reader = Reader::open(objects, Some(from as u64), false, limits).unwrap();
            let (mut values, mut cuts) = (Vec::new(), Vec::new());
            while let Poll::Batch(batch) = reader.poll().unwrap() {
                assert!(
                    batch.bytes.len() <= chunk + 201,
                    "{} bytes in chunks of {chunk}",
                    batch.bytes.len()
                );
                values.extend(
                    batch.iter(0).map(|r| str::from_utf8(r.value.unwrap()).unwrap().to_string()),
                );
                cuts.extend(batch.records.iter().map(|span| span.cut));
            }
            let held = lines.map(|line| &line[..line.len().min(100)]);
            assert_eq!(values, held[from..], "chunk {chunk} from {from}");
            assert_eq!(
                cuts,
                [None, None, None, Some(101), None, Some(700)][from..],
                "chunk {chunk} from {from}"
            );
            assert_eq!(reader.remaining(), 0);
        }
    }
}

#[test]
fn an_endless_line_takes_bounded_memory() {
    let folder = Folder::with(&[(0, &format!("{}\nb", "x".repeat(20 << 20)))]);
    let limits = Limits { line_bytes: 4 << 20, ..Limits::default() };
    let mut reader =
        Reader::open(folder.topic.objects(3).unwrap(), Some(0), false, limits).unwrap();
    let Poll::Batch(batch) = reader.poll().unwrap() else { panic!("no batch") };
    assert_eq!(
        (batch.iter(0).next().unwrap().value.unwrap().len(), batch.records[0].cut),
        (CUT_VALUE_BYTES, Some(20 << 20))
    );
    assert_eq!(drain(&mut reader), numbered(1, &["b"]));
    assert!(
        batch.bytes.capacity() <= CUT_VALUE_BYTES + 2 * CHUNK_BYTES,
        "{}",
        batch.bytes.capacity()
    );
}

#[test]
fn a_gap_stops_a_replay_and_names_its_ends() {
    let folder = Folder::with(&[(0, "a\nb\n"), (5, "f\n")]);
    let mut partition = folder.topic.open(3, Some(0), false).unwrap();
    assert!(matches!(partition.poll(), Ok(Poll::Batch(batch)) if batch.next == 2));
    for _ in 0..2 {
        let message = partition.poll().unwrap_err().to_string();
        assert!(
            message.contains("lacks the offsets from 2 on: the next object begins at 5"),
            "{message}"
        );
    }
    assert!(folder.refused(3).contains("from 2 on"));
    assert_eq!(folder.read(5).len(), 1);
    let empty = Folder::with(&[(0, ""), (1, "b\n")]);
    assert!(empty.refused(0).contains("from 0 on"));
}

#[test]
fn an_object_that_appears_while_listing_is_no_gap() {
    let folder = Folder::with(&[(0, "a\n"), (3, "d\n")]);
    let mut partition = folder.topic.open(3, None, false).unwrap();
    folder.put(&name(1), "b\nc\n");
    assert_eq!(drain(&mut *partition), numbered(0, &["a", "b", "c", "d"]));
    assert!(matches!(partition.poll(), Ok(Poll::End)));
}

#[test]
fn an_overlap_stops_the_reading() {
    let folder = Folder::with(&[(0, "a\nb\n"), (1, "b\n")]);
    assert!(folder.refused(0).contains("two objects of"));
    let mut follower = folder.topic.open(3, Some(0), true).unwrap();
    assert!(matches!(follower.poll(), Ok(Poll::Batch(_))));
    assert_eq!(follower.poll().unwrap_err().kind(), ErrorKind::Data);
}

#[test]
fn an_object_that_was_listed_and_is_gone_is_an_error() {
    let folder = Folder::with(&[(0, "a\n")]);
    let mut partition = folder.topic.open(3, Some(0), false).unwrap();
    fs::remove_file(folder.root.path().join(format!("topics/{TOPIC}/partition=3/{}", name(0))))
        .unwrap();
    assert!(partition.poll().unwrap_err().to_string().contains("is gone"));
}

#[test]
fn a_replay_ends_where_the_archive_ended_when_it_was_opened() {
    let folder = Folder::with(&[(0, "a\n")]);
    let mut partition = folder.topic.open(3, Some(0), false).unwrap();
    folder.put(&name(1), "b\n");
    assert_eq!(partition.remaining(), 2);
    assert_eq!(drain(&mut *partition).len(), 1);
    assert!(matches!(partition.poll(), Ok(Poll::End)));
}

#[test]
fn a_follower_sees_new_objects_and_waits_at_a_gap() {
    let folder = Folder::new();
    let mut follower = folder.topic.open(3, Some(0), true).unwrap();
    assert!(matches!(follower.poll(), Ok(Poll::Idle)));
    folder.put(&name(0), "a\nb\n");
    assert_eq!(drain(&mut *follower), numbered(0, &["a", "b"]));
    folder.put(&name(2), "c\n");
    folder.put(&name(3), "");
    assert_eq!(drain(&mut *follower), numbered(2, &["c"]));
    folder.put(&name(5), "f\n");
    folder.put(&name(6), "g\n");
    (0..100).for_each(|_| assert!(matches!(follower.poll(), Ok(Poll::Idle))));
    // Objects are immutable, so only a new follower reads the empty one again.
    folder.put(&name(3), "d\ne\n");
    assert!(matches!(follower.poll(), Ok(Poll::Idle)));
    let mut follower = folder.topic.open(3, Some(3), true).unwrap();
    assert_eq!(drain(&mut *follower), numbered(3, &["d", "e", "f", "g"]));

    let folder = Folder::with(&[(0, "a\n"), (3, "d\n")]);
    let mut follower = folder.topic.open(3, Some(0), true).unwrap();
    assert_eq!(drain(&mut *follower).len(), 1);
    (0..100).for_each(|_| assert!(matches!(follower.poll(), Ok(Poll::Idle))));
    folder.put(&name(1), "b");
    assert_eq!(drain(&mut *follower).len(), 1);
    folder.put(&name(2), "c");
    assert_eq!(drain(&mut *follower), numbered(2, &["c", "d"]));
}

#[test]
fn a_follower_notices_an_overlap_by_listing() {
    let folder = Folder::with(&[(0, "a\nb\n")]);
    let mut follower = folder.topic.open(3, Some(0), true).unwrap();
    drain(&mut *follower);
    folder.put(&name(1), "b\n");
    let error = (0..100).find_map(|_| follower.poll().err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::Data);
}

#[test]
fn small_objects_equal_a_large_one_and_share_batches() {
    let lines: Vec<String> = (0..5000).map(|i| format!("{{\"ind\":{i}}}")).collect();
    let (many, one) = (Folder::new(), Folder::with(&[(0, &lines.join("\n"))]));
    lines.iter().enumerate().for_each(|(i, line)| many.put(&name(i as u64), &format!("{line}\n")));
    assert_eq!(many.read(0), one.read(0));
    assert_eq!(many.read(4321), one.read(4321));
    let mut partition = many.topic.open(3, Some(0), false).unwrap();
    assert_eq!(partition.remaining(), lines.iter().map(|line| line.len() as u64 + 1).sum::<u64>());
    let batches = std::iter::from_fn(|| match partition.poll() {
        Ok(Poll::Batch(batch)) => Some(batch.records.len()),
        _ => None,
    });
    assert_eq!(batches.collect::<Vec<_>>(), [4096, 904]);
}

#[test]
fn an_object_store_reads_as_a_folder_does() {
    let store = Store::objects(Arc::new(InMemory::new()), "deep/er").unwrap();
    let topic = Archive::on(store.clone()).topic(TOPIC);
    assert_eq!(topic.describe(), format!("archive deep/er topic {TOPIC}"));
    assert_eq!(Source::partitions(&topic).unwrap(), [0; 0]);
    let put = |name: &str, text: &str| {
        store.put(&format!("topics/{TOPIC}/partition=3/{name}"), text.as_bytes()).unwrap()
    };
    put(&name(0), "a\nb");
    put(&name(2), "c\n");
    put("other", "z");
    assert_eq!(Source::partitions(&topic).unwrap(), [3]);
    let mut follower = Source::open(&topic, 3, None, true).unwrap();
    assert_eq!((follower.remaining(), topic.ignored_files()), (5, 1));
    assert_eq!(drain(&mut *follower), numbered(0, &["a", "b", "c"]));
    put(&name(3), "d");
    assert_eq!(drain(&mut *follower), numbered(3, &["d"]));
}
