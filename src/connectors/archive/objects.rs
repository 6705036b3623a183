//! The objects of one partition: what there is, and their bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Cursor, ErrorKind as Io, Read};
use std::sync::{Arc, Mutex};

use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::sync::lock;

use super::finder::{Finder, Listed, Others};
use super::layout::{self, OFFSET_DIGITS, ObjectName, digits_of};
use super::tree::{Tree, Who};
use super::walk;

/// Up to how many files are asked for their size, one by one.
const ASKED: usize = 20_000;
/// After how many names in a row of objects that were read a listing in the order of names is given
/// up.
const READ: u32 = 1000;

/// Files that can't be read, by partition, as last listed; those outside the folders of partitions
/// have none.
#[derive(Clone, Default)]
pub(super) struct LeftAlone(Arc<Mutex<BTreeMap<Option<u32>, (Others, bool)>>>);

impl LeftAlone {
    pub(super) fn all(&self) -> Others {
        let mut all = Others::default();
        lock(&self.0).values().for_each(|(others, _)| all.join(others));
        all
    }

    pub(super) fn set(&self, partition: Option<u32>, others: Others) {
        lock(&self.0).entry(partition).or_default().0 = others;
    }

    /// Warns of what a partition has, or of what lies outside, once.
    pub(super) fn warn(&self, partition: Option<u32>, folder: impl FnOnce() -> String) {
        let mut all = lock(&self.0);
        if let Some((others, said)) =
            all.get_mut(&partition).filter(|(others, said)| others.count > 0 && !said)
        {
            *said = true;
            tracing::warn!(folder = folder(), files = others.count, such_as = %others, "left files of other names alone");
        }
    }
}

/// The objects of one partition.
#[derive(Clone)]
pub(super) struct Objects {
    pub(super) store: Store,
    /// Where the partition's own folder lies in the store.
    pub(super) folder: String,
    pub(super) partition: u32,
    pub(super) left_alone: LeftAlone,
    /// The topic, what lies below it, and what is known of its folders.
    pub(super) topic: Arc<str>,
    pub(super) below: Store,
    pub(super) tree: Arc<Tree>,
}

impl Objects {
    /// The path in the store of an object of ours that begins at `first`.
    pub(super) fn path(&self, first: u64) -> String {
        format!("{}/{}", self.folder, ObjectName::new(self.partition, first).print(&self.topic))
    }

    /// The partition's name for people.
    pub(super) fn name(&self) -> String {
        self.store.name(&self.folder)
    }

    /// The partition's own folder below the topic.
    fn own(&self) -> String {
        layout::partition_folder(self.partition)
    }

    /// True if an object lies in the partition's own folder.
    pub(super) fn is_own(&self, object: &Listed) -> bool {
        object.folder.split('/').next() == Some(&self.own())
    }

    /// The path of an object below the topic.
    pub(super) fn at(&self, object: &Listed) -> String {
        let slash = if object.folder.is_empty() { "" } else { "/" };
        format!("{}{slash}{}", object.folder, object.name(self.partition).print(&self.topic))
    }

    /// The name of an object for people.
    pub(super) fn title(&self, object: &Listed) -> String {
        match self.below.remote() {
            Some(remote) => remote.found_name(&self.at(object)),
            None => self.below.name(&self.at(object)),
        }
    }

    /// All objects there are, by offset.
    ///
    /// # Errors
    /// When they can't be listed, or two begin at the same offset.
    pub(super) fn list(&self) -> Result<Vec<Listed>> {
        self.list_all(Who::Opening(self.partition))
    }

    /// The same, of which nothing was seen before.
    pub(super) fn list_now(&self) -> Result<Vec<Listed>> {
        self.list_all(Who::Now(self.partition))
    }

    fn list_all(&self, who: Who) -> Result<Vec<Listed>> {
        let mut listed = self.in_own_folder()?;
        listed.extend(self.elsewhere(who)?.iter().cloned());
        listed.sort_unstable();
        self.each_once(&listed)?;
        Ok(listed)
    }

    /// The objects in the partition's own folder.
    pub(super) fn in_own_folder(&self) -> Result<Vec<Listed>> {
        let mut finder = Finder::new(&self.topic, Some(self.partition));
        walk::below(&self.below, &[self.own()], None, &mut finder, |_| false)?;
        self.left_alone.set(Some(self.partition), finder.others);
        Ok(finder.objects.into_iter().map(|(_, object)| object).collect())
    }

    /// The objects elsewhere below the topic, as `who` may know them.
    pub(super) fn elsewhere(&self, who: Who) -> Result<Arc<[Listed]>> {
        let seen = self.tree.look(&self.below, &self.topic, who)?;
        self.left_alone.set(None, seen.others.clone());
        Ok(seen.objects.get(&self.partition).cloned().unwrap_or_default())
    }

    /// Objects in the partition's own folder of an object store that come after `read`, of which
    /// the one that begins at `next`, if it is there. Names are listed in their order, which is
    /// that of offsets only among those of one width: so it is also looked for at its own name in
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

    /// Adds what has a name after `start`; false if that was given up, because it was all read
    /// before.
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
            read >= READ
        })?;
        found.extend(finder.objects.into_iter().map(|(_, object)| object));
        Ok(read < READ)
    }

    /// Sees to it that of `listed` no two begin at one offset.
    pub(super) fn each_once(&self, listed: &[Listed]) -> Result<()> {
        match listed.windows(2).find(|pair| pair[0].first == pair[1].first) {
            Some(pair) => Err(self.twice(pair[0].first, &pair[0], &pair[1])),
            None => Ok(()),
        }
    }

    /// The error that two objects hold one offset.
    pub(super) fn twice(&self, offset: u64, one: &Listed, other: &Listed) -> Error {
        let (one, other) = (self.title(one), self.title(other));
        Error::data(format!(
            "two objects of {} hold offset {offset}: {one} and {other}",
            self.name()
        ))
        .hint("Keep one of the two: an archive holds every record once.")
    }

    /// The bytes of `listed` together. Beyond 20,000 files the sizes of some, evenly spread, stand
    /// for all.
    pub(super) fn bytes<'a>(&self, listed: impl ExactSizeIterator<Item = &'a Listed>) -> u64 {
        let all = listed.len();
        let sizes = listed.step_by(all / ASKED + 1).map(|object| self.size(object));
        let (count, bytes) = sizes
            .fold((0u64, 0u64), |(count, bytes), size| (count + 1, bytes.saturating_add(size)));
        (u128::from(bytes) * all as u128 / u128::from(count.max(1))) as u64
    }

    /// The size of an object; 0 if it can't be told.
    pub(super) fn size(&self, object: &Listed) -> u64 {
        let size = || Some(fs::metadata(self.below.folder()?.join(self.at(object))).ok()?.len());
        object.size.or_else(size).unwrap_or(0)
    }

    /// The bytes of an object, packed ones as they are; `None` if there is none. An object store
    /// gives it whole.
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

    /// Places where the object that begins at `next` may be expected: where writers of ours put it,
    /// and beside the one before.
    pub(super) fn expected(&self, next: u64, before: Option<&Listed>) -> Vec<Listed> {
        let own = (Arc::from(self.own()), OFFSET_DIGITS);
        let beside = before
            .map(|before| (before.folder.clone(), before.digits))
            .filter(|beside| *beside != own);
        let both = beside
            .into_iter()
            .chain([own])
            .flat_map(|place| [(place.clone(), false), (place, true)]);
        both.map(|((folder, digits), packed)| Listed {
            first: next,
            folder,
            digits,
            packed,
            size: None,
        })
        .collect()
    }

    pub(super) fn warn(&self) {
        self.left_alone.warn(Some(self.partition), || self.name());
        self.left_alone.warn(None, || {
            self.store.name(self.folder.rsplit_once('/').map_or("", |(topic, _)| topic))
        });
    }
}

pub(super) fn unreadable(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Connect => error.hint("Check that it is there and may be read by this user."),
        _ => error,
    }
}
