//! A damaged journal: no acknowledged record is lost silently, and unacknowledged bytes do no harm.

use std::fs;
use std::path::{Path, PathBuf};

use futures::executor::block_on;
use watershed::connectors::archive::ArchiveAppender;
use watershed::gateway::Append;
use watershed::{ErrorKind, Result};

use super::{append, only, records, slow};

/// Bytes of a frame without records.
const SEAL_BYTES: usize = 48;
const FRAMES: usize = 10;

/// A log that was killed after ten acknowledged frames, each with a record of another length.
struct Killed {
    folder: tempfile::TempDir,
    journal: PathBuf,
    bytes: Vec<u8>,
    /// The end of each frame, without the seal behind it.
    ends: Vec<usize>,
}

fn value(n: usize) -> String {
    format!("{n}:{}", "x".repeat(n * 3))
}

impl Killed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
        block_on(log.create("t", 1)).unwrap();
        let journal = only(folder.path().join("_gateway/journal"));
        let mut ends = Vec::new();
        for n in 0..FRAMES {
            assert_eq!(append(&log, &[value(n)]), [n as u64]);
            ends.push(journal.metadata().unwrap().len() as usize - SEAL_BYTES);
        }
        drop(log);
        let bytes = fs::read(&journal).unwrap();
        Killed { folder, journal, bytes, ends }
    }

    /// Opens a copy of the archive whose journal holds `bytes`.
    fn open(&self, bytes: &[u8]) -> (tempfile::TempDir, Result<ArchiveAppender>) {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("topics/t/partition=0")).unwrap();
        fs::create_dir_all(place.path().join("_gateway/journal")).unwrap();
        fs::write(self.beside(place.path()), bytes).unwrap();
        let opened = ArchiveAppender::open(place.path(), slow());
        (place, opened)
    }

    fn beside(&self, place: &Path) -> PathBuf {
        place.join(self.journal.strip_prefix(self.folder.path()).unwrap())
    }

    /// Checks that such a journal is refused and left unchanged.
    fn assert_refused(&self, bytes: &[u8], how: &str) {
        let (place, opened) = self.open(bytes);
        let error = opened.err().unwrap_or_else(|| panic!("{how}: it opens"));
        assert_eq!(error.kind(), ErrorKind::Data, "{how}: {error}");
        assert!(error.to_string().contains("_gateway/journal"), "{how}: {error}");
        assert!(
            fs::read(self.beside(place.path())).unwrap() == bytes,
            "{how}: the journal was changed"
        );
        assert_eq!(
            fs::read_dir(place.path().join("topics/t/partition=0")).unwrap().count(),
            0,
            "{how}: it has added"
        );
    }
}

#[test]
fn a_flipped_bit_before_the_last_seal_is_an_error() {
    let killed = Killed::new();
    for at in 0..killed.bytes.len() - SEAL_BYTES {
        let mut bytes = killed.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        killed.assert_refused(&bytes, &format!("a bit of byte {at}"));
    }
    // Damage in the last seal: no acknowledged record is affected.
    for at in (killed.bytes.len() - SEAL_BYTES..killed.bytes.len()).step_by(5) {
        let mut bytes = killed.bytes.clone();
        bytes[at] ^= 0x10;
        let (place, log) = killed.open(&bytes);
        assert_eq!(append(&log.unwrap(), &["next".into()]), [FRAMES as u64]);
        assert_eq!(records(place.path(), "t", 0).len(), FRAMES);
    }
}

#[test]
fn bodies_that_are_bad_side_by_side_are_an_error() {
    let killed = Killed::new();
    for pair in killed.ends.windows(2) {
        let mut bytes = killed.bytes.clone();
        pair.iter().for_each(|end| bytes[end - 1] ^= 1);
        killed.assert_refused(&bytes, &format!("bodies that end at {pair:?}"));
    }
}

#[test]
fn a_range_of_zeros_is_an_error_or_a_tail_that_is_kept() {
    let killed = Killed::new();
    for from in (0..killed.bytes.len()).step_by(17) {
        for length in [4, 60, 300, usize::MAX] {
            let to = from.saturating_add(length).min(killed.bytes.len());
            let mut bytes = killed.bytes.clone();
            bytes[from..to].fill(0);
            if bytes == killed.bytes {
                continue;
            }
            if to <= killed.bytes.len() - SEAL_BYTES || from < 40 {
                killed.assert_refused(&bytes, &format!("zeros at {from}..{to}"));
                continue;
            }
            // The zeros reach the end, like a tail after a power failure: opening cuts it off.
            let whole = killed.ends.iter().filter(|end| **end <= from).count();
            let (place, log) = killed.open(&bytes);
            log.unwrap_or_else(|error| panic!("zeros at {from}..{to}: {error}"));
            assert_eq!(records(place.path(), "t", 0).len(), whole, "zeros at {from}..{to}");
            let journal = place.path().join("_gateway/journal");
            let kept = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
            let kept =
                kept.filter(|path| path.extension().is_some_and(|extension| extension == "cut"));
            let kept: Vec<_> = kept.map(|path| fs::read(path).unwrap()).collect();
            assert!(kept.len() == 1 && bytes.ends_with(&kept[0]), "zeros at {from}..{to} are kept");
        }
    }
}

#[test]
fn a_frame_that_is_missing_between_two_is_an_error() {
    let killed = Killed::new();
    for pair in killed.ends.windows(2) {
        let mut bytes = killed.bytes.clone();
        bytes.drain(pair[0]..pair[1]);
        killed.assert_refused(&bytes, &format!("without {pair:?}"));
    }
    for end in &killed.ends[..FRAMES - 1] {
        let mut bytes = killed.bytes.clone();
        bytes.drain(*end..end + SEAL_BYTES);
        killed.assert_refused(&bytes, &format!("without the seal at {end}"));
    }
}

#[test]
fn a_segment_that_is_missing_or_short_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    let values: Vec<String> = (0..40).map(|n| n.to_string().repeat(500_000)).collect();
    values.iter().for_each(|value| drop(append(&log, std::slice::from_ref(value))));
    drop(log);
    let mut segments: Vec<_> = fs::read_dir(folder.path().join("_gateway/journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    assert!(segments.len() > 2, "{segments:?}");
    let refused = |how: &str| {
        let error = ArchiveAppender::open(folder.path(), slow())
            .err()
            .unwrap_or_else(|| panic!("{how}: it opens"));
        assert_eq!(error.kind(), ErrorKind::Data, "{how}: {error}");
    };
    let aside = folder.path().join("aside");
    fs::rename(&segments[1], &aside).unwrap();
    refused("one is missing");
    let (first, second) = (fs::read(&segments[0]).unwrap(), fs::read(&aside).unwrap());
    fs::write(&segments[1], &first).unwrap();
    refused("one stands twice");
    fs::write(&segments[1], &second[..second.len() - SEAL_BYTES]).unwrap();
    refused("one lacks its last frame");
    fs::rename(&aside, &segments[1]).unwrap();
    drop(ArchiveAppender::open(folder.path(), slow()).unwrap());
    assert!(records(folder.path(), "t", 0) == values);
}

#[test]
fn a_record_that_looks_like_a_frame_does_no_harm() {
    let killed = Killed::new();
    // A sender who has the layout and his own records still lacks the key.
    let frame = &killed.bytes[killed.ends[3] + SEAL_BYTES..];
    let line: Vec<u8> =
        frame.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect();
    let folder = tempfile::tempdir().unwrap();
    let log = ArchiveAppender::open(folder.path(), slow()).unwrap();
    block_on(log.create("t", 1)).unwrap();
    let journal = only(folder.path().join("_gateway/journal"));
    append(&log, &["first".into()]);
    let whole = fs::read(&journal).unwrap().len();
    // Every padding, so that the frame is also at the place that it names.
    for pad in 0..killed.ends[3] {
        let padded = watershed::gateway::NewRecord {
            value: Some([&vec![b' '; pad][..], &line].concat().into()),
            ..Default::default()
        };
        block_on(log.append("t", vec![padded])).unwrap();
        if pad == 0 {
            let torn = fs::read(&journal).unwrap();
            let place = tempfile::tempdir().unwrap();
            fs::create_dir_all(place.path().join("topics/t/partition=0")).unwrap();
            fs::create_dir_all(place.path().join("_gateway/journal")).unwrap();
            let beside = place.path().join("_gateway/journal").join(journal.file_name().unwrap());
            fs::write(beside, &torn[..torn.len() - SEAL_BYTES - 1]).unwrap();
            assert!(torn.len() - SEAL_BYTES - 1 > whole);
            drop(ArchiveAppender::open(place.path(), slow()).unwrap());
            assert_eq!(records(place.path(), "t", 0), ["first"]);
        }
    }
    drop(log);
    drop(ArchiveAppender::open(folder.path(), slow()).unwrap());
}

#[test]
fn a_journal_of_an_earlier_version_is_refused_with_words() {
    let killed = Killed::new();
    let body = b"\x01\0t\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\x001";
    let earlier = [
        &(body.len() as u32).to_le_bytes()[..],
        &xxhash_rust::xxh3::xxh3_64(body).to_le_bytes(),
        body,
    ]
    .concat();
    let (_place, opened) = killed.open(&earlier);
    let error = opened.err().unwrap();
    assert!(
        error.kind() == ErrorKind::Data && error.to_string().contains("earlier version"),
        "{error}"
    );
    // An empty journal of that version is accepted.
    drop(killed.open(b"").1.unwrap());
}
