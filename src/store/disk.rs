//! Durable files and folders. No other module syncs anything.
//!
//! After a failed sync another one may succeed without having written anything, and reads return
//! the unwritten bytes from memory. So a failed sync is final: from then on every call here fails
//! with the same error, and the process ends. A file that was found by reading may have been
//! written by a dead process; it is durable only after this process has synced it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind as Io};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::faults;
use crate::sync::lock;

/// The error of the first failed sync of this process.
static LOST: OnceLock<(Io, String)> = OnceLock::new();
/// Folders whose names this process has synced, up to the root of their disk.
static SYNCED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Fails if a sync of this process has failed before.
///
/// # Errors
/// The error of the first failed sync.
pub fn check_usable() -> io::Result<()> {
    LOST.get().map_or(Ok(()), |(kind, why)| Err(io::Error::new(*kind, why.as_str())))
}

/// Returns true once a sync of this process has failed.
pub fn sync_failed() -> bool {
    LOST.get().is_some()
}

/// Syncs a file, or the names in a folder.
///
/// ```
/// use watershed::store::disk;
///
/// # let root = tempfile::tempdir().unwrap();
/// # let folder = root.path().join("a");
/// disk::create_dir_all(&folder)?;
/// std::fs::write(folder.join("part"), "1")?;
/// disk::sync(&folder.join("part"))?;
/// // Fails if `whole` exists.
/// disk::rename_no_replace(&folder.join("part"), &folder.join("whole"))?;
/// disk::sync(&folder)?;
/// assert!(disk::check_usable().is_ok() && !disk::sync_failed());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// When it can't be opened; and when its sync fails, or one has failed before.
pub fn sync(path: &Path) -> io::Result<()> {
    check_usable()?;
    check_sync(path, File::open(path)?.sync_all())
}

/// Syncs the content of an open file; `path` names it in messages.
///
/// # Errors
/// When its sync fails, or one has failed before.
pub fn sync_data(file: &File, path: &Path) -> io::Result<()> {
    check_usable()?;
    if faults::bug("skipped_sync") {
        return Ok(());
    }
    check_sync(path, file.sync_data())
}

fn check_sync(path: &Path, outcome: io::Result<()>) -> io::Result<()> {
    if let Err(e) = outcome {
        LOST.get_or_init(|| (e.kind(), format!("can't sync {}: {e}", path.display())));
    }
    // The failure of another thread counts too, because it may concern these pages.
    check_usable()
}

/// Makes a file durable that was found by reading: its content, its name, and the names of its
/// folders.
///
/// # Errors
/// When it can't be opened; and when a sync fails, or one has failed before.
pub fn confirm(path: &Path) -> io::Result<()> {
    let folder = folder_of(path);
    create_dir_all(folder)?;
    sync(path)?;
    sync(folder)
}

/// Creates a folder and its parents, each durably. The name of an existing folder may not be
/// durable yet, so it is synced once a process.
///
/// # Errors
/// When it can't be created; and when a sync fails, or one has failed before.
pub fn create_dir_all(folder: &Path) -> io::Result<()> {
    check_usable()?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if synced().contains(folder) && folder.is_dir() {
        return Ok(());
    }
    let real = match fs::canonicalize(folder) {
        Err(e) if e.kind() == Io::NotFound => {
            create_dir_all(folder_of(folder))?;
            match fs::create_dir(folder) {
                Err(e) if e.kind() != Io::AlreadyExists => return Err(e),
                _ => {}
            }
            let real = fs::canonicalize(folder)?;
            // A folder of this name may have been synced and then deleted.
            synced().remove(&real);
            real
        }
        found => found?,
    };
    sync_names(&real)?;
    synced().insert(folder.into());
    Ok(())
}

/// Syncs the names of a folder and its parents, as far up as its disk reaches.
fn sync_names(real: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    let disk = fs::metadata(real)?.dev();
    let mut name = real;
    while let Some(folder) = name.parent().filter(|_| !synced().contains(name)) {
        if fs::metadata(folder)?.dev() != disk {
            break;
        }
        match File::open(folder) {
            // This process has created nothing in a folder that it may not read.
            Err(e) if e.kind() == Io::PermissionDenied => {}
            file => check_sync(folder, file?.sync_all())?,
        }
        names.push(name.to_path_buf());
        name = folder;
    }
    synced().extend(names);
    Ok(())
}

/// Gives the file `staged` the name `path`, if that is free. Afterwards the name `staged` may exist
/// or not.
///
/// # Errors
/// `AlreadyExists` if something has the name; `Unsupported` if the file system can't do so.
pub fn rename_no_replace(staged: &Path, path: &Path) -> io::Result<()> {
    let linked = fs::hard_link(staged, path);
    match &linked {
        // Error of file systems without hard links.
        Err(e)
            if e.kind() == Io::Unsupported
                || e.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {}
        _ => return linked,
    }
    match renameat_with(CWD, staged, CWD, path, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::Error::new(
            Io::Unsupported,
            "its file system has neither hard links nor a rename that fails if the name exists",
        )),
        renamed => Ok(renamed?),
    }
}

/// Moves a file or a folder, and replaces a file or an empty folder of the new name. The new name
/// is durable when this returns. Sync the old folder too if the old name must not come back.
///
/// # Errors
/// When it can't be moved; and when a sync fails, or one has failed before.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    check_usable()?;
    fs::rename(from, to)?;
    sync(folder_of(to))
}

/// Returns the folder of a path.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn synced() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    lock(&SYNCED)
}
