//! A put that waits for the test.

use std::sync::mpsc::{Receiver, Sender, channel};

/// A put that waits, so that its run becomes a zombie.
pub(crate) struct Stall {
    pub(super) at: u64,
    pub(super) begun: Sender<()>,
    pub(super) end: Receiver<()>,
}

/// The test's side of a [`Stall`].
pub(crate) struct Stalled {
    begun: Receiver<()>,
    end: Sender<()>,
}

impl Stall {
    /// Stalls at put number `at`, counted from 1.
    pub(crate) fn at(at: u64) -> (Stall, Stalled) {
        let ((begun, has_begun), (end, has_ended)) = (channel(), channel());
        (Stall { at, begun, end: has_ended }, Stalled { begun: has_begun, end })
    }
}

impl Stalled {
    /// Waits until the put stalls; false if the run ends before.
    pub(crate) fn wait(&self) -> bool {
        self.begun.recv().is_ok()
    }

    pub(crate) fn end(self) {
        // The run may be over.
        let _ = self.end.send(());
    }
}
