//! The objects of one partition: their list, and their bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Cursor, ErrorKind as Io, Read};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::store::Store;
use crate::sync::lock;

use super::finder::{Finder, Listed, Others};
use super::layout::{self, OFFSET_DIGITS, ObjectName, digits_of};
use super::tree::{Purpose, Tree};
use super::walk::{self, unreadable};

/// The maximal number of files whose size is requested, one by one.
const MEASURED_FILES: usize = 20_000;
/// A listing in the order of names is given up after this many names in a row of objects that were
/// read before.
const READ_NAMES_MAX: u32 = 1000;

/// Files that can't be read, by partition, as last listed. Files outside the folders of partitions
/// have no partition.
#[derive(Clone, Default)]
pub(super) struct IgnoredFiles(Arc<Mutex<BTreeMap<Option<u32>, Ignored>>>);

#[derive(Default)]
struct Ignored {
    files: Others,
    /// True once a warning was logged.
    warned: bool,
}

impl IgnoredFiles {
    pub(super) fn all(&self) -> Others {
        let mut all = Others::default();
        lock(&self.0).values().for_each(|ignored| all.join(&ignored.files));
        all
    }

    pub(super) fn set(&self, partition: Option<u32>, others: Others) {
        lock(&self.0).entry(partition).or_default().files = others;
    }

    /// Warns once of the ignored files of a partition, or of those outside.
    pub(super) fn warn(&self, partition: Option<u32>, folder: impl FnOnce() -> String) {
        let mut all = lock(&self.0);
        if let Some(ignored) =
            all.get_mut(&partition).filter(|ignored| ignored.files.count > 0 && !ignored.warned)
        {
            ignored.warned = true;
            let (folder, such_as, files) = (folder(), &ignored.files, ignored.files.count);
            tracing::warn!(folder, files, %such_as, "ignored files of other names");
        }
    }
}

/// The objects of one partition.
#[derive(Clone)]
pub(super) struct Objects {
    pub(super) store: Store,
    /// The path of the partition's own folder in the store.
    pub(super) folder: String,
    pub(super) partition: u32,
    pub(super) ignored: IgnoredFiles,
    /// The topic.
    pub(super) topic: Arc<str>,
    /// The store below the topic's folder.
    pub(super) below: Store,
    pub(super) tree: Arc<Tree>,
}

impl Objects {
    /// Returns the path in the store of a new object that begins at `first`.
    pub(super) fn path(&self, first: u64) -> String {
        format!("{}/{}", self.folder, ObjectName::new(self.partition, first).print(&self.topic))
    }

    /// Returns the partition's name for messages.
    pub(super) fn name(&self) -> String {
        self.store.name(&self.folder)
    }

    /// Returns the path of the partition's own folder below the topic.
    fn own(&self) -> String {
        layout::partition_folder(self.partition)
    }

    /// Returns true if an object is in the partition's own folder.
    pub(super) fn is_own(&self, object: &Listed) -> bool {
        object.folder.split('/').next() == Some(&self.own())
    }

    /// Returns the path of an object below the topic.
    pub(super) fn at(&self, object: &Listed) -> String {
        let slash = if object.folder.is_empty() { "" } else { "/" };
        format!("{}{slash}{}", object.folder, object.name(self.partition).print(&self.topic))
    }

    /// Returns the name of an object for messages.
    pub(super) fn title(&self, object: &Listed) -> String {
        match self.below.remote() {
            Some(remote) => remote.found_name(&self.at(object)),
            None => self.below.name(&self.at(object)),
        }
    }

    /// Lists all objects, by offset. A listing that was made for another partition may be used.
    ///
    /// # Errors
    /// When they can't be listed, or two begin at the same offset.
    pub(super) fn list(&self) -> Result<Vec<Listed>> {
        self.list_all(Purpose::Open(self.partition))
    }

    /// Lists all objects, by offset, from a new listing.
    pub(super) fn list_now(&self) -> Result<Vec<Listed>> {
        self.list_all(Purpose::Refresh(self.partition))
    }

    fn list_all(&self, purpose: Purpose) -> Result<Vec<Listed>> {
        let mut listed = self.in_own_folder()?;
        listed.extend(self.elsewhere(purpose)?.iter().cloned());
        listed.sort_unstable();
        self.check_distinct(&listed)?;
        Ok(listed)
    }

    /// Lists the objects in the partition's own folder.
    pub(super) fn in_own_folder(&self) -> Result<Vec<Listed>> {
        let mut finder = Finder::new(&self.topic, Some(self.partition));
        walk::below(&self.below, &[self.own()], None, &mut finder, |_| false)?;
        self.ignored.set(Some(self.partition), finder.others);
        Ok(finder.objects.into_iter().map(|(_, object)| object).collect())
    }

    /// Lists the objects elsewhere below the topic, for `purpose`.
    pub(super) fn elsewhere(&self, purpose: Purpose) -> Result<Arc<[Listed]>> {
        let seen = self.tree.list(&self.below, &self.topic, purpose)?;
        self.ignored.set(None, seen.others.clone());
        Ok(seen.objects.get(&self.partition).cloned().unwrap_or_default())
    }

    /// Lists the objects after `read` in the partition's own folder of an object store, including
    /// the one that begins at `next`, if it exists. Names are listed in their order, which is the
    /// order of offsets only among names of one width. So `next` is also looked up by its name in
    /// each of `widths`.
    pub(super) fn later(
        &self,
        read: Option<&Listed>,
        next: u64,
        widths: &BTreeSet<u8>,
    ) -> Result<Vec<Listed>> {
        let (mut found, last) = (Vec::new(), read.map(|read| read.first));
        let after = read.filter(|read| self.is_own(read)).map(|read| self.at(read));
        let whole =
            after.as_ref().map_or(Ok(false), |after| self.after(after, last, &mut found))?;
        let widths: BTreeSet<u8> = widths
            .iter()
            .chain([&OFFSET_DIGITS])
            .map(|digits| digits_of(next).max(*digits))
            .collect();
        for digits in widths {
            if found.iter().any(|object| object.first == next) {
                break;
            }
            let digits = usize::from(digits);
            let prefix = layout::object_prefix(&self.topic, self.partition);
            let start = format!("{}/{prefix}{next:0digits$}", self.own());
            if !(whole && after.as_ref().is_some_and(|after| *after < start)) {
                self.after(&start, last, &mut found)?;
            }
        }
        found.sort_unstable();
        found.dedup_by(|one, other| one.is(other));
        Ok(found)
    }

    /// Adds the objects whose names come after `start`. Returns false if that was given up, because
    /// all of them had been read before.
    fn after(&self, start: &str, last: Option<u64>, found: &mut Vec<Listed>) -> Result<bool> {
        let mut finder = Finder::new(&self.topic, Some(self.partition));
        let (mut read, mut count) = (0, 0);
        walk::below(&self.below, &[self.own()], Some(start), &mut finder, |finder| {
            if finder.objects.len() > count {
                count = finder.objects.len();
                let old = finder
                    .objects
                    .last()
                    .is_some_and(|(_, object)| last.is_some_and(|last| object.first < last));
                read = if old { read + 1 } else { 0 };
            }
            read >= READ_NAMES_MAX
        })?;
        found.extend(finder.objects.into_iter().map(|(_, object)| object));
        Ok(read < READ_NAMES_MAX)
    }

    /// Fails if two of `listed` begin at one offset.
    pub(super) fn check_distinct(&self, listed: &[Listed]) -> Result<()> {
        match listed.windows(2).find(|pair| pair[0].first == pair[1].first) {
            Some(pair) => Err(self.twice(pair[0].first, &pair[0], &pair[1])),
            None => Ok(()),
        }
    }

    /// Returns the error that two objects hold one offset.
    pub(super) fn twice(&self, offset: u64, one: &Listed, other: &Listed) -> Error {
        let (one, other) = (self.title(one), self.title(other));
        Error::data(format!(
            "two objects of {} hold offset {offset}: {one} and {other}",
            self.name()
        ))
        .hint("Keep one of the two: an archive holds every record once.")
    }

    /// Returns the total size of `listed` in bytes. Beyond 20,000 files it is estimated from a
    /// sample of them.
    pub(super) fn bytes<'a>(&self, listed: impl ExactSizeIterator<Item = &'a Listed>) -> u64 {
        let all = listed.len();
        let sizes = listed.step_by(all / MEASURED_FILES + 1).map(|object| self.size(object));
        let (count, bytes) = sizes
            .fold((0u64, 0u64), |(count, bytes), size| (count + 1, bytes.saturating_add(size)));
        (u128::from(bytes) * all as u128 / u128::from(count.max(1))) as u64
    }

    /// Returns the size of an object in bytes; 0 if it is unknown.
    pub(super) fn size(&self, object: &Listed) -> u64 {
        let size = || Some(fs::metadata(self.below.folder()?.join(self.at(object))).ok()?.len());
        object.size.or_else(size).unwrap_or(0)
    }

    /// Opens an object for reading; packed bytes are returned packed. `None` if it does not exist.
    /// An object store returns it whole.
    pub(super) fn open(&self, object: &Listed) -> Result<Option<Box<dyn Read + Send>>> {
        let path = self.at(object);
        if let Some(remote) = self.below.remote() {
            return Ok(remote
                .fetch_found(&path, None)
                .wait()?
                .map(|bytes| Box::new(Cursor::new(bytes)) as _));
        }
        match fs::File::open(self.below.folder().unwrap_or(std::path::Path::new("")).join(&path)) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(e) if e.kind() == Io::NotFound => Ok(None),
            Err(e) => Err(unreadable(
                Error::connect(format!("can't read {}", self.title(object))).because(e),
            )),
        }
    }

    /// Returns the names at which the object that begins at `next` is expected: the name that a
    /// writer of this library gives it, and the one in the folder of the object `before` it.
    pub(super) fn expected(&self, next: u64, before: Option<&Listed>) -> Vec<Listed> {
        let own = (Arc::from(self.own()), OFFSET_DIGITS);
        let beside = before
            .map(|before| (before.folder.clone(), before.digits))
            .filter(|beside| *beside != own);
        let both = beside
            .into_iter()
            .chain([own])
            .flat_map(|place| [(place.clone(), false), (place, true)]);
        // A larger offset has more digits.
        both.map(|((folder, digits), packed)| Listed {
            first: next,
            folder,
            digits: digits.max(digits_of(next)),
            packed,
            size: None,
        })
        .collect()
    }

    pub(super) fn warn(&self) {
        self.ignored.warn(Some(self.partition), || self.name());
        self.ignored.warn(None, || {
            self.store.name(self.folder.rsplit_once('/').map_or("", |(topic, _)| topic))
        });
    }
}
