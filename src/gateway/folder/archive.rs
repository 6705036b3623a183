//! The archive below a folder log: its topics, where each partition ends, and the objects that are
//! added.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind as Io};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::store::Store;

use super::disk;
use super::journal::Run;

/// The most partitions of a topic that is created.
pub(super) const PARTITIONS: u32 = 1000;

/// A partition, by topic and number.
pub(super) type Key = (Arc<str>, u32);

/// The offset after the last record of every partition of every topic that is in the archive at
/// `root`.
///
/// # Errors
/// When it can't be read, a topic belongs to an application that writes it, or its folder is not as
/// a log leaves it: one partition after the other from 0 on, with objects of its own names.
pub(super) fn ends(root: &Path) -> Result<BTreeMap<Arc<str>, Vec<u64>>> {
    let mut topics = BTreeMap::new();
    let above = root.join("topics");
    for name in folders(&above).map_err(|e| unreadable(&above, e))? {
        let folder = above.join(&name);
        if folder.join("_writer").exists() {
            return Err(Error::data(format!(
                "can't append to {}: an application writes it",
                folder.display()
            ))
            .hint("Give the gateway an archive of its own."));
        }
        if let Some(path) =
            laid_out_otherwise(&folder, &name).map_err(|e| unreadable(&folder, e))?
        {
            return Err(Error::data(format!(
                "can't append to {}: another program put {} there",
                folder.display(),
                path.display()
            ))
            .hint("Give the gateway an archive of its own, and read both."));
        }
        let partitions = partitions(&folder)?;
        topics.insert(
            name.as_str().into(),
            (0..partitions).map(|p| end(root, &name, p)).collect::<Result<_>>()?,
        );
    }
    Ok(topics)
}

/// How many partitions a topic's folder has.
fn partitions(folder: &Path) -> Result<u32> {
    let mut found = BTreeSet::new();
    for inner in folders(folder).map_err(|e| unreadable(folder, e))? {
        let number = inner.strip_prefix("partition=").and_then(|number| number.parse::<u32>().ok());
        // Back to the name, because 007 is another folder than 7.
        match number.filter(|number| inner == format!("partition={number}")) {
            Some(number) => found.insert(number),
            None => return Err(strange(folder, &inner)),
        };
    }
    let missing = (0..)
        .zip(&found)
        .find_map(|(p, number)| (p != *number).then_some(p))
        .unwrap_or(found.len() as u32);
    if found.is_empty() || missing < found.len() as u32 {
        return Err(Error::data(format!("can't append to {}: it has no folder partition={missing}", folder.display())).hint(
            "Bring the folder back. If that partition never had a record, make an empty one; a topic of none may be removed.",
        ));
    }
    Ok(missing)
}

fn strange(folder: &Path, name: &str) -> Error {
    Error::data(format!("can't append to {}: {name} is not as a gateway or its like names it", folder.display()))
        .hint("Give the gateway an archive of its own, for where this one ends can't be told by names that it doesn't know.")
}

fn unreadable(path: &Path, cause: io::Error) -> Error {
    Error::connect(format!("can't read {}", path.display())).because(cause)
}

/// Makes the folders of a topic, which appear all at once.
pub(super) fn create(root: &Path, topic: &str, partitions: u32) -> io::Result<()> {
    let (above, beside) = (root.join("topics"), root.join("_gateway/creating"));
    match fs::remove_dir_all(&beside) {
        Err(e) if e.kind() != Io::NotFound => return Err(e),
        _ => {}
    }
    let staged = beside.join(topic);
    fs::create_dir_all(&staged)?;
    (0..partitions)
        .try_for_each(|partition| fs::create_dir(staged.join(format!("partition={partition}"))))?;
    disk::sync(&staged)?;
    disk::make(&above)?;
    fs::rename(staged, above.join(topic))?;
    disk::sync(&above)
}

/// A free name for a topic that is set aside.
pub(super) fn aside(root: &Path, topic: &str) -> io::Result<String> {
    let aside = root.join("_gateway/deleted");
    disk::make(&aside)?;
    let mut names = (1u64..).map(|n| format!("{topic}-{n}"));
    names.find(|name| !aside.join(name).exists()).ok_or(Io::AlreadyExists.into())
}

/// Moves a topic aside, by the name `aside`: what was acknowledged is never deleted. It may be
/// there already.
pub(super) fn set_aside(root: &Path, topic: &str, aside: &str) -> io::Result<()> {
    let (above, beside) = (root.join("topics"), root.join("_gateway/deleted"));
    if !beside.join(aside).exists() && above.join(topic).exists() {
        fs::rename(above.join(topic), beside.join(aside))?;
        disk::sync(&beside)?;
        disk::sync(&above)?;
    }
    Ok(())
}

/// Creates an object of `runs`, which follow each other and begin at `end`; moves `end` behind
/// them.
///
/// # Errors
/// Of the data, when the partition is gone, or something else is there in the object's place; else
/// it may be tried again, with the same runs.
pub(super) fn add(
    root: &Path,
    (topic, partition): &Key,
    end: &mut u64,
    runs: &[Run],
) -> Result<()> {
    let folder = folder(root, topic, *partition);
    if !folder.is_dir() {
        return Err(gone(&folder));
    }
    let values = || runs.iter().flat_map(|run| &run.values);
    let mut lines = Vec::with_capacity(values().map(|value| value.len() + 1).sum());
    for value in values() {
        lines.extend_from_slice(value);
        lines.push(b'\n');
    }
    let name = object(topic, *partition, *end);
    if !Store::at(&folder).settle(&name, &lines)? {
        return Err(Error::data(format!("can't create {}: it holds other records", folder.join(name).display()))
            .hint("Something else writes this archive. Move its objects away: what was acknowledged is in the journal."));
    }
    *end = runs.last().map_or(*end, Run::end);
    Ok(())
}

/// The error that a folder is gone whose records were acknowledged.
pub(super) fn gone(folder: &Path) -> Error {
    Error::data(format!(
        "can't add to {}: the folder is gone, and the journal has records of it",
        folder.display()
    ))
    .hint("Bring the folder back: what was acknowledged is in the journal.")
}

/// The records of a partition by offset, those from `from` on up to `end`, where it ends. What was
/// read is on the disk.
pub(super) fn held(
    root: &Path,
    (topic, partition): &Key,
    from: u64,
    end: u64,
) -> Result<BTreeMap<u64, Bytes>> {
    let folder = folder(root, topic, *partition);
    let objects = objects(root, topic, *partition)?;
    let mut held = BTreeMap::new();
    for first in &objects[objects.partition_point(|first| *first <= from).saturating_sub(1)..] {
        let path = folder.join(object(topic, *partition, *first));
        let read = disk::sync(&path).and_then(|()| fs::read(&path));
        let bytes = Bytes::from(read.map_err(|e| unreadable(&path, e))?);
        let lines = bytes.split(|byte| *byte == b'\n').map(|line| bytes.slice_ref(line));
        held.extend((*first..end).zip(lines).filter(|(offset, _)| *offset >= from));
    }
    disk::sync(&folder).map_err(|e| unreadable(&folder, e))?;
    Ok(held)
}

/// The offset after the last record of a partition.
fn end(root: &Path, topic: &str, partition: u32) -> Result<u64> {
    let Some(first) = objects(root, topic, partition)?.pop() else { return Ok(0) };
    let path = folder(root, topic, partition).join(object(topic, partition, first));
    let bytes = fs::read(&path).map_err(|e| unreadable(&path, e))?;
    let open = bytes.last().is_some_and(|last| *last != b'\n');
    Ok(first + memchr::memchr_iter(b'\n', &bytes).count() as u64 + u64::from(open))
}

/// The first offsets of the objects of a partition, ascending. Files of other names are left alone,
/// if they can't be objects of another layout.
fn objects(root: &Path, topic: &str, partition: u32) -> Result<Vec<u64>> {
    let folder = folder(root, topic, partition);
    let stem = format!("{topic}+{partition}+");
    let mut objects = Vec::new();
    let entries = fs::read_dir(&folder).map_err(|e| unreadable(&folder, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| unreadable(&folder, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let first = name
            .strip_prefix(&stem)
            .and_then(|rest| rest.strip_suffix(".json")?.parse::<u64>().ok());
        match first.filter(|first| name == object(topic, partition, *first)) {
            Some(first) => objects.push(first),
            None if name.starts_with(&format!(".{stem}")) && name.ends_with(".tmp") => {
                // Begun by a process that is dead, for nobody else writes here now. It may be in
                // nobody's way.
                let _ = fs::remove_file(entry.path());
            }
            None if name.starts_with('.') => {}
            None if name.starts_with(&format!("{topic}+")) || entry.path().is_dir() => {
                return Err(strange(&folder, &name));
            }
            None => {}
        }
    }
    objects.sort_unstable();
    Ok(objects)
}

fn object(topic: &str, partition: u32, first: u64) -> String {
    format!("{topic}+{partition}+{first:010}.json")
}

/// An object of a topic that readers find but that is not where a gateway puts objects, nor named
/// as it names them: its offsets would be given out again.
fn laid_out_otherwise(topic_folder: &Path, topic: &str) -> io::Result<Option<PathBuf>> {
    let mut left = vec![topic_folder.to_path_buf()];
    while let Some(folder) = left.pop() {
        let partition = folder
            .strip_prefix(topic_folder)
            .ok()
            .and_then(|below| below.to_str()?.strip_prefix("partition="));
        for entry in fs::read_dir(&folder)? {
            let entry = entry?.path();
            let name = entry
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            if name.starts_with(['.', '_']) {
                continue;
            }
            let Some(rest) = name.strip_prefix(topic).and_then(|rest| rest.strip_prefix('+'))
            else {
                if entry.is_dir() && !entry.is_symlink() {
                    left.push(entry);
                }
                continue;
            };
            let offset = partition
                .and_then(|p| rest.strip_prefix(p)?.strip_prefix('+')?.strip_suffix(".json"));
            let own = offset.is_some_and(|offset| {
                offset.parse().is_ok_and(|first: u64| offset == format!("{first:010}"))
            });
            if !own && (name.ends_with(".json") || name.ends_with(".json.gz")) {
                return Ok(Some(entry));
            }
        }
    }
    Ok(None)
}

pub(super) fn folder(root: &Path, topic: &str, partition: u32) -> PathBuf {
    root.join(format!("topics/{topic}/partition={partition}"))
}

/// The names of the folders in one, but for hidden ones; none if it is not there.
fn folders(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Err(e) if e.kind() == Io::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().is_dir() {
            names
                .extend(entry.file_name().into_string().ok().filter(|name| !name.starts_with('.')));
        }
    }
    Ok(names)
}
