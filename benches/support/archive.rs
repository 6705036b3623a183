//! The archive: generated once, listed, and read line by line on several threads.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use watershed::row::Row;

use crate::model::{Geo, Pin, User};
use crate::{Result, clean, generate};

/// The kinds of records, in the order of every `[_; 3]` here.
pub(crate) const KINDS: [&str; 3] = ["pin", "geo", "user"];

/// Returns an archive of `events` events, and generates it if it is missing.
pub(crate) fn archive(dir: &Path, events: u64, records_per_object: u64) -> Result<PathBuf> {
    let options = generate::Options { events, records_per_object, ..Default::default() };
    made(dir.join(format!("archive-{events}-by-{records_per_object}")), options)
}

/// Returns an archive with `partitions` partitions a topic and the largest objects.
pub(crate) fn scattered(dir: &Path, events: u64, partitions: u32) -> Result<PathBuf> {
    let options = generate::Options { events, partitions, ..Default::default() };
    made(dir.join(format!("archive-{events}-in-{partitions}")), options)
}

fn made(to: PathBuf, options: generate::Options) -> Result<PathBuf> {
    if !to.exists() {
        let part = to.with_extension("part");
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        eprintln!("generating {} events in {}", options.events, to.display());
        generate::generate(&generate::Options { to: part.clone(), ..options }, &mut |_| ())?;
        fs::rename(part, &to)?;
        // Flush pending writes now, because they would disturb the measurement.
        Command::new("sync").status()?;
    }
    Ok(to)
}

/// An object of a topic.
pub(crate) struct Object {
    pub(crate) kind: usize,
    pub(crate) partition: u32,
    /// The offset of its first record.
    pub(crate) first: u64,
    path: PathBuf,
}

/// Lists all objects, by topic, partition and offset.
pub(crate) fn objects(archive: &Path) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    for (kind, name) in KINDS.iter().enumerate() {
        for folder in fs::read_dir(archive.join("topics").join(format!("demo.{name}")))? {
            for file in fs::read_dir(folder?.path())? {
                let path = file?.path();
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let mut parts = stem.rsplit('+').map(str::parse::<u64>);
                let (Some(Ok(first)), Some(Ok(partition))) = (parts.next(), parts.next()) else {
                    return Err(format!("{} is no name of an object", path.display()).into());
                };
                objects.push(Object { kind, partition: partition as u32, first, path });
            }
        }
    }
    objects.sort_unstable_by_key(|object| (object.kind, object.partition, object.first));
    Ok(objects)
}

/// The number of records and bytes that were read.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Reads all objects with one thread for each of `states`. The threads share the queue of objects,
/// and call `each` with every line and its offset.
pub(crate) fn read<S: Send>(
    objects: &[Object],
    states: Vec<S>,
    each: impl Fn(&mut S, &Object, u64, &[u8]) -> Result + Sync,
) -> Result<(Counts, Vec<S>)> {
    let next = AtomicUsize::new(0);
    let work = |mut state: S| -> Result<(Counts, S)> {
        let (mut counts, mut bytes) = (Counts::default(), Vec::new());
        while let Some(object) = objects.get(next.fetch_add(1, Ordering::Relaxed)) {
            bytes.clear();
            File::open(&object.path)?.read_to_end(&mut bytes)?;
            let (mut start, mut offset) = (0, object.first);
            for end in memchr::memchr_iter(b'\n', &bytes) {
                each(&mut state, object, offset, &bytes[start..end])?;
                (start, offset) = (end + 1, offset + 1);
            }
            counts.records += offset - object.first;
            counts.bytes += bytes.len() as u64;
        }
        Ok((counts, state))
    };
    let (work, mut total, mut done) = (&work, Counts::default(), Vec::new());
    std::thread::scope(|scope| -> Result {
        let threads: Vec<_> =
            states.into_iter().map(|state| scope.spawn(move || work(state))).collect();
        for thread in threads {
            let (counts, state) =
                thread.join().map_err(|_| "a thread that reads the archive panicked")??;
            total.records += counts.records;
            total.bytes += counts.bytes;
            done.push(state);
        }
        Ok(())
    })?;
    Ok((total, done))
}

/// Reads and counts everything, which also fills the page cache.
pub(crate) fn count(archive: &Path) -> Result<Counts> {
    Ok(read(&objects(archive)?, vec![()], |(), _, _, _| Ok(()))?.0)
}

/// A cleaned record.
pub(crate) enum Cleaned {
    Pin((i64, Pin)),
    Geo((i64, Geo)),
    User((i64, User)),
}

/// Cleans a record; `None` if it is a dead letter.
pub(crate) fn cleaned(kind: usize, line: &[u8]) -> Option<Cleaned> {
    match kind {
        0 => clean::pin(Some(line)).ok().map(Cleaned::Pin),
        1 => clean::geo(Some(line)).ok().map(Cleaned::Geo),
        _ => clean::user(Some(line)).ok().map(Cleaned::User),
    }
}

impl Cleaned {
    pub(crate) fn row(&self) -> &dyn Row {
        match self {
            Cleaned::Pin(row) => row,
            Cleaned::Geo(row) => row,
            Cleaned::User(row) => row,
        }
    }
}
