//! The journal: records that are synced before they are acknowledged, in segments that are deleted
//! when their records are published.
//!
//! ```text
//! <archive>/_gateway/journal/<10-digit number>.log              a segment: frames of notes
//! <archive>/_gateway/journal/<10-digit number>.<place>.cut      bytes that were cut off there
//! ```
//!
//! A frame holds the notes of one sync. After the sync an empty frame follows, the seal, which the
//! next sync makes durable. So every acknowledged frame has a later head, unless the machine
//! stopped in between. A torn tail is one without a later head: its records were never
//! acknowledged. It is cut off and kept in a file. Anything else is damage.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use crate::error::{Error, Result};
use crate::store::{Store, disk};

use super::super::layout::SEGMENT_HEAD_BYTES;
use super::frame::{Segment, Step, is_of_an_earlier_version};

/// Size at which a segment is followed by another.
const SEGMENT_MAX_BYTES: u64 = 16 << 20;
/// The kinds of notes.
const RUN: u8 = 0;
const DELETED: u8 = 1;

/// Records of one partition with consecutive offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    pub(super) first: u64,
    pub(super) values: Vec<Bytes>,
}

impl Run {
    /// The offset after its last record.
    pub(super) fn end(&self) -> u64 {
        self.first + self.values.len() as u64
    }
}

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Acknowledged records.
    Run(Run),
    /// A deleted topic, whose earlier records are all published; its folder gets the name `aside`.
    Deleted { topic: Arc<str>, aside: String },
}

/// The journal, open at its end for writing.
pub(super) struct Journal {
    folder: PathBuf,
    segment: Segment,
    file: File,
    length: u64,
    /// Digest of the last head.
    last: u64,
    /// True if half a frame could not be cut off.
    spoilt: bool,
}

/// The state of the journal after a failed write.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Nothing was written.
    Undone(io::Error),
    /// The content of the disk is unknown: the journal can't be written any more.
    Lost(io::Error),
}

impl Journal {
    /// Begins a new segment after those in `folder`; `last` is the digest of their last head.
    pub(super) fn begin(folder: &Path, last: u64) -> io::Result<Self> {
        let segment = Segment::new(numbers(folder)?.last().map_or(0, |last| last + 1), last);
        let file = create(folder, segment).map_err(|trouble| match trouble {
            WriteError::Undone(e) | WriteError::Lost(e) => e,
        })?;
        Ok(Journal {
            folder: folder.to_path_buf(),
            segment,
            file,
            length: SEGMENT_HEAD_BYTES as u64,
            last,
            spoilt: false,
        })
    }

    /// Number of the current segment.
    pub(super) fn segment(&self) -> u64 {
        self.segment.number
    }

    /// Writes a frame and syncs it.
    pub(super) fn append(&mut self, notes: &[Note]) -> Result<(), WriteError> {
        self.is_whole()?;
        if let Err(e) = self.write(&body(notes)) {
            // Cut off half a frame, or the next frame would follow it.
            return Err(if self.cut() { WriteError::Undone(e) } else { WriteError::Lost(e) });
        }
        self.sync()?;
        // The frame is valid without a seal, so a full disk is no reason to refuse it.
        if self.write(&[]).is_err() {
            self.spoilt = !self.cut();
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), WriteError> {
        disk::sync_data(&self.file, &path(&self.folder, self.segment.number))
            .map_err(WriteError::Lost)
    }

    fn is_whole(&self) -> Result<(), WriteError> {
        let half = || WriteError::Lost(io::Error::other("a half-written entry can't be cut off"));
        if self.spoilt { Err(half()) } else { Ok(()) }
    }

    fn write(&mut self, body: &[u8]) -> io::Result<()> {
        let (frame, digest) = self.segment.frame(self.length, self.last, body);
        self.file.write_all(&frame)?;
        (self.length, self.last) = (self.length + frame.len() as u64, digest);
        Ok(())
    }

    /// Cuts off everything after the last whole frame; false if that fails.
    fn cut(&mut self) -> bool {
        let cut = self.file.set_len(self.length);
        cut.and_then(|()| io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.length))).is_ok()
    }

    /// Returns true if another segment is due.
    pub(super) fn is_long(&self) -> bool {
        self.length >= SEGMENT_MAX_BYTES
    }

    /// Continues in another segment, unless the current one is empty.
    pub(super) fn rotate(&mut self) -> Result<(), WriteError> {
        if self.length > SEGMENT_HEAD_BYTES as u64 {
            self.is_whole()?;
            // Sync the seal, because the head of the next segment refers to it.
            self.sync()?;
            let next = Segment::new(self.segment.number + 1, self.last);
            self.file = create(&self.folder, next)?;
            (self.segment, self.length) = (next, SEGMENT_HEAD_BYTES as u64);
        }
        Ok(())
    }
}

/// Creates the file of a segment. Its head is durable before the first frame, so a damaged head is
/// never taken for a torn one.
fn create(folder: &Path, segment: Segment) -> Result<File, WriteError> {
    let path = path(folder, segment.number);
    let mut file =
        File::options().write(true).create_new(true).open(&path).map_err(WriteError::Undone)?;
    if let Err(e) = file.write_all(&segment.head()) {
        return Err(if fs::remove_file(&path).is_ok() {
            WriteError::Undone(e)
        } else {
            WriteError::Lost(e)
        });
    }
    disk::sync(&path).and_then(|()| disk::sync(folder)).map_err(WriteError::Lost)?;
    Ok(file)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.log"))
}

/// The numbers of the segments, ascending.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        numbers
            .extend(name.to_str().and_then(|name| name.strip_suffix(".log")?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Deletes the segments before `number`, the earliest first. So none is missing between two,
/// whenever the machine stops.
pub(super) fn drop_before(folder: &Path, number: u64) -> io::Result<()> {
    disk::check_usable()?;
    for earlier in numbers(folder)?.into_iter().filter(|earlier| *earlier < number) {
        fs::remove_file(path(folder, earlier))?;
        disk::sync(folder)?;
    }
    Ok(())
}

/// Returns the acknowledged notes of all segments, in order, and the digest of the last head. Cuts
/// off torn ends, and keeps them in files.
///
/// # Errors
/// When a segment can't be read, is missing between two, or is damaged before its end. Then nothing
/// is cut off.
pub(super) fn replay(folder: &Path) -> Result<(Vec<Note>, u64)> {
    let unreadable =
        |e| Error::connect(format!("can't read the journal {}", folder.display())).because(e);
    let (mut notes, mut last, mut torn) = (Vec::new(), None, Vec::new());
    for number in numbers(folder).map_err(unreadable)? {
        let path = path(folder, number);
        let all = Bytes::from(fs::read(&path).map_err(unreadable)?);
        let Some(segment) = Segment::of(&all).filter(|segment| segment.number == number) else {
            if all.len() > SEGMENT_HEAD_BYTES
                || Segment::of(&all).is_some()
                || is_of_an_earlier_version(&all)
            {
                return Err(unknown(&path, &all));
            }
            // No frame is written to a segment before its head is durable.
            torn.extend((!all.is_empty()).then_some((path, all, 0)));
            continue;
        };
        if let Some((earlier, _, place)) =
            torn.first().filter(|_| segment.has_frame(&all, SEGMENT_HEAD_BYTES))
        {
            return Err(damaged(earlier, &format!("it is damaged at byte {place}")));
        }
        if last.is_some_and(|last| last != segment.before) {
            return Err(damaged(&path, "frames before it are missing"));
        }
        let (mut place, mut before) = (SEGMENT_HEAD_BYTES, segment.before);
        let damaged = |place| damaged(&path, &format!("it is damaged at byte {place}"));
        loop {
            match segment.step(&all, place, before) {
                Step::Frame(mut body, behind, digest) => {
                    while !body.is_empty() {
                        notes.push(note(&mut body).ok_or_else(|| damaged(place))?);
                    }
                    (place, before) = (behind, digest);
                }
                Step::End => break,
                Step::Damaged => return Err(damaged(place)),
                Step::Torn => {
                    torn.push((path.clone(), all.clone(), place));
                    break;
                }
            }
        }
        last = Some(before);
    }
    torn.into_iter().try_for_each(|(path, all, place)| cut_off(&path, &all, place))?;
    Ok((notes, last.unwrap_or_default()))
}

fn damaged(path: &Path, how: &str) -> Error {
    Error::data(format!("can't read the journal {}: {how}", path.display())).hint(
        "Restore the disk. Without it, acknowledged records are lost: move the folder of the journal away to go on.",
    )
}

fn unknown(path: &Path, all: &[u8]) -> Error {
    if is_of_an_earlier_version(all) {
        return Error::data(format!(
            "can't read the journal {}: an earlier version of this program wrote it",
            path.display()
        ))
        .hint("Start that version on this archive once and stop it: it empties the journal.");
    }
    damaged(path, "its head is damaged")
}

/// Moves the bytes from `place` on to a file of their own.
fn cut_off(path: &Path, all: &[u8], place: usize) -> Result<()> {
    let (Some(folder), Some(stem)) = (path.parent(), path.file_stem()) else { return Ok(()) };
    let (store, rest) = (Store::at(folder), &all[place..]);
    // Keep a file of an earlier start that has other bytes.
    let names = (1u32..).map(|n| {
        format!(
            "{}.{place}{}.cut",
            stem.display(),
            if n > 1 { format!("-{n}") } else { String::new() }
        )
    });
    for name in names {
        if store.ensure(&name, rest)? {
            let (path, kept) = (path.display(), folder.join(name));
            let kept = kept.display();
            tracing::warn!(%path, place, %kept, "cut off bytes that were never acknowledged");
            break;
        }
    }
    let cut = File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_len(place as u64))
        .and_then(|()| disk::sync(path));
    cut.map_err(|e| {
        Error::connect(format!("can't cut off the torn end of the journal {}", path.display()))
            .because(e)
    })
}

fn body(notes: &[Note]) -> Vec<u8> {
    let mut body = Vec::new();
    let text = |body: &mut Vec<u8>, text: &str| {
        body.put_u16_le(text.len() as u16);
        body.put_slice(text.as_bytes());
    };
    for note in notes {
        match note {
            Note::Run(run) => {
                body.put_u8(RUN);
                text(&mut body, &run.topic);
                body.put_u32_le(run.partition);
                body.put_u64_le(run.first);
                body.put_u32_le(run.values.len() as u32);
                for value in &run.values {
                    body.put_u32_le(value.len() as u32);
                    body.put_slice(value);
                }
            }
            Note::Deleted { topic, aside } => {
                body.put_u8(DELETED);
                text(&mut body, topic);
                text(&mut body, aside);
            }
        }
    }
    body
}

/// Takes a note from the front of a body; `None` if the bytes are not a note.
fn note(body: &mut Bytes) -> Option<Note> {
    let kind = body.try_get_u8().ok()?;
    let topic = text(body)?.into();
    if kind == DELETED {
        return Some(Note::Deleted { topic, aside: text(body)? });
    }
    let (partition, first) = (body.try_get_u32_le().ok()?, body.try_get_u64_le().ok()?);
    let values = (0..body.try_get_u32_le().ok()?).map(|_| {
        let length = body.try_get_u32_le().ok()?;
        cut(body, length as usize)
    });
    let values = values.collect::<Option<_>>()?;
    (kind == RUN).then_some(Note::Run(Run { topic, partition, first, values }))
}

fn text(body: &mut Bytes) -> Option<String> {
    let length = body.try_get_u16_le().ok()?;
    String::from_utf8(cut(body, length.into())?.to_vec()).ok()
}

fn cut(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= bytes.len()).then(|| bytes.split_to(length))
}
