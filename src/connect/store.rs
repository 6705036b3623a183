//! A folder or an object store with the one thing commits rest on: durable conditional creation.

use std::fs;
use std::io::{ErrorKind as Io, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path as Key};

use crate::error::{Error, Result};

/// Named byte objects below one prefix. What a call has written is durable when it returns.
#[derive(Clone)]
pub struct Store {
    place: Place,
}

#[derive(Clone)]
enum Place {
    Folder(PathBuf),
    Objects { store: Arc<dyn ObjectStore>, prefix: Key, runtime: Arc<tokio::runtime::Runtime> },
}

/// The answer to [`Store::create`].
#[derive(Debug)]
pub enum Create {
    /// It was absent and now holds these bytes.
    Created,
    /// Something may be there already: read it.
    Taken,
    /// Nobody knows whether it is there: read it.
    Unknown(Error),
}

impl Store {
    /// Opens a folder (a path or a `file://` URL), which need not exist.
    ///
    /// # Errors
    /// For a URL of another scheme.
    pub fn open(url: &str) -> Result<Self> {
        match url.split_once("://") {
            None => Ok(Store { place: Place::Folder(url.into()) }),
            Some(("file", path)) => Ok(Store { place: Place::Folder(path.into()) }),
            Some((scheme, _)) => Err(Error::config(format!("can't open {url}: no store for {scheme}://"))
                .hint("Give a folder, as a path or a file:// URL.")),
        }
    }

    /// Uses `store` below `prefix`.
    ///
    /// # Errors
    /// When no thread for its requests can be started.
    pub fn objects(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|e| Error::connect("can't start a thread for the object store").because(e))?;
        Ok(Store { place: Place::Objects { store, prefix: Key::from(prefix), runtime: Arc::new(runtime) } })
    }

    /// The same store below a longer prefix.
    #[must_use]
    pub fn below(&self, path: &str) -> Store {
        let place = match &self.place {
            Place::Folder(root) => Place::Folder(root.join(path)),
            Place::Objects { store, runtime, .. } => {
                Place::Objects { store: store.clone(), prefix: self.key(path), runtime: runtime.clone() }
            }
        };
        Store { place }
    }

    /// The folder behind it, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match &self.place {
            Place::Folder(root) => Some(root),
            Place::Objects { .. } => None,
        }
    }

    /// The name of `path` for people.
    pub fn name(&self, path: &str) -> String {
        match &self.place {
            Place::Folder(root) => root.join(path).display().to_string(),
            Place::Objects { .. } => self.key(path).to_string(),
        }
    }

    /// Writes `bytes` at `path` if nothing is there. Only [`Create::Created`] is an answer; after any other, read what is there.
    pub fn create(&self, path: &str, bytes: &[u8]) -> Create {
        match &self.place {
            Place::Folder(root) => match create_file(&root.join(path), bytes) {
                Ok(()) => Create::Created,
                Err(e) if e.kind() == Io::AlreadyExists => Create::Taken,
                Err(e) => Create::Unknown(self.unwritten("create", path, e)),
            },
            Place::Objects { store, runtime, .. } => {
                let options = PutOptions::from(PutMode::Create);
                match runtime.block_on(store.put_opts(&self.key(path), bytes.to_vec().into(), options)) {
                    Ok(_) => Create::Created,
                    Err(object_store::Error::AlreadyExists { .. }) => Create::Taken,
                    Err(e) => Create::Unknown(self.failed("create", path, e)),
                }
            }
        }
    }

    /// Writes `bytes` at `path`, in place of what is there.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        match &self.place {
            Place::Folder(root) => replace_file(&root.join(path), bytes).map_err(|e| self.unwritten("write", path, e)),
            Place::Objects { store, runtime, .. } => runtime
                .block_on(store.put(&self.key(path), bytes.to_vec().into()))
                .map(|_| ())
                .map_err(|e| self.failed("write", path, e)),
        }
    }

    /// The bytes at `path`, `None` if nothing is there.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn get(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match &self.place {
            Place::Folder(root) => match fs::read(root.join(path)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(e) if e.kind() == Io::NotFound => Ok(None),
                Err(e) => Err(self.failed("read", path, e)),
            },
            Place::Objects { store, runtime, .. } => {
                let read = async { store.get(&self.key(path)).await?.bytes().await };
                match runtime.block_on(read) {
                    Ok(bytes) => Ok(Some(bytes.to_vec())),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(e) => Err(self.failed("read", path, e)),
                }
            }
        }
    }

    /// Names and sizes of the objects directly below `path`, by name; none if there is no such prefix.
    ///
    /// # Errors
    /// When it can't be listed.
    pub fn list(&self, path: &str) -> Result<Vec<(String, u64)>> {
        let mut found = match &self.place {
            Place::Folder(root) => list_folder(&root.join(path)).map_err(|e| self.failed("list", path, e))?,
            Place::Objects { store, runtime, .. } => {
                let prefix = self.key(path);
                let objects: Vec<_> =
                    runtime.block_on(store.list(Some(&prefix)).try_collect()).map_err(|e| self.failed("list", path, e))?;
                let direct = |m: &object_store::ObjectMeta| m.location.prefix_match(&prefix).is_some_and(|p| p.count() == 1);
                let named = |m: object_store::ObjectMeta| m.location.filename().map(|name| (name.to_string(), m.size));
                objects.into_iter().filter(direct).filter_map(named).collect()
            }
        };
        found.sort_unstable();
        Ok(found)
    }

    /// Names of the folders directly below `path`, by name; none if there is no such prefix.
    ///
    /// # Errors
    /// When they can't be listed.
    pub fn folders(&self, path: &str) -> Result<Vec<String>> {
        let mut found: Vec<String> = match &self.place {
            Place::Folder(root) => list_folders(&root.join(path)).map_err(|e| self.failed("list", path, e))?,
            Place::Objects { store, runtime, .. } => {
                let listed = runtime.block_on(store.list_with_delimiter(Some(&self.key(path))));
                let below = listed.map_err(|e| self.failed("list", path, e))?.common_prefixes;
                below.iter().filter_map(|p| p.filename().map(Into::into)).collect()
            }
        };
        found.sort_unstable();
        Ok(found)
    }

    /// Deletes `path`; it need not be there.
    ///
    /// # Errors
    /// When it can't be deleted.
    pub fn delete(&self, path: &str) -> Result<()> {
        match &self.place {
            Place::Folder(root) => match fs::remove_file(root.join(path)) {
                Err(e) if e.kind() != Io::NotFound => Err(self.failed("delete", path, e)),
                _ => Ok(()),
            },
            Place::Objects { store, runtime, .. } => match runtime.block_on(store.delete(&self.key(path))) {
                Err(e) if !matches!(e, object_store::Error::NotFound { .. }) => Err(self.failed("delete", path, e)),
                _ => Ok(()),
            },
        }
    }

    fn key(&self, path: &str) -> Key {
        match &self.place {
            Place::Objects { prefix, .. } => Key::from(format!("{prefix}/{path}")),
            Place::Folder(_) => Key::from(path),
        }
    }

    fn unwritten(&self, verb: &str, path: &str, cause: std::io::Error) -> Error {
        let full = matches!(cause.kind(), Io::StorageFull | Io::QuotaExceeded);
        let error = self.failed(verb, path, cause);
        if full {
            error.hint("Make room there and run it again: what was committed stands, and it goes on from there.")
        } else {
            error
        }
    }

    fn failed(&self, verb: &str, path: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::connect(format!("can't {verb} {}", self.name(path))).because(cause)
    }
}

/// Creates `path` with `bytes`, whole or not at all, durably; fails with `AlreadyExists` if there is one.
fn create_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let staged = staged(path, bytes)?;
    let linked = fs::hard_link(&staged, path);
    fs::remove_file(&staged)?;
    // Also when it is there already: the caller will rely on it being there for good.
    sync_folder(path)?;
    linked
}

fn replace_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let staged = staged(path, bytes)?;
    fs::rename(&staged, path)?;
    sync_folder(path)
}

/// Bytes of a file that are synced at a time.
const PIECE: usize = 4 << 20;

/// A synced file beside `path`, of a name that no other process uses.
fn staged(path: &Path, bytes: &[u8]) -> std::io::Result<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if !folder.exists() {
        fs::create_dir_all(folder)?;
        sync_folder(folder)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let staged = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let mut file = fs::File::create(&staged)?;
    // In pieces: a sync of some other small file may have to wait until all that is on its way to the disk is there.
    let mut pieces = bytes.chunks(PIECE);
    let written = pieces.try_for_each(|piece| file.write_all(piece).and_then(|()| file.sync_data()));
    if let Err(error) = written.and_then(|()| file.sync_data()) {
        // Half a file on a full disk would be in the way of the next attempt.
        let _ = fs::remove_file(&staged);
        return Err(error);
    }
    Ok(staged)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

fn list_folders(path: &Path) -> std::io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Err(e) if e.kind() == Io::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Followed, because a partition may be a link to another disk.
        if entry.path().is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            found.push(name);
        }
    }
    Ok(found)
}

fn list_folder(path: &Path) -> std::io::Result<Vec<(String, u64)>> {
    let entries = match fs::read_dir(path) {
        Err(e) if e.kind() == Io::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
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
