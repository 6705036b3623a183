//! The objects of one partition: their names, what there is, and their bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, ErrorKind as Io, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::connect::Store;
use crate::error::{Error, ErrorKind, Result};

/// Up to how many files are asked for their size, one by one.
const ASKED: usize = 20_000;

/// Files of other names, by partition, as last listed.
#[derive(Clone, Default)]
pub(super) struct LeftAlone(Arc<Mutex<BTreeMap<u32, u64>>>);

impl LeftAlone {
    pub(super) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Whether it is the first time that this partition has any.
    fn set(&self, partition: u32, count: u64) -> bool {
        let earlier = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, count);
        count > 0 && earlier.unwrap_or(0) == 0
    }
}

/// The objects of one partition.
#[derive(Clone)]
pub(super) struct Objects {
    pub(super) store: Store,
    /// Where they lie in the store.
    pub(super) folder: String,
    /// What their names begin with: the topic may contain `+` itself, so a name is never split.
    pub(super) stem: String,
    pub(super) partition: u32,
    pub(super) left_alone: LeftAlone,
}

/// An object that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    /// Offset of its first record.
    pub(super) first: u64,
    /// Its size, where the listing says it.
    pub(super) size: Option<u64>,
}

impl Objects {
    /// The path in the store of the object that begins at `first`.
    pub(super) fn path(&self, first: u64) -> String {
        format!("{}/{}", self.folder, self.file(first))
    }

    fn file(&self, first: u64) -> String {
        format!("{}{first:010}.json", self.stem)
    }

    /// The partition's name for people.
    pub(super) fn name(&self) -> String {
        self.store.name(&self.folder)
    }

    fn first(&self, name: &str) -> Option<u64> {
        let digits = name.strip_prefix(&self.stem)?.strip_suffix(".json")?;
        let first = digits.parse().ok()?;
        (digits == format!("{first:010}")).then_some(first)
    }

    /// What there is, by offset: all of it, or what begins after the offset `after`. In a folder only names and kinds are read: a
    /// call for each of many files would take longer than the rest. A pipe or a device is no object, whatever its name: it need
    /// not end, nor even begin.
    pub(super) fn list(&self, after: Option<u64>) -> Result<Vec<Listed>> {
        let (mut listed, mut others, mut example) = (Vec::new(), 0, String::new());
        let mut take = |name: &str, size, file| match self.first(name).filter(|_| file) {
            Some(first) => listed.push(Listed { first, size }),
            None if name.starts_with('.') => {}
            None => {
                others += 1;
                example = name.to_string();
            }
        };
        match (self.store.folder(), self.store.remote()) {
            (None, Some(remote)) => {
                let name = after.map(|first| self.file(first));
                remote.each(&self.folder, name.as_deref(), |name, size| take(name, Some(size), true)).map_err(unreadable)?;
            }
            (folder, _) => each_name(&folder.unwrap_or(Path::new("")).join(&self.folder), |name, file| take(name, None, file))
                .map_err(|e| unreadable(Error::connect(format!("can't list {}", self.name())).because(e)))?,
        }
        if (after.is_none() || self.store.folder().is_some()) && self.left_alone.set(self.partition, others) {
            tracing::warn!(folder = self.name(), files = others, example, "left files of other names alone");
        }
        listed.retain(|object| after.is_none_or(|after| object.first > after));
        listed.sort_unstable();
        Ok(listed)
    }

    /// The bytes of `listed` together. Beyond 20,000 files the sizes of some, evenly spread, stand for all.
    pub(super) fn bytes(&self, listed: &[Listed]) -> u64 {
        let step = listed.len() / ASKED + 1;
        let asked = listed.iter().step_by(step).map(|o| o.size.or_else(|| self.file_size(o.first)).unwrap_or(0));
        let (count, bytes) = asked.fold((0u64, 0u64), |(count, bytes), size| (count + 1, bytes.saturating_add(size)));
        (u128::from(bytes) * listed.len() as u128 / u128::from(count.max(1))) as u64
    }

    fn file_size(&self, first: u64) -> Option<u64> {
        Some(fs::metadata(self.store.folder()?.join(self.path(first))).ok()?.len())
    }

    /// The bytes of the object that begins at `first`, `None` if there is none. An object store gives it whole.
    pub(super) fn open(&self, first: u64) -> Result<Option<Box<dyn Read + Send>>> {
        let path = self.path(first);
        let Some(root) = self.store.folder() else {
            return Ok(self.store.get(&path)?.map(|bytes| Box::new(Cursor::new(bytes)) as _));
        };
        match fs::File::open(root.join(&path)) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(e) if e.kind() == Io::NotFound => Ok(None),
            Err(e) => Err(unreadable(Error::connect(format!("can't read {}", self.store.name(&path))).because(e))),
        }
    }
}

/// Passes the name of each entry, and whether it is a file, or a link that leads to one or nowhere.
fn each_name(folder: &Path, mut take: impl FnMut(&str, bool)) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == Io::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        let file = kind.is_file() || kind.is_symlink() && fs::metadata(entry.path()).map_or(true, |led| led.is_file());
        take(&entry.file_name().to_string_lossy(), file);
    }
    Ok(())
}

pub(super) fn unreadable(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Connect => error.hint("Check that it is there and may be read by this user."),
        _ => error,
    }
}
