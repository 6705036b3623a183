//! Promises of the archive to readers of objects that other programs laid out and packed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::executor::block_on;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path as Key;

use super::source::{CHUNK_BYTES, Limits, Reader};
use super::*;
use crate::connect::{Partition, Poll, Source};
use crate::error::ErrorKind;
use crate::record::CUT_VALUE_BYTES;

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A topic `t` in a folder.
struct Folder {
    root: tempfile::TempDir,
    topic: ArchiveTopic,
}

impl Folder {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let topic = Archive::open(root.path().to_str().unwrap()).unwrap().topic("t");
        Folder { root, topic }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join("topics/t").join(path)
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), bytes).unwrap();
    }

    fn open(&self) -> Box<dyn Partition> {
        self.topic.open(0, None, false).unwrap()
    }
}

/// The values up to the first poll that has none.
fn values(partition: &mut dyn Partition) -> Result<Vec<String>> {
    let mut all = Vec::new();
    while let Poll::Batch(batch) = partition.poll()? {
        all.extend(
            batch.iter(0).map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()),
        );
    }
    Ok(all)
}

#[test]
fn a_packed_object_of_several_members_is_read_to_its_end() {
    let folder = Folder::new();
    let members = [packed(b"a\nb"), packed(b"c\nd\n"), packed(b"")].concat();
    folder.put("hour=03/t+0+0.json.gz", &members);
    let mut partition = folder.open();
    assert_eq!(partition.remaining(), members.len() as u64);
    assert_eq!(values(&mut *partition).unwrap(), ["a", "bc", "d"]);
    assert_eq!(partition.remaining(), 0);
}

#[test]
fn a_damaged_packed_object_stops_the_reading_and_is_named() {
    let whole = packed("0123456789\n".repeat(500).as_bytes());
    let mut flipped = whole.clone();
    flipped[whole.len() - 6] ^= 1;
    for bytes in [
        &whole[..whole.len() - 1],
        &whole[..5],
        &flipped,
        b"",
        b"{\"a\":1}\n",
        &[&whole[..], b"x"].concat(),
    ] {
        let folder = Folder::new();
        folder.put("hour=03/t+0+0.json.gz", bytes);
        folder.put("hour=03/t+0+500.json", b"after\n");
        let mut partition = folder.open();
        let error = values(&mut *partition).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(
            error.to_string().contains("can't unpack")
                && error.to_string().contains("hour=03/t+0+0.json.gz"),
            "{error}"
        );
        assert_eq!(
            partition.poll().unwrap_err().kind(),
            ErrorKind::Data,
            "it does not go on behind it"
        );
    }
}

#[test]
fn a_packed_line_takes_no_more_memory_than_one_that_is_not() {
    let folder = Folder::new();
    folder.put("t+0+0.json.gz", &packed(&[&vec![b'x'; 20 << 20][..], b"\nb"].concat()));
    let limits = Limits { line_bytes: 4 << 20, ..Limits::default() };
    let mut reader = Reader::open(folder.topic.objects(0).unwrap(), None, false, limits).unwrap();
    let Poll::Batch(batch) = reader.poll().unwrap() else { panic!("no batch") };
    assert_eq!(
        (batch.records[0].cut, batch.iter(0).next().unwrap().value.unwrap().len()),
        (Some(20 << 20), CUT_VALUE_BYTES)
    );
    assert!(
        batch.bytes.capacity() <= CUT_VALUE_BYTES + 2 * CHUNK_BYTES,
        "{}",
        batch.bytes.capacity()
    );
    assert_eq!(values(&mut reader).unwrap(), ["b"]);
}

#[test]
fn one_offset_in_two_places_is_an_error_with_both_names() {
    let twice: [(&str, &[u8]); 4] = [
        ("hour=04/t+0+1.json", b"b\n"),
        ("partition=0/t+0+0000000000.json.gz", &packed(b"a\n")),
        ("t+0+00.json", b"a\n"),
        ("country=Chile/t+0+0.json", b""),
    ];
    for (path, bytes) in twice {
        let folder = Folder::new();
        folder.put("hour=03/t+0+0.json", b"a\nb\n");
        let mut follower = folder.topic.open(0, Some(0), true).unwrap();
        assert_eq!(values(&mut *follower).unwrap().len(), 2);
        folder.put(path, bytes);
        let replay = folder
            .topic
            .open(0, None, false)
            .and_then(|mut partition| values(&mut *partition))
            .unwrap_err();
        let following = loop {
            if let Err(error) = follower.poll() {
                break error;
            }
        };
        for error in [replay, following] {
            assert_eq!(error.kind(), ErrorKind::Data);
            assert!(
                error.to_string().contains("hour=03/t+0+0.json")
                    && error.to_string().contains(path),
                "{error}"
            );
        }
    }
}

#[test]
fn unreadable_parts_are_counted_and_named() {
    let folder = Folder::new();
    assert!(
        folder
            .topic
            .describe_if_empty()
            .unwrap()
            .unwrap()
            .ends_with("topics/t is missing or empty")
    );
    fs::create_dir_all(folder.path("partition=0")).unwrap();
    assert!(folder.topic.describe_if_empty().unwrap().unwrap().ends_with("topics/t has no files"));
    folder.put("year=2020/t+0+0.avro", b"Obj");
    let text = folder.topic.describe_if_empty().unwrap().unwrap();
    assert!(text.ends_with("topics/t has one other file, year=2020/t+0+0.avro"), "{text}");
    folder.put("partition=x/t+x+0.json", b"a\n");
    folder.put("partition=0/t+1+0.json", b"a\n");
    folder.put("_writer", b"app");
    folder.put("_staged/1-1-0.json", b"a\n");
    folder.put("year=2020/.t+0+0.json.1.tmp", b"half");
    for n in 0..10 {
        folder.put(&format!("year=2021/other+0+{n}.json"), b"a\n");
    }
    let text = folder.topic.describe_if_empty().unwrap().unwrap();
    assert!(
        text.contains("has 13 other files, such as partition=0/t+1+0.json, ")
            && text.matches(", ").count() == 3,
        "{text}"
    );
    assert_eq!(Source::partitions(&folder.topic).unwrap(), [0]);
    assert_eq!(values(&mut *folder.open()).unwrap(), [""; 0]);
    assert_eq!(folder.topic.ignored_files(), 13);
    folder.put("year=2021/t+0+0.json", b"a\n");
    assert_eq!(folder.topic.describe_if_empty().unwrap(), None);
}

#[test]
fn links_are_followed_unless_they_lead_nowhere_or_back() {
    let (folder, elsewhere) = (Folder::new(), tempfile::tempdir().unwrap());
    fs::write(elsewhere.path().join("t+0+1.json"), "b\n").unwrap();
    folder.put("hour=03/t+0+0.json", b"a\n");
    symlink(elsewhere.path(), folder.path("hour=04")).unwrap();
    assert_eq!(values(&mut *folder.open()).unwrap(), ["a", "b"]);
    for to in ["nowhere", "..", "."] {
        let link = folder.path("hour=03/link");
        symlink(to, &link).unwrap();
        let error = Source::partitions(&folder.topic).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(
            error.to_string().contains("can't follow")
                && error.to_string().contains("hour=03/link"),
            "{error}"
        );
        fs::remove_file(link).unwrap();
    }
}

#[test]
fn keys_of_any_characters_are_read_in_an_object_store() {
    let memory = Arc::new(InMemory::new());
    let topic = Archive::on(Store::objects(memory.clone(), "a").unwrap()).topic("t");
    let put = |path: &str, text: &'static str| {
        block_on(
            memory.put(&Key::parse(format!("a/topics/t/{path}")).unwrap(), text.as_bytes().into()),
        )
        .unwrap();
    };
    put("country=Côte d'Ivoire/t+0+0.json", "a\n");
    put("country=100%25 ~#?*/t+0+1.json", "b\n");
    // A marker that a web console creates for a folder.
    put("country=Chile", "");
    assert_eq!(values(&mut *topic.open(0, None, false).unwrap()).unwrap(), ["a", "b"]);
    assert_eq!(topic.ignored_files(), 0);
    put("country=Peru/t+0+1.json", "b\n");
    let error = topic.open(0, None, false).err().unwrap().to_string();
    assert!(error.contains("a/topics/t/country=100%25 ~#?*/t+0+1.json"), "{error}");
}

#[test]
fn a_follower_finds_a_wider_offset_behind_many_names() {
    let store = Store::objects(Arc::new(InMemory::new()), "").unwrap();
    let topic = Archive::on(store.clone()).topic("t");
    let put = |first: u64, lines: usize| {
        store.put(&format!("topics/t/partition=0/t+0+{first}.json"), &vec![b'\n'; lines]).unwrap()
    };
    (7000..10_000).for_each(|first| put(first, 1));
    let mut follower = topic.open(0, None, true).unwrap();
    let mut read = || values(&mut *follower).unwrap().len();
    assert_eq!(read(), 3000);
    // Its name and the next one sort before the names of all objects that were read.
    put(10_000, 50_000);
    assert_eq!(read(), 50_000);
    put(60_000, 7);
    put(60_007, 7);
    assert_eq!(read(), 14);
    put(60_014, 40_000);
    put(100_014, 1);
    assert_eq!(read(), 40_001);
}

#[test]
fn an_object_that_appears_during_the_listing_is_no_gap() {
    let folder = Folder::new();
    folder.put("hour=03/t+0+0.json", b"a\n");
    folder.put("hour=05/t+0+3.json", b"d\n");
    let mut partition = folder.open();
    folder.put("hour=04/t+0+1.json.gz", &packed(b"b\nc\n"));
    folder.put("hour=06/t+0+4.json", b"not there when it was opened\n");
    assert_eq!(values(&mut *partition).unwrap(), ["a", "b", "c", "d"]);
    fs::remove_file(folder.path("hour=04/t+0+1.json.gz")).unwrap();
    let error = values(&mut *folder.open()).unwrap_err().to_string();
    assert!(error.contains("lacks the offsets from 1 on: the next object begins at 3"), "{error}");
}

#[test]
fn a_limit_on_lines_holds_in_every_layout() {
    let folder = Folder::new();
    folder.put("hour=03/t+0+0.json.gz", &packed(format!("{}\nb\n", "y".repeat(101)).as_bytes()));
    for chunk in [1, 7, 64, 1000] {
        let limits = Limits { batch_bytes: chunk, line_bytes: 100 };
        let mut reader =
            Reader::open(folder.topic.objects(0).unwrap(), None, false, limits).unwrap();
        let mut cuts = Vec::new();
        while let Poll::Batch(batch) = reader.poll().unwrap() {
            cuts.extend(batch.records.iter().map(|span| span.cut));
        }
        assert_eq!(cuts, [Some(101), None], "chunk {chunk}");
    }
}
