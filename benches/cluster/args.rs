//! The command line: questions and sizes.

use clap::{Parser, ValueEnum};

use crate::support::bench::Common;

/// The gain and the cost of several processes, and the time until the loss of one is noticed.
#[derive(Parser)]
pub(crate) struct Args {
    /// Events of the archive; each is three records.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    events: u64,
    #[command(flatten)]
    pub(crate) common: Common<Question>,
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
    pub(crate) fn shapes(&self) -> Shapes {
        if self.common.is_quick() {
            return Shapes { events: 20_000, records: 300, repeat: 1 };
        }
        Shapes { events: self.events, records: 10_000, repeat: self.common.repeat() }
    }
}
