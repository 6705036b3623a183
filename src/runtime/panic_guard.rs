//! Threads whose panic fails the run. Otherwise the coordinator would wait for them for ever.

use super::message::Message;
use crate::cluster;
use crate::error::{Error, Result};
use crate::sync::{self, JoinHandle, Sender};

/// Sends a failure to the coordinator if the thread that owns it panics.
pub(super) struct PanicGuard {
    role: &'static str,
    coordinator: Sender<Message>,
}

impl PanicGuard {
    /// Guards a thread; `role` names it in the error.
    pub(super) fn new(role: &'static str, coordinator: Sender<Message>) -> Self {
        PanicGuard { role, coordinator }
    }
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let own = || {
                Error::internal(format!("a {} panicked", self.role))
                    .hint("This is a bug: please report the message above.")
            };
            // Workers panic too when another process is lost.
            let error = cluster::lost_process().unwrap_or_else(own);
            // A run that is over can't fail any more.
            let _ = self.coordinator.send(Message::Failed(error));
        }
    }
}

/// Starts a guarded thread with this `name`, which runs `work`.
///
/// # Errors
/// When the system provides no thread.
pub(super) fn spawn(
    role: &'static str,
    name: String,
    coordinator: &Sender<Message>,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>> {
    let guard = PanicGuard::new(role, coordinator.clone());
    let guarded = move || {
        let _guard = guard;
        work();
    };
    sync::spawn(name, guarded).map_err(|e| Error::no_thread(&format!("a {role}"), e))
}
