//! What is asked, and at which size.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// How fast, how fresh and how large is the `pinterest` program?
#[derive(Parser)]
pub(crate) struct Args {
    /// Events of the archive; each is three records.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: u64,
    /// Ask only these questions.
    #[arg(long, value_enum, value_name = "QUESTION", value_delimiter = ',')]
    only: Vec<Question>,
    /// Runs of each case of the replay, of which the middle one counts.
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeat: usize,
    /// Ask all of it at a size that shows no more than that it works.
    #[arg(long)]
    quick: bool,
    /// Where archives are kept and lakes are made.
    #[arg(long, value_name = "PATH", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/pinterest"))]
    pub(crate) dir: PathBuf,
    /// What `cargo bench` says, and `cargo test` does not: the latter gets the quick answers.
    #[arg(long, hide = true)]
    bench: bool,
    /// One case, as the program asks itself.
    #[arg(long, hide = true)]
    pub(crate) case: Option<String>,
}

/// What can be asked.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Question {
    /// How long does it take, beside its floors?
    Replay,
    /// How soon is one correction in the answers, and on disk?
    Latency,
    /// How many corrections a second?
    Sustained,
    /// How many bytes an event?
    Memory,
    /// Does a commit cost what changes, or what is there?
    Commit,
    /// What do objects of one record cost?
    Small,
}

/// The sizes of what is measured.
pub(crate) struct Shapes {
    /// Events of the archive.
    pub(crate) events: u64,
    /// Runs of each case of the replay.
    pub(crate) repeat: usize,
    /// Corrections that come one at a time.
    pub(crate) corrections: usize,
    /// Corrections that come at once.
    pub(crate) sustained: usize,
    /// Rows of the tables that are committed to, ascending.
    pub(crate) tables: [u32; 3],
    /// Commits to each.
    pub(crate) commits: u64,
    /// Events that come as one record an object.
    pub(crate) small: u64,
}

impl Args {
    pub(crate) fn questions(&self) -> Vec<Question> {
        if self.only.is_empty() { Question::value_variants().to_vec() } else { self.only.clone() }
    }

    /// Whether sizes are too small to mean anything.
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

    /// The command line that asks the same.
    pub(crate) fn command(&self) -> String {
        let given: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
        let command = "cargo bench --bench pinterest";
        if given.is_empty() { command.into() } else { format!("{command} -- {}", given.join(" ")) }
    }
}
