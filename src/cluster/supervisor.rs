//! The supervisor: starts all processes of a run on one machine, and starts them again after a
//! failure.
//!
//! A run can't continue without one of its processes, so all end together: the others notice the
//! loss by themselves, and those that don't are killed. Then all start again, and continue from the
//! last commit.

use std::process::Command;
use std::time::{Duration, Instant};

use super::children::{Children, Notice};
use super::key::{Key, Random};
use crate::error::{Error, Result};
use crate::faults;
use crate::sync::{Receiver, Sender, channel, elapsed, now};

/// The exit code of a process that has only lost another one.
const LOST_CODE: u8 = 75;
/// The exit code of a process that SIGTERM has ended before it could handle the signal.
const TERMINATED_CODE: u8 = 143;
/// The exit code after a second signal, as a shell reports SIGINT.
const KILLED_CODE: u8 = 130;
/// Exit codes after which another start would end in the same way: success, a difference that was
/// found, usage, data, a newer run, permissions, configuration, and a second signal.
const FINAL_CODES: [u8; 9] = [0, 1, 2, 64, 65, 76, 77, 78, KILLED_CODE];

/// The limits of a supervisor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The longest time in which the other processes may end after a failure, before they are
    /// killed.
    pub(crate) ending: Duration,
    /// Time before the second start. It doubles with each start without progress.
    pub(crate) first_pause: Duration,
    /// The longest time between two starts.
    pub(crate) longest_pause: Duration,
    /// The most starts in a row without progress. A start that ends because a process of another
    /// machine is gone does not count: that machine may take its time.
    pub(crate) starts: u32,
}

impl Default for Patience {
    fn default() -> Self {
        let millis = |name, default| Duration::from_millis(faults::limit(name, default));
        Patience {
            ending: millis("ending_millis", 10_000),
            first_pause: millis("restart_millis", 500),
            longest_pause: Duration::from_secs(30),
            starts: 5,
        }
    }
}

/// Starts the processes of a run, and watches them.
pub(crate) struct Supervisor<'a> {
    /// The number of processes.
    pub(crate) processes: usize,
    /// Returns the command of the process with this number. Its standard input becomes the pipe
    /// of [`parent`](super::parent()).
    pub(crate) command: &'a dyn Fn(usize) -> Command,
    /// Returns a number that changes with each commit.
    pub(crate) progress: &'a dyn Fn() -> u64,
    /// The source of the shared secret, which is new for each start.
    pub(crate) random: Random,
    /// The limits.
    pub(crate) patience: Patience,
}

/// Ends supervised processes, from any thread.
#[derive(Clone)]
pub(crate) struct Orders(Sender<Notice>);

impl Orders {
    /// Lets all processes end gracefully.
    pub(crate) fn stop(&self) {
        // A supervisor that has ended has nothing to stop.
        let _ = self.0.send(Notice::Stop);
    }
}

/// The receiving end of [`Orders`].
pub(crate) struct Notices {
    sender: Sender<Notice>,
    receiver: Receiver<Notice>,
}

/// Creates the connection between a supervisor and the threads that end it.
pub(crate) fn orders() -> (Orders, Notices) {
    let (sender, receiver) = channel();
    (Orders(sender.clone()), Notices { sender, receiver })
}

/// The end of all processes of one start.
struct Life {
    code: u8,
    /// True if the processes ended because of an order.
    is_ordered: bool,
}

impl Supervisor<'_> {
    /// Runs the processes to their end, and returns the exit code of the first cause.
    ///
    /// # Errors
    /// - When the system can't start a process.
    /// - Of kind [`Data`](crate::ErrorKind::Data) if the processes fail again and again without
    ///   progress.
    pub(crate) fn run(&self, notices: &Notices) -> Result<u8> {
        let Patience { first_pause, longest_pause, starts, .. } = self.patience;
        let (mut fruitless, mut pause) = (0, first_pause);
        for start in 0_u64.. {
            let before = (self.progress)();
            let Life { code, is_ordered } = self.live(start, notices)?;
            if is_ordered || FINAL_CODES.contains(&code) {
                return Ok(code);
            }
            if (self.progress)() != before {
                (fruitless, pause) = (0, first_pause);
            }
            fruitless += u32::from(code != LOST_CODE);
            if fruitless >= starts {
                let message = format!(
                    "the run failed {fruitless} times without a commit, the last time with exit code {code}"
                );
                let hint = "The errors above name the cause. Remove it, and start the run again.";
                return Err(Error::data(message).hint(hint));
            }
            tracing::warn!("exit code {code}: all processes start again in {pause:?}");
            if self.pause(pause, notices) {
                return Ok(code);
            }
            pause = (pause * 2).min(longest_pause);
        }
        Ok(0)
    }

    /// Waits between two starts; returns true if an order has come.
    fn pause(&self, pause: Duration, notices: &Notices) -> bool {
        let start = now();
        loop {
            let left = pause.saturating_sub(elapsed(start));
            match notices.receiver.recv_timeout(left) {
                Ok(Notice::Stop) => return true,
                // A process of the last start.
                Ok(Notice::Ended { .. }) => {}
                Err(_) => return false,
            }
        }
    }

    /// Starts all processes, and waits until all have ended.
    fn live(&self, start: u64, notices: &Notices) -> Result<Life> {
        let key = Key::random(&self.random)?;
        let mut children = Children::new(start, notices.sender.clone());
        for process in 0..self.processes {
            // The processes that were started are killed when they are dropped.
            children.start(process, (self.command)(process), &key)?;
        }
        let (mut cause, mut deadline, mut is_ordered, mut is_terminated) =
            (None, None, false, false);
        while children.are_running() {
            match self.next(notices, deadline) {
                Some(Notice::Ended { start: of, process }) if of == start => {
                    let Some(code) = children.ended(process)? else { continue };
                    if code == TERMINATED_CODE {
                        // SIGTERM at any process ends all, as the process itself does later.
                        (is_ordered, is_terminated) = (true, true);
                        children.stop();
                    } else {
                        cause = first_cause(cause, code);
                    }
                    if code != 0 {
                        deadline = deadline.or_else(|| now().checked_add(self.patience.ending));
                    }
                }
                Some(Notice::Ended { .. }) => {}
                Some(Notice::Stop) => {
                    is_ordered = true;
                    children.stop();
                }
                None => {
                    deadline = None;
                    children.kill();
                }
            }
        }
        // The others have lost the process that SIGTERM has ended.
        let cause = cause.filter(|code| !is_terminated || *code != LOST_CODE);
        Ok(Life { code: cause.unwrap_or(0), is_ordered })
    }

    /// Waits for the next notice; returns `None` if none has come by the deadline.
    fn next(&self, notices: &Notices, deadline: Option<Instant>) -> Option<Notice> {
        let Some(deadline) = deadline else { return notices.receiver.recv().ok() };
        notices.receiver.recv_timeout(deadline.saturating_duration_since(now())).ok()
    }
}

/// Returns the exit code of the first cause, after a process has ended with `code`.
///
/// A process that has only lost another one is a consequence, although it may end first.
fn first_cause(before: Option<u8>, code: u8) -> Option<u8> {
    match (before, code) {
        (before, 0) => before,
        (None | Some(LOST_CODE), code) => Some(code),
        (before, _) => before,
    }
}
