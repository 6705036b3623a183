//! The command line: questions and sizes.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// The gain and the cost of several processes, and the time until the loss of one is noticed.
#[derive(Parser)]
pub(crate) struct Args {
    /// Events of the archive; each is three records.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    events: u64,
    /// Run only these questions.
    #[arg(long, value_enum, value_name = "QUESTION", value_delimiter = ',')]
    only: Vec<Question>,
    /// Runs of each case; the median counts.
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeat: usize,
    /// Run everything at a size that only proves that it works.
    #[arg(long)]
    quick: bool,
    /// The folder for archives and lakes.
    #[arg(long, value_name = "PATH", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/pinterest"))]
    pub(crate) dir: PathBuf,
    /// Given by `cargo bench` but not by `cargo test`, which runs the quick sizes.
    #[arg(long, hide = true)]
    bench: bool,
    /// One process of a case, for a child process.
    #[arg(long, hide = true)]
    pub(crate) case: Option<String>,
}

/// The questions.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Question {
    /// How long do two processes take, beside one?
    Speed,
    /// How much CPU does the process use that reads?
    Reader,
    /// How many bytes are sent between processes?
    Bytes,
    /// How soon is the loss of a process noticed?
    Loss,
    /// How many epochs a second are completed through a link?
    Epochs,
}

/// The sizes of the measurements.
pub(crate) struct Shapes {
    /// Events of the archive.
    pub(crate) events: u64,
    /// Records of `epochs`, one an epoch.
    pub(crate) records: u64,
    /// Runs of each case.
    pub(crate) repeat: usize,
}

impl Args {
    pub(crate) fn questions(&self) -> Vec<Question> {
        if self.only.is_empty() { Question::value_variants().to_vec() } else { self.only.clone() }
    }

    /// Returns true if the sizes are too small for a meaningful figure.
    pub(crate) fn is_quick(&self) -> bool {
        self.quick || !self.bench
    }

    pub(crate) fn shapes(&self) -> Shapes {
        if self.is_quick() {
            return Shapes { events: 20_000, records: 300, repeat: 1 };
        }
        Shapes { events: self.events, records: 10_000, repeat: self.repeat.max(1) }
    }

    /// The command line of this run.
    pub(crate) fn command(&self) -> String {
        let given: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
        let command = "cargo bench --bench cluster";
        if given.is_empty() { command.into() } else { format!("{command} -- {}", given.join(" ")) }
    }
}
