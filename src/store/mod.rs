//! A folder or an object store with durable conditional creation, which commits depend on.

#[cfg(feature = "s3")]
mod answers;
pub mod disk;
mod folder;
mod remote;
#[cfg(feature = "s3")]
mod s3;
#[cfg(any(feature = "archive", feature = "delta"))]
mod several;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind as Io;
#[cfg(feature = "delta")]
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;

use crate::error::{Error, Result};

#[cfg(feature = "archive")]
pub(crate) use remote::Fetch;
use remote::Remote;

/// Named byte objects below one prefix. Written bytes are durable when the call returns.
#[derive(Clone)]
pub struct Store {
    place: Place,
}

#[derive(Clone)]
enum Place {
    Folder(PathBuf),
    Remote(Remote),
}

/// The answer to [`Store::create`].
#[derive(Debug)]
pub enum Create {
    /// The object was absent and now has these bytes.
    Created,
    /// An object may have the name already: read it.
    Taken,
    /// It is unknown whether the object was created: read it.
    Unknown(Error),
}

impl Store {
    /// Opens a folder (a path or a `file://` URL), which need not exist, or what is below a prefix
    /// of a bucket: `s3://bucket/prefix`, with the feature `s3`.
    ///
    /// A bucket is found as the tools of AWS find it: by `AWS_REGION`, `AWS_ENDPOINT_URL` and so
    /// on, with the credentials of the environment, of `~/.aws`, or of the machine. It is asked at
    /// once, so that what is wrong is known within 15 seconds.
    ///
    /// # Errors
    /// For a URL of another scheme, and for a bucket that does not exist, does not answer or may
    /// not be listed.
    pub fn open(url: &str) -> Result<Self> {
        let place = match url.split_once("://") {
            None | Some(("file", _)) => {
                let path = url.strip_prefix("file://").unwrap_or(url);
                if path.is_empty() {
                    return Err(Error::config("can't open a folder: it has no name")
                        .hint("For this folder here give a dot."));
                }
                Place::Folder(path.into())
            }
            #[cfg(feature = "s3")]
            Some(("s3", path)) => Place::Remote(s3::open(path)?),
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
        Ok(Store { place })
    }

    /// Uses a folder, which need not exist.
    pub(crate) fn at(folder: &Path) -> Self {
        Store { place: Place::Folder(folder.into()) }
    }

    /// Uses `store` below `prefix`.
    ///
    /// # Errors
    /// When no thread for its requests can be started.
    pub fn objects(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self> {
        Ok(Store { place: Place::Remote(Remote::new(store, prefix)?) })
    }

    /// The same store below a longer prefix.
    #[must_use]
    pub fn below(&self, path: &str) -> Store {
        let place = match &self.place {
            Place::Folder(root) => Place::Folder(root.join(path)),
            Place::Remote(remote) => Place::Remote(remote.below(path)),
        };
        Store { place }
    }

    /// The folder behind it, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match &self.place {
            Place::Folder(root) => Some(root),
            Place::Remote(_) => None,
        }
    }

    /// The object store behind it, if it is one.
    #[cfg(any(feature = "archive", feature = "delta"))]
    pub(crate) fn remote(&self) -> Option<&Remote> {
        match &self.place {
            Place::Folder(_) => None,
            Place::Remote(remote) => Some(remote),
        }
    }

    /// The name of `path` for people.
    pub fn name(&self, path: &str) -> String {
        match &self.place {
            Place::Folder(root) => root.join(path).display().to_string(),
            Place::Remote(remote) => remote.name(path),
        }
    }

    /// Writes `bytes` at `path` if nothing is there. Only [`Create::Created`] is an answer; after
    /// any other, read what is there.
    ///
    /// # Errors
    /// When the store creates where something is, or can't but replace: then no commit can rest on
    /// it. And when a sync of this process has failed: then nothing that it finds is known to be
    /// durable.
    pub fn create(&self, path: &str, bytes: &[u8]) -> Result<Create> {
        match &self.place {
            Place::Folder(root) => match folder::create(&root.join(path), bytes) {
                Ok(()) => Ok(Create::Created),
                Err(e) if disk::is_lost() => Err(self.unwritten("create", path, e)),
                Err(e) if e.kind() == Io::AlreadyExists => Ok(Create::Taken),
                Err(e) if e.kind() == Io::Unsupported => {
                    Err(Error::config(format!("can't create {}", self.name(path))).because(e).hint(
                        "Put it on another file system, such as ext4 or xfs, or into a bucket.",
                    ))
                }
                Err(e) => Ok(Create::Unknown(self.unwritten("create", path, e))),
            },
            Place::Remote(remote) => remote.create(path, bytes),
        }
    }

    /// Ensures that `path` holds exactly `bytes`, durably: creates the object, or finds an equal one.
    /// Returns false if another object has the name.
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
                Error::connect(format!("can't tell whether {} is there", self.name(path)))
            })),
        }
    }

    /// Makes an object durable that was found by reading: its writer may have died before its sync.
    ///
    /// # Errors
    /// When it is not there any more, or can't be synced.
    pub fn confirm(&self, path: &str) -> Result<()> {
        match &self.place {
            Place::Folder(root) => {
                disk::confirm(&root.join(path)).map_err(|e| self.unwritten("sync", path, e))
            }
            Place::Remote(_) => Ok(()),
        }
    }

    /// Writes `bytes` at `path`, in place of any object there.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        match &self.place {
            Place::Folder(root) => folder::replace(&root.join(path), bytes)
                .map_err(|e| self.unwritten("write", path, e)),
            Place::Remote(remote) => remote.put(path, bytes),
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
            Place::Remote(remote) => Ok(remote.fetch(path, None).wait()?.map(Into::into)),
        }
    }

    /// The bytes in `range` of the object at `path`, fewer if it ends before; `None` if there is none.
    ///
    /// # Errors
    /// When it can't be read.
    #[cfg(feature = "delta")]
    pub(crate) fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        match &self.place {
            Place::Folder(root) => {
                folder::read(&root.join(path), range).map_err(|e| self.failed("read", path, e))
            }
            Place::Remote(remote) => Ok(remote.fetch(path, Some(range)).wait()?.map(Into::into)),
        }
    }

    /// Names and sizes of the objects directly below `path`, by name; none if there is no such
    /// prefix.
    ///
    /// # Errors
    /// When it can't be listed.
    pub fn list(&self, path: &str) -> Result<Vec<(String, u64)>> {
        let mut found = match &self.place {
            Place::Folder(root) => {
                folder::list(&root.join(path)).map_err(|e| self.failed("list", path, e))?
            }
            Place::Remote(remote) => remote.list(path)?.0,
        };
        found.sort_unstable();
        Ok(found)
    }

    /// Names of the folders directly below `path`, by name; none if there is no such prefix.
    ///
    /// # Errors
    /// When they can't be listed.
    pub fn folders(&self, path: &str) -> Result<Vec<String>> {
        let mut found = match &self.place {
            Place::Folder(root) => {
                folder::folders(&root.join(path)).map_err(|e| self.failed("list", path, e))?
            }
            Place::Remote(remote) => remote.list(path)?.1,
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
            Place::Remote(remote) => remote.delete(path),
        }
    }

    fn unwritten(&self, verb: &str, path: &str, cause: std::io::Error) -> Error {
        let full = matches!(cause.kind(), Io::StorageFull | Io::QuotaExceeded);
        let error = self.failed(verb, path, cause);
        if disk::is_lost() && !full {
            error.hint("See to the disk and run it again: this process can't know any more which of its files are on it.")
        } else if full {
            error.hint("Make room there and run it again: what was committed stands, and it goes on from there.")
        } else {
            error
        }
    }

    fn failed(&self, verb: &str, path: &str, cause: std::io::Error) -> Error {
        Error::connect(format!("can't {verb} {}", self.name(path))).because(cause)
    }
}
