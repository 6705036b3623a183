//! Rows for people, on the standard output or in any writer.
//!
//! - **Partitions**: none, because the console is only written to.
//! - **Positions**: none.
//! - **A commit** prints the changes since the last one, under a header with the topic and the
//!   commit's number. In snapshot mode these are the added (`+`) and removed (`-`) rows, in append
//!   mode the new rows. They are sorted by their text, so that the number of workers doesn't show.
//! - **Guaranteed**: at most once, because a screen can't report the commits it has printed. A
//!   recovery prints nothing.

mod sink;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// Prints the changes of the topics that are bound to it. Clones print to the same writer.
///
/// ```
/// use watershed::connect::memory::MemoryLog;
/// use watershed::connectors::console::Console;
/// use watershed::prelude::*;
///
/// let topology = Topology::new("words", |builder: &StreamsBuilder| {
///     let words = builder.table("word", Consumed::with(Utf8, Utf8));
///     let count = words.group_by(|_, word| (word.clone(), ())).count();
///     count.to("count", Produced::columns(["word", "n"]));
/// });
/// let log = MemoryLog::default();
/// log.append(0, Some(b"1"), Some(b"river"));
/// // Prints:
/// //     count, commit 1
/// //       + word="river" n=1
/// Streams::new(topology)
///     .source("word", log)
///     .sink("count", Console::stdout())
///     .run(Config::default())?;
/// # Ok::<(), Error>(())
/// ```
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

    /// Prints to `out`, such as a file or a buffer.
    pub fn to(out: Box<dyn Write + Send>) -> Self {
        Console { name: "a writer", out: Arc::new(Mutex::new(out)) }
    }
}
