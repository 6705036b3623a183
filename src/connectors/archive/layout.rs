//! The layout of an archive: names of folders and objects as Confluent's S3 sink writes them.
//!
//! ```text
//! objects that are written
//!     topics/<topic>/partition=<p>/<topic>+<p>+<first offset, 10 digits>.json
//! objects that are read
//!     topics/<topic>/<any folders>/<topic>+<p>+<first offset, any digits>.json[.gz]
//! files of this sink
//!     topics/<topic>/_writer, topics/<topic>/_staged/
//! files of retention
//!     topics/<topic>/partition=<p>/.released
//! files of this appender
//!     _gateway/journal/, _gateway/creating/, _gateway/deleted/, .writing
//! ```
//!
//! No other module prints or parses these names.

use std::path::{Path, PathBuf};

/// The folder of all topics.
///
/// ```
/// use watershed::connectors::archive::layout::{TOPICS, topic_path};
/// assert!(topic_path("pin").starts_with(TOPICS));
/// ```
pub const TOPICS: &str = "topics";
/// The digits of an offset in written names; a greater offset has more.
pub(super) const OFFSET_DIGITS: u8 = 10;
/// The file with the name of the application that owns a topic.
pub(super) const WRITER: &str = "_writer";
/// The file with the offset before which the objects of a partition were deleted.
const RELEASED: &str = ".released";
/// The folder of objects whose commit is not complete.
const STAGED: &str = "_staged";
/// The journal of an appender: acknowledged records that are not in the archive yet.
pub(super) const JOURNAL: &str = "_gateway/journal";
/// The folder of topics that an appender creates.
pub(super) const CREATING: &str = "_gateway/creating";
/// The folder of topics that an appender has deleted.
pub(super) const DELETED: &str = "_gateway/deleted";
/// The file that a writer locks.
pub(super) const LOCK: &str = ".writing";
/// The beginning of the name of a partition's folder.
const PARTITION: &str = "partition=";
/// The size of the head of a journal's segment. A segment that is not longer has no records.
pub(super) const SEGMENT_HEAD_BYTES: usize = 40;

/// The path of a topic in the archive.
///
/// ```
/// use watershed::connectors::archive::layout::topic_path;
/// assert_eq!(topic_path("pin"), "topics/pin");
/// ```
pub fn topic_path(topic: &str) -> String {
    format!("{TOPICS}/{topic}")
}

/// The name of a partition's folder in that of its topic.
///
/// ```
/// use watershed::connectors::archive::layout::{partition_folder, partition_of};
/// assert_eq!(partition_folder(7), "partition=7");
/// assert_eq!(partition_of(&partition_folder(7)), Some(7));
/// ```
pub fn partition_folder(partition: u32) -> String {
    format!("{PARTITION}{partition}")
}

/// The partition of a folder `partition=<p>`; `None` for another name.
///
/// ```
/// use watershed::connectors::archive::layout::partition_of;
/// assert_eq!(["partition=7", "partition=07", "hour=7"].map(partition_of), [Some(7), None, None]);
/// ```
pub fn partition_of(folder: &str) -> Option<u32> {
    let number = folder.strip_prefix(PARTITION)?.parse().ok()?;
    // `partition=07` is another folder than `partition=7`.
    (folder == partition_folder(number)).then_some(number)
}

/// The path of a partition's folder in the archive.
///
/// ```
/// use watershed::connectors::archive::layout::partition_path;
/// assert_eq!(partition_path("pin", 7), "topics/pin/partition=7");
/// ```
pub fn partition_path(topic: &str, partition: u32) -> String {
    format!("{}/{}", topic_path(topic), partition_folder(partition))
}

/// Returns the folder of a partition in the archive folder `root`.
pub(super) fn partition_in(root: &Path, topic: &str, partition: u32) -> PathBuf {
    root.join(partition_path(topic, partition))
}

/// The path of the file that names a topic's owner.
pub(super) fn writer_path(topic_path: &str) -> String {
    format!("{topic_path}/{WRITER}")
}

/// The path of a topic's folder of staged objects.
pub(super) fn staged_path(topic_path: &str) -> String {
    format!("{topic_path}/{STAGED}")
}

/// Returns the path, below a topic, of the file with the offset before which objects of a partition
/// were deleted.
pub(super) fn released_path(partition: u32) -> String {
    format!("{}/{RELEASED}", partition_folder(partition))
}

/// Returns true for the names that this sink adds to the folder of a topic.
pub(super) fn is_of_sink(name: &str) -> bool {
    [WRITER, STAGED].contains(&name)
}

/// Returns true for the name of an object of any partition, even if it can't be parsed.
pub(super) fn is_like_object(topic: &str, name: &str) -> bool {
    name.strip_prefix(topic).is_some_and(|rest| rest.starts_with('+'))
}

/// The beginning of the names of a partition's objects.
pub(super) fn object_prefix(topic: &str, partition: u32) -> String {
    format!("{topic}+{partition}+")
}

/// The number of decimal digits of a number.
pub(super) fn digits_of(number: u64) -> u8 {
    number.checked_ilog10().map_or(1, |log| log as u8 + 1)
}

/// The name of an object, without its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectName {
    /// The partition of its records.
    pub partition: u32,
    /// The offset of its first record.
    pub first: u64,
    /// Digits of the offset in the name.
    pub digits: u8,
    /// True if its bytes are packed by gzip.
    pub packed: bool,
}

impl ObjectName {
    /// Returns the name of an object that is written here, not packed.
    ///
    /// ```
    /// use watershed::connectors::archive::layout::ObjectName;
    /// assert_eq!(ObjectName::new(3, 42).print("pin"), "pin+3+0000000042.json");
    /// ```
    pub fn new(partition: u32, first: u64) -> Self {
        let digits = digits_of(first).max(OFFSET_DIGITS);
        ObjectName { partition, first, digits, packed: false }
    }

    /// Prints the file name of an object of `topic`.
    pub fn print(self, topic: &str) -> String {
        let (first, digits) = (self.first, usize::from(self.digits));
        let extension = if self.packed { ".json.gz" } else { ".json" };
        format!("{}{first:0digits$}{extension}", object_prefix(topic, self.partition))
    }

    /// Parses a file name; `None` if it is not the name of an object of `topic`. The name of the
    /// topic may contain `+`.
    ///
    /// ```
    /// use watershed::connectors::archive::layout::ObjectName;
    /// let name = ObjectName::parse("pin", "pin+3+42.json.gz").unwrap();
    /// assert_eq!((name.partition, name.first, name.packed), (3, 42, true));
    /// assert_eq!(ObjectName::parse("pin", "pin+3.json"), None);
    /// ```
    pub fn parse(topic: &str, file: &str) -> Option<Self> {
        let (stem, packed) = match file.strip_suffix(".json.gz") {
            Some(stem) => (stem, true),
            None => (file.strip_suffix(".json")?, false),
        };
        let (partition, offset) = stem.strip_prefix(topic)?.strip_prefix('+')?.split_once('+')?;
        let number: u32 = only_digits(partition)?.parse().ok()?;
        // `007` would be another partition than `7`.
        if partition != number.to_string() {
            return None;
        }
        let digits = u8::try_from(offset.len()).ok()?;
        let first = only_digits(offset)?.parse().ok()?;
        Some(ObjectName { partition: number, first, digits, packed })
    }
}

fn only_digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_name_is_parsed_as_it_was() {
        for first in [0, 7, 9_999_999_999, 10_000_000_000, u64::MAX] {
            for packed in [false, true] {
                let name = ObjectName { packed, ..ObjectName::new(3, first) };
                assert_eq!(ObjectName::parse("a+1", &name.print("a+1")), Some(name));
            }
        }
        assert_eq!(ObjectName::new(0, u64::MAX).print("t"), "t+0+18446744073709551615.json");
    }

    #[test]
    fn a_name_has_topic_partition_and_offset_and_no_more() {
        let parse = |name| {
            ObjectName::parse("a+1", name)
                .map(|name| (name.partition, name.first, name.digits, name.packed))
        };
        assert_eq!(parse("a+1+3+0000000002.json"), Some((3, 2, 10, false)));
        assert_eq!(parse("a+1+30+2.json.gz"), Some((30, 2, 1, true)));
        assert_eq!(parse("a+1+0+00018446744073709551615.json"), Some((0, u64::MAX, 23, false)));
        let others = [
            "a+1+3+.json",
            "a+1+3++2.json",
            "a+1+03+2.json",
            "a+1+3+-2.json",
            "a+1+3+2.json.zip",
            "a+1+3+2.gz",
            "a+3+2.json",
            "b+1+3+2.json",
            "a+1+3+4+2.json",
            "a+1+4294967296+2.json",
            "a+1+3+18446744073709551616.json",
            "a+1+3+2.avro",
        ];
        others.iter().for_each(|name| assert_eq!(parse(name), None, "{name}"));
        assert_eq!(["partition=x", "partition="].map(partition_of), [None, None]);
        assert_eq!([0, 9, 10, u64::MAX].map(digits_of), [1, 1, 2, 20]);
    }
}
