//! An archive that holds every record of a service at its position. The oracle reads it instead of
//! the service.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The archive of the records that a log has added.
pub(super) struct Held {
    archive: PathBuf,
    partitions: BTreeMap<(&'static str, u32), Partition>,
}

/// A partition of the archive.
struct Partition {
    /// The object of the last records.
    object: Option<File>,
    /// The position after the last record.
    end: u64,
}

impl Held {
    pub(super) fn new(archive: &Path) -> Self {
        fs::create_dir_all(archive.join("topics")).unwrap();
        Held { archive: archive.into(), partitions: BTreeMap::new() }
    }

    pub(super) fn archive(&self) -> &Path {
        &self.archive
    }

    /// Returns the position after the last record of a partition; none without a record.
    pub(super) fn end(&self, topic: &'static str, partition: u32) -> Option<u64> {
        self.partitions.get(&(topic, partition)).map(|partition| partition.end)
    }

    /// Adds a record behind the last one of its partition. The first record of a partition has the
    /// position `first`.
    pub(super) fn add(&mut self, topic: &'static str, partition: u32, first: u64, value: &[u8]) {
        let archive = &self.archive;
        let held = self
            .partitions
            .entry((topic, partition))
            .or_insert_with(|| Partition { object: None, end: first });
        let object = held.object.get_or_insert_with(|| {
            let folder = archive.join(format!("topics/demo.{topic}/partition={partition}"));
            fs::create_dir_all(&folder).unwrap();
            let name = format!("demo.{topic}+{partition}+{:010}.json", held.end);
            File::create_new(folder.join(name)).unwrap()
        });
        object.write_all(&[value, b"\n"].concat()).unwrap();
        held.end += 1;
    }

    /// Leaves out positions that hold no record. The next record begins another object.
    pub(super) fn skip(&mut self, topic: &'static str, partition: u32, count: u64) {
        let held = self
            .partitions
            .entry((topic, partition))
            .or_insert_with(|| Partition { object: None, end: 0 });
        (held.object, held.end) = (None, held.end + count);
    }
}
