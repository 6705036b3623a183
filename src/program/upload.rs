//! Copies an archive of this machine into a bucket, object by object. Objects are never replaced.

use std::fs;
use std::io;
use std::path::Path;

use indicatif::ProgressBar;

use super::bar::style;
use crate::connectors::archive::layout::{self, ObjectName, TOPICS};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::sync::side_by_side;

/// Partitions that are written at the same time. A write mostly waits for the bucket.
const CONCURRENT_PARTITIONS: usize = 16;

/// Writes the `objects` objects of the archive in the folder `archive` to `url`, which is a folder
/// or `s3://bucket/prefix`.
///
/// The objects of a partition are written in order, so that a reader that follows it sees no gap.
/// An upload that is repeated after an interruption continues.
///
/// # Errors
/// When an object can't be read or written, or an object with other bytes is in its place.
pub fn upload(archive: &Path, url: &str, objects: u64) -> Result<()> {
    let store = Store::open(url)?;
    let partitions = partitions(archive).map_err(|e| unreadable(archive, e))?;
    let bar = ProgressBar::new(objects);
    bar.set_style(style("uploading {wide_bar} {human_pos} objects  {elapsed}"));
    let write = |partition: &Partition| write(&store, archive, partition, &bar);
    let shares = (0..CONCURRENT_PARTITIONS).map(|first| {
        let mut share = partitions.iter().skip(first).step_by(CONCURRENT_PARTITIONS);
        move || share.try_for_each(write)
    });
    let written = side_by_side("a thread that writes the archive", shares);
    bar.finish_and_clear();
    written.into_iter().collect()
}

/// A partition of the archive in the folder.
struct Partition {
    topic: String,
    number: u32,
}

/// Returns the partitions of all topics.
fn partitions(root: &Path) -> io::Result<Vec<Partition>> {
    let mut found = Vec::new();
    for topic in names(&root.join(TOPICS))? {
        let numbers = names(&root.join(layout::topic_path(&topic)))?;
        let numbers = numbers.iter().filter_map(|folder| layout::partition_of(folder));
        found.extend(numbers.map(|number| Partition { topic: topic.clone(), number }));
    }
    Ok(found)
}

/// Returns the names in a folder.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Writes the objects of a partition in the order of their offsets.
fn write(store: &Store, root: &Path, partition: &Partition, bar: &ProgressBar) -> Result<()> {
    let Partition { topic, number } = partition;
    let folder = layout::partition_path(topic, *number);
    let files = names(&root.join(&folder)).map_err(|e| unreadable(&root.join(&folder), e))?;
    let objects = files.iter().filter_map(|file| ObjectName::parse(topic, file));
    let mut objects: Vec<ObjectName> = objects.collect();
    objects.sort_unstable_by_key(|object| object.first);
    for object in objects {
        let path = format!("{folder}/{}", object.print(topic));
        let file = root.join(&path);
        let bytes = fs::read(&file).map_err(|e| unreadable(&file, e))?;
        if !store.ensure(&path, &bytes)? {
            let name = store.name(&path);
            return Err(Error::data(format!("can't write {name}, which holds other records"))
                .hint("Remove the archive, or write into another prefix."));
        }
        bar.inc(1);
    }
    Ok(())
}

fn unreadable(path: &Path, cause: io::Error) -> Error {
    Error::connect(format!("can't read {}", path.display())).because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_continues_and_never_replaces_an_object() {
        let root = tempfile::tempdir().unwrap();
        let object = "topics/t/partition=0/t+0+0000000000.json";
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::create_dir_all(from.join(object).parent().unwrap()).unwrap();
        fs::write(from.join(object), "{}\n").unwrap();
        let url = to.to_str().unwrap();
        upload(&from, url, 1).unwrap();
        upload(&from, url, 1).unwrap();
        assert_eq!(fs::read_to_string(to.join(object)).unwrap(), "{}\n");
        fs::write(from.join(object), "{\"other\":1}\n").unwrap();
        let error = upload(&from, url, 1).unwrap_err();
        assert!(error.to_string().contains("holds other records"), "{error}");
        assert_eq!(fs::read_to_string(to.join(object)).unwrap(), "{}\n");
    }
}
