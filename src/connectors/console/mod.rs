//! Rows for people, on the standard output or wherever text goes.
//!
//! - **A partition** is nothing here: the console is only written to.
//! - **A position** neither.
//! - **A commit** prints what changed since the last one under a header with the topic and the
//!   commit's number. In snapshot mode these are the rows that came (`+`) and went (`-`), in append
//!   mode the new rows, sorted by their text, so that the number of workers doesn't show.
//! - **Guaranteed**: at most once, for text on a screen can't be asked whether it is there. A
//!   recovery prints nothing.

mod sink;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// Prints the changes of the topics that are bound to it; a clone prints to the same place.
#[derive(Clone)]
pub struct Console {
    name: &'static str,
    out: Arc<Mutex<Box<dyn Write + Send>>>,
}

impl Console {
    /// Prints to the standard output.
    pub fn stdout() -> Self {
        Console { name: "standard output", out: Arc::new(Mutex::new(Box::new(io::stdout()))) }
    }

    /// Prints to `out`.
    pub fn to(out: Box<dyn Write + Send>) -> Self {
        Console { name: "a writer", out: Arc::new(Mutex::new(out)) }
    }
}
