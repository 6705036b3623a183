//! The folders of a topic except those of its partitions, listed for all partitions at once.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::store::Store;
use crate::sync::lock;

use super::finder::{Finder, Listed, Others};
use super::layout::partition_of;
use super::walk::{self, Top};

/// The number of files of a folder for which one more request skips the full listing. Requests come
/// about once a second, so listing takes a small part of the time, however many files there are.
const FILES_PER_SKIP: usize = 25_000;
/// The same for the keys of an object store.
const KEYS_PER_SKIP: usize = 500;
/// The same for the newest folders of an object store.
const NEWEST_KEYS_PER_SKIP: usize = 1000;

/// The last listing of a topic's folders, shared by its partitions.
#[derive(Default)]
pub(super) struct Tree(Mutex<State>);

#[derive(Default)]
struct State {
    seen: Option<Arc<Listing>>,
    /// The partitions that have received the last listing.
    informed: BTreeSet<u32>,
    /// The partitions that were opened since the partitions were listed; `None` if they never
    /// were.
    opened: Option<BTreeSet<u32>>,
    /// The number of requests that skip the full listing.
    full_skips: usize,
    /// The number of requests that skip even the newest folders.
    newest_skips: usize,
    /// True once the topic is followed.
    is_followed: bool,
}

/// The purpose of a listing, which decides if the last one is recent enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To list the partitions.
    Partitions,
    /// To open a partition. Once for each partition, the listing of the partitions is recent
    /// enough.
    Open(u32),
    /// To follow a partition.
    Follow(u32),
    /// To find all current objects of a partition.
    Refresh(u32),
}

/// A listing: folders and objects below a topic.
#[derive(Clone, Default)]
pub(super) struct Listing {
    /// The partitions with folders of their own.
    pub(super) folders: Vec<u32>,
    /// The objects outside them, by partition and offset.
    pub(super) objects: BTreeMap<u32, Arc<[Listed]>>,
    /// The files outside them that can't be read.
    pub(super) others: Others,
}

impl Listing {
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

    /// Returns the last folder, by name, that has an object.
    fn last(&self) -> Option<&Arc<str>> {
        self.objects.values().flat_map(|objects| objects.iter()).map(|object| &object.folder).max()
    }
}

impl Tree {
    /// Forgets a listing that was made before the topic was followed: an object may have appeared
    /// in between.
    pub(super) fn forget_once(&self) {
        let mut state = lock(&self.0);
        if !mem::replace(&mut state.is_followed, true) {
            state.seen = None;
        }
    }

    /// Returns the folders and objects for `purpose`. Each partition receives once a listing that
    /// was made for another one, so that many partitions need not list one by one. Otherwise all
    /// folders are listed again, unless that took long and was done recently.
    pub(super) fn list(
        &self,
        store: &Store,
        topic: &str,
        purpose: Purpose,
    ) -> Result<Arc<Listing>> {
        let mut state = lock(&self.0);
        let is_shared = match purpose {
            Purpose::Open(partition) => {
                state.opened.as_mut().is_some_and(|opened| opened.insert(partition))
            }
            Purpose::Follow(partition) => !state.informed.contains(&partition),
            Purpose::Partitions | Purpose::Refresh(_) => false,
        };
        if let (Purpose::Open(partition) | Purpose::Follow(partition), Some(seen), true) =
            (purpose, state.seen.clone(), is_shared)
        {
            state.informed.insert(partition);
            return Ok(seen);
        }
        let mut finder = Finder::new(topic, None);
        let Top { partitions, folders } = walk::top(store, &mut finder)?;
        let rests =
            state.full_skips > 0 && !matches!(purpose, Purpose::Refresh(_)) && !folders.is_empty();
        let seen = match state.seen.clone().filter(|_| rests) {
            Some(before) => {
                state.full_skips -= 1;
                let last = before.last().filter(|_| store.remote().is_some());
                if let Some(last) = last.filter(|_| state.newest_skips == 0) {
                    newest(store, last, &mut finder)?;
                    state.newest_skips = finder.files() / NEWEST_KEYS_PER_SKIP;
                } else {
                    state.newest_skips = state.newest_skips.saturating_sub(1);
                }
                // Unreadable files were counted when the whole tree was walked.
                finder.others = Others::default();
                let mut seen = Listing { folders: partitions, ..Listing::clone(&before) };
                seen.add(finder);
                seen
            }
            None => {
                walk::below(store, &folders, None, &mut finder, |_| false)?;
                state.full_skips = finder.files()
                    / if store.remote().is_some() { KEYS_PER_SKIP } else { FILES_PER_SKIP };
                let mut seen = Listing { folders: partitions, ..Listing::default() };
                seen.add(finder);
                seen
            }
        };
        let seen = Arc::new(seen);
        state.seen = Some(seen.clone());
        state.informed.clear();
        match purpose {
            Purpose::Partitions => state.opened = Some(BTreeSet::new()),
            Purpose::Open(partition) | Purpose::Follow(partition) | Purpose::Refresh(partition) => {
                let _ = state.informed.insert(partition);
            }
        }
        Ok(seen)
    }
}

/// Lists the `last` folder and those after it, which are the new ones if folders are named by time.
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

/// Returns true if an object is in the folder of a partition.
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

    fn firsts(seen: &Listing, partition: u32) -> Vec<u64> {
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
        let look = |purpose| tree.list(&store, "t", purpose).unwrap();
        assert!(
            !Arc::ptr_eq(&look(Purpose::Open(0)), &look(Purpose::Open(1))),
            "the partitions were not listed yet"
        );
        let all = look(Purpose::Partitions);
        assert!(
            Arc::ptr_eq(&all, &look(Purpose::Open(0)))
                && Arc::ptr_eq(&all, &look(Purpose::Open(1)))
        );
        put(&store, "hour=04", 1, 1);
        let again = look(Purpose::Open(0));
        assert!(
            Arc::ptr_eq(&again, &look(Purpose::Follow(1)))
                && !Arc::ptr_eq(&again, &look(Purpose::Open(1)))
        );
        assert_eq!((firsts(&all, 1), firsts(&again, 1)), (vec![0], vec![0, 1]));
    }

    #[test]
    fn the_newest_folders_of_an_object_store_are_always_listed() {
        let (store, tree) = (topic(), Tree::default());
        put(&store, "partition=2", 2, 0);
        tree.list(&store, "t", Purpose::Partitions).unwrap();
        tree.0.lock().unwrap().full_skips = 1;
        for (folder, first) in
            [("hour=03", 1), ("hour=04", 2), ("country=Peru", 3), ("partition=7", 4)]
        {
            put(&store, folder, 0, first);
        }
        let seen = tree.list(&store, "t", Purpose::Partitions).unwrap();
        // The folder of a field is found by a full listing.
        assert_eq!((firsts(&seen, 0), &*seen.folders), (vec![0, 1, 2], &[2, 7][..]));
        let seen = tree.list(&store, "t", Purpose::Partitions).unwrap();
        assert_eq!(
            (firsts(&seen, 0), firsts(&seen, 1), firsts(&seen, 2)),
            (vec![0, 1, 2, 3], vec![0], vec![])
        );
    }
}
