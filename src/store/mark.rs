//! The mark of who writes an archive in a folder: a file that is locked as long as its writer
//! lives.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind as Io, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Create, Store};
use crate::error::{Error, Result};

/// Name of the mark in an archive's folder; no reader looks at it.
const NAME: &str = ".writing";
/// Bytes that a segment of a gateway's journal has before its first frame.
pub(crate) const SEGMENT_HEAD: usize = 40;

/// The right to write an archive, held until it is dropped or the process dies.
///
/// A writer that names objects by where the archive ends holds it alone. Copies, whose objects are
/// decided by the records they copy, hold it together. A mark that a dead process left is taken
/// over. An object store knows no locks: there the mark is held by everybody, and the conditional
/// creation of objects alone keeps writers apart.
pub struct Mark {
    held: Option<Held>,
}

struct Held {
    file: File,
    path: PathBuf,
    alone: bool,
}

impl Mark {
    /// Takes the archive in the folder `root`, which need not exist, for one writer; `who` tells
    /// others which.
    ///
    /// # Errors
    /// When another process writes it, or a gateway has left records there that it acknowledged.
    pub fn alone(root: &Path, who: &str) -> Result<Self> {
        let mark = take(root, who, true)?;
        nothing_waits(root)?;
        Ok(mark)
    }

    /// Takes the archive in `store` together with others who do so.
    ///
    /// # Errors
    /// When a process holds it alone, or a gateway has left records there that it acknowledged.
    pub fn together(store: &Store, who: &str) -> Result<Self> {
        let Some(root) = store.folder() else { return Ok(Mark { held: None }) };
        let mark = take(root, who, false)?;
        nothing_waits(root)?;
        Ok(mark)
    }

    /// Takes the archive in the folder `root` for the gateway, which adds what it has left there
    /// itself.
    #[cfg(feature = "gateway")]
    pub(crate) fn of_gateway(root: &Path) -> Result<Self> {
        take(root, "a gateway", true)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let Some(Held { file, path, alone }) = &self.held else { return };
        // The last one takes it away. Whoever has opened it meanwhile sees that and makes another.
        if (*alone || file.try_lock().is_ok()) && is_at(file, path) {
            let _ = fs::remove_file(path);
        }
    }
}

fn take(root: &Path, who: &str, alone: bool) -> Result<Mark> {
    let failed = |e| {
        Error::connect(format!("can't mark the archive {} as written by {who}", root.display()))
            .because(e)
    };
    if root.as_os_str().is_empty() {
        return Err(Error::config("can't mark an archive: its folder has no name")
            .hint("For this folder here give a dot."));
    }
    let path = root.join(NAME);
    loop {
        if let Create::Unknown(error) = Store::at(root).create(NAME, b"")? {
            return Err(error);
        }
        let mut file = match File::options().read(true).write(true).open(&path) {
            Err(e) if e.kind() == Io::NotFound => continue,
            other => other.map_err(failed)?,
        };
        match if alone { file.try_lock() } else { file.try_lock_shared() } {
            Ok(()) if !is_at(&file, &path) => continue,
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(written(root, &mut file)),
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, path = %path.display(), "this disk knows no locks: nothing keeps a second writer away");
                return Ok(Mark { held: None });
            }
        }
        let said =
            file.set_len(0).and_then(|()| writeln!(file, "{who}, process {}", std::process::id()));
        // It is read by people only: a disk that is full is no reason to stop here.
        let _ = said;
        return Ok(Mark { held: Some(Held { file, path, alone }) });
    }
}

/// True if `path` is still the name of `file`.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata().ok().zip(fs::metadata(path).ok()).is_some_and(|(a, b)| same(a, b))
}

fn written(root: &Path, file: &mut File) -> Error {
    let mut who = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(200).read_to_string(&mut who));
    let who = if read.is_ok() && !who.trim().is_empty() {
        format!(": {}", who.trim())
    } else {
        String::new()
    };
    Error::connect(format!("can't write to the archive {}: another process does{who}", root.display()))
        .hint("An archive has one writer at a time: stop that one or wait for it, or write to another archive.")
}

/// An error if a gateway that has died had acknowledged records which are perhaps in its journal
/// only.
fn nothing_waits(root: &Path) -> Result<()> {
    let journal = root.join("_gateway/journal");
    let failed =
        |e| Error::connect(format!("can't read the journal {}", journal.display())).because(e);
    let entries = match fs::read_dir(&journal) {
        Err(e) if e.kind() == Io::NotFound => return Ok(()),
        other => other.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let is_segment = entry.path().extension().is_some_and(|extension| extension == "log");
        let length = entry.metadata().map_err(failed)?.len();
        if is_segment && ![0, SEGMENT_HEAD as u64].contains(&length) {
            let waits =
                format!("records that a gateway acknowledged wait in {}", journal.display());
            return Err(Error::data(format!(
                "can't write to the archive {}: {waits}",
                root.display()
            ))
            .hint("Start the gateway on this archive once and stop it: it adds them."));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn kind<T>(taken: Result<T>) -> Option<ErrorKind> {
        taken.err().map(|error| error.kind())
    }

    #[test]
    fn one_writer_alone_or_many_together_hold_the_mark() {
        let folder = tempfile::tempdir().unwrap();
        let (root, store) = (folder.path().join("a/b"), Store::at(&folder.path().join("a/b")));
        let alone = Mark::alone(&root, "generate").unwrap();
        let error = Mark::together(&store, "archive").err().unwrap();
        assert!(error.to_string().contains("another process does: generate, process"), "{error}");
        assert_eq!(kind(Mark::alone(&root, "another")), Some(ErrorKind::Connect));
        drop(alone);
        let first = Mark::together(&store, "archive").unwrap();
        let second = Mark::together(&store, "archive").unwrap();
        assert_eq!(kind(Mark::alone(&root, "generate")), Some(ErrorKind::Connect));
        drop(first);
        assert_eq!(kind(Mark::alone(&root, "generate")), Some(ErrorKind::Connect));
        drop(second);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "nothing is left");
        // As a process leaves it that was killed.
        fs::write(root.join(NAME), "a gateway, process 1\n").unwrap();
        drop(Mark::alone(&root, "generate").unwrap());
    }

    #[test]
    fn many_who_take_and_drop_the_mark_are_never_two() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, taken) = (std::sync::Mutex::new(()), std::sync::atomic::AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let Ok(mark) = Mark::alone(folder.path(), "one of many") else { continue };
                        let alone = inside.try_lock().expect("nobody else is inside");
                        taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        drop(alone);
                        drop(mark);
                    }
                });
            }
        });
        assert!(taken.into_inner() > 0);
    }
}
