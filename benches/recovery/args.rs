//! The command line: questions and sizes.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// How much do snapshots cost, and how soon does a restart continue from one?
#[derive(Parser)]
pub(crate) struct Args {
    /// Events of the archive; each is three records.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    events: u64,
    /// Keys of the table of `history`.
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    keys: u64,
    /// Keys of the table of `size`: 10,000,000 make layers of about 1 GB.
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    size_keys: u64,
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
    /// One case, for a child process.
    #[arg(long, hide = true)]
    pub(crate) case: Option<String>,
}

/// The questions.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Question {
    /// How much more CPU does a run with a state use?
    Overhead,
    /// How much later are answers to corrections with a state?
    Latency,
    /// How long does a restart take, beside the replay and the floor?
    Restart,
    /// How long does a restart with a state of a gigabyte take?
    Size,
    /// Does a restart cost by the state, or by the history?
    History,
    /// How soon after the start of the process is a new record committed?
    FirstAnswer,
}

/// The sizes of the measurements.
pub(crate) struct Shapes {
    /// Events of the archive.
    pub(crate) events: u64,
    /// Corrections that are followed.
    pub(crate) corrections: usize,
    /// Corrections of `latency`.
    pub(crate) single_corrections: usize,
    /// Keys of the table of `history`.
    pub(crate) keys: u64,
    /// Keys of the table of `size`.
    pub(crate) size_keys: u64,
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
            return Shapes {
                events: 20_000,
                corrections: 20_000,
                single_corrections: 30,
                keys: 2000,
                size_keys: 50_000,
                repeat: 1,
            };
        }
        let Args { events, keys, size_keys, repeat, .. } = *self;
        Shapes {
            events,
            corrections: events as usize,
            single_corrections: 300,
            keys,
            size_keys,
            repeat: repeat.max(1),
        }
    }

    /// The command line of this run.
    pub(crate) fn command(&self) -> String {
        let given: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
        let command = "cargo bench --bench recovery";
        if given.is_empty() { command.into() } else { format!("{command} -- {}", given.join(" ")) }
    }
}
