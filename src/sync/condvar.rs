//! Condition variables: those of the standard library, whose waits are turns in a simulation.

use std::sync::{Condvar as Inner, Mutex, MutexGuard};
use std::time::Duration;

use super::{elapsed, ignore_poison, lock, now};
use crate::simulation::{Event, current};

/// A condition variable. A wait may end without a reason.
#[derive(Default)]
pub(crate) struct Condvar {
    inner: Inner,
    woken: Event,
}

impl Condvar {
    /// Unlocks `mutex`, whose guard is given, until another thread notifies this one.
    pub(crate) fn wait<'a, T>(
        &self,
        mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
    ) -> MutexGuard<'a, T> {
        match current() {
            Some(_) => self.simulated(mutex, guard, None),
            None => ignore_poison(self.inner.wait(guard)),
        }
    }

    /// The same, for `longest` at most.
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
        longest: Duration,
    ) -> MutexGuard<'a, T> {
        match current() {
            Some(_) => self.simulated(mutex, guard, Some(longest)),
            None => ignore_poison(self.inner.wait_timeout(guard, longest)).0,
        }
    }

    /// The same while `condition` holds, for `longest` altogether.
    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        mutex: &'a Mutex<T>,
        mut guard: MutexGuard<'a, T>,
        longest: Duration,
        condition: impl Fn(&T) -> bool,
    ) -> MutexGuard<'a, T> {
        let start = now();
        while condition(&guard) {
            let left = longest.saturating_sub(elapsed(start));
            if left.is_zero() {
                break;
            }
            guard = self.wait_timeout(mutex, guard, left);
        }
        guard
    }

    /// Wakes one thread.
    pub(crate) fn notify_one(&self) {
        self.inner.notify_one();
        self.woken.wake_one();
    }

    /// Wakes all threads.
    pub(crate) fn notify_all(&self) {
        self.inner.notify_all();
        self.woken.ring();
    }

    fn simulated<'a, T>(
        &self,
        mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
        longest: Option<Duration>,
    ) -> MutexGuard<'a, T> {
        let seen = self.woken.count();
        drop(guard);
        if let Some(task) = current() {
            task.wait("a condition", &self.woken, seen, longest);
        }
        lock(mutex)
    }
}
