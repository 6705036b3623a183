//! Threads. In a simulation each is a task, which runs only when it is its turn.

use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::{self, Builder, Result, panicking};

use crate::simulation::{Task, Turn, current};

/// The handle of a thread that was started by [`spawn`].
pub(crate) struct JoinHandle<T> {
    inner: thread::JoinHandle<T>,
    task: Option<Task>,
}

/// Starts a thread.
///
/// # Errors
/// When the system provides none.
pub(crate) fn spawn<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let task = current().map(|task| task.child(&name));
    let own = task.clone();
    let work = move || {
        let _turn = own.map(Task::enter);
        work()
    };
    match Builder::new().name(name).spawn(work) {
        Ok(inner) => Ok(JoinHandle { inner, task }),
        Err(error) => {
            task.into_iter().for_each(Task::leave);
            Err(error)
        }
    }
}

impl<T> JoinHandle<T> {
    /// Waits for the end of the thread.
    ///
    /// # Errors
    /// The panic of the thread.
    pub(crate) fn join(self) -> Result<T> {
        if self.task.is_some() && panicking() {
            // The thread gets its last turns after this one.
            return Err(Box::new("not joined"));
        }
        wait_for(self.task.as_slice());
        end_turn();
        self.inner.join()
    }
}

/// Waits for tasks, so that joining their threads does not block the simulation.
fn wait_for(tasks: &[Task]) {
    if let Some(own) = current() {
        tasks.iter().for_each(|task| own.wait_for_end(task));
    }
}

/// Ends a thread of a crashed run before it finds out that another one has ended so too.
fn end_turn() {
    if let Some(own) = current() {
        own.switch("a join");
    }
}

/// A scope of threads, as [`thread::scope`] makes it.
pub(crate) struct Scope<'scope, 'env: 'scope> {
    inner: &'scope thread::Scope<'scope, 'env>,
    tasks: RefCell<Vec<Task>>,
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a thread that ends within the scope.
    ///
    /// # Errors
    /// When the system provides none.
    pub(crate) fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'scope) -> io::Result<()> {
        let task = current().map(|task| task.child(name));
        let own = task.clone();
        let work = move || {
            let _turn = own.map(Task::enter);
            work();
        };
        match thread::Builder::new().spawn_scoped(self.inner, work) {
            Ok(_) => self.tasks.borrow_mut().extend(task),
            Err(error) => {
                task.into_iter().for_each(Task::leave);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Runs `work`, which may start threads, and waits for their end.
pub(crate) fn scope<'env, T>(work: impl for<'scope> FnOnce(&Scope<'scope, 'env>) -> T) -> T {
    thread::scope(|inner| {
        let scope = Scope { inner, tasks: RefCell::default() };
        // The threads of a crashed run must get their last turns before this one joins them.
        let result = catch_unwind(AssertUnwindSafe(|| work(&scope)));
        wait_for(&scope.tasks.borrow());
        let result = result.unwrap_or_else(|panic| resume_unwind(panic));
        end_turn();
        result
    })
}

/// The places of threads that another library starts.
pub(crate) struct Seats(Vec<Task>);

impl Seats {
    /// Returns `count` places, if this thread is part of a simulation.
    pub(crate) fn new(name: &str, count: usize) -> Self {
        let own = current();
        let seat = |number| own.as_ref().map(|task| task.child(&format!("{name} {number}")));
        Seats((0..count).filter_map(seat).collect())
    }

    /// Makes this thread part of the simulation until the result is dropped.
    pub(crate) fn take(&self, number: usize) -> Option<Turn> {
        self.0.get(number).cloned().map(Task::enter)
    }

    /// Waits until all threads have left their places.
    pub(crate) fn wait(&self) {
        wait_for(&self.0);
        end_turn();
    }
}
