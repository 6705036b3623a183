//! Discovery of the partitions that are added to a source during the run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::message::Message;
use super::panic_guard::spawn;
use crate::connect::Source;
use crate::error::Result;
use crate::record::PartitionId;
use crate::sync::{Condvar, JoinHandle, Sender, lock};

/// Time between two listings of a source's partitions.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(1);

/// A gate that opens at the end of the run, for threads that pause until then.
#[derive(Default)]
pub(super) struct Gate {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    /// Ends every pause, now and later.
    pub(super) fn open(&self) {
        *lock(&self.ended) = true;
        self.changed.notify_all();
    }

    /// Blocks for `pause`. Returns false if the run has ended.
    fn pause(&self, pause: Duration) -> bool {
        let ended = lock(&self.ended);
        !*self.changed.wait_timeout_while(&self.ended, ended, pause, |ended| !*ended)
    }
}

/// Starts a thread that lists the partitions of `source` at regular intervals. `first` is the id of
/// its partition 0.
///
/// # Errors
/// When the system provides no thread.
pub(super) fn discover(
    first: PartitionId,
    source: Arc<dyn Source>,
    gate: Arc<Gate>,
    coordinator: Sender<Message>,
) -> Result<JoinHandle<()>> {
    let failures = coordinator.clone();
    let work = move || {
        while gate.pause(DISCOVERY_INTERVAL) {
            let message = match source.partitions() {
                Ok(partitions) => {
                    let ids =
                        partitions.into_iter().map(|partition| first.with_partition(partition));
                    Message::Partitions(ids.collect())
                }
                Err(error) => Message::Failed(error),
            };
            if coordinator.send(message).is_err() {
                return;
            }
        }
    };
    spawn("discovery thread", "discover".into(), &failures, work)
}
