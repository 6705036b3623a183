//! A topic in a folder or an object store, in the layout of Confluent's S3 sink: one JSON value a
//! line, many lines an object. [`layout`] has the names of folders and objects.
//!
//! - **A partition** is given by the name of an object, in any folder below the topic: in
//!   `partition=<p>`, or in the folders of Confluent's partitioners by time or by field. A folder
//!   `partition=<p>` without objects is an empty partition. Objects of other partitions in it are
//!   ignored.
//! - **A position** is an offset: line k of an object has the offset of its name + k. Every line is
//!   a record, even an empty one, and a last one without newline. An object without bytes has no
//!   records. Objects are immutable and appear whole.
//! - **A writer** only creates objects. [`WriterLock`] excludes writers that would create different
//!   ones. If another object has the name, the write fails.
//! - **Objects may be packed** by gzip, next to others that are not. They are unpacked in pieces.
//! - **A commit** of the sink makes one object visible for each worker that has rows, by
//!   conditional creation at the name of its first offset. Until then its bytes are in `_staged`,
//!   which readers ignore.
//! - **Guaranteed**: the same records at the same offsets at every reading. A missing object is an
//!   error in a replay; a follower waits for it. Two objects that overlap are an error. So no
//!   record is skipped or read twice. A partition that is empty when a follower opens it begins at
//!   offset
//! 0. Files of other names are ignored, counted, and logged once.
//!
//! A follower of a folder is woken by the events of the file system: see `watch`. Where the system
//! reports none, it looks for the next object at intervals. An object store is asked once a second.
//! New partitions are listed once a second, and less often if that takes long: at most a twentieth
//! of the time is spent on listing.
//!
//! A record over one megabyte is passed on whole. Of a record over 64 MiB only the first 2 MiB are
//! kept, because memory is bounded. It is not decoded, but becomes a dead letter, `too large`.
//!
//! A run may delete the beginning of an archive: [`ArchiveTopic::with_retention`].
//!
//! [`HybridSource`] reads an archive and then the topic from which it was written. [`Copier`]
//! writes the copy of a log. [`ArchiveAppender`] appends single records.

mod append;
mod copy;
mod finder;
mod hybrid;
pub mod layout;
mod lines;
mod lock;
mod objects;
mod packed;
mod prefetch;
mod retention;
mod rows;
mod sink;
mod source;
mod tree;
mod walk;
mod watch;

#[cfg(test)]
mod layouts_tests;
#[cfg(test)]
mod sink_tests;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::connect::Identity;

use crate::error::{Error, Result};
use crate::simulation;
use crate::store::Store;
use crate::sync::lock;

pub use append::{AppendOptions, ArchiveAppender};
pub use copy::{Copier, Rotation};
use finder::Finder;
pub use hybrid::HybridSource;
pub use lock::WriterLock;
use objects::{IgnoredFiles, Objects};
use tree::{Purpose, Tree};
use watch::{Follower, Watch};

/// A folder or an object store that holds topics.
///
/// A stream is written to a topic, one JSON object a line, and read again:
///
/// ```
/// use watershed::connect::memory::MemoryLog;
/// use watershed::connect::{Poll, Source};
/// use watershed::connectors::archive::Archive;
/// use watershed::prelude::*;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let url = folder.path().to_str().unwrap();
/// let topology = Topology::new("copy", |builder: &StreamsBuilder| {
///     let pins = builder.stream("pin", Consumed::with(Utf8, Utf8));
///     pins.to("pin_copy", Produced::columns(["id", "title"]));
/// });
/// let log = MemoryLog::default();
/// log.append(0, Some(b"7"), Some(b"A river"));
/// let copy = Archive::open(url)?.topic("pin_copy");
/// let one_worker = Config { workers: 1, ..Config::default() };
/// Streams::new(topology).source("pin", log).sink("pin_copy", copy.clone()).run(one_worker)?;
///
/// let mut partition = Source::open(&copy, 0, None, false)?;
/// let Poll::Batch(batch) = partition.poll()? else { panic!("one record is archived") };
/// let value = batch.iter(0).next().and_then(|record| record.value);
/// assert_eq!(value, Some(&br#"{"id":"7","title":"A river"}"#[..]));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Archive {
    store: Store,
    url: String,
    /// The lock that the writers of this process share while there are any.
    lock: Arc<Mutex<Weak<WriterLock>>>,
    watch: Arc<Watch>,
}

impl Archive {
    /// Opens the archive at `url`: a folder (a path or a `file://` URL) or a prefix of a bucket
    /// (`s3://bucket/prefix`). It need not exist.
    ///
    /// # Errors
    /// When [`Store::open`] fails.
    pub fn open(url: &str) -> Result<Self> {
        let store = Store::open(url)?;
        let url = trimmed(url.strip_prefix("file://").unwrap_or(url));
        Ok(Archive { watch: Arc::new(Watch::new(&url)), url, store, lock: Arc::default() })
    }

    /// Returns the archive below the prefix of `store`. The prefix is its name in messages.
    pub fn on(store: Store) -> Self {
        let url = trimmed(&store.name(""));
        Archive { watch: Arc::new(Watch::new(&url)), url, store, lock: Arc::default() }
    }

    /// Locks the archive, once for all topics and partitions that this process writes.
    fn lock(&self, holder: &str) -> Result<Arc<WriterLock>> {
        let mut lock = lock(&self.lock);
        if let Some(held) = lock.upgrade() {
            return Ok(held);
        }
        let taken = Arc::new(WriterLock::shared(&self.store, holder)?);
        *lock = Arc::downgrade(&taken);
        Ok(taken)
    }

    /// Returns a topic of the archive, to be read or written.
    pub fn topic(&self, topic: impl Into<String>) -> ArchiveTopic {
        let (ignored, tree) = (IgnoredFiles::default(), Arc::default());
        let (archive, topic) = (self.clone(), topic.into().into());
        ArchiveTopic { archive, topic, ignored, tree, retention: None }
    }
}

fn trimmed(url: &str) -> String {
    let short = url.trim_end_matches('/');
    if short.is_empty() { url } else { short }.to_string()
}

/// A topic of an [`Archive`]: a [`Source`](crate::connect::Source) and a
/// [`Sink`](crate::connect::Sink). [`Archive`] has an example.
#[derive(Clone)]
pub struct ArchiveTopic {
    archive: Archive,
    topic: Arc<str>,
    ignored: IgnoredFiles,
    tree: Arc<Tree>,
    /// The age from which released objects are deleted; none if they are kept for ever.
    retention: Option<Duration>,
}

impl ArchiveTopic {
    /// Returns the number of files with other names that the last listings found beside the
    /// objects.
    pub fn ignored_files(&self) -> u64 {
        self.ignored.all().count
    }

    /// Describes the content of the topic's folder if it has no object that can be read; otherwise
    /// `None`.
    ///
    /// ```
    /// use watershed::connectors::archive::Archive;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let url = folder.path().to_str().unwrap();
    /// let content = Archive::open(url)?.topic("pin").describe_if_empty()?;
    /// assert!(content.is_some_and(|text| text.ends_with("topics/pin is missing or empty")));
    /// # Ok::<(), watershed::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the folder can't be listed.
    pub fn describe_if_empty(&self) -> Result<Option<String>> {
        let below = self.archive.store.below(&self.path()?);
        let mut finder = Finder::new(&self.topic, None);
        let top = walk::top(&below, &mut finder)?;
        let (mut there, mut others) = (!finder.objects.is_empty(), finder.others);
        let own = top
            .partitions
            .iter()
            .map(|partition| (layout::partition_folder(*partition), Some(*partition)));
        for (folder, partition) in own.chain(top.folders.into_iter().map(|folder| (folder, None))) {
            if there {
                break;
            }
            let mut finder = Finder::new(&self.topic, partition);
            walk::below(&below, &[folder], None, &mut finder, |finder| !finder.objects.is_empty())?;
            there = !finder.objects.is_empty();
            others.join(&finder.others);
        }
        if there {
            return Ok(None);
        }
        let name = self.archive.store.name(&self.path()?);
        Ok(Some(match others.count {
            0 if top.partitions.is_empty() => format!("{name} is missing or empty"),
            0 => format!("{name} has no files"),
            1 => format!("{name} has one other file, {others}"),
            count => format!("{name} has {count} other files, such as {others}"),
        }))
    }

    fn name(&self) -> String {
        format!("archive {} topic {}", self.archive.url, self.topic)
    }

    /// Returns the identity, which is the topic alone: the contents identify an archive, wherever
    /// it was moved.
    fn identity(&self) -> Identity {
        Identity::new(format!("archive topic {}", self.topic))
    }

    fn path(&self) -> Result<String> {
        if ["", ".", ".."].contains(&&*self.topic) || self.topic.contains(['/', '\\', '\0']) {
            return Err(Error::config(format!(
                "can't find topic {:?} in an archive: it is not the name of a folder",
                self.topic
            ))
            .hint("Name a topic without slashes."));
        }
        Ok(layout::topic_path(&self.topic))
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        let store = self.archive.store.below(&self.path()?);
        self.archive.watch.renew(&self.topic);
        let seen = self.tree.list(&store, &self.topic, Purpose::Partitions)?;
        self.ignored.set(None, seen.others.clone());
        let mut partitions: Vec<u32> =
            seen.folders.iter().chain(seen.objects.keys()).copied().collect();
        partitions.sort_unstable();
        partitions.dedup();
        Ok(partitions)
    }

    fn objects(&self, partition: u32) -> Result<Objects> {
        let path = self.path()?;
        Ok(Objects {
            store: self.archive.store.clone(),
            folder: layout::partition_path(&self.topic, partition),
            partition,
            ignored: self.ignored.clone(),
            topic: self.topic.clone(),
            below: self.archive.store.below(&path),
            tree: self.tree.clone(),
        })
    }

    /// Follows a partition. Listings from now on and the changes together miss no object.
    fn follow(&self, partition: u32) -> Result<Option<Follower>> {
        // The events of the kernel are not part of a simulation.
        if simulation::current().is_some() {
            return Ok(None);
        }
        let folder = self.archive.store.below(&self.path()?).folder().map(Into::into);
        let follower = self.archive.watch.follow(&self.topic, folder, partition);
        self.tree.forget_once();
        Ok(Some(follower))
    }
}
