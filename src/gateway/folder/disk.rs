//! Folders that are there for good when a call returns.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Syncs the names in a folder.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder and those above it.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    match folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        Some(above) => {
            make(above)?;
            fs::create_dir(folder)?;
            sync(above)
        }
        None => fs::create_dir(folder).and_then(|()| sync(Path::new("."))),
    }
}
