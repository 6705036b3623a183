//! The lock of an archive in a folder: a file that its writers hold locked as long as they live.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind as Io, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::store::{Create, Store};

use super::layout::{self, SEGMENT_HEAD_BYTES};

/// The maximal length of a holder's name in a message.
const HOLDER_MAX_BYTES: u64 = 200;

/// The right to write an archive, held until it is dropped or the process dies.
///
/// A writer whose objects depend on the end of the archive holds it exclusively. Copies share it,
/// because their objects depend only on the records they copy. The lock of a dead process is free.
/// An object store has no locks: there the conditional creation of objects separates writers, and
/// everybody gets the lock.
///
/// ```
/// use watershed::connectors::archive::WriterLock;
///
/// # let folder = tempfile::tempdir().unwrap();
/// let lock = WriterLock::exclusive(folder.path(), "generate")?;
/// assert!(WriterLock::exclusive(folder.path(), "another").is_err());
/// drop(lock);
/// # Ok::<(), watershed::Error>(())
/// ```
pub struct WriterLock {
    held: Option<Held>,
}

struct Held {
    file: File,
    path: PathBuf,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Exclusive,
    Shared,
}

impl WriterLock {
    /// Locks the archive in the folder `root`, which need not exist, for one writer. Messages to
    /// other writers name `holder`.
    ///
    /// # Errors
    /// When another process holds the lock, or the journal of an appender has acknowledged records.
    pub fn exclusive(root: &Path, holder: &str) -> Result<Self> {
        let lock = acquire(root, holder, Mode::Exclusive)?;
        check_journal(root)?;
        Ok(lock)
    }

    /// Locks the archive in `store`, shared with other copies.
    ///
    /// ```
    /// use watershed::connectors::archive::WriterLock;
    /// use watershed::store::Store;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// let store = Store::open(folder.path().to_str().unwrap())?;
    /// let copies = ["a copy", "another"].map(|holder| WriterLock::shared(&store, holder));
    /// assert!(copies.iter().all(Result::is_ok));
    /// assert!(WriterLock::exclusive(folder.path(), "generate").is_err());
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// When a process holds it exclusively, or the journal of an appender has acknowledged records.
    pub fn shared(store: &Store, holder: &str) -> Result<Self> {
        let Some(root) = store.folder() else { return Ok(WriterLock { held: None }) };
        let lock = acquire(root, holder, Mode::Shared)?;
        check_journal(root)?;
        Ok(lock)
    }

    /// Locks the archive in the folder `root` for an appender, which recovers its own journal.
    pub(super) fn for_appender(root: &Path) -> Result<Self> {
        acquire(root, "a gateway", Mode::Exclusive)
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        let Some(Held { file, path, mode }) = &self.held else { return };
        // The last holder removes the file. A process that opened the file in the meantime detects
        // this and creates another one.
        let last = *mode == Mode::Exclusive || file.try_lock().is_ok();
        if last && is_at(file, path) {
            let _ = fs::remove_file(path);
        }
    }
}

fn acquire(root: &Path, holder: &str, mode: Mode) -> Result<WriterLock> {
    let failed =
        |e| Error::connect(format!("can't lock the archive {}", root.display())).because(e);
    if root.as_os_str().is_empty() {
        return Err(Error::config("can't lock an archive: its folder has no name")
            .hint("Give a dot for the current folder."));
    }
    let path = root.join(layout::LOCK);
    loop {
        if let Create::Unknown(error) = Store::at(root).create(layout::LOCK, b"")? {
            return Err(error);
        }
        let mut file = match File::options().read(true).write(true).open(&path) {
            Err(e) if e.kind() == Io::NotFound => continue,
            other => other.map_err(failed)?,
        };
        let locked = match mode {
            Mode::Exclusive => file.try_lock(),
            Mode::Shared => file.try_lock_shared(),
        };
        match locked {
            Ok(()) if !is_at(&file, &path) => continue,
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(root, &mut file)),
            Err(TryLockError::Error(error)) => {
                let path = path.display();
                tracing::warn!(%error, %path, "can't lock: a second writer is not excluded");
                return Ok(WriterLock { held: None });
            }
        }
        // The name is for people only, so a full disk is no reason to stop here.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{holder}, process {}", std::process::id()));
        return Ok(WriterLock { held: Some(Held { file, path, mode }) });
    }
}

/// Returns true if `path` is still the name of `file`.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata().ok().zip(fs::metadata(path).ok()).is_some_and(|(a, b)| same(a, b))
}

/// Returns the error that another process holds the lock.
fn in_use(root: &Path, file: &mut File) -> Error {
    let mut holder = String::new();
    let read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.take(HOLDER_MAX_BYTES).read_to_string(&mut holder));
    let holder = match holder.trim() {
        name if read.is_ok() && !name.is_empty() => format!(": {name}"),
        _ => String::new(),
    };
    let root = root.display();
    Error::connect(format!("can't write to the archive {root}: another process does{holder}")).hint(
        "An archive has one writer at a time: stop the other process or wait for it, or write \
             to another archive.",
    )
}

/// Fails if a dead appender has left acknowledged records that may be in its journal only.
fn check_journal(root: &Path) -> Result<()> {
    let journal = root.join(layout::JOURNAL);
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
        if is_segment && ![0, SEGMENT_HEAD_BYTES as u64].contains(&length) {
            let waits =
                format!("records that a gateway acknowledged are only in {}", journal.display());
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
    fn one_writer_or_many_copies_hold_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (root, store) = (folder.path().join("a/b"), Store::at(&folder.path().join("a/b")));
        let alone = WriterLock::exclusive(&root, "generate").unwrap();
        let error = WriterLock::shared(&store, "archive").err().unwrap();
        assert!(error.to_string().contains("another process does: generate, process"), "{error}");
        assert_eq!(kind(WriterLock::exclusive(&root, "another")), Some(ErrorKind::Connect));
        drop(alone);
        let first = WriterLock::shared(&store, "archive").unwrap();
        let second = WriterLock::shared(&store, "archive").unwrap();
        assert_eq!(kind(WriterLock::exclusive(&root, "generate")), Some(ErrorKind::Connect));
        drop(first);
        assert_eq!(kind(WriterLock::exclusive(&root, "generate")), Some(ErrorKind::Connect));
        drop(second);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "nothing is left");
        // The file that a killed process leaves.
        fs::write(root.join(layout::LOCK), "a gateway, process 1\n").unwrap();
        drop(WriterLock::exclusive(&root, "generate").unwrap());
    }

    #[test]
    fn an_exclusive_lock_never_has_two_holders() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, taken) = (std::sync::Mutex::new(()), std::sync::atomic::AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let Ok(lock) = WriterLock::exclusive(folder.path(), "one of many") else {
                            continue;
                        };
                        let only = inside.try_lock().expect("nobody else is inside");
                        taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        drop(only);
                        drop(lock);
                    }
                });
            }
        });
        assert!(taken.into_inner() > 0);
    }
}
