//! Stores: a folder or an object store with durable conditional creation, on which commits depend.

pub mod disk;
mod folder;
mod remote;
#[cfg(feature = "s3")]
mod responses;
#[cfg(feature = "s3")]
mod s3;
#[cfg(any(feature = "archive", feature = "delta"))]
mod several;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind as Io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use object_store::ObjectStore;

use crate::error::{Error, Result};

#[cfg(feature = "archive")]
pub(crate) use remote::Fetch;
use remote::Remote;

/// Named byte objects below one prefix. Written bytes are durable when the call returns.
///
/// ```
/// use watershed::store::{Create, Store};
/// # let folder = tempfile::tempdir().unwrap();
/// # let url = folder.path().to_str().unwrap();
/// let store = Store::open(url)?;
/// assert!(matches!(store.create("a/1", b"one")?, Create::Created));
/// assert!(matches!(store.create("a/1", b"two")?, Create::Taken));
/// store.put("a/2", b"two")?;
/// assert_eq!(store.get("a/1")?.as_deref(), Some(&b"one"[..]));
/// assert_eq!(store.list("a")?, [("1".to_string(), 3), ("2".to_string(), 3)]);
/// assert_eq!(store.folders("")?, ["a"]);
/// store.delete("a/2")?;
/// assert_eq!(store.below("a").get("2")?, None);
/// # Ok::<(), watershed::Error>(())
/// ```
#[derive(Clone)]
pub struct Store {
    backend: Backend,
}

#[derive(Clone)]
enum Backend {
    Folder(PathBuf),
    Remote(Remote),
}

/// The outcome of [`Store::create`]; [`Store`] has an example.
#[derive(Debug)]
pub enum Create {
    /// The object was absent and now has these bytes.
    Created,
    /// An object may have the name already; read it.
    Taken,
    /// It is unknown whether the object was created; read it.
    Unknown(Error),
}

impl Store {
    /// Opens a folder (a path or a `file://` URL), which need not exist, or a prefix of a bucket:
    /// `s3://bucket/prefix`, with the feature `s3`.
    ///
    /// A bucket is configured as for the tools of AWS: by `AWS_REGION`, `AWS_ENDPOINT_URL` and so
    /// on, with the credentials of the environment, of `~/.aws`, or of the machine. It is contacted
    /// at once, so that a wrong setting is reported within 15 seconds.
    ///
    /// # Errors
    /// For a URL of another scheme, and for a bucket that does not exist, does not respond, or may
    /// not be listed.
    pub fn open(url: &str) -> Result<Self> {
        let backend = match url.split_once("://") {
            None | Some(("file", _)) => {
                let path = url.strip_prefix("file://").unwrap_or(url);
                if path.is_empty() {
                    return Err(Error::config("can't open a folder: it has no name")
                        .hint("Give a dot for the current folder."));
                }
                Backend::Folder(path.into())
            }
            #[cfg(feature = "s3")]
            Some(("s3", path)) => Backend::Remote(s3::open(path)?),
            #[cfg(not(feature = "s3"))]
            Some(("s3", _)) => {
                return Err(Error::config(
                    "can't open an s3:// URL: this program was built without S3",
                )
                .hint("Build it with the feature s3."));
            }
            Some((scheme, _)) => {
                return Err(Error::config(format!(
                    "can't open a {scheme}:// URL: there is no store of that kind"
                ))
                .hint("Give a folder, as a path or a file:// URL, or s3://bucket/prefix."));
            }
        };
        Ok(Store { backend })
    }

    /// Uses a folder, which need not exist.
    #[cfg(any(test, feature = "archive"))]
    pub(crate) fn at(folder: &Path) -> Self {
        Store { backend: Backend::Folder(folder.into()) }
    }

    /// Uses `store` below `prefix`.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use object_store::memory::InMemory;
    /// use watershed::store::Store;
    ///
    /// let store = Store::objects(Arc::new(InMemory::new()), "prefix")?;
    /// assert!(store.ensure("a", b"1")? && store.folder().is_none());
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// When no thread for its requests can be started.
    pub fn objects(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self> {
        Ok(Store { backend: Backend::Remote(Remote::new(store, prefix)?) })
    }

    /// Returns the same store below a longer prefix.
    #[must_use]
    pub fn below(&self, path: &str) -> Store {
        let backend = match &self.backend {
            Backend::Folder(root) => Backend::Folder(root.join(path)),
            Backend::Remote(remote) => Backend::Remote(remote.below(path)),
        };
        Store { backend }
    }

    /// Returns the folder of the store, if it is a folder.
    pub fn folder(&self) -> Option<&Path> {
        match &self.backend {
            Backend::Folder(root) => Some(root),
            Backend::Remote(_) => None,
        }
    }

    /// Returns the object store, if it is one.
    #[cfg(any(feature = "archive", feature = "delta"))]
    pub(crate) fn remote(&self) -> Option<&Remote> {
        match &self.backend {
            Backend::Folder(_) => None,
            Backend::Remote(remote) => Some(remote),
        }
    }

    /// Returns the full name of `path` for messages.
    pub fn name(&self, path: &str) -> String {
        match &self.backend {
            Backend::Folder(root) => root.join(path).display().to_string(),
            Backend::Remote(remote) => remote.name(path),
        }
    }

    /// Creates `path` with `bytes` if no object has the name. Only [`Create::Created`] is certain;
    /// after any other outcome read the object.
    ///
    /// # Errors
    /// When the store replaces an existing object, or can't create conditionally: then no commit
    /// can depend on it. When a sync of this process has failed: then nothing that it reads is
    /// known to be durable.
    pub fn create(&self, path: &str, bytes: &[u8]) -> Result<Create> {
        match &self.backend {
            Backend::Folder(root) => match folder::create(&root.join(path), bytes) {
                Ok(()) => Ok(Create::Created),
                Err(e) if disk::sync_failed() => Err(self.write_error("create", path, e)),
                Err(e) if e.kind() == Io::AlreadyExists => Ok(Create::Taken),
                Err(e) if e.kind() == Io::Unsupported => {
                    Err(Error::config(format!("can't create {}", self.name(path))).because(e).hint(
                        "Put it on another file system, such as ext4 or xfs, or into a bucket.",
                    ))
                }
                Err(e) => Ok(Create::Unknown(self.write_error("create", path, e))),
            },
            Backend::Remote(remote) => remote.create(path, bytes),
        }
    }

    /// Ensures that `path` holds exactly `bytes`, durably: creates the object, or finds an equal
    /// one. Returns false if another object has the name.
    ///
    /// ```
    /// use watershed::store::Store;
    /// # let folder = tempfile::tempdir().unwrap();
    /// let store = Store::open(folder.path().to_str().unwrap())?;
    /// assert!(store.ensure("a", b"1")? && store.ensure("a", b"1")?);
    /// assert!(!store.ensure("a", b"2")?);
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// When its content can't be determined.
    pub fn ensure(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        let doubt = match self.create(path, bytes)? {
            Create::Created => return Ok(true),
            Create::Taken => None,
            Create::Unknown(error) => Some(error),
        };
        match self.get(path)? {
            Some(held) if held == bytes => self.confirm(path).map(|()| true),
            Some(_) => Ok(false),
            None => Err(doubt.unwrap_or_else(|| {
                Error::connect(format!("can't determine whether {} exists", self.name(path)))
            })),
        }
    }

    /// Makes an object durable that was found by reading: its writer may have died before its sync.
    ///
    /// # Errors
    /// When the object is gone, or can't be synced.
    pub fn confirm(&self, path: &str) -> Result<()> {
        match &self.backend {
            Backend::Folder(root) => {
                disk::confirm(&root.join(path)).map_err(|e| self.write_error("sync", path, e))
            }
            Backend::Remote(_) => Ok(()),
        }
    }

    /// Writes `bytes` at `path`, and replaces any object there.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.put_pieces(path, &[bytes])
    }

    /// Writes an object of several pieces, like [`put`](Self::put).
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn put_pieces(&self, path: &str, pieces: &[&[u8]]) -> Result<()> {
        match &self.backend {
            Backend::Folder(root) => folder::replace(&root.join(path), pieces)
                .map_err(|e| self.write_error("write", path, e)),
            Backend::Remote(remote) => remote.put(path, pieces),
        }
    }

    /// Returns the bytes at `path`; `None` if there is no object.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn get(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match &self.backend {
            Backend::Folder(root) => match fs::read(root.join(path)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(e) if e.kind() == Io::NotFound => Ok(None),
                Err(e) => Err(self.error("read", path, e)),
            },
            Backend::Remote(remote) => Ok(remote.fetch(path, None).wait()?.map(Into::into)),
        }
    }

    /// Returns the bytes in `range` of the object at `path`, fewer if it ends before. `None` if
    /// there is no object.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        match &self.backend {
            Backend::Folder(root) => {
                folder::read(&root.join(path), range).map_err(|e| self.error("read", path, e))
            }
            Backend::Remote(remote) => Ok(remote.fetch(path, Some(range)).wait()?.map(Into::into)),
        }
    }

    /// Returns the time at which the object at `path` was stored, in milliseconds since 1970; none
    /// if there is no object, or the store keeps no times.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) fn stored_at(&self, path: &str) -> Result<Option<i64>> {
        match &self.backend {
            Backend::Folder(root) => match fs::metadata(root.join(path)) {
                Ok(found) => {
                    let since = found.modified().ok().map(|at| at.duration_since(UNIX_EPOCH));
                    Ok(since.and_then(|since| i64::try_from(since.ok()?.as_millis()).ok()))
                }
                Err(e) if e.kind() == Io::NotFound => Ok(None),
                Err(e) => Err(self.error("read", path, e)),
            },
            Backend::Remote(remote) => remote.stored_at(path),
        }
    }

    /// Returns names and sizes of the objects directly below `path`, by name; none if there is no
    /// such prefix.
    ///
    /// # Errors
    /// When it can't be listed.
    pub fn list(&self, path: &str) -> Result<Vec<(String, u64)>> {
        let mut found = match &self.backend {
            Backend::Folder(root) => {
                folder::list(&root.join(path)).map_err(|e| self.error("list", path, e))?
            }
            Backend::Remote(remote) => remote.list(path)?.0,
        };
        found.sort_unstable();
        Ok(found)
    }

    /// Returns names of the folders directly below `path`, by name; none if there is no such
    /// prefix.
    ///
    /// # Errors
    /// When they can't be listed.
    pub fn folders(&self, path: &str) -> Result<Vec<String>> {
        let mut found = match &self.backend {
            Backend::Folder(root) => {
                folder::folders(&root.join(path)).map_err(|e| self.error("list", path, e))?
            }
            Backend::Remote(remote) => remote.list(path)?.1,
        };
        found.sort_unstable();
        Ok(found)
    }

    /// Deletes `path`, which need not exist.
    ///
    /// # Errors
    /// When it can't be deleted.
    pub fn delete(&self, path: &str) -> Result<()> {
        match &self.backend {
            Backend::Folder(root) => match fs::remove_file(root.join(path)) {
                Err(e) if e.kind() != Io::NotFound => Err(self.error("delete", path, e)),
                _ => Ok(()),
            },
            Backend::Remote(remote) => remote.delete(path),
        }
    }

    /// Deletes an object that another program wrote at `path`.
    ///
    /// # Errors
    /// When it can't be deleted.
    #[cfg(feature = "archive")]
    pub(crate) fn delete_found(&self, path: &str) -> Result<()> {
        match &self.backend {
            Backend::Folder(_) => self.delete(path),
            Backend::Remote(remote) => remote.delete_found(path),
        }
    }

    /// Returns the time at which another program stored an object at `path`, in milliseconds since
    /// 1970. None if there is no object, or the store keeps no times.
    ///
    /// # Errors
    /// When it can't be read.
    #[cfg(feature = "archive")]
    pub(crate) fn found_stored_at(&self, path: &str) -> Result<Option<i64>> {
        match &self.backend {
            Backend::Folder(_) => self.stored_at(path),
            Backend::Remote(remote) => remote.found_stored_at(path),
        }
    }

    fn write_error(&self, verb: &str, path: &str, cause: std::io::Error) -> Error {
        let full = matches!(cause.kind(), Io::StorageFull | Io::QuotaExceeded);
        let error = self.error(verb, path, cause);
        if disk::sync_failed() && !full {
            error.hint(
                "Check the disk and run it again: after a failed sync this process can't \
                determine which of its files are on the disk.",
            )
        } else if full {
            error.hint("Make room there and run it again: it continues from the last commit.")
        } else {
            error
        }
    }

    fn error(&self, verb: &str, path: &str, cause: std::io::Error) -> Error {
        Error::connect(format!("can't {verb} {}", self.name(path))).because(cause)
    }
}
