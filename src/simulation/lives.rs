//! The interface of tests: a simulation, and the lives in it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::scheduler::Scheduler;
use super::state::{Event, GroupId, State};
use super::task::{Ended, Task, current};
use super::watchdog::Watchdog;

/// The usual real time without the end of a turn that ends the process.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// The settings of a simulation. [`run`](Self::run) has an example.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// Decides every draw.
    pub seed: u64,
    /// The name of a planted bug.
    pub bug: Option<String>,
    /// Replacements of limits, by name.
    pub limits: Vec<(&'static str, u64)>,
    /// The simulation fails after so many turns.
    pub max_turns: u64,
    /// Prints each turn on the standard error.
    pub prints: bool,
    /// After so much real time without the end of a turn, the process ends with exit code 70, and
    /// prints the seed and all threads. Then a thread waits for a lock whose owner waits for its
    /// turn.
    pub turn_timeout: Duration,
}

/// The outcome of a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<T> {
    /// The result of the first thread. An error if the simulation has failed: no thread could run,
    /// or it had too many turns.
    pub result: Result<T, String>,
    /// A digest of all turns and of all bytes that passed a [`point`].
    pub trace: u64,
    /// Number of turns.
    pub turns: u64,
    /// The virtual time at the end.
    pub time: Duration,
}

impl Simulation {
    /// Returns a simulation without bugs.
    pub fn new(seed: u64) -> Self {
        Simulation {
            seed,
            bug: None,
            limits: Vec::new(),
            max_turns: 1 << 20,
            prints: false,
            turn_timeout: TURN_TIMEOUT,
        }
    }

    /// Runs `first` as the first thread of a simulation, on the thread of the caller, and ends
    /// every life that `first` has not joined.
    ///
    /// ```
    /// use std::time::Duration;
    /// use watershed::connect::memory::MemoryLog;
    /// use watershed::prelude::*;
    /// use watershed::simulation::{End, Simulation, start};
    ///
    /// let history = |seed| {
    ///     Simulation::new(seed).run(|| {
    ///         let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    ///             builder.stream("numbers", Consumed::with(Int64, Int64)).print("numbers");
    ///         });
    ///         let streams = Streams::new(topology).source("numbers", MemoryLog::default());
    ///         let config = Config { workers: 2, ..Config::default() };
    ///         matches!(start(None, move || streams.run(config)).join(), End::Returned(Ok(_)))
    ///     })
    /// };
    /// assert_eq!(history(7).result, Ok(true));
    /// assert_eq!(history(7), history(7));
    /// assert_ne!(history(7).trace, history(8).trace);
    /// ```
    pub fn run<T>(self, first: impl FnOnce() -> T) -> History<T> {
        let Simulation { seed, bug, limits, max_turns, prints, turn_timeout } = self;
        let mut state = State::new(seed, max_turns);
        state.prints = prints;
        let scheduler = Arc::new(Scheduler::new(state, bug, limits));
        let _watchdog = Watchdog::start(scheduler.clone(), seed, turn_timeout);
        let group = scheduler.state().add_group(None);
        let task = Task::first(scheduler.clone(), "the simulation", group);
        scheduler.state().running = Some(task.id);
        let turn = task.enter();
        let result = catch_unwind(AssertUnwindSafe(first));
        let mut state = scheduler.state();
        let (trace, turns, time, failure) =
            (state.trace, state.turns, state.now, state.failure.clone());
        state.end_groups();
        drop(state);
        drop(turn);
        let result = match (result, failure) {
            (_, Some(failure)) => Err(failure),
            (Ok(result), None) => Ok(result),
            (Err(panic), None) => resume_unwind(panic),
        };
        History { result, trace, turns, time }
    }
}

/// The end of a life.
#[derive(Debug)]
pub enum End<T> {
    /// It has returned.
    Returned(T),
    /// It crashed in a turn that ended at this place.
    Crashed(String),
}

/// A run and all its threads, which crash together.
pub struct Life<T> {
    group: GroupId,
    result: Arc<Mutex<Option<Result<T, Box<dyn Any + Send>>>>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a life, which crashes at its turn number `crash_at`. It must be called in a simulation.
/// [`Simulation::run`] has an example.
///
/// # Panics
/// Outside of a simulation.
pub fn start<T: Send + 'static>(
    crash_at: Option<u64>,
    run: impl FnOnce() -> T + Send + 'static,
) -> Life<T> {
    let scheduler = this().scheduler;
    let group = scheduler.state().add_group(crash_at);
    let task = Task::first(scheduler, "the run", group);
    let result = Arc::new(Mutex::new(None));
    let outcome = result.clone();
    let work = move || {
        let turn = task.clone().enter();
        let returned = catch_unwind(AssertUnwindSafe(run));
        *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(returned);
        // Threads that a failed run leaves behind end with its process.
        task.scheduler.state().end_group(group);
        drop(turn);
    };
    let thread = Builder::new().name("run".into()).spawn(work);
    let thread = thread.unwrap_or_else(|error| panic!("no thread for a run: {error}"));
    Life { group, result, thread: Some(thread) }
}

impl<T> Life<T> {
    /// Stops all threads of the life for a while, as SIGSTOP does.
    pub fn stop(&self, pause: Duration) {
        let task = this();
        let until = task.scheduler.after(pause);
        task.scheduler.state().stop_group(self.group, until);
    }

    /// Waits for the end of the life and of all its threads.
    ///
    /// # Panics
    /// When the run has panicked, or the simulation has failed.
    pub fn join(mut self) -> End<T> {
        let task = this();
        loop {
            let (changed, has_tasks) = task.scheduler.state().members(self.group);
            if !has_tasks {
                break;
            }
            task.wait("the end of a life", &changed, changed.count(), None);
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the run was caught.
            let _ = thread.join();
        }
        if let Some(place) = task.scheduler.state().crash_of(self.group) {
            return End::Crashed(place);
        }
        match self.result.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(Ok(result)) => End::Returned(result),
            Some(Err(panic)) => resume_unwind(panic),
            None => resume_unwind(Box::new(Ended)),
        }
    }
}

/// Ends a turn at a named place, and adds `bytes` to the trace. It does nothing outside of a
/// simulation.
pub fn point(place: &str, bytes: &[u8]) {
    if let Some(task) = current() {
        task.scheduler.state().mix(bytes);
        task.switch(place);
    }
}

/// Pauses for a virtual time.
///
/// # Panics
/// Outside of a simulation.
pub fn pause(pause: Duration) {
    let never = Event::default();
    this().wait("a pause", &never, never.count(), Some(pause));
}

/// Draws a number below `end` by the seed of the simulation.
///
/// # Panics
/// Outside of a simulation.
pub fn draw(end: u64) -> u64 {
    this().draw(end)
}

fn this() -> Task {
    current().unwrap_or_else(|| panic!("this thread is not part of a simulation"))
}
