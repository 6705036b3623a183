//! The scheduler: it passes the baton from thread to thread.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::state::{State, TaskId, Wait};

/// The scheduler of one simulation.
pub(super) struct Scheduler {
    state: Mutex<State>,
    /// The beginning of the virtual time.
    pub(super) start: Instant,
    pub(super) bug: Option<String>,
    pub(super) limits: Vec<(&'static str, u64)>,
}

impl Scheduler {
    pub(super) fn new(state: State, bug: Option<String>, limits: Vec<(&'static str, u64)>) -> Self {
        Scheduler { state: Mutex::new(state), start: Instant::now(), bug, limits }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the baton and waits for it. Returns true if the task must end.
    pub(super) fn switch(&self, id: TaskId, place: &str, wait: Wait) -> bool {
        let mut state = self.state();
        state.end_turn(id, place, wait);
        state.choose();
        self.wait_for_turn(state, id)
    }

    /// Waits for the first turn of a task. Returns true if it must end.
    pub(super) fn enter(&self, id: TaskId) -> bool {
        self.wait_for_turn(self.state(), id)
    }

    /// Removes a task, and passes the baton if the task has it.
    pub(super) fn leave(&self, id: TaskId) {
        let mut state = self.state();
        state.remove_task(id);
        if state.running == Some(id) {
            state.choose();
            drop(self.wake(state));
        }
    }

    fn wait_for_turn<'a>(&'a self, state: MutexGuard<'a, State>, id: TaskId) -> bool {
        let mut state = if state.running == Some(id) { state } else { self.wake(state) };
        if let Some(wake) = state.wake_of(id) {
            while state.running != Some(id) {
                state = wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        state.must_end(id)
    }

    /// Wakes the thread that has the baton. It is unlocked meanwhile, so that the thread can run.
    fn wake<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let wake = state.running.and_then(|id| state.wake_of(id));
        drop(state);
        wake.inspect(|wake| wake.notify_one());
        self.state()
    }

    /// Returns the virtual time after a pause.
    pub(super) fn after(&self, pause: Duration) -> Duration {
        self.state().now.saturating_add(pause)
    }
}
