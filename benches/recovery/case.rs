//! Cases, each measured in a child process of this program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use watershed::runtime::Config;

use crate::Result;
use crate::recovery::{first_answer, history, layers, overhead, restart, size};
use crate::support::corrections::Gated;
use crate::support::{latency, live};

/// A measurement. With a state, a case continues from that of `work`, if there is one.
#[derive(Serialize, Deserialize)]
pub(crate) enum Case {
    /// Run the program to the end of the archive.
    Run { archive: PathBuf, work: PathBuf, state: State },
    /// Read and unpack the layers of the youngest snapshot in `work`.
    Layers { work: PathBuf },
    /// Replay the archive, and then follow corrections.
    Follow { archive: PathBuf, work: PathBuf, events: u64, corrections: usize, state: State },
    /// Replay the archive, and then append corrections one at a time.
    Latency { archive: PathBuf, work: PathBuf, events: u64, corrections: usize, state: State },
    /// Run a small program over `times` records for each key.
    History { work: PathBuf, keys: u64, times: u64 },
    /// Run a small program over one long record for each key.
    Size { work: PathBuf, keys: u64 },
    /// Replay the archive of `records` records.
    Replay { archive: PathBuf, work: PathBuf, records: u64 },
    /// Continue after such a replay, until a correction is committed. The process was started at
    /// this time since the Unix epoch.
    FirstAnswer { archive: PathBuf, work: PathBuf, records: u64, line: String, started: Duration },
}

/// The place of the state of a run.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum State {
    OnDisk,
    Nowhere,
}

impl State {
    /// A configuration with 2 workers.
    pub(crate) fn config(self, work: &Path) -> Result<Config> {
        match self {
            State::OnDisk => live::config(work, 2),
            State::Nowhere => Ok(Config { workers: 2, ..Config::default() }),
        }
    }
}

/// Runs one case, and prints its result.
pub(crate) fn run(case: &str) -> Result {
    let answer = match serde_json::from_str(case)? {
        Case::Run { archive, work, state } => {
            serde_json::to_value(restart::run(&archive, &work, state.config(&work)?)?)
        }
        Case::Layers { work } => serde_json::to_value(layers::read(&work.join("state"))?),
        Case::Follow { archive, work, events, corrections, state } => {
            let config = state.config(&work)?;
            serde_json::to_value(overhead::follow(&archive, &work, events, corrections, config)?)
        }
        Case::Latency { archive, work, events, corrections, state } => {
            let config = state.config(&work)?;
            serde_json::to_value(latency::measure(
                &archive,
                &work,
                events,
                corrections,
                config,
                &Gated::three_open(),
            )?)
        }
        Case::History { work, keys, times } => {
            serde_json::to_value(history::run(&work, keys, times)?)
        }
        Case::Size { work, keys } => serde_json::to_value(size::run(&work, keys)?),
        Case::Replay { archive, work, records } => {
            serde_json::to_value(first_answer::replay(&archive, &work, records)?)
        }
        Case::FirstAnswer { archive, work, records, line, started } => {
            serde_json::to_value(first_answer::run(&archive, &work, records, &line, started)?)
        }
    };
    println!("{}", answer?);
    Ok(())
}

/// Runs `case` in a child process, and returns its result.
pub(crate) fn measure<T: DeserializeOwned>(case: &Case) -> Result<T> {
    let case = serde_json::to_string(case)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--case", &case]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("the case {case} ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
