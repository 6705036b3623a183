//! The processes that a supervisor has started.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::key::Key;
use super::parent::STOP_LINE;
use crate::error::{Error, Result};
use crate::sync::{Sender, spawn};

/// The number that a shell adds to that of a signal.
const SIGNAL_BASE: i32 = 128;

/// Events for a supervisor.
pub(super) enum Notice {
    /// A process of this start has ended.
    Ended { start: u64, process: usize },
    /// All processes shall end gracefully.
    Stop,
}

/// The processes of one start that have not ended. They are killed when this value is dropped.
pub(super) struct Children {
    start: u64,
    running: BTreeMap<usize, Running>,
    notices: Sender<Notice>,
}

/// A process, and the pipe to it.
struct Running {
    child: Child,
    pipe: UnixStream,
    /// True if its exit code is that of a kill of the supervisor.
    is_killed: bool,
}

impl Children {
    pub(super) fn new(start: u64, notices: Sender<Notice>) -> Self {
        Children { start, running: BTreeMap::new(), notices }
    }

    /// Starts a process. Its standard input is a socket whose other end is here: it carries the
    /// secret and orders to the process, and the end of one process to the other.
    ///
    /// # Errors
    /// When the system can't start it.
    pub(super) fn start(&mut self, process: usize, mut command: Command, key: &Key) -> Result<()> {
        let failed = |e| Error::connect(format!("can't start process {process}")).because(e);
        let (mut pipe, input) = UnixStream::pair().map_err(failed)?;
        // A signal of the terminal reaches the supervisor only, which stops the others in order.
        command.process_group(0).stdin(Stdio::from(OwnedFd::from(input)));
        let child = command.spawn().map_err(failed)?;
        // The other copy of the process's end.
        drop(command);
        let mut ends = pipe.try_clone().map_err(failed)?;
        // A process that has ended already is noticed by the thread below.
        let _ = pipe.write_all(&key.line());
        self.running.insert(process, Running { child, pipe, is_killed: false });
        let (start, notices) = (self.start, self.notices.clone());
        let wait = move || {
            // A process writes nothing here, so the first answer is its end.
            let mut buffer = [0; 64];
            while ends.read(&mut buffer).is_ok_and(|read| read > 0) {}
            // The supervisor may have ended.
            let _ = notices.send(Notice::Ended { start, process });
        };
        let name = format!("cluster:child-{process}");
        spawn(name.clone(), wait).map(drop).map_err(|e| Error::no_thread(&name, e))
    }

    /// Returns true if a process has not ended.
    pub(super) fn are_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Collects a process that has ended, and returns its exit code; returns `None` for one that
    /// the supervisor has killed.
    ///
    /// # Errors
    /// When the system does not report it.
    pub(super) fn ended(&mut self, process: usize) -> Result<Option<u8>> {
        let Some(mut running) = self.running.remove(&process) else { return Ok(None) };
        let status = running.child.wait().map_err(|e| {
            Error::connect(format!("can't wait for the end of process {process}")).because(e)
        })?;
        Ok((!running.is_killed).then(|| code(status)))
    }

    /// Lets all processes end gracefully.
    pub(super) fn stop(&mut self) {
        for running in self.running.values_mut() {
            // A process that has ended needs no order.
            let _ = running.pipe.write_all(STOP_LINE);
        }
    }

    /// Kills all processes, also those that are stopped.
    pub(super) fn kill(&mut self) {
        for running in self.running.values_mut() {
            running.is_killed = true;
            // A process that has ended can't be killed.
            let _ = running.child.kill();
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.kill();
        for running in self.running.values_mut() {
            let _ = running.child.wait();
        }
    }
}

/// Returns the exit code as a shell reports it: a signal is 128 and its number.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNAL_BASE + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
