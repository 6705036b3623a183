//! Files that are there for good when a call returns.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
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

/// Writes a file of lines that appears whole.
pub(super) fn write<L: AsRef<[u8]>>(path: &Path, lines: impl IntoIterator<Item = L>) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Err(io::ErrorKind::InvalidFilename.into()) };
    let staged = folder.join(format!(".{}.tmp", name.to_string_lossy()));
    let mut file = BufWriter::with_capacity(256 << 10, File::create(&staged)?);
    for line in lines {
        file.write_all(line.as_ref())?;
        file.write_all(b"\n")?;
    }
    file.into_inner()?.sync_data()?;
    fs::rename(&staged, path)?;
    sync(folder)
}
