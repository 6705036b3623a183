//! The simulation of a build without it: no thread has a task, and the compiler removes the rest.

use std::time::Duration;

/// A count of wake-ups.
#[derive(Clone, Default)]
pub(crate) struct Event {}

impl Event {
    #[inline]
    pub(crate) const fn ring(&self) {}

    #[inline]
    pub(crate) const fn wake_one(&self) {}

    #[inline]
    pub(crate) const fn count(&self) -> u64 {
        0
    }
}

/// A thread of a simulation. None exists.
#[derive(Clone)]
pub(crate) enum Task {}

/// The end of a task.
pub(crate) struct Turn;

/// Returns the task of this thread.
#[inline]
pub(crate) const fn current() -> Option<Task> {
    None
}

/// Wakes the workers of the run.
#[inline]
pub(crate) const fn ring_workers() {}

impl Task {
    pub(crate) fn child(&self, _name: &str) -> Task {
        match *self {}
    }

    pub(crate) fn enter(self) -> Turn {
        match self {}
    }

    pub(crate) fn leave(self) {
        match self {}
    }

    pub(crate) fn workers(&self) -> &Event {
        match *self {}
    }

    pub(crate) fn switch(&self, _place: &str) {
        match *self {}
    }

    pub(crate) fn wait(
        &self,
        _place: &str,
        _event: &Event,
        _seen: u64,
        _longest: Option<Duration>,
    ) {
        match *self {}
    }

    pub(crate) fn wait_for_end(&self, _task: &Task) {
        match *self {}
    }

    pub(crate) fn now(&self) -> Duration {
        match *self {}
    }

    pub(crate) fn start(&self) -> std::time::Instant {
        match *self {}
    }

    pub(crate) fn draw(&self, _end: u64) -> u64 {
        match *self {}
    }
}
