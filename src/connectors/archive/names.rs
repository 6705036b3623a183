//! Names of objects: what they say, and where those lie that were found.

use std::fmt;
use std::sync::Arc;

/// How many digits an offset has in the names that are written here.
pub(super) const WIDTH: u8 = 10;
/// How many names stand for all that can't be read.
const SHOWN: usize = 3;

/// The parts of an object's name beside its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) partition: u32,
    /// Offset of its first record.
    pub(super) first: u64,
    /// How many digits that has in the name.
    pub(super) width: u8,
    /// True if its bytes are packed, by gzip.
    pub(super) packed: bool,
}

impl Named {
    /// Reads the name of a file: `<topic>+<partition>+<offset>.json`, or `.json.gz`. The topic may
    /// contain `+` itself.
    pub(super) fn read(topic: &str, file: &str) -> Option<Self> {
        let (stem, packed) = match file.strip_suffix(".json.gz") {
            Some(stem) => (stem, true),
            None => (file.strip_suffix(".json")?, false),
        };
        let (partition, offset) = stem.strip_prefix(topic)?.strip_prefix('+')?.split_once('+')?;
        let number: u32 = digits(partition)?.parse().ok()?;
        // Back to the name, because 007 would be another partition than 7.
        if partition != number.to_string() {
            return None;
        }
        let width = u8::try_from(offset.len()).ok()?;
        Some(Named { partition: number, first: digits(offset)?.parse().ok()?, width, packed })
    }
}

fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// The partition that a folder `partition=<p>` is of.
pub(super) fn partition(folder: &str) -> Option<u32> {
    let number = folder.strip_prefix("partition=")?.parse().ok()?;
    (folder == format!("partition={number}")).then_some(number)
}

/// How many digits a number has.
pub(super) fn width(number: u64) -> u8 {
    number.checked_ilog10().map_or(1, |log| log as u8 + 1)
}

/// An object of a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    /// Offset of its first record.
    pub(super) first: u64,
    /// Where it lies below the topic; empty if it lies in the topic's own folder.
    pub(super) folder: Arc<str>,
    /// How many digits the offset has in its name.
    pub(super) width: u8,
    /// True if its bytes are packed, by gzip.
    pub(super) packed: bool,
    /// Its size, where the listing says it.
    pub(super) size: Option<u64>,
}

impl Listed {
    /// True if both are one object.
    pub(super) fn is(&self, other: &Listed) -> bool {
        let place = |object: &Listed| (object.first, object.width, object.packed);
        place(self) == place(other) && self.folder == other.folder
    }
}

/// Files that can't be read: how many, and the names of some.
#[derive(Clone, Debug, Default)]
pub(super) struct Others {
    pub(super) count: u64,
    such_as: Vec<String>,
}

impl Others {
    pub(super) fn add(&mut self, path: impl FnOnce() -> String) {
        self.count += 1;
        if self.such_as.len() < SHOWN {
            self.such_as.push(path());
        }
    }

    pub(super) fn join(&mut self, more: &Others) {
        self.count += more.count;
        let room = SHOWN.saturating_sub(self.such_as.len());
        self.such_as.extend(more.such_as.iter().take(room).cloned());
    }
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.such_as.join(", "))
    }
}

/// Gathers the objects of a topic, or of one partition of it, from all the files that are found.
pub(super) struct Finder<'a> {
    topic: &'a str,
    partition: Option<u32>,
    /// With their partitions.
    pub(super) objects: Vec<(u32, Listed)>,
    pub(super) others: Others,
}

impl<'a> Finder<'a> {
    pub(super) fn new(topic: &'a str, partition: Option<u32>) -> Self {
        Finder { topic, partition, objects: Vec::new(), others: Others::default() }
    }

    /// How many files were found.
    pub(super) fn files(&self) -> usize {
        self.objects.len() + self.others.count as usize
    }

    /// Reads the name of a file, if it is an object that is looked for.
    pub(super) fn knows(&self, name: &str) -> Option<Named> {
        Named::read(self.topic, name)
            .filter(|named| self.partition.is_none_or(|partition| partition == named.partition))
    }

    /// Takes a file, or what is none, such as a pipe.
    pub(super) fn take(&mut self, folder: &Arc<str>, name: &str, size: Option<u64>, file: bool) {
        match self.knows(name).filter(|_| file) {
            Some(Named { partition, first, width, packed }) => {
                self.objects.push((
                    partition,
                    Listed { first, folder: folder.clone(), width, packed, size },
                ));
            }
            // In an object store a folder may be marked by an object without bytes.
            None if name.starts_with('.') || size == Some(0) => {}
            None => self.others.add(|| {
                if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") }
            }),
        }
    }
}
