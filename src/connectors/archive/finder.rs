//! Finds the objects of a topic among the files of a listing.

use std::fmt;
use std::sync::Arc;

use super::layout::ObjectName;

/// The number of other files that a message names.
const NAMED_FILES: usize = 3;

/// An object of a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    /// Offset of its first record.
    pub(super) first: u64,
    /// Its folder below the topic; empty for the topic's own folder.
    pub(super) folder: Arc<str>,
    /// Digits of the offset in its name.
    pub(super) digits: u8,
    /// True if its bytes are packed by gzip.
    pub(super) packed: bool,
    /// Its size in bytes, if the listing has it.
    pub(super) size: Option<u64>,
}

impl Listed {
    /// Its name, as an object of `partition`.
    pub(super) fn name(&self, partition: u32) -> ObjectName {
        ObjectName { partition, first: self.first, digits: self.digits, packed: self.packed }
    }

    /// Returns true if both are the same object.
    pub(super) fn is(&self, other: &Listed) -> bool {
        self.name(0) == other.name(0) && self.folder == other.folder
    }
}

/// Files that are not objects: their number, and some of their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Others {
    pub(super) count: u64,
    such_as: Vec<String>,
}

impl Others {
    pub(super) fn add(&mut self, path: impl FnOnce() -> String) {
        self.count += 1;
        if self.such_as.len() < NAMED_FILES {
            self.such_as.push(path());
        }
    }

    pub(super) fn join(&mut self, more: &Others) {
        self.count += more.count;
        let room = NAMED_FILES.saturating_sub(self.such_as.len());
        self.such_as.extend(more.such_as.iter().take(room).cloned());
    }
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.such_as.join(", "))
    }
}

/// Gathers the objects of a topic, or of one partition of it, from the files of a listing.
pub(super) struct Finder<'a> {
    topic: &'a str,
    partition: Option<u32>,
    /// The objects, each with its partition.
    pub(super) objects: Vec<(u32, Listed)>,
    pub(super) others: Others,
}

impl<'a> Finder<'a> {
    pub(super) fn new(topic: &'a str, partition: Option<u32>) -> Self {
        Finder { topic, partition, objects: Vec::new(), others: Others::default() }
    }

    /// The number of files found.
    pub(super) fn files(&self) -> usize {
        self.objects.len() + self.others.count as usize
    }

    /// Parses the name of a file, if it is an object that this finder gathers.
    pub(super) fn knows(&self, name: &str) -> Option<ObjectName> {
        ObjectName::parse(self.topic, name)
            .filter(|named| self.partition.is_none_or(|partition| partition == named.partition))
    }

    /// Takes an entry of a listing. `file` is false for an entry that is not a file, such as a
    /// pipe.
    pub(super) fn take(&mut self, folder: &Arc<str>, name: &str, size: Option<u64>, file: bool) {
        match self.knows(name).filter(|_| file) {
            Some(ObjectName { partition, first, digits, packed }) => {
                self.objects.push((
                    partition,
                    Listed { first, folder: folder.clone(), digits, packed, size },
                ));
            }
            // An object without bytes may mark a folder in an object store.
            None if name.starts_with('.') || size == Some(0) => {}
            None => self.others.add(|| {
                if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") }
            }),
        }
    }
}
