//! The folder backend of a store: files that are whole and durable when a call returns.

use std::fs;
use std::io::{ErrorKind as Io, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk;
use crate::faults;

/// The number of bytes of a file that are synced at a time.
const SYNC_CHUNK_BYTES: usize = 4 << 20;
/// The most memory that is reserved for a range before it is read: the file may be shorter.
const RESERVED_BYTES: u64 = 4 << 20;
/// The number of files that this process has staged.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// Creates `path` with `bytes`, whole or not at all, durably. Fails with `AlreadyExists` if the
/// name is taken.
pub(super) fn create(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let staged = staged(path, &[bytes])?;
    faults::point("store.staged");
    let named = disk::rename_no_replace(&staged, path);
    faults::point("store.named");
    match fs::remove_file(&staged) {
        Err(e) if e.kind() != Io::NotFound => return Err(e),
        _ => {}
    }
    // Sync an existing file too, because the caller will rely on it.
    disk::sync(disk::folder_of(path))?;
    named
}

/// Writes `path` with the bytes of all pieces, whole or not at all, durably.
pub(super) fn replace(path: &Path, pieces: &[&[u8]]) -> std::io::Result<()> {
    let staged = staged(path, pieces)?;
    disk::rename(&staged, path)
}

/// Writes and syncs a file beside `path`, with a name that no other process or thread uses.
fn staged(path: &Path, pieces: &[&[u8]]) -> std::io::Result<PathBuf> {
    let folder = disk::folder_of(path);
    disk::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (staged, mut file) = loop {
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        let staged = folder.join(format!(".{name}.{}.{number}.tmp", std::process::id()));
        match fs::File::create_new(&staged) {
            // Left by a dead process, or written by a process of another container, which numbers
            // processes on its own.
            Err(e) if e.kind() == Io::AlreadyExists => {}
            file => break (staged, file?),
        }
    };
    // In chunks, because a sync of another small file may have to wait until all bytes on their way
    // to the disk are written.
    let mut chunks = pieces.iter().flat_map(|piece| piece.chunks(SYNC_CHUNK_BYTES));
    let mut unsynced = 0;
    let written = chunks.try_for_each(|chunk| {
        file.write_all(chunk)?;
        unsynced += chunk.len();
        if unsynced < SYNC_CHUNK_BYTES {
            return Ok(());
        }
        unsynced = 0;
        disk::sync_data(&file, path)
    });
    if let Err(error) = written.and_then(|()| disk::sync_data(&file, path)) {
        // On a full disk, half a file would be in the way of the next attempt.
        let _ = fs::remove_file(&staged);
        return Err(error);
    }
    Ok(staged)
}

/// Reads the bytes in `range` of a file; `None` if it does not exist.
pub(super) fn read(path: &Path, range: std::ops::Range<u64>) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = match fs::File::open(path) {
        Err(e) if e.kind() == Io::NotFound => return Ok(None),
        other => other?,
    };
    file.seek(SeekFrom::Start(range.start))?;
    let length = range.end.saturating_sub(range.start);
    let mut bytes = Vec::with_capacity(length.min(RESERVED_BYTES) as usize);
    file.take(length).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Returns the entries of a folder; none if it does not exist.
fn entries(path: &Path) -> std::io::Result<impl Iterator<Item = std::io::Result<fs::DirEntry>>> {
    match fs::read_dir(path) {
        Err(e) if e.kind() == Io::NotFound => Ok(None.into_iter().flatten()),
        other => Ok(Some(other?).into_iter().flatten()),
    }
}

pub(super) fn folders(path: &Path) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in entries(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        // Follow links, because a partition may be a link to another disk. A broken link is an
        // error: the other partitions alone would be incomplete.
        let path = entry.path();
        let broken = |e: std::io::Error| {
            std::io::Error::new(e.kind(), format!("can't follow {}: {e}", path.display()))
        };
        if (if kind.is_symlink() { fs::metadata(&path).map_err(broken)?.file_type() } else { kind })
            .is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            found.push(name);
        }
    }
    Ok(found)
}

pub(super) fn list(path: &Path) -> std::io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for entry in entries(path)? {
        let entry = entry?;
        if entry.file_type()?.is_file()
            && let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            found.push((name, entry.metadata()?.len()));
        }
    }
    Ok(found)
}
