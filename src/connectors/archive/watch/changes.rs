//! The changes of a followed partition, until its reader takes them.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;

use crate::sync::lock;

use super::super::finder::Listed;

/// The number of objects that are kept by name. If there are more, the folders are listed.
const OBJECTS_MAX: usize = 1000;

/// The changes since they were last taken.
#[derive(Default)]
pub(in super::super) struct Changes {
    /// Objects that have appeared.
    pub(in super::super) objects: Vec<Listed>,
    /// True if there may be others, so that all folders must be listed.
    pub(in super::super) rescan: bool,
}

/// The changes of a partition, and the waker of its reader.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<State>);

#[derive(Default)]
struct State {
    changes: Changes,
    waker: Option<Waker>,
}

impl Mailbox {
    /// Adds an object.
    pub(super) fn add(&self, object: Listed) {
        self.change(|changes| {
            if changes.objects.len() < OBJECTS_MAX {
                changes.objects.push(object);
            } else {
                *changes = Changes { objects: Vec::new(), rescan: true };
            }
        });
    }

    /// Requests that all folders are listed.
    pub(super) fn rescan(&self) {
        self.change(|changes| changes.rescan = true);
    }

    fn change(&self, change: impl FnOnce(&mut Changes)) {
        let mut state = lock(&self.0);
        change(&mut state.changes);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Takes the changes.
    pub(super) fn take(&self) -> Changes {
        mem::take(&mut lock(&self.0).changes)
    }

    /// Wakes `waker` at the next change, or immediately if there is one that was not taken.
    pub(super) fn register(&self, waker: &Waker) {
        let mut state = lock(&self.0);
        if state.changes.rescan || !state.changes.objects.is_empty() {
            drop(state);
            waker.wake_by_ref();
        } else {
            state.waker = Some(waker.clone());
        }
    }
}

/// The mailboxes of all readers, by topic.
#[derive(Default)]
pub(super) struct Followers(BTreeMap<Arc<str>, Vec<(u32, Weak<Mailbox>)>>);

impl Followers {
    /// Adds the reader of a partition.
    pub(super) fn add(&mut self, topic: &Arc<str>, partition: u32, mailbox: &Arc<Mailbox>) {
        let all = self.0.entry(topic.clone()).or_default();
        all.retain(|(_, mailbox)| mailbox.strong_count() > 0);
        all.push((partition, Arc::downgrade(mailbox)));
    }

    /// Adds an object to the changes of its partition.
    pub(super) fn add_object(&self, topic: &str, partition: u32, object: &Listed) {
        let of = self.of(topic).filter(|(number, _)| *number == partition);
        of.for_each(|(_, mailbox)| mailbox.add(object.clone()));
    }

    /// Requests a listing by each reader of a topic, or of one partition of it.
    pub(super) fn rescan(&self, topic: &str, partition: Option<u32>) {
        let of = self.of(topic).filter(|(number, _)| partition.is_none_or(|one| one == *number));
        of.for_each(|(_, mailbox)| mailbox.rescan());
    }

    /// Requests a listing by every reader.
    pub(super) fn rescan_all(&self) {
        self.0.keys().for_each(|topic| self.rescan(topic, None));
    }

    fn of(&self, topic: &str) -> impl Iterator<Item = (u32, Arc<Mailbox>)> {
        let all = self.0.get(topic).into_iter().flatten();
        all.filter_map(|(partition, mailbox)| Some((*partition, mailbox.upgrade()?)))
    }
}
