//! Deterministic simulation of whole runs: one thread runs at a time, and a seed decides which.
//!
//! The threads of a run block and wake one another only through `sync`: channels, condition
//! variables, pauses, joins. In a `Simulation` each such call is a *turn*: the thread passes the
//! baton, and the scheduler draws the next thread among those that can run. Time is virtual. It
//! jumps to the next deadline when no thread can run, and a simulation whose threads all wait
//! without a deadline has failed. So a seed decides everything, and a history can be repeated.
//!
//! A `Life` is a group of threads: a run and everything that it starts. It can crash at any of
//! its turns, which unwinds all its threads there, and it can be stopped for a while. Points, bugs
//! and limits of `faults` work here too, for one simulation instead of the whole process.
//!
//! Without the feature `faults` no thread ever has a task, and the compiler removes every branch
//! for one. Threads outside of a simulation are not affected either.
//!
//! A thread that waits through `sync` while it holds an ordinary lock can block the running thread
//! for real. A watchdog with a real clock then ends the process, and prints the seed and the
//! threads.
//!
//! Not simulated: connectors with threads of their own, and the time inside of one turn.

#[cfg(not(feature = "faults"))]
mod absent;
#[cfg(feature = "faults")]
mod lives;
#[cfg(feature = "faults")]
mod scheduler;
#[cfg(feature = "faults")]
mod state;
#[cfg(feature = "faults")]
mod task;
#[cfg(feature = "faults")]
mod watchdog;

#[cfg(not(feature = "faults"))]
pub(crate) use absent::{Event, Task, Turn, current, ring_workers};
#[cfg(feature = "faults")]
pub use lives::{End, History, Life, Simulation, draw, pause, point, start};
#[cfg(feature = "faults")]
pub(crate) use task::{Event, Task, Turn, current, ring_workers};
