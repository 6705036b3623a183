//! Following an archive: events of its folders, or intervals.
//!
//! One thread of an [`Archive`](super::Archive) reads the events of all folders below the followed
//! topics (inotify). An event that names a new object adds it to the changes of its partition, and
//! wakes the reader. So a thousand idle partitions cost nothing.
//!
//! - **Nothing is missed**: a folder is watched before it is listed, and so are the folders that
//!   appear in it. If the kernel's queue of events overflows, all folders are watched and listed
//!   anew.
//! - **A new file** is read once its writer closes it, or a second after its creation. A renamed or
//!   linked file is read at once.
//! - **Where the system can't watch** (its limits, a file system of another machine, or it is not
//!   Linux), a warning is logged once, and each partition looks for its next object at intervals,
//!   of 20 ms for up to four partitions, and of 5 ms times their number for more.
//! - **An object store** has no events: each partition sends a request a second, and fewer if there
//!   are more than 256 partitions.

mod changes;
#[cfg(target_os = "linux")]
mod events;
#[cfg(target_os = "linux")]
mod folders;
#[cfg(not(target_os = "linux"))]
#[path = "watch/unwatched.rs"]
mod folders;
mod state;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;
use std::time::Duration;

pub(super) use changes::Changes;
use changes::Mailbox;
#[cfg(target_os = "linux")]
use events::begin;
#[cfg(not(target_os = "linux"))]
use folders::begin;
use state::Shared;

/// The time after which a partition looks for its next object although no event has come. No
/// correct system needs it.
const WATCHED_INTERVAL: Duration = Duration::from_secs(60);
/// The shortest time between two looks at a partition whose folders can't be watched.
pub(super) const POLL_INTERVAL_MIN: Duration = Duration::from_millis(20);
/// The same for each partition, so that many take no more than about a hundredth of a core.
const POLL_INTERVAL_EACH: Duration = Duration::from_millis(5);
/// The shortest time between two requests of a partition to an object store.
const REQUEST_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Each so many partitions, the requests of a partition come one second later.
const PARTITIONS_PER_SECOND: u32 = 256;

/// The watch over the followed topics of an archive.
pub(super) struct Watch {
    shared: Arc<Shared>,
    /// The number of readers that follow a partition.
    count: AtomicU32,
}

impl Watch {
    /// Returns a watch over the archive of this name in messages. It begins with the first reader.
    pub(super) fn new(archive: &str) -> Self {
        Watch { shared: Arc::new(Shared::new(archive.into())), count: AtomicU32::new(0) }
    }

    /// Follows a partition of a topic, whose folder is given; none in an object store.
    pub(super) fn follow(
        self: &Arc<Self>,
        topic: &Arc<str>,
        folder: Option<PathBuf>,
        partition: u32,
    ) -> Follower {
        let mailbox = Arc::default();
        let place = if folder.is_some() { Place::Folder } else { Place::Objects };
        if let Some(folder) = folder {
            self.shared.follow(topic, &folder, partition, &mailbox, begin);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Follower { watch: self.clone(), mailbox, place }
    }

    /// Watches the folders of a followed topic again, if its own folder was away.
    pub(super) fn renew(&self, topic: &Arc<str>) {
        self.shared.with_folders(|folders, followers| folders.renew_if_lost(topic, followers));
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Folder,
    Objects,
}

/// The subscription of a reader.
pub(super) struct Follower {
    watch: Arc<Watch>,
    mailbox: Arc<Mailbox>,
    place: Place,
}

/// The time until a reader looks for its next object by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Interval {
    /// Changes wake it before.
    Watched(Duration),
    /// Nothing else finds an object of a folder.
    Polled(Duration),
    /// Nothing else finds an object of an object store.
    Requested(Duration),
}

impl Follower {
    /// Takes the changes since the last call.
    pub(super) fn take(&self) -> Changes {
        self.mailbox.take()
    }

    /// Wakes `waker` at the next change. Returns the longest time until the reader looks for its
    /// next object by itself.
    pub(super) fn register(&self, waker: &Waker) -> Interval {
        let count = self.watch.count.load(Ordering::Relaxed);
        if self.place == Place::Objects {
            return Interval::Requested(REQUEST_INTERVAL_MIN * (1 + count / PARTITIONS_PER_SECOND));
        }
        self.mailbox.register(waker);
        match self.watch.shared.is_watching() {
            true => Interval::Watched(WATCHED_INTERVAL),
            false => Interval::Polled(POLL_INTERVAL_MIN.max(POLL_INTERVAL_EACH * count)),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.watch.count.fetch_sub(1, Ordering::Relaxed);
    }
}
