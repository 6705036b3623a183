//! A model of a disk with a write cache: which bytes and names are durable, and which may be lost.

use std::collections::BTreeMap;
use std::path::Path;

use super::record::Change;
use crate::support::Dice;

/// A name in a folder.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    File(usize),
    Folder,
}

/// A change of the names in a folder.
#[derive(Clone, Debug)]
enum NameChange {
    Put(String, Entry),
    Remove(String),
    /// Both names change at once, or none.
    Move(String, String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, Entry>) {
        match self {
            NameChange::Put(name, entry) => {
                names.insert(name.clone(), *entry);
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
            NameChange::Move(from, to) => {
                if let Some(entry) = names.remove(from) {
                    names.insert(to.clone(), entry);
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum ContentChange {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl ContentChange {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            ContentChange::Write(offset, bytes) => {
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(bytes);
            }
            ContentChange::Truncate(length) => content.resize(*length, 0),
        }
    }

    /// Applies a part of the change: the length without the bytes, or half of the bytes.
    fn apply_torn(&self, content: &mut Vec<u8>, zeros: bool) {
        match self {
            ContentChange::Write(offset, bytes) if zeros => {
                content.resize(content.len().max(offset + bytes.len()), 0);
            }
            ContentChange::Write(offset, bytes) => {
                ContentChange::Write(*offset, bytes[..bytes.len() / 2].to_vec()).apply(content);
            }
            ContentChange::Truncate(_) => self.apply(content),
        }
    }
}

/// A durable state, and a later one in the cache.
struct Cached<T, C> {
    now: T,
    durable: T,
    /// Changes since the last sync.
    unsynced: Vec<C>,
}

impl<T: Default, C> Default for Cached<T, C> {
    fn default() -> Self {
        Cached { now: T::default(), durable: T::default(), unsynced: Vec::new() }
    }
}

impl<T: Clone, C> Cached<T, C> {
    fn change(&mut self, change: C, apply: impl Fn(&C, &mut T)) {
        apply(&change, &mut self.now);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        self.durable = self.now.clone();
        self.unsynced.clear();
    }
}

type Names = Cached<BTreeMap<String, Entry>, NameChange>;

/// The files and folders below one folder.
#[derive(Default)]
pub(super) struct Disk {
    files: Vec<Cached<Vec<u8>, ContentChange>>,
    /// The file of each inode. An inode may be used again.
    inodes: BTreeMap<u64, usize>,
    folders: BTreeMap<String, Names>,
}

/// Splits a path into folder and name.
fn split(path: &str) -> (String, String) {
    let (folder, name) = path.rsplit_once('/').unwrap();
    (folder.into(), name.into())
}

impl Disk {
    fn names(&mut self, folder: String, change: NameChange) {
        self.folders.entry(folder).or_default().change(change, NameChange::apply);
    }

    fn put(&mut self, path: &str, entry: Entry) {
        let (folder, name) = split(path);
        self.names(folder, NameChange::Put(name, entry));
    }

    fn content(&mut self, inode: u64, change: ContentChange) {
        let file = self.inodes[&inode];
        self.files[file].change(change, ContentChange::apply);
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Create { inode, path } => {
                self.files.push(Cached::default());
                self.inodes.insert(*inode, self.files.len() - 1);
                self.put(path, Entry::File(self.files.len() - 1));
            }
            Change::Link { inode, path } => self.put(path, Entry::File(self.inodes[inode])),
            Change::MakeFolder(path) => {
                self.folders.insert(path.clone(), Names::default());
                self.put(path, Entry::Folder);
            }
            Change::Write { inode, offset, bytes } => {
                self.content(*inode, ContentChange::Write(*offset, bytes.clone()));
            }
            Change::Truncate { inode, length } => {
                self.content(*inode, ContentChange::Truncate(*length));
            }
            Change::Sync { inode, .. } => {
                if let Some(file) = self.inodes.get(inode) {
                    self.files[*file].sync();
                }
            }
            Change::SyncFolder(path) => self.folders.entry(path.clone()).or_default().sync(),
            Change::Unlink(path) => {
                let (folder, name) = split(path);
                self.names(folder, NameChange::Remove(name));
            }
            Change::Rename { from, to } => {
                let ((from_folder, from), (to_folder, to)) = (split(from), split(to));
                if from_folder == to_folder {
                    self.names(from_folder, NameChange::Move(from, to));
                } else {
                    let entry = self.folders[&from_folder].now[&from];
                    self.names(to_folder, NameChange::Put(to, entry));
                    self.names(from_folder, NameChange::Remove(from));
                }
            }
            Change::Report(_) => {}
        }
    }

    /// Writes the folder as it may be after a power loss. Each change that was not synced is kept
    /// with a probability of `percent`; of some writes only a part is kept.
    pub(super) fn write(&self, folder: &Path, dice: &mut Dice, percent: u64) {
        self.write_folder("", folder, dice, percent);
    }

    fn write_folder(&self, path: &str, place: &Path, dice: &mut Dice, percent: u64) {
        std::fs::create_dir(place).unwrap();
        let Some(Cached { durable, unsynced, .. }) = self.folders.get(path) else { return };
        let mut names = durable.clone();
        for change in unsynced {
            if dice.below(100) < percent {
                change.apply(&mut names);
            }
        }
        for (name, entry) in names {
            let place = place.join(&name);
            match entry {
                Entry::Folder => {
                    self.write_folder(&format!("{path}/{name}"), &place, dice, percent);
                }
                Entry::File(file) => {
                    let file = &self.files[file];
                    let mut content = file.durable.clone();
                    for change in &file.unsynced {
                        match dice.below(100) {
                            drawn if drawn >= percent => {}
                            drawn if percent < 100 && drawn % 3 == 0 => {
                                change.apply_torn(&mut content, dice.below(2) == 0);
                            }
                            _ => change.apply(&mut content),
                        }
                    }
                    std::fs::write(place, content).unwrap();
                }
            }
        }
    }

    /// Panics unless the folder is the one that all changes together make: otherwise the record
    /// has a hole.
    pub(super) fn assert_equals(&self, folder: &Path) {
        self.assert_folder("", folder);
    }

    fn assert_folder(&self, path: &str, place: &Path) {
        let names = self.folders.get(path).map(|folder| folder.now.clone()).unwrap_or_default();
        let entries = std::fs::read_dir(place).unwrap();
        let mut found: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        assert_eq!(found, names.keys().cloned().collect::<Vec<_>>(), "in {path}");
        for (name, entry) in names {
            match entry {
                Entry::Folder => self.assert_folder(&format!("{path}/{name}"), &place.join(name)),
                Entry::File(file) => {
                    let content = std::fs::read(place.join(&name)).unwrap();
                    assert!(content == self.files[file].now, "{path}/{name} differs");
                }
            }
        }
    }
}
