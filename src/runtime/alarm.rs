//! Threads whose end by a panic is told: who waits for them would wait for ever.

use std::sync::mpsc::Sender;
use std::thread::{Builder, JoinHandle};

use super::coordinator::Message;
use crate::error::{Error, Result};

/// Tells the coordinator when the thread that has it panics.
pub(super) struct Alarm {
    /// Who the thread is, for people.
    pub(super) what: &'static str,
    pub(super) coordinator: Sender<Message>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = Error::internal(format!("a {} panicked", self.what));
            let _ = self.coordinator.send(Message::Failed(
                error.hint("This is a bug: please report the message above."),
            ));
        }
    }
}

/// Starts a thread that does `work`.
pub(super) fn spawn(
    what: &'static str,
    name: String,
    coordinator: &Sender<Message>,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>> {
    let alarm = Alarm { what, coordinator: coordinator.clone() };
    let guarded = move || {
        let _alarm = alarm;
        work();
    };
    Builder::new().name(name).spawn(guarded).map_err(|e| Error::no_thread(&format!("a {what}"), e))
}
