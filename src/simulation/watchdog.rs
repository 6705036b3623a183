//! The watchdog of a simulation. It is the only part with a real clock.
//!
//! Only the running thread can end its turn. If it blocks at a lock whose owner waits for a turn,
//! no turn ever comes, and the scheduler can't notice.

use std::process::exit;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

use super::scheduler::Scheduler;

/// The number of looks in the time limit. They are counted instead of the time, so that a process
/// that was stopped meanwhile goes on.
const LOOKS: u32 = 30;
/// The exit code of a process whose simulation can't end.
const EXIT_CODE: i32 = 70;

/// Watches a simulation until it is dropped.
pub(super) struct Watchdog {
    /// The thread ends when this is dropped.
    _end: Sender<()>,
}

impl Watchdog {
    /// Watches from a thread that is no part of the simulation. Without a thread for it, the
    /// simulation runs unwatched.
    pub(super) fn start(scheduler: Arc<Scheduler>, seed: u64, timeout: Duration) -> Self {
        let (end, ended) = channel();
        let watch = move || {
            let (mut turns, mut looks) = (0, 0);
            while ended.recv_timeout(timeout / LOOKS) == Err(RecvTimeoutError::Timeout) {
                let state = scheduler.state();
                (turns, looks) =
                    if state.turns == turns { (turns, looks + 1) } else { (state.turns, 0) };
                if looks == LOOKS {
                    let text = state.endless_turn();
                    eprintln!("the simulation of seed {seed} hangs at turn {turns}: {text}");
                    exit(EXIT_CODE);
                }
            }
        };
        if let Err(error) = Builder::new().name("watchdog".into()).spawn(watch) {
            eprintln!("no watchdog for the simulation of seed {seed}: {error}");
        }
        Watchdog { _end: end }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Mutex;

    use super::*;
    use crate::simulation::{Simulation, pause, start};
    use crate::sync::lock;

    /// Set for the child process of the test.
    const HANGS: &str = "WATERSHED_TEST_HANGS";

    #[test]
    fn a_wait_with_a_lock_ends_the_process_with_its_seed() {
        if std::env::var_os(HANGS).is_some() {
            return hang();
        }
        let name = "simulation::watchdog::tests::a_wait_with_a_lock_ends_the_process_with_its_seed";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args([name, "--exact", "--nocapture"]).env(HANGS, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(EXIT_CODE), "{text}");
        let turn = "the turn of the simulation of life 1 after a pause has no end";
        for part in ["of seed 7 hangs", turn, "; the run of life 3 waits at a pause"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    /// Locks a mutex while its owner waits for a turn.
    fn hang() {
        let turn_timeout = Duration::from_millis(300);
        let history = Simulation { turn_timeout, ..Simulation::new(7) }.run(|| {
            let shared = Arc::new(Mutex::new(()));
            let other = shared.clone();
            let life = start(None, move || {
                let _held = lock(&other);
                pause(Duration::from_secs(2));
            });
            pause(Duration::from_secs(1));
            drop(lock(&shared));
            life.join()
        });
        panic!("no hang: {history:?}");
    }
}
