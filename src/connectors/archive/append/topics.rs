//! The topics of an appender: where their partitions end, and the objects that are added.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind as Io};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::store::{Store, disk};

use super::super::layout::{self, ObjectName, partition_in};
use super::journal::Run;

/// Most partitions of a created topic.
pub(super) const MAX_PARTITIONS: u32 = 1000;
/// Most bytes of the name of a created topic.
const NAME_MAX_BYTES: usize = 200;

/// Returns true if a topic of this name may be created.
pub(super) fn is_name(topic: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=NAME_MAX_BYTES).contains(&topic.len())
        && !topic.starts_with('.')
        && topic.chars().all(plain)
}

/// A partition, by topic and number.
pub(super) type Key = (Arc<str>, u32);

/// The end of each partition of each topic in the archive at `root`: the offset after its last
/// record.
///
/// # Errors
/// When it can't be read, or a topic belongs to an application. When a topic's folder has other
/// folders than its partitions from 0 on, or objects of another layout.
pub(super) fn ends(root: &Path) -> Result<BTreeMap<Arc<str>, Vec<u64>>> {
    let mut topics = BTreeMap::new();
    let above = root.join(layout::TOPICS);
    for name in folders(&above).map_err(|e| unreadable(&above, e))? {
        let folder = above.join(&name);
        let refused =
            |why: &str| Error::data(format!("can't append to {}: {why}", folder.display()));
        if folder.join(layout::WRITER).exists() {
            return Err(
                refused("an application writes it").hint("Give the gateway an archive of its own.")
            );
        }
        let foreign = foreign_object(&folder, &name).map_err(|e| unreadable(&folder, e))?;
        if let Some(path) = foreign {
            return Err(refused(&format!("another program put {} there", path.display()))
                .hint("Give the gateway an archive of its own, and read both."));
        }
        let partitions = 0..partitions(&folder)?;
        let ends = partitions.map(|partition| end(root, &name, partition));
        topics.insert(name.as_str().into(), ends.collect::<Result<_>>()?);
    }
    Ok(topics)
}

/// The number of partitions in a topic's folder.
fn partitions(folder: &Path) -> Result<u32> {
    let mut found = BTreeSet::new();
    for name in folders(folder).map_err(|e| unreadable(folder, e))? {
        found.insert(layout::partition_of(&name).ok_or_else(|| unknown_name(folder, &name))?);
    }
    let count = found.len() as u32;
    let missing = (0..).zip(&found).find_map(|(p, number)| (p != *number).then_some(p));
    match missing.or((count == 0).then_some(0)) {
        None => Ok(count),
        Some(missing) => {
            let missing = layout::partition_folder(missing);
            let lacks = format!("can't append to {}: it has no folder {missing}", folder.display());
            Err(Error::data(lacks).hint(
                "Bring the folder back. If that partition never had a record, make an empty one; \
                 a topic without partitions may be removed.",
            ))
        }
    }
}

fn unknown_name(folder: &Path, name: &str) -> Error {
    let folder = folder.display();
    Error::data(format!(
        "can't append to {folder}: {name} is not as a gateway or its like names it"
    ))
    .hint(
        "Give the gateway an archive of its own: the end of this one can't be found among \
             names of another layout.",
    )
}

fn unreadable(path: &Path, cause: io::Error) -> Error {
    Error::connect(format!("can't read {}", path.display())).because(cause)
}

/// Creates the folders of a topic, which appear all at once.
pub(super) fn create(root: &Path, topic: &str, partitions: u32) -> io::Result<()> {
    let (above, beside) = (root.join(layout::TOPICS), root.join(layout::CREATING));
    match fs::remove_dir_all(&beside) {
        Err(e) if e.kind() != Io::NotFound => return Err(e),
        _ => {}
    }
    let staged = beside.join(topic);
    fs::create_dir_all(&staged)?;
    let mut partitions = (0..partitions).map(layout::partition_folder);
    partitions.try_for_each(|partition| fs::create_dir(staged.join(partition)))?;
    disk::sync(&staged)?;
    disk::create_dir_all(&above)?;
    disk::rename(&staged, &above.join(topic))
}

/// A free name for a deleted topic.
pub(super) fn aside(root: &Path, topic: &str) -> io::Result<String> {
    let aside = root.join(layout::DELETED);
    disk::create_dir_all(&aside)?;
    let mut names = (1u64..).map(|n| format!("{topic}-{n}"));
    names.find(|name| !aside.join(name).exists()).ok_or(Io::AlreadyExists.into())
}

/// Moves a deleted topic to the name `aside`, unless that is done already. Acknowledged records are
/// never deleted.
pub(super) fn set_aside(root: &Path, topic: &str, aside: &str) -> io::Result<()> {
    let from = root.join(layout::topic_path(topic));
    let to = root.join(layout::DELETED).join(aside);
    if to.exists() || !from.exists() {
        return Ok(());
    }
    disk::rename(&from, &to)?;
    disk::sync(&root.join(layout::TOPICS))
}

/// Creates an object of `runs`, which are consecutive and begin at `end`; moves `end` behind them.
///
/// # Errors
/// Of kind `Data` when the partition is gone, or the name of the object is taken by another one.
/// After any other error it may be called again with the same runs.
pub(super) fn add(
    root: &Path,
    (topic, partition): &Key,
    end: &mut u64,
    runs: &[Run],
) -> Result<()> {
    let folder = partition_in(root, topic, *partition);
    if !folder.is_dir() {
        return Err(gone(&folder));
    }
    let values = || runs.iter().flat_map(|run| &run.values);
    let mut lines = Vec::with_capacity(values().map(|value| value.len() + 1).sum());
    for value in values() {
        lines.extend_from_slice(value);
        lines.push(b'\n');
    }
    let name = ObjectName::new(*partition, *end).print(topic);
    if !Store::at(&folder).ensure(&name, &lines)? {
        let path = folder.join(name);
        return Err(Error::data(format!(
            "can't create {}: it holds other records",
            path.display()
        ))
        .hint(
            "Something else writes this archive. Move its objects away: the journal holds \
                 the acknowledged records.",
        ));
    }
    *end = runs.last().map_or(*end, Run::end);
    Ok(())
}

/// The error that a partition's folder is gone, while the journal has records of it.
pub(super) fn gone(folder: &Path) -> Error {
    Error::data(format!(
        "can't add to {}: the folder is gone, and the journal has records of it",
        folder.display()
    ))
    .hint("Restore the folder: the journal holds acknowledged records of it.")
}

/// The records of a partition by offset, from `from` to `end`, where the partition ends. They are
/// durable when this returns.
pub(super) fn held(
    root: &Path,
    (topic, partition): &Key,
    from: u64,
    end: u64,
) -> Result<BTreeMap<u64, Bytes>> {
    let folder = partition_in(root, topic, *partition);
    let objects = objects(root, topic, *partition)?;
    let mut held = BTreeMap::new();
    for first in &objects[objects.partition_point(|first| *first <= from).saturating_sub(1)..] {
        let path = folder.join(ObjectName::new(*partition, *first).print(topic));
        let read = disk::sync(&path).and_then(|()| fs::read(&path));
        let bytes = Bytes::from(read.map_err(|e| unreadable(&path, e))?);
        let lines = bytes.split(|byte| *byte == b'\n').map(|line| bytes.slice_ref(line));
        held.extend((*first..end).zip(lines).filter(|(offset, _)| *offset >= from));
    }
    disk::sync(&folder).map_err(|e| unreadable(&folder, e))?;
    Ok(held)
}

/// Returns the offset before which a run may have deleted objects of a partition.
pub(super) fn released(root: &Path, (topic, partition): &Key) -> Result<u64> {
    let path = root.join(layout::topic_path(topic)).join(layout::released_path(*partition));
    let text = match fs::read_to_string(&path) {
        Err(e) if e.kind() == Io::NotFound => return Ok(0),
        text => text.map_err(|e| unreadable(&path, e))?,
    };
    text.parse().map_err(|e| {
        let message = format!("can't read the offset in {}", path.display());
        Error::data(message).because(e).hint("Remove it if no run has deleted objects.")
    })
}

/// The offset after the last record of a partition.
fn end(root: &Path, topic: &str, partition: u32) -> Result<u64> {
    let Some(first) = objects(root, topic, partition)?.pop() else { return Ok(0) };
    let folder = partition_in(root, topic, partition);
    let path = folder.join(ObjectName::new(partition, first).print(topic));
    let bytes = fs::read(&path).map_err(|e| unreadable(&path, e))?;
    let open = bytes.last().is_some_and(|last| *last != b'\n');
    Ok(first + memchr::memchr_iter(b'\n', &bytes).count() as u64 + u64::from(open))
}

/// The first offsets of a partition's objects, ascending. Files of other names are left alone,
/// unless they may be objects of another layout.
fn objects(root: &Path, topic: &str, partition: u32) -> Result<Vec<u64>> {
    let folder = partition_in(root, topic, partition);
    let temporary = format!(".{}", layout::object_prefix(topic, partition));
    let mut objects = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|e| unreadable(&folder, e))? {
        let entry = entry.map_err(|e| unreadable(&folder, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        match ObjectName::parse(topic, &name).filter(|name| is_own(*name, partition)) {
            Some(name) => objects.push(name.first),
            None if name.starts_with(&temporary) && name.ends_with(".tmp") => {
                // Its process is dead, because only one process appends. A leftover does no harm.
                let _ = fs::remove_file(entry.path());
            }
            None if name.starts_with('.') => {}
            None if layout::is_like_object(topic, &name) || entry.path().is_dir() => {
                return Err(unknown_name(&folder, &name));
            }
            None => {}
        }
    }
    objects.sort_unstable();
    Ok(objects)
}

/// True for a name that an appender gives to an object of `partition`.
fn is_own(name: ObjectName, partition: u32) -> bool {
    name == ObjectName::new(partition, name.first)
}

/// An object of a topic that readers find, but an appender would not: its offsets would be assigned
/// a second time.
fn foreign_object(topic_folder: &Path, topic: &str) -> io::Result<Option<PathBuf>> {
    let mut left = vec![topic_folder.to_path_buf()];
    while let Some(folder) = left.pop() {
        let below = folder.strip_prefix(topic_folder).ok().and_then(Path::to_str);
        let partition = below.and_then(layout::partition_of);
        for entry in fs::read_dir(&folder)? {
            let entry = entry?.path();
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(['.', '_']) {
                continue;
            }
            if !layout::is_like_object(topic, &name) {
                if entry.is_dir() && !entry.is_symlink() {
                    left.push(entry);
                }
                continue;
            }
            let own = ObjectName::parse(topic, &name).zip(partition);
            let own = own.is_some_and(|(name, partition)| is_own(name, partition));
            if !own && (name.ends_with(".json") || name.ends_with(".json.gz")) {
                return Ok(Some(entry));
            }
        }
    }
    Ok(None)
}

/// The names of the folders in `path`, except hidden ones; none if there is no such folder.
fn folders(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Err(e) if e.kind() == Io::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().is_dir() {
            let name = entry.file_name().into_string().ok();
            names.extend(name.filter(|name| !name.starts_with('.')));
        }
    }
    Ok(names)
}
