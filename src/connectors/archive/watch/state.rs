//! The state of a watch: not begun, watching, or refused by the system.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::sync::lock;

use super::changes::{Followers, Mailbox};
use super::folders::Folders;

/// The state that readers and the thread of events share.
pub(super) struct Shared {
    /// The name of the archive in messages.
    archive: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    followers: Followers,
    mode: Mode,
}

#[derive(Default)]
enum Mode {
    #[default]
    NotBegun,
    Watching(Folders),
    Refused,
}

impl Shared {
    pub(super) fn new(archive: String) -> Self {
        Shared { archive, state: Mutex::default() }
    }

    /// Adds the reader of a partition, and watches the folders of its topic. If the system can't
    /// watch them, the archive is polled from now on. `begin` starts the thread of the events.
    pub(super) fn follow(
        self: &Arc<Self>,
        topic: &Arc<str>,
        path: &Path,
        partition: u32,
        mailbox: &Arc<Mailbox>,
        begin: impl FnOnce(&Arc<Self>) -> io::Result<Folders>,
    ) {
        let mut state = lock(&self.state);
        state.followers.add(topic, partition, mailbox);
        if matches!(state.mode, Mode::NotBegun) {
            match begin(self) {
                Ok(folders) => state.mode = Mode::Watching(folders),
                Err(error) => return self.refuse_in(&mut state, &error),
            }
        }
        drop(state);
        self.with_folders(|folders, _| folders.watch_topic(topic, path));
    }

    /// Returns true if events report the changes; false if they must be looked for.
    pub(super) fn is_watching(&self) -> bool {
        matches!(lock(&self.state).mode, Mode::Watching(_))
    }

    /// Returns the time until created files are delivered.
    pub(super) fn until_due(&self) -> Option<Duration> {
        match &lock(&self.state).mode {
            Mode::Watching(folders) => folders.until_due(),
            _ => None,
        }
    }

    /// Passes the folders to `work`. After an error of it the archive is polled.
    pub(super) fn with_folders(
        &self,
        work: impl FnOnce(&mut Folders, &Followers) -> io::Result<()>,
    ) {
        let mut state = lock(&self.state);
        if let State { followers, mode: Mode::Watching(folders) } = &mut *state
            && let Err(error) = work(folders, followers)
        {
            self.refuse_in(&mut state, &error);
        }
    }

    /// Ends the watch, and wakes all readers to poll from now on.
    pub(super) fn refuse(&self, error: &io::Error) {
        self.refuse_in(&mut lock(&self.state), error);
    }

    fn refuse_in(&self, state: &mut State, error: &io::Error) {
        if !matches!(state.mode, Mode::Refused) {
            tracing::warn!(
                archive = self.archive,
                %error,
                "can't watch folders (fs.inotify limits them): new objects are looked for \
                 at intervals"
            );
        }
        state.mode = Mode::Refused;
        state.followers.rescan_all();
    }
}
