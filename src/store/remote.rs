//! The object-store backend of a store, called from ordinary threads.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{
    Error as Cause, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::Create;
use crate::error::{Error, Result};
use crate::sync::io_runtime;

/// The number of folders that are listed at once.
#[cfg(feature = "archive")]
const CONCURRENT_LISTINGS: usize = 16;

/// A prefix of an object store.
#[derive(Clone)]
pub(crate) struct Remote {
    bucket: Arc<Bucket>,
    prefix: Key,
}

/// An object store and the threads that talk to it. All stores on one bucket share it and its
/// connections.
pub(super) struct Bucket {
    /// The beginning of its names in messages, such as `s3://bucket/`.
    root: String,
    objects: Arc<dyn ObjectStore>,
    /// The same object store without retries: a conditional creation that is repeated may find its
    /// own object.
    once: Arc<dyn ObjectStore>,
    runtime: &'static Runtime,
    /// True once the store was seen to refuse the creation of an existing object.
    is_conditional: AtomicBool,
}

impl Bucket {
    pub(super) fn new(
        root: String,
        objects: Arc<dyn ObjectStore>,
        once: Arc<dyn ObjectStore>,
        runtime: &'static Runtime,
    ) -> Self {
        Bucket { root, objects, once, runtime, is_conditional: AtomicBool::new(false) }
    }
}

impl Remote {
    pub(super) fn new(objects: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self> {
        let bucket = Bucket::new(String::new(), objects.clone(), objects, io_runtime()?);
        Ok(Remote::on(Arc::new(bucket), Key::from(prefix)))
    }

    pub(super) fn on(bucket: Arc<Bucket>, prefix: Key) -> Self {
        Remote { bucket, prefix }
    }

    pub(super) fn below(&self, path: &str) -> Self {
        Remote { bucket: self.bucket.clone(), prefix: self.key(path) }
    }

    fn key(&self, path: &str) -> Key {
        Key::from(format!("{}/{path}", self.prefix))
    }

    pub(super) fn name(&self, path: &str) -> String {
        format!("{}{}", self.bucket.root, self.key(path))
    }

    /// Returns the key of an object that another program wrote at `path`, unchanged: it may have
    /// characters that no key of this library has.
    #[cfg(feature = "archive")]
    fn found(&self, path: &str) -> Key {
        Key::parse(format!("{}/{path}", self.prefix)).unwrap_or_else(|_| self.key(path))
    }

    /// Returns the name of a found object for messages.
    #[cfg(feature = "archive")]
    pub(crate) fn found_name(&self, path: &str) -> String {
        format!("{}{}", self.bucket.root, self.found(path))
    }

    /// Returns the object store, and the prefix in it.
    #[cfg(feature = "delta")]
    pub(crate) fn objects(&self) -> (Arc<dyn ObjectStore>, &Key) {
        (self.bucket.objects.clone(), &self.prefix)
    }

    /// Runs `work`, which talks to the object store, to its end.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.bucket.runtime.block_on(work)
    }

    pub(super) fn create(&self, path: &str, bytes: &[u8]) -> Result<Create> {
        let (created, is_conditional) =
            (self.create_once(path, bytes), &self.bucket.is_conditional);
        if matches!(created, Create::Taken) {
            is_conditional.store(true, Ordering::Relaxed);
        }
        if matches!(created, Create::Created) && !is_conditional.load(Ordering::Relaxed) {
            // To create the same bytes again is harmless.
            match self.create_once(path, bytes) {
                Create::Taken => is_conditional.store(true, Ordering::Relaxed),
                Create::Unknown(_) => {}
                Create::Created => {
                    let message = format!(
                        "can't commit to {}: it replaces an existing object instead of refusing to create it",
                        self.name("")
                    );
                    return Err(Error::config(message).hint(
                        "Commits need a server that honours If-None-Match, as S3 does. Use another one, or a newer version.",
                    ));
                }
            }
        }
        Ok(created)
    }

    fn create_once(&self, path: &str, bytes: &[u8]) -> Create {
        let payload = Bytes::copy_from_slice(bytes).into();
        match self.wait(self.bucket.once.put_opts(
            &self.key(path),
            payload,
            PutOptions::from(PutMode::Create),
        )) {
            Ok(_) => Create::Created,
            Err(Cause::AlreadyExists { .. }) => Create::Taken,
            Err(e) => Create::Unknown(self.error("create", path, e)),
        }
    }

    pub(super) fn put(&self, path: &str, pieces: &[&[u8]]) -> Result<()> {
        let payload: PutPayload = pieces.iter().copied().map(Bytes::copy_from_slice).collect();
        let put = self.wait(self.bucket.objects.put(&self.key(path), payload));
        put.map(|_| ()).map_err(|e| self.error("write", path, e))
    }

    pub(super) fn delete(&self, path: &str) -> Result<()> {
        self.delete_at(&self.key(path), path)
    }

    /// Deletes a found object.
    #[cfg(feature = "archive")]
    pub(super) fn delete_found(&self, path: &str) -> Result<()> {
        self.delete_at(&self.found(path), path)
    }

    fn delete_at(&self, key: &Key, path: &str) -> Result<()> {
        match self.wait(self.bucket.objects.delete(key)) {
            Err(e) if !matches!(e, Cause::NotFound { .. }) => Err(self.error("delete", path, e)),
            _ => Ok(()),
        }
    }

    pub(super) fn stored_at(&self, path: &str) -> Result<Option<i64>> {
        self.time_of(&self.key(path), path)
    }

    /// Returns the time at which a found object was stored.
    #[cfg(feature = "archive")]
    pub(super) fn found_stored_at(&self, path: &str) -> Result<Option<i64>> {
        self.time_of(&self.found(path), path)
    }

    fn time_of(&self, key: &Key, path: &str) -> Result<Option<i64>> {
        match self.wait(self.bucket.objects.head(key)) {
            Ok(found) => Ok(Some(found.last_modified.timestamp_millis())),
            Err(Cause::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.error("read", path, e)),
        }
    }

    /// Returns names and sizes of the objects directly below `path`, and names of the folders.
    pub(crate) fn list(&self, path: &str) -> Result<(Vec<(String, u64)>, Vec<String>)> {
        let listed = self.wait(self.bucket.objects.list_with_delimiter(Some(&self.key(path))));
        let listed = listed.map_err(|e| self.error("list", path, e))?;
        let objects = listed
            .objects
            .iter()
            .filter_map(|o| Some((o.location.filename()?.to_string(), o.size)));
        let folders = listed.common_prefixes.iter().filter_map(|p| Some(p.filename()?.to_string()));
        Ok((objects.collect(), folders.collect()))
    }

    /// Passes path and size of each object below `folders`, at any depth, to `take` until it
    /// returns false: all objects, or those whose paths come after `after`. Paths are relative to
    /// this prefix. The folders are listed concurrently.
    ///
    /// # Errors
    /// When they can't be listed.
    #[cfg(feature = "archive")]
    pub(crate) fn each(
        &self,
        folders: &[String],
        after: Option<&str>,
        mut take: impl FnMut(&str, u64) -> bool,
    ) -> Result<()> {
        use futures::{StreamExt, TryStreamExt, stream};
        let root = self.found("");
        let list = |folder: &String| {
            let prefix = self.found(folder);
            match after {
                Some(path) => {
                    self.bucket.objects.list_with_offset(Some(&prefix), &self.found(path))
                }
                None => self.bucket.objects.list(Some(&prefix)),
            }
        };
        let mut listed = stream::iter(folders.iter().map(list).collect::<Vec<_>>())
            .flatten_unordered(CONCURRENT_LISTINGS);
        let below = |location: &Key| {
            Some(location.as_ref().strip_prefix(root.as_ref())?.trim_start_matches('/').to_string())
        };
        let all = async {
            while let Some(object) = listed.try_next().await? {
                // A key that ends with a slash marks a folder. It is listed as an object with the
                // folder's name.
                if let Some(path) = below(&object.location)
                    .filter(|path| object.size > 0 || !path.is_empty() && !folders.contains(path))
                    && !take(&path, object.size)
                {
                    break;
                }
            }
            Ok(())
        };
        self.wait(all)
            .map_err(|e| self.error("list", folders.first().map_or("", String::as_str), e))
    }

    /// Starts to read the object at `path`, or a range of its bytes.
    pub(crate) fn fetch(&self, path: &str, range: Option<Range<u64>>) -> Fetch {
        self.fetch_at(self.key(path), range)
    }

    /// Starts to read a found object, or a range of its bytes.
    #[cfg(feature = "archive")]
    pub(crate) fn fetch_found(&self, path: &str, range: Option<Range<u64>>) -> Fetch {
        self.fetch_at(self.found(path), range)
    }

    fn fetch_at(&self, key: Key, range: Option<Range<u64>>) -> Fetch {
        let (objects, at) = (self.bucket.objects.clone(), key.clone());
        let read = async move {
            let options = GetOptions { range: range.map(Into::into), ..GetOptions::default() };
            let found = objects.get_opts(&at, options).await?;
            let promised = found.range.end - found.range.start;
            let bytes = found.bytes().await?;
            // Bytes that break off must not pass for an object that is damaged.
            if bytes.len() as u64 == promised {
                Ok(bytes)
            } else {
                let source = format!("the response has {} of {promised} bytes", bytes.len()).into();
                Err(Cause::Generic { store: "object store", source })
            }
        };
        Fetch { task: self.bucket.runtime.spawn(read), bucket: self.bucket.clone(), key }
    }

    fn error(&self, verb: &str, path: &str, cause: Cause) -> Error {
        failed(format!("can't {verb} {}", self.name(path)), cause)
    }
}

/// A request that is running. Dropping it cancels the request.
pub(crate) struct Fetch {
    task: JoinHandle<Result<Bytes, Cause>>,
    bucket: Arc<Bucket>,
    key: Key,
}

impl Fetch {
    /// Waits for the bytes; `None` if there is no such object.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) fn wait(mut self) -> Result<Option<Bytes>> {
        match self.bucket.runtime.block_on(&mut self.task).unwrap_or_else(|e| Err(e.into())) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Cause::NotFound { .. }) => Ok(None),
            Err(e) => Err(failed(format!("can't read {}{}", self.bucket.root, self.key), e)),
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the error for `cause`: one of the configuration if the server has refused the request.
pub(super) fn failed(message: String, cause: Cause) -> Error {
    let refused = matches!(cause, Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. });
    let text = cause.to_string();
    let element = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once(&format!("</{tag}>"))?.0)
    };
    // Show only code and message: the rest of S3's response does not help people.
    let (code, detail) =
        (element("Code").unwrap_or_default(), element("Message").unwrap_or_default());
    let short = if code.is_empty() { full_text(&cause) } else { format!("{code}: {detail}") };
    let hint = match code {
        "NoSuchBucket" => "Create the bucket, or give another one.",
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => "Set AWS_REGION to the region of the bucket.",
        _ if refused
            || ["403 Forbidden", "401 Unauthorized"].iter().any(|status| text.contains(status)) =>
        {
            "Check the credentials (AWS_ACCESS_KEY_ID and so on) and their permissions in the bucket."
        }
        _ => return Error::connect(message).because(short),
    };
    Error::config(message).because(short).hint(hint)
}

/// Returns the text of an error, and the text of its last cause unless it is contained: only the
/// last cause names the reason of a refused connection.
fn full_text(cause: &Cause) -> String {
    let text = cause.to_string();
    let last =
        std::iter::successors(std::error::Error::source(cause), |cause| cause.source()).last();
    match last.map(ToString::to_string).filter(|last| !text.contains(last)) {
        Some(last) => format!("{text}: {last}"),
        None => text,
    }
}
