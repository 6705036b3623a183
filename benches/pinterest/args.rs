//! The command line: questions and sizes.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// How fast, how fresh and how large is the `pinterest` program?
#[derive(Parser)]
pub(crate) struct Args {
    /// Events of the archive; each is three records.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: u64,
    /// Run only these questions.
    #[arg(long, value_enum, value_name = "QUESTION", value_delimiter = ',')]
    only: Vec<Question>,
    /// Runs of each case of the replay; the median counts.
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
    /// How long does it take, compared with its floors?
    Replay,
    /// How soon is one correction in the answers, and on disk?
    Latency,
    /// How many corrections a second?
    Sustained,
    /// How many bytes an event?
    Memory,
    /// Does a commit cost by the changes, or by the size of the table?
    Commit,
    /// How much do objects of one record cost?
    Small,
}

/// The sizes of the measurements.
pub(crate) struct Shapes {
    /// Events of the archive.
    pub(crate) events: u64,
    /// Runs of each case of the replay.
    pub(crate) repeat: usize,
    /// Corrections, one at a time.
    pub(crate) corrections: usize,
    /// Corrections, all at once.
    pub(crate) sustained: usize,
    /// Rows of the tables of `commit`, ascending.
    pub(crate) tables: [u32; 3],
    /// Commits to each table.
    pub(crate) commits: u64,
    /// Events in objects of one record.
    pub(crate) small: u64,
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
            let tables = [10_000, 20_000, 40_000];
            return Shapes {
                events: 20_000,
                repeat: 1,
                corrections: 30,
                sustained: 20_000,
                tables,
                commits: 5,
                small: 1000,
            };
        }
        let Args { events, repeat, .. } = *self;
        let tables = [10_000, 100_000, 1_000_000];
        Shapes {
            events,
            repeat: repeat.max(1),
            corrections: 300,
            sustained: events as usize,
            tables,
            commits: 100,
            small: 11_154,
        }
    }

    /// The command line of this run.
    pub(crate) fn command(&self) -> String {
        let given: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
        let command = "cargo bench --bench pinterest";
        if given.is_empty() { command.into() } else { format!("{command} -- {}", given.join(" ")) }
    }
}
