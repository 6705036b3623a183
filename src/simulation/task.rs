//! Tasks: the threads of a simulation.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::panicking;
use std::time::{Duration, Instant};

use super::scheduler::Scheduler;
pub(crate) use super::state::Event;
use super::state::{GroupId, TaskId, Wait};

thread_local! {
    static CURRENT: RefCell<Option<Task>> = const { RefCell::new(None) };
}

/// The payload with which the threads of a crashed life unwind.
pub(super) struct Ended;

/// A thread of a simulation.
#[derive(Clone)]
pub(crate) struct Task {
    pub(super) scheduler: Arc<Scheduler>,
    pub(super) id: TaskId,
    pub(super) group: GroupId,
    /// Rung when the task has ended.
    done: Event,
    /// Rung when a worker of the group may have something to do.
    workers: Event,
}

/// The time in which a thread is part of a simulation.
pub(crate) struct Turn(Task);

impl Drop for Turn {
    fn drop(&mut self) {
        CURRENT.with(|current| current.borrow_mut().take());
        self.0.done.count_up();
        self.0.scheduler.leave(self.0.id);
    }
}

/// Returns the task of this thread; none outside of a simulation.
pub(crate) fn current() -> Option<Task> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Wakes the workers of the run.
pub(crate) fn ring_workers() {
    if let Some(task) = current() {
        task.workers.count_up();
    }
}

impl Event {
    /// Wakes all tasks that wait for this event. A thread that has left the simulation wakes none,
    /// because nothing decides when it runs.
    pub(crate) fn ring(&self) {
        if current().is_some() {
            self.count_up();
        }
    }

    /// Wakes one of the tasks that wait for this event.
    pub(crate) fn wake_one(&self) {
        if let Some(task) = current() {
            task.scheduler.state().wake_one(self);
        }
    }
}

impl Task {
    /// Adds the first task of a group.
    pub(super) fn first(scheduler: Arc<Scheduler>, name: &str, group: GroupId) -> Self {
        let id = scheduler.state().add_task(name, group);
        Task { scheduler, id, group, done: Event::default(), workers: Event::default() }
    }

    /// Adds a task to the group of this one. A thread must [`enter`](Self::enter) it.
    pub(crate) fn child(&self, name: &str) -> Task {
        let id = self.scheduler.state().add_task(name, self.group);
        Task { id, done: Event::default(), ..self.clone() }
    }

    /// Makes this thread the task, and waits for its first turn.
    pub(crate) fn enter(self) -> Turn {
        CURRENT.with(|current| *current.borrow_mut() = Some(self.clone()));
        let turn = Turn(self);
        if turn.0.scheduler.enter(turn.0.id) {
            resume_unwind(Box::new(Ended));
        }
        turn
    }

    /// Removes a task that no thread has entered.
    pub(crate) fn leave(self) {
        self.done.count_up();
        self.scheduler.leave(self.id);
    }

    /// Returns the event that wakes the workers of the group.
    pub(crate) fn workers(&self) -> &Event {
        &self.workers
    }

    /// Gives other tasks a turn.
    pub(crate) fn switch(&self, place: &str) {
        self.pass(place, Wait::Turn);
    }

    /// Waits until `event` has another count than `seen`, but for `longest` at most.
    pub(crate) fn wait(&self, place: &str, event: &Event, seen: u64, longest: Option<Duration>) {
        let deadline = longest.map(|longest| self.scheduler.after(longest));
        self.pass(place, Wait::Event { event: event.clone(), seen, deadline });
    }

    /// Does nothing on a thread that unwinds, and unwinds it if its life has ended.
    fn pass(&self, place: &str, wait: Wait) {
        if !panicking() && self.scheduler.switch(self.id, place, wait) {
            resume_unwind(Box::new(Ended));
        }
    }

    /// Waits for the end of another task, also if this one has to end: its thread must not be
    /// blocked by that one.
    pub(crate) fn wait_for_end(&self, task: &Task) {
        let (seen, place) = (0, "a join");
        while task.done.count() == seen && !panicking() {
            let wait = Wait::Event { event: task.done.clone(), seen, deadline: None };
            self.scheduler.switch(self.id, place, wait);
        }
    }

    /// Returns the virtual time since [`start`](Self::start).
    pub(crate) fn now(&self) -> Duration {
        self.scheduler.state().now
    }

    pub(crate) fn start(&self) -> Instant {
        self.scheduler.start
    }

    /// Draws a number below `end`.
    pub(crate) fn draw(&self, end: u64) -> u64 {
        self.scheduler.state().draw(end)
    }

    /// Returns true if the simulation has this bug.
    pub(crate) fn has_bug(&self, name: &str) -> bool {
        self.scheduler.bug.as_deref() == Some(name)
    }

    /// Returns the limit of this name.
    pub(crate) fn limit(&self, name: &str) -> Option<u64> {
        let limits = &self.scheduler.limits;
        limits.iter().find(|(limit, _)| *limit == name).map(|(_, number)| *number)
    }
}
