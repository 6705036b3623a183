//! All folders of a topic but those of its partitions, walked for all its partitions at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::store::Store;
use crate::sync::lock;

use super::finder::{Finder, Listed, Others};
use super::layout::partition_of;
use super::walk::{self, Top};

/// For how many files of a folder, or of an object store, all is looked into once less often. It is
/// asked for about once a second, so looking takes a small part of the time, however many files
/// there are.
const FILES: usize = 25_000;
const KEYS: usize = 500;
/// The same for the newest folders of an object store.
const NEWEST: usize = 1000;

/// The folders of a topic, as far as they are known.
#[derive(Default)]
pub(super) struct Tree(Mutex<State>);

#[derive(Default)]
struct State {
    seen: Option<Arc<Seen>>,
    /// The partitions that were told of it, and those that were opened since all were asked for, if
    /// they ever were.
    told: BTreeSet<u32>,
    opened: Option<BTreeSet<u32>>,
    /// How often not all is looked into, and not even the newest folders, before they are again.
    all: usize,
    newest: usize,
}

/// The reason to look: some may be told of what was seen for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The partitions there are, are asked for.
    All,
    /// A partition is opened: it may be known from when all were asked for, once.
    Opening(u32),
    /// A partition is followed.
    Following(u32),
    /// The objects of a partition that there are now are needed.
    Now(u32),
}

/// The folders and objects that were seen.
#[derive(Clone, Default)]
pub(super) struct Seen {
    /// The partitions with folders of their own.
    pub(super) folders: Vec<u32>,
    /// The objects outside them, by partition and offset.
    pub(super) objects: BTreeMap<u32, Arc<[Listed]>>,
    /// The files outside them that can't be read.
    pub(super) others: Others,
}

impl Seen {
    fn add(&mut self, finder: Finder<'_>) {
        let mut found: BTreeMap<u32, Vec<Listed>> = BTreeMap::new();
        for (partition, object) in finder.objects {
            found.entry(partition).or_default().push(object);
        }
        for (partition, mut objects) in found {
            objects.extend(
                self.objects.remove(&partition).iter().flat_map(|known| known.iter()).cloned(),
            );
            objects.sort_unstable();
            objects.dedup_by(|one, other| one.is(other));
            self.objects.insert(partition, objects.into());
        }
        self.others.join(&finder.others);
    }

    /// The last folder, by name, that has an object.
    fn last(&self) -> Option<&Arc<str>> {
        self.objects.values().flat_map(|objects| objects.iter()).map(|object| &object.folder).max()
    }
}

impl Tree {
    /// Returns the objects that are there, as `who` may know them. Each partition is told once of
    /// those that were seen for another one, so that many need not look one by one. All folders are
    /// looked into again, unless that was much and done just before.
    pub(super) fn look(&self, store: &Store, topic: &str, who: Who) -> Result<Arc<Seen>> {
        let mut state = lock(&self.0);
        let told = match who {
            Who::Opening(partition) => {
                state.opened.as_mut().is_some_and(|opened| opened.insert(partition))
            }
            Who::Following(partition) => !state.told.contains(&partition),
            Who::All | Who::Now(_) => false,
        };
        if let (Who::Opening(partition) | Who::Following(partition), Some(seen), true) =
            (who, state.seen.clone(), told)
        {
            state.told.insert(partition);
            return Ok(seen);
        }
        let mut finder = Finder::new(topic, None);
        let Top { partitions, folders } = walk::top(store, &mut finder)?;
        let rests = state.all > 0 && !matches!(who, Who::Now(_)) && !folders.is_empty();
        let seen = match state.seen.clone().filter(|_| rests) {
            Some(before) => {
                state.all -= 1;
                let last = before.last().filter(|_| store.remote().is_some());
                if let Some(last) = last.filter(|_| state.newest == 0) {
                    newest(store, last, &mut finder)?;
                    state.newest = finder.files() / NEWEST;
                } else {
                    state.newest = state.newest.saturating_sub(1);
                }
                // Unreadable files were counted when the whole tree was walked.
                finder.others = Others::default();
                let mut seen = Seen { folders: partitions, ..Seen::clone(&before) };
                seen.add(finder);
                seen
            }
            None => {
                walk::below(store, &folders, None, &mut finder, |_| false)?;
                state.all = finder.files() / if store.remote().is_some() { KEYS } else { FILES };
                let mut seen = Seen { folders: partitions, ..Seen::default() };
                seen.add(finder);
                seen
            }
        };
        let seen = Arc::new(seen);
        state.seen = Some(seen.clone());
        state.told.clear();
        match who {
            Who::All => state.opened = Some(BTreeSet::new()),
            Who::Opening(partition) | Who::Following(partition) | Who::Now(partition) => {
                let _ = state.told.insert(partition);
            }
        }
        Ok(seen)
    }
}

/// Looks into the `last` folder and those after it, which are the new ones where folders are named
/// by time.
fn newest(store: &Store, last: &str, finder: &mut Finder<'_>) -> Result<()> {
    let mut there = false;
    // The folders of partitions are not walked: they may come after those of a field.
    walk::below(store, &[String::new()], Some(last), finder, |finder| {
        there |= finder.objects.last().is_some_and(|(_, object)| is_of_partition(object));
        there
    })?;
    finder.objects.retain(|(_, object)| !is_of_partition(object));
    Ok(())
}

/// True if an object lies in the folder of a partition.
fn is_of_partition(object: &Listed) -> bool {
    object.folder.split('/').next().and_then(partition_of).is_some()
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn topic() -> Store {
        let store = Store::objects(Arc::new(InMemory::new()), "t").unwrap();
        put(&store, "hour=03", 0, 0);
        put(&store, "hour=03", 1, 0);
        store
    }

    fn put(store: &Store, folder: &str, partition: u32, first: u64) {
        store.put(&format!("{folder}/t+{partition}+{first}.json"), b"a\n").unwrap();
    }

    fn firsts(seen: &Seen, partition: u32) -> Vec<u64> {
        seen.objects
            .get(&partition)
            .iter()
            .flat_map(|objects| objects.iter())
            .map(|object| object.first)
            .collect()
    }

    #[test]
    fn objects_found_for_one_partition_reach_the_others_once() {
        let (store, tree) = (topic(), Tree::default());
        let look = |who| tree.look(&store, "t", who).unwrap();
        assert!(
            !Arc::ptr_eq(&look(Who::Opening(0)), &look(Who::Opening(1))),
            "nobody asked for all of them yet"
        );
        let all = look(Who::All);
        assert!(
            Arc::ptr_eq(&all, &look(Who::Opening(0))) && Arc::ptr_eq(&all, &look(Who::Opening(1)))
        );
        put(&store, "hour=04", 1, 1);
        let again = look(Who::Opening(0));
        assert!(
            Arc::ptr_eq(&again, &look(Who::Following(1)))
                && !Arc::ptr_eq(&again, &look(Who::Opening(1)))
        );
        assert_eq!((firsts(&all, 1), firsts(&again, 1)), (vec![0], vec![0, 1]));
    }

    #[test]
    fn the_newest_folders_of_an_object_store_are_seen_each_time() {
        let (store, tree) = (topic(), Tree::default());
        put(&store, "partition=2", 2, 0);
        tree.look(&store, "t", Who::All).unwrap();
        tree.0.lock().unwrap().all = 1;
        for (folder, first) in
            [("hour=03", 1), ("hour=04", 2), ("country=Peru", 3), ("partition=7", 4)]
        {
            put(&store, folder, 0, first);
        }
        let seen = tree.look(&store, "t", Who::All).unwrap();
        // A folder of a field is seen when all are looked into.
        assert_eq!((firsts(&seen, 0), &*seen.folders), (vec![0, 1, 2], &[2, 7][..]));
        let seen = tree.look(&store, "t", Who::All).unwrap();
        assert_eq!(
            (firsts(&seen, 0), firsts(&seen, 1), firsts(&seen, 2)),
            (vec![0, 1, 2, 3], vec![0], vec![])
        );
    }
}
