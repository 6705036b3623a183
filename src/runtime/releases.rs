//! The release of records that no run reads again. Sources may delete them, which takes time, so a
//! thread of its own calls them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::message::Message;
use super::panic_guard::spawn;
use super::topics::Topics;
use crate::durable::SourceState;
use crate::error::Result;
use crate::sync::{Receiver, Sender, channel};
use crate::time::Timestamp;

/// Longest wait for a source at the end of a run. It may go on with the next release.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// The current time, in milliseconds since 1970.
pub(super) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// By topic, the ranges that its sources have read.
pub(super) type Ranges = BTreeMap<String, Vec<SourceState>>;

/// Owner of the thread.
pub(super) struct Releases {
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
}

impl Releases {
    /// Starts the thread. It ends when the returned sender and its clones are dropped.
    ///
    /// # Errors
    /// When the system provides no thread.
    pub(super) fn start(
        topics: Topics,
        clock: Clock,
        coordinator: &Sender<Message>,
    ) -> Result<(Self, Sender<Ranges>)> {
        let (released, inbox) = channel::<Ranges>();
        let (running, ended) = channel();
        let work = move || {
            let _running: Sender<()> = running;
            while let Ok(first) = inbox.recv() {
                let newest = inbox.try_iter().last().unwrap_or(first);
                let now = Timestamp::from_millis(clock());
                topics.for_each_source(&newest, |source, ends| source.released(ends, now));
            }
        };
        spawn("thread that releases records", "release".into(), coordinator, work)?;
        Ok((Releases { ended }, released))
    }

    /// Waits until the last release is complete, but not for long.
    pub(super) fn finish(self) {
        // Nothing is ever sent: the thread has ended, or the time is over.
        let _ = self.ended.recv_timeout(END_TIMEOUT);
    }
}
