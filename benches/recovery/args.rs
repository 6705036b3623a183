//! The command line: questions and sizes.

use clap::{Parser, ValueEnum};

use crate::support::bench::Common;

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
    #[command(flatten)]
    pub(crate) common: Common<Question>,
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
    pub(crate) fn shapes(&self) -> Shapes {
        if self.common.is_quick() {
            return Shapes {
                events: 20_000,
                corrections: 20_000,
                single_corrections: 30,
                keys: 2000,
                size_keys: 50_000,
                repeat: 1,
            };
        }
        let Args { events, keys, size_keys, .. } = *self;
        Shapes {
            events,
            corrections: events as usize,
            single_corrections: 300,
            keys,
            size_keys,
            repeat: self.common.repeat(),
        }
    }
}
