//! The publisher of an appender: it moves acknowledged records from the journal into the archive.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::error::{Error, ErrorKind, Result};
use crate::store::disk;
use crate::sync::lock;

use super::Shared;
use super::command::Command;
use super::journal::{self, Run};
use super::topics::{self, Key};

/// Pause after a failed attempt to publish.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Time without records after which the journal is emptied, so that a recovery has nothing to do.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Acknowledged records that are not published yet.
#[derive(Default)]
pub(super) struct Backlog {
    pub(super) groups: Vec<Group>,
    /// Number of the journal's current segment.
    pub(super) segment: u64,
    /// Receivers that wait until the backlog is published.
    pub(super) drained: Vec<oneshot::Sender<()>>,
}

impl Backlog {
    /// An empty backlog, while segment number `segment` is written.
    pub(super) fn at(segment: u64) -> Self {
        Backlog { segment, ..Self::default() }
    }
}

/// The progress of publishing.
pub(super) struct Published {
    /// The end of each partition in the archive.
    pub(super) ends: BTreeMap<Key, u64>,
    /// Records whose object could not be created. They are retried alone, because the object may
    /// exist all the same, with exactly these records.
    failed: Vec<Group>,
}

impl Published {
    /// Everything up to the ends of `topics` is published.
    pub(super) fn at(topics: &BTreeMap<Arc<str>, Vec<u64>>) -> Self {
        let ends = topics.iter().flat_map(|(topic, ends)| {
            let numbered = (0..).zip(ends);
            numbered.map(move |(partition, end)| ((topic.clone(), partition), *end))
        });
        Published { ends: ends.collect(), failed: Vec::new() }
    }
}

/// The records of one sync.
pub(super) struct Group {
    segment: u64,
    runs: Vec<Run>,
    /// Given back on drop.
    _room: Vec<OwnedSemaphorePermit>,
}

impl Group {
    /// `runs` that are in the journal's segment number `segment`.
    pub(super) fn new(segment: u64, runs: Vec<Run>, room: Vec<OwnedSemaphorePermit>) -> Self {
        Group { segment, runs, _room: room }
    }
}

/// Publishes records `interval` after they arrive, and empties the journal when none arrive.
pub(super) async fn publish_all(
    shared: Arc<Shared>,
    queue: mpsc::WeakSender<Command>,
    interval: Duration,
) {
    // True while the journal still holds published records.
    let mut full = false;
    loop {
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(IDLE_TIMEOUT), if full => {
                // The command wakes this loop again. A full queue is not idle.
                let drain = Command::Drain(oneshot::channel().0);
                full = queue.upgrade().is_some_and(|queue| queue.try_send(drain).is_err());
                continue;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = shared.hurry.notified() => {}
        }
        let publisher = shared.clone();
        match tokio::task::spawn_blocking(move || publisher.publish()).await {
            Ok(Ok(any)) => full |= any,
            Ok(Err(error)) if error.kind() == ErrorKind::Data || disk::sync_failed() => {
                return shared.give_up(&error);
            }
            Ok(Err(error)) => {
                let folder = shared.root.display();
                tracing::warn!(%error, %folder, "can't add to the archive: try again");
                tokio::time::sleep(RETRY_INTERVAL).await;
                shared.wake.notify_one();
            }
            Err(_) => {}
        }
    }
}

impl Shared {
    /// Publishes the backlog, one object for each partition, and drops the journal's segments
    /// before it. Returns true if there was anything to publish.
    ///
    /// # Errors
    /// Of kind `Data` when the archive was changed by another program. After any other error a
    /// later attempt may succeed.
    fn publish(&self) -> Result<bool> {
        // Hold the lock throughout: records are published in order.
        let mut published = lock(&self.published);
        let failed = mem::take(&mut published.failed);
        let retried = !failed.is_empty();
        self.put(&mut published, failed)?;
        let (groups, drained) = {
            let mut backlog = lock(&self.backlog);
            (mem::take(&mut backlog.groups), mem::take(&mut backlog.drained))
        };
        let any = retried || !groups.is_empty();
        let worked = self.put(&mut published, groups).and_then(|()| {
            let backlog = lock(&self.backlog);
            let needed = backlog.groups.first().map_or(backlog.segment, |group| group.segment);
            drop(backlog);
            let undropped = |e| {
                Error::connect(format!("can't take away segments of {}", self.journal().display()))
                    .because(e)
            };
            journal::drop_before(&self.journal(), needed).map_err(undropped)
        });
        if let Err(error) = worked {
            lock(&self.backlog).drained.extend(drained);
            return Err(error);
        }
        for done in drained {
            let _ = done.send(());
        }
        Ok(any)
    }

    /// Adds the runs of `groups` to the archive; keeps them as failed if that fails.
    fn put(&self, published: &mut Published, groups: Vec<Group>) -> Result<()> {
        let mut runs: BTreeMap<Key, Vec<Run>> = BTreeMap::new();
        for run in groups.iter().flat_map(|group| &group.runs) {
            runs.entry((run.topic.clone(), run.partition)).or_default().push(run.clone());
        }
        for (key, mut runs) in runs {
            let end = published.ends.entry(key.clone()).or_default();
            runs.retain(|run| run.first >= *end);
            if !runs.is_empty()
                && let Err(error) = topics::add(&self.root, &key, end, &runs)
            {
                published.failed = groups;
                return Err(error);
            }
        }
        Ok(())
    }
}
