//! The archive below a folder log: its topics, where each partition ends, and the objects that are added.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind as Io};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};

use super::disk;
use super::journal::Run;

/// The most partitions of a topic.
pub(super) const PARTITIONS: u32 = 1000;

/// A partition, by topic and number.
pub(super) type Key = (Arc<str>, u32);

/// The offset after the last record of every partition of every topic that is in the archive at `root`.
///
/// # Errors
/// When it can't be read, or a topic belongs to an application that writes it.
pub(super) fn ends(root: &Path) -> Result<BTreeMap<Arc<str>, Vec<u64>>> {
    let mut topics = BTreeMap::new();
    let above = root.join("topics");
    let unreadable = |path: &Path, e| Error::connect(format!("can't read {}", path.display())).because(e);
    for name in folders(&above).map_err(|e| unreadable(&above, e))? {
        let folder = above.join(&name);
        if folder.join("_writer").exists() {
            return Err(Error::data(format!("can't append to {}: an application writes it", folder.display()))
                .hint("Give the gateway an archive of its own."));
        }
        let number = |name: &String| name.strip_prefix("partition=")?.parse::<u32>().ok().filter(|p| *p < PARTITIONS);
        let partitions = folders(&folder).map_err(|e| unreadable(&folder, e))?.iter().filter_map(number).max();
        let ends = (0..=partitions.unwrap_or(0)).map(|p| end(root, &name, p).map_err(|e| unreadable(&folder, e)));
        let ends = ends.collect::<Result<_>>()?;
        topics.insert(name.into(), ends);
    }
    Ok(topics)
}

/// Makes the folders of a topic.
pub(super) fn create(root: &Path, topic: &str, partitions: u32) -> io::Result<()> {
    (0..partitions).try_for_each(|partition| disk::make(&folder(root, topic, partition)))
}

/// Moves a topic aside: what was acknowledged is never deleted.
pub(super) fn set_aside(root: &Path, topic: &str) -> io::Result<()> {
    let (above, aside) = (root.join("topics"), root.join("_gateway/deleted"));
    disk::make(&aside)?;
    let free = (1..).map(|n| aside.join(format!("{topic}-{n}"))).find(|path| !path.exists());
    fs::rename(above.join(topic), free.unwrap_or(aside.clone()))?;
    disk::sync(&aside)?;
    disk::sync(&above)
}

/// Adds an object of `runs`, which follow each other and begin at `end`; moves `end` behind them.
pub(super) fn add(root: &Path, (topic, partition): &Key, end: &mut u64, runs: &[Run]) -> io::Result<()> {
    let path = folder(root, topic, *partition).join(format!("{topic}+{partition}+{end:010}.json"));
    let written = disk::write(&path, runs.iter().flat_map(|run| &run.values));
    // It may have failed after the object had appeared, and then readers have it: it stays as it is.
    *end = match (&written, runs.last()) {
        (Ok(()), Some(last)) => last.end(),
        _ => self::end(root, topic, *partition)?,
    };
    written
}

/// The offset after the last record of a partition.
fn end(root: &Path, topic: &str, partition: u32) -> io::Result<u64> {
    let folder = folder(root, topic, partition);
    let stem = format!("{topic}+{partition}+");
    let mut last = None;
    for entry in read_dir(&folder)?.into_iter().flatten() {
        let name = entry?.file_name();
        let first = name.to_str().and_then(|name| name.strip_prefix(&stem)?.strip_suffix(".json")?.parse::<u64>().ok());
        last = last.max(first);
    }
    let Some(first) = last else { return Ok(0) };
    let bytes = fs::read(folder.join(format!("{stem}{first:010}.json")))?;
    let open = bytes.last().is_some_and(|last| *last != b'\n');
    Ok(first + memchr::memchr_iter(b'\n', &bytes).count() as u64 + u64::from(open))
}

fn folder(root: &Path, topic: &str, partition: u32) -> PathBuf {
    root.join(format!("topics/{topic}/partition={partition}"))
}

fn folders(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in read_dir(path)?.into_iter().flatten() {
        let entry = entry?;
        if entry.path().is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

fn read_dir(path: &Path) -> io::Result<Option<fs::ReadDir>> {
    match fs::read_dir(path) {
        Err(e) if e.kind() == Io::NotFound => Ok(None),
        other => other.map(Some),
    }
}
