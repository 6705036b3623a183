//! The failures of a run as one process sees them, and the state of its links.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, ErrorText};
use crate::sync::{Condvar, lock};

/// An error and the process in which it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cause {
    pub(super) process: usize,
    pub(super) error: ErrorText,
}

impl Cause {
    /// Returns the cause for an error in `process`.
    pub(super) fn new(process: usize, error: &Error) -> Self {
        Cause { process, error: error.text() }
    }

    /// Returns true unless the cause is only the loss of another process.
    pub(super) fn is_primary(&self) -> bool {
        self.error.kind != ErrorKind::Lost
    }

    /// Returns the error as process `own` reports it.
    pub(super) fn to_error(&self, own: usize) -> Error {
        let mut error = self.error.clone();
        if self.process != own {
            error.message = format!("process {}: {}", self.process, error.message);
        }
        error.into()
    }
}

/// The state of all links of a process.
#[derive(Default)]
pub(super) struct State {
    /// The failures, the first one first.
    pub(super) causes: Vec<Cause>,
    /// The cause for which process 0 ends the run.
    pub(super) aborted: Option<Cause>,
    /// The content of the welcome of process 0.
    pub(super) welcome: Option<Vec<u8>>,
    /// Threads that read.
    pub(super) readers: usize,
    /// Threads that write.
    pub(super) writers: usize,
    /// Processes from which no failure can come any more.
    pub(super) ended: BTreeSet<usize>,
}

/// The [`State`] of the links, for the threads that change it and those that wait.
#[derive(Default)]
pub(super) struct Board {
    state: Mutex<State>,
    changed: Condvar,
    notify: Notify,
}

impl Board {
    /// Changes the state, and wakes all threads that wait for it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut lock(&self.state));
        self.changed.notify_all();
        self.notify.notify_waiters();
        result
    }

    /// Waits while `condition` holds, and returns the state.
    pub(super) fn wait_while(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        while condition(&state) {
            state = self.changed.wait(&self.state, state);
        }
        state
    }

    /// The same, for `longest` at most.
    pub(super) fn wait_while_for(
        &self,
        longest: Duration,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        self.changed.wait_timeout_while(&self.state, lock(&self.state), longest, condition)
    }

    /// Waits for the end of `work`, or for the first failure.
    ///
    /// # Errors
    /// The failure, as process `own` reports it.
    pub(super) async fn or_failure<T>(
        &self,
        own: usize,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut work = pin!(work);
        loop {
            let changed = self.notify.notified();
            let failure = lock(&self.state).causes.first().map(|cause| cause.to_error(own));
            if let Some(error) = failure {
                return Err(error);
            }
            tokio::select! {
                done = &mut work => return done,
                () = changed => {}
            }
        }
    }
}
