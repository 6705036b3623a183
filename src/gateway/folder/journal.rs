//! The journal: what was taken, synced before it is acknowledged, in segments that live until their records are in the archive.
//!
//! ```text
//! <archive>/_gateway/journal/<10-digit number>.log       frames: length u32, xxh3 of the body u64, body
//! body                                                   many of: topic, partition, first offset, values
//! ```
//!
//! A frame is what was written and synced at once. A bad one at the very end was never acknowledged, and is cut off before
//! another segment stands behind it; one that anything follows is damage.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

use super::disk;

/// Bytes after which a segment is followed by another.
const SEGMENT: u64 = 16 << 20;
/// Length and digest before a body.
const HEAD: usize = 12;

/// Records of one partition with consecutive offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) topic: std::sync::Arc<str>,
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

/// The end of the journal, to write on.
pub(super) struct Journal {
    folder: PathBuf,
    number: u64,
    file: File,
    length: u64,
}

/// Why a frame was not written.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is as if it had never been tried.
    Undone(io::Error),
    /// Nobody knows what is on the disk: this journal is not written any more.
    Lost(io::Error),
}

impl Journal {
    /// Begins a new segment after all that `folder` has.
    pub(super) fn begin(folder: &Path) -> io::Result<Self> {
        let number = numbers(folder)?.last().map_or(0, |last| last + 1);
        let file = create(folder, number)?;
        Ok(Journal { folder: folder.to_path_buf(), number, file, length: 0 })
    }

    /// Number of the segment that is written.
    pub(super) fn segment(&self) -> u64 {
        self.number
    }

    /// Writes a frame and syncs it.
    pub(super) fn append(&mut self, runs: &[Run]) -> Result<(), Trouble> {
        let frame = frame(runs);
        if let Err(e) = self.file.write_all(&frame) {
            // What is half written is cut off, or else the next frame would stand behind it.
            let cut =
                self.file.set_len(self.length).and_then(|()| io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.length)));
            return Err(if cut.is_ok() { Trouble::Undone(e) } else { Trouble::Lost(e) });
        }
        // After a sync that failed, another one may succeed without having written anything.
        self.file.sync_data().map_err(Trouble::Lost)?;
        self.length += frame.len() as u64;
        Ok(())
    }

    /// Whether it is time for another segment.
    pub(super) fn is_long(&self) -> bool {
        self.length >= SEGMENT
    }

    /// Goes on in another segment; true unless this one is still empty.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        if self.length > 0 {
            self.file = create(&self.folder, self.number + 1)?;
            self.number += 1;
            self.length = 0;
        }
        Ok(())
    }
}

fn create(folder: &Path, number: u64) -> io::Result<File> {
    let file = File::options().write(true).create_new(true).open(path(folder, number))?;
    disk::sync(folder)?;
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
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".log")?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Deletes the segments before `number`.
pub(super) fn drop_before(folder: &Path, number: u64) -> io::Result<()> {
    for earlier in numbers(folder)?.into_iter().filter(|earlier| *earlier < number) {
        fs::remove_file(path(folder, earlier))?;
    }
    Ok(())
}

/// Hands over every run that was ever acknowledged and whose segment is still there, in order; then cuts off what is torn at
/// the end.
///
/// # Errors
/// When a segment can't be read, or is damaged elsewhere than at the end of all: then nothing is cut.
pub(super) fn replay(folder: &Path, mut take: impl FnMut(Run) -> Result<()>) -> Result<()> {
    let unreadable = |e| Error::connect(format!("can't read the journal {}", folder.display())).because(e);
    let mut torn: Option<(PathBuf, u64)> = None;
    for number in numbers(folder).map_err(unreadable)? {
        let path = path(folder, number);
        let damaged = |path: &Path| {
            Error::data(format!("can't read the journal {}: it is damaged", path.display()))
                .hint("Restore the disk, or move the file away: its last records are lost then.")
        };
        let all = Bytes::from(fs::read(&path).map_err(unreadable)?);
        if let Some((earlier, _)) = torn.as_ref().filter(|_| !all.is_empty()) {
            return Err(damaged(earlier));
        }
        let mut rest = all.clone();
        while !rest.is_empty() {
            let Some((mut body, after)) = body(&rest) else {
                if body_follows(&rest) {
                    return Err(damaged(&path));
                }
                torn = Some((path.clone(), (all.len() - rest.len()) as u64));
                break;
            };
            while !body.is_empty() {
                take(run(&mut body).ok_or_else(|| damaged(&path))?)?;
            }
            rest = after;
        }
    }
    let Some((path, length)) = torn else { return Ok(()) };
    tracing::warn!(path = %path.display(), length, "cut off what was never acknowledged");
    let cut = File::options().write(true).open(&path).and_then(|file| file.set_len(length).and_then(|()| file.sync_all()));
    cut.map_err(|e| Error::connect(format!("can't cut off the torn end of the journal {}", path.display())).because(e))
}

fn frame(runs: &[Run]) -> Vec<u8> {
    let mut frame = vec![0; HEAD];
    for run in runs {
        frame.put_u16_le(run.topic.len() as u16);
        frame.put_slice(run.topic.as_bytes());
        frame.put_u32_le(run.partition);
        frame.put_u64_le(run.first);
        frame.put_u32_le(run.values.len() as u32);
        for value in &run.values {
            frame.put_u32_le(value.len() as u32);
            frame.put_slice(value);
        }
    }
    let (length, digest) = ((frame.len() - HEAD) as u32, xxh3_64(&frame[HEAD..]));
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..HEAD].copy_from_slice(&digest.to_le_bytes());
    frame
}

/// The body of the frame that `bytes` begin with, and what is behind it; `None` if there is no good one.
fn body(bytes: &Bytes) -> Option<(Bytes, Bytes)> {
    let mut head = bytes.get(..HEAD)?;
    let (length, digest) = (head.get_u32_le() as usize, head.get_u64_le());
    let body = (length > 0 && bytes.len() - HEAD >= length).then(|| bytes.slice(HEAD..HEAD + length))?;
    (xxh3_64(&body) == digest).then(|| (body, bytes.slice(HEAD + length..)))
}

/// Whether a good frame stands behind a bad one.
fn body_follows(bytes: &Bytes) -> bool {
    let Some(mut head) = bytes.get(..HEAD) else { return false };
    let length = head.get_u32_le() as usize;
    bytes.len() - HEAD > length && body(&bytes.slice(HEAD + length..)).is_some()
}

/// Takes a run from the front of a body; `None` if that is no run.
fn run(body: &mut Bytes) -> Option<Run> {
    let length = body.try_get_u16_le().ok()?;
    let topic = String::from_utf8(cut(body, length.into())?.to_vec()).ok()?.into();
    let (partition, first) = (body.try_get_u32_le().ok()?, body.try_get_u64_le().ok()?);
    let values = (0..body.try_get_u32_le().ok()?).map(|_| {
        let length = body.try_get_u32_le().ok()?;
        cut(body, length as usize)
    });
    let values = values.collect::<Option<_>>()?;
    Some(Run { topic, partition, first, values })
}

fn cut(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= bytes.len()).then(|| bytes.split_to(length))
}
