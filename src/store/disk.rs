//! Durable files and folders: the only place where anything is synced.
//!
//! After a sync that failed another one may succeed without having written anything, and what is
//! read meanwhile comes from memory. So a failed sync is final: from then on every call here fails
//! with the same error, and the process ends. What is found by reading, of an earlier process too,
//! is durable only after a sync of it in this one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind as Io};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::sync::lock;

/// The first sync of this process that failed.
static LOST: OnceLock<(Io, String)> = OnceLock::new();
/// Folders whose names, up to the root of their disk, this process has synced.
static HELD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Fails if a sync of this process has failed.
///
/// # Errors
/// That of the first sync that failed.
pub fn sound() -> io::Result<()> {
    LOST.get().map_or(Ok(()), |(kind, why)| Err(io::Error::new(*kind, why.as_str())))
}

/// Returns true once a sync of this process has failed.
pub fn is_lost() -> bool {
    LOST.get().is_some()
}

/// Syncs a file, or the names in a folder.
///
/// # Errors
/// When it can't be opened; and when its sync fails, or one has failed before.
pub fn sync(path: &Path) -> io::Result<()> {
    sound()?;
    judge(path, File::open(path)?.sync_all())
}

/// Syncs the content of an open file; `path` is its name for people.
///
/// # Errors
/// When its sync fails, or one has failed before.
pub fn sync_data(file: &File, path: &Path) -> io::Result<()> {
    sound()?;
    judge(path, file.sync_data())
}

fn judge(path: &Path, synced: io::Result<()>) -> io::Result<()> {
    if let Err(e) = synced {
        LOST.get_or_init(|| (e.kind(), format!("can't sync {}: {e}", path.display())));
    }
    // The failure of another thread counts too, because it may concern these pages.
    sound()
}

/// Makes a file durable that was found by reading: its content, its name, and those of its folders.
///
/// # Errors
/// When it can't be opened; and when a sync fails, or one has failed before.
pub fn confirm(path: &Path) -> io::Result<()> {
    let folder = above(path);
    make(folder)?;
    sync(path)?;
    sync(folder)
}

/// Makes a folder, and those above it, each durably. One that is there may not be durable yet: its
/// name is synced once a process.
///
/// # Errors
/// When it can't be made; and when a sync fails, or one has failed before.
pub fn make(folder: &Path) -> io::Result<()> {
    sound()?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if held().contains(folder) && folder.is_dir() {
        return Ok(());
    }
    let real = match fs::canonicalize(folder) {
        Err(e) if e.kind() == Io::NotFound => {
            make(above(folder))?;
            match fs::create_dir(folder) {
                Err(e) if e.kind() != Io::AlreadyExists => return Err(e),
                _ => {}
            }
            let real = fs::canonicalize(folder)?;
            // An earlier folder of this name may have been synced, and be gone.
            held().remove(&real);
            real
        }
        found => found?,
    };
    hold(&real)?;
    held().insert(folder.into());
    Ok(())
}

/// Syncs the names that lead to a folder, as far up as its disk reaches.
fn hold(real: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    let disk = fs::metadata(real)?.dev();
    let mut name = real;
    while let Some(folder) = name.parent().filter(|_| !held().contains(name)) {
        if fs::metadata(folder)?.dev() != disk {
            break;
        }
        match File::open(folder) {
            // Without permission to read it, this process has created nothing in it.
            Err(e) if e.kind() == Io::PermissionDenied => {}
            file => judge(folder, file?.sync_all())?,
        }
        names.push(name.to_path_buf());
        name = folder;
    }
    held().extend(names);
    Ok(())
}

/// Gives the file `staged` the name `path`, if that is free. Afterwards the name `staged` may exist
/// or not.
///
/// # Errors
/// `AlreadyExists` if something has the name; `Unsupported` if the file system can't do so.
pub fn name(staged: &Path, path: &Path) -> io::Result<()> {
    let linked = fs::hard_link(staged, path);
    match &linked {
        // The error of file systems without hard links.
        Err(e)
            if e.kind() == Io::Unsupported
                || e.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {}
        _ => return linked,
    }
    match renameat_with(CWD, staged, CWD, path, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::Error::new(
            Io::Unsupported,
            "its file system has no hard links, and no rename that leaves alone what is there",
        )),
        renamed => Ok(renamed?),
    }
}

/// Moves a file or a folder, in place of the file or the empty folder that has the name. The new
/// name is durable when this returns. Sync the old folder too if the old name may not come back.
///
/// # Errors
/// When it can't be moved; and when a sync fails, or one has failed before.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    sound()?;
    fs::rename(from, to)?;
    sync(above(to))
}

/// The folder that a path is in.
pub(crate) fn above(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn held() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    lock(&HELD)
}
