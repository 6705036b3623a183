//! Files that are whole and durable when a call returns.

use std::fs;
use std::io::{ErrorKind as Io, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk;

/// Bytes of a file that are synced at a time.
const PIECE: usize = 4 << 20;
/// How many files were staged.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// Creates `path` with `bytes`, whole or not at all, durably; fails with `AlreadyExists` if there
/// is one.
pub(super) fn create(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let staged = staged(path, bytes)?;
    let named = disk::name(&staged, path);
    match fs::remove_file(&staged) {
        Err(e) if e.kind() != Io::NotFound => return Err(e),
        _ => {}
    }
    // Also when it is there already: the caller will rely on it being there for good.
    disk::sync(disk::above(path))?;
    named
}

pub(super) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let staged = staged(path, bytes)?;
    disk::rename(&staged, path)
}

/// A synced file beside `path`, of a name that no other process or thread uses.
fn staged(path: &Path, bytes: &[u8]) -> std::io::Result<PathBuf> {
    let folder = disk::above(path);
    disk::make(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (staged, mut file) = loop {
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        let staged = folder.join(format!(".{name}.{}.{number}.tmp", std::process::id()));
        match fs::File::create_new(&staged) {
            // Of a process that is dead, or of one in another container, which counts processes
            // anew.
            Err(e) if e.kind() == Io::AlreadyExists => {}
            file => break (staged, file?),
        }
    };
    // In pieces: a sync of some other small file may have to wait until all that is on its way to
    // the disk is there.
    let mut pieces = bytes.chunks(PIECE);
    let written = pieces
        .try_for_each(|piece| file.write_all(piece).and_then(|()| disk::sync_data(&file, path)));
    if let Err(error) = written.and_then(|()| disk::sync_data(&file, path)) {
        // Half a file on a full disk would be in the way of the next attempt.
        let _ = fs::remove_file(&staged);
        return Err(error);
    }
    Ok(staged)
}

/// The bytes in `range` of a file, `None` if there is none.
#[cfg(feature = "delta")]
pub(super) fn read(path: &Path, range: std::ops::Range<u64>) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = match fs::File::open(path) {
        Err(e) if e.kind() == Io::NotFound => return Ok(None),
        other => other?,
    };
    file.seek(SeekFrom::Start(range.start))?;
    let mut bytes = Vec::new();
    file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// What is in a folder; nothing, if there is none.
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
        // Followed, because a partition may be a link to another disk. What can't be followed is no
        // reason to read the rest only.
        let path = entry.path();
        let lost = |e: std::io::Error| {
            std::io::Error::new(e.kind(), format!("can't follow {}: {e}", path.display()))
        };
        if (if kind.is_symlink() { fs::metadata(&path).map_err(lost)?.file_type() } else { kind })
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
