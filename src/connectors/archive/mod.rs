//! A topic in a folder or an object store, in the layout of Confluent's S3 sink: one JSON value a
//! line, many lines an object. [`layout`] has the names of folders and objects.
//!
//! - **A partition** is given by the name of an object, in any folder below the topic: in
//!   `partition=<p>`, or in the folders of Confluent's partitioners by time or by field. A folder
//!   `partition=<p>` without objects is an empty partition. An object of another partition in it is
//!   ignored.
//! - **A position** is an offset: line k of an object has the offset of its name + k. Every line is
//!   a record, also an empty one, and a last one without newline. An object without bytes has none.
//!   Objects are immutable and appear whole.
//! - **A writer** only creates objects. [`WriterLock`] separates writers that would create different
//!   ones. If another object has the name, that is an error.
//! - **Objects may be packed** by gzip, beside others that are not. They are unpacked in pieces.
//! - **A commit** of the sink makes one object visible for each worker that has rows, by
//!   conditional creation at the name of its first offset. Until then its bytes are in `_staged`,
//!   which readers ignore.
//! - **Guaranteed**: the same records at the same offsets at every reading. A missing object is an
//!   error in a replay, and awaited by a follower. Two objects that overlap are an error. So no
//!   record is skipped or read twice. A partition that is empty when a follower opens it begins at
//!   offset 0. Files of other names are ignored, counted, and logged once.
//!
//! A follower detects at once a new object in the folder of the one before. It lists new folders
//! once a second, and less often where that takes long: listing takes a twentieth of the time at
//! most.
//!
//! A record over one megabyte is passed on whole. Of a record over 64 MiB only the first 2 MiB are
//! kept, because memory is bounded. It is not decoded, but becomes a dead letter, `too large`.
//!
//! [`HybridSource`] reads an archive and then the topic it was written from. [`Copier`] writes the
//! copy of a log, [`ArchiveAppender`] appends single records.

mod ahead;
mod append;
mod copy;
mod finder;
mod hybrid;
pub mod layout;
mod lines;
mod lock;
mod objects;
mod packed;
mod rows;
mod sink;
mod source;
mod tree;
mod walk;

#[cfg(test)]
mod layouts_tests;
#[cfg(test)]
mod sink_tests;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, Weak};

use crate::connect::Identity;

use crate::error::{Error, Result};
use crate::store::Store;
use crate::sync::lock;

pub use append::{AppendOptions, ArchiveAppender};
pub use copy::{Copier, Rotation};
use finder::Finder;
pub use hybrid::HybridSource;
pub use lock::WriterLock;
use objects::{LeftAlone, Objects};
use tree::{Tree, Who};

/// A folder or an object store that holds topics.
#[derive(Clone)]
pub struct Archive {
    store: Store,
    url: String,
    /// The lock that the writers of this process share, as long as there are any.
    lock: Arc<Mutex<Weak<WriterLock>>>,
}

impl Archive {
    /// Opens the archive at `url`, a folder (as a path or a `file://` URL) or a prefix of a bucket
    /// (`s3://bucket/prefix`), which need not exist.
    ///
    /// # Errors
    /// When [`Store::open`] fails.
    pub fn open(url: &str) -> Result<Self> {
        let store = Store::open(url)?;
        Ok(Archive {
            url: trimmed(url.strip_prefix("file://").unwrap_or(url)),
            store,
            lock: Arc::default(),
        })
    }

    /// An archive below the prefix of `store`. The prefix is its name for people.
    pub fn on(store: Store) -> Self {
        Archive { url: trimmed(&store.name("")), store, lock: Arc::default() }
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

    /// One topic of it, to read or to write.
    pub fn topic(&self, topic: impl Into<String>) -> ArchiveTopic {
        let (left_alone, tree) = (LeftAlone::default(), Arc::default());
        ArchiveTopic { archive: self.clone(), topic: topic.into(), left_alone, tree }
    }
}

fn trimmed(url: &str) -> String {
    let short = url.trim_end_matches('/');
    if short.is_empty() { url } else { short }.to_string()
}

/// A topic of an [`Archive`]: a [`Source`](crate::connect::Source) and a
/// [`Sink`](crate::connect::Sink).
#[derive(Clone)]
pub struct ArchiveTopic {
    archive: Archive,
    topic: String,
    left_alone: LeftAlone,
    tree: Arc<Tree>,
}

impl ArchiveTopic {
    /// How many files of other names lay beside the objects when they were last listed.
    pub fn left_alone(&self) -> u64 {
        self.left_alone.all().count
    }

    /// Says what is there instead, if the topic has no object that can be read.
    ///
    /// # Errors
    /// When it can't be listed.
    pub fn nothing(&self) -> Result<Option<String>> {
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

    /// The topic alone: an archive is known again by its contents, wherever it was moved.
    fn identity(&self) -> Identity {
        Identity::new(format!("archive topic {}", self.topic))
    }

    fn path(&self) -> Result<String> {
        if ["", ".", ".."].contains(&&*self.topic) || self.topic.contains(['/', '\\', '\0']) {
            return Err(Error::config(format!(
                "can't find topic {:?} in an archive: it is no name of a folder",
                self.topic
            ))
            .hint("Name a topic without slashes."));
        }
        Ok(layout::topic_path(&self.topic))
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        let seen =
            self.tree.look(&self.archive.store.below(&self.path()?), &self.topic, Who::All)?;
        self.left_alone.set(None, seen.others.clone());
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
            left_alone: self.left_alone.clone(),
            topic: self.topic.as_str().into(),
            below: self.archive.store.below(&path),
            tree: self.tree.clone(),
        })
    }
}
