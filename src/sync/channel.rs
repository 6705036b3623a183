//! Channels: those of the standard library, whose waits are turns in a simulation.

use std::iter::from_fn;
use std::sync::mpsc::{self, RecvError, RecvTimeoutError, SendError, TryRecvError};
use std::thread::panicking;
use std::time::Duration;

use crate::simulation::{Event, Task, current};

/// The sending end of a [`channel`].
pub(crate) struct Sender<T> {
    inner: mpsc::Sender<T>,
    sent: Event,
}

/// The receiving end of a [`channel`].
pub(crate) struct Receiver<T> {
    inner: mpsc::Receiver<T>,
    sent: Event,
}

/// Creates a channel without a limit.
pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let ((sender, receiver), sent) = (mpsc::channel(), Event::default());
    (Sender { inner: sender, sent: sent.clone() }, Receiver { inner: receiver, sent })
}

impl<T> Sender<T> {
    /// Sends a value; it never blocks.
    ///
    /// # Errors
    /// When the receiver is gone.
    pub(crate) fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.inner.send(value)?;
        self.sent.ring();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { inner: self.inner.clone(), sent: self.sent.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // The receiver may have waited for the last sender.
        self.sent.ring();
    }
}

impl<T> Receiver<T> {
    /// Waits for a value.
    ///
    /// # Errors
    /// When no value can come, because all senders are gone.
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        match current() {
            Some(task) => self.simulated(&task, None).map_err(|_| RecvError),
            None => self.inner.recv(),
        }
    }

    /// Waits for a value, but for `longest` at most.
    ///
    /// # Errors
    /// When none has come, or none can come.
    pub(crate) fn recv_timeout(&self, longest: Duration) -> Result<T, RecvTimeoutError> {
        match current() {
            Some(task) => self.simulated(&task, Some(longest)),
            None => self.inner.recv_timeout(longest),
        }
    }

    /// Returns a value that has been sent.
    ///
    /// # Errors
    /// When there is none, or none can come.
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inner.try_recv()
    }

    /// Returns the values that have been sent.
    pub(crate) fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
        self.inner.try_iter()
    }

    /// Waits for each value until all senders are gone.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        from_fn(|| self.recv().ok())
    }

    fn simulated(&self, task: &Task, longest: Option<Duration>) -> Result<T, RecvTimeoutError> {
        let end = longest.map(|longest| task.now().saturating_add(longest));
        // A value that is there already may be received later.
        if task.draw(2) == 0 {
            task.switch("a message");
        }
        loop {
            let seen = self.sent.count();
            match self.inner.try_recv() {
                Ok(value) => return Ok(value),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            let left = end.map(|end| end.saturating_sub(task.now()));
            if left.is_some_and(|left| left.is_zero()) || panicking() {
                return Err(RecvTimeoutError::Timeout);
            }
            task.wait("a message", &self.sent, seen, left);
        }
    }
}

#[cfg(all(test, feature = "faults"))]
mod tests {
    use super::*;
    use crate::simulation::{Simulation, start};
    use crate::sync::spawn;

    #[test]
    fn a_deadlock_fails_with_the_place_of_each_thread() {
        let history = Simulation::new(1).run(|| {
            let deadlock = || {
                let ((first, one), (second, other)) = (channel::<()>(), channel::<()>());
                let thread = spawn("the other".into(), move || (other.recv(), first));
                let received = (one.recv(), second).0;
                thread.map(|thread| (received, thread.join().is_ok())).is_ok()
            };
            start(None, deadlock).join();
        });
        let failure = history.result.unwrap_err();
        assert!(failure.starts_with("no thread can run"), "{failure}");
        for waits in ["the run of life 3 waits at a message", "the other of life 3 waits at a mess"]
        {
            assert!(failure.contains(waits), "{failure}");
        }
    }

    #[test]
    fn seeds_decide_which_of_two_messages_is_first() {
        let firsts = |seed| {
            let history = Simulation::new(seed).run(|| {
                let (sender, receiver) = channel();
                let send = |number| {
                    let sender = sender.clone();
                    spawn(format!("{number}"), move || sender.send(number)).is_ok()
                };
                assert!(send(1) && send(2));
                receiver.recv()
            });
            history.result.unwrap().unwrap()
        };
        let first: Vec<u64> = (0..20).map(firsts).collect();
        assert_eq!(first, (0..20).map(firsts).collect::<Vec<u64>>());
        assert!(first.contains(&1) && first.contains(&2));
    }
}
