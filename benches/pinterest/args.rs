//! The command line: questions and sizes.

use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::support::bench::Common;

/// How fast, how fresh and how large is the `pinterest` program?
#[derive(Parser)]
pub(crate) struct Args {
    /// Events of the archive; each is three records.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: u64,
    #[command(flatten)]
    pub(crate) common: Common<Question>,
}

/// The questions.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Question {
    /// How long does it take, compared with its floors?
    Replay,
    /// Does a record cost as much in five times as many events?
    Large,
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
    /// The time for which partitions are idle.
    pub(crate) idle: Duration,
}

impl Args {
    pub(crate) fn shapes(&self) -> Shapes {
        if self.common.is_quick() {
            let tables = [10_000, 20_000, 40_000];
            return Shapes {
                events: 20_000,
                repeat: 1,
                corrections: 30,
                sustained: 20_000,
                tables,
                commits: 5,
                small: 1000,
                idle: Duration::from_secs(2),
            };
        }
        let tables = [10_000, 100_000, 1_000_000];
        Shapes {
            events: self.events,
            repeat: self.common.repeat(),
            corrections: 300,
            sustained: self.events as usize,
            tables,
            commits: 100,
            small: 11_154,
            idle: Duration::from_secs(60),
        }
    }
}
