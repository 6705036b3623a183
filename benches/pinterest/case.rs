//! Cases, each measured in a child process of this program.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::bench::{commit, floors, idle, memory, naive, replay, stages, sustained};
use crate::support::corrections::Gated;
use crate::support::renamed::Renamed;
use crate::support::{latency, live};

/// A measurement. Folders named `work` are empty.
#[derive(Serialize, Deserialize)]
pub(crate) enum Case {
    /// Read and clean.
    Parse { archive: PathBuf, threads: usize },
    /// Read, clean, and write three tables.
    Parquet { archive: PathBuf, work: PathBuf, threads: usize },
    /// Answer with hash maps.
    Naive { archive: PathBuf },
    /// Run the program to the end.
    Run { archive: PathBuf, work: PathBuf, workers: usize },
    /// Open and read every file, with one thread for each partition.
    Files { archive: PathBuf },
    /// Create, write and sync three files in sequence, `times` times.
    Syncs { work: PathBuf, times: usize },
    /// Let two threads compute and wait for each other, `times` times.
    Rounds { times: usize },
    /// Append corrections one at a time.
    Latency {
        archive: PathBuf,
        work: PathBuf,
        events: u64,
        corrections: usize,
        workers: usize,
        medium: Medium,
    },
    /// Follow an archive without new records.
    Idle { archive: PathBuf, work: PathBuf, length: Duration },
    /// Run the program to the end, into its tables or without any, and measure its stages.
    Stages { archive: PathBuf, work: PathBuf, workers: usize, has_tables: bool },
    /// Append corrections all at once.
    Sustained { archive: PathBuf, work: PathBuf, events: u64, corrections: usize, workers: usize },
    /// Follow, wait until idle, and measure memory.
    Memory { archive: PathBuf, work: PathBuf, workers: usize },
    /// Change some rows of a table, `commits` times.
    Commit { archive: PathBuf, work: PathBuf, rows: u32, commits: u64 },
}

/// The place of corrections.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Medium {
    /// Logs in memory.
    Memory,
    /// Files, renamed into the folders of an archive.
    Files,
}

/// Runs one case, and prints its result.
pub(crate) fn run(case: &str) -> Result {
    let json = |value| serde_json::to_string::<serde_json::Value>(&value);
    let answer = match serde_json::from_str(case)? {
        Case::Parse { archive, threads } => serde_json::to_value(floors::parse(&archive, threads)?),
        Case::Parquet { archive, work, threads } => {
            serde_json::to_value(floors::parquet(&archive, &work, threads)?)
        }
        Case::Naive { archive } => serde_json::to_value(naive::answer(&archive)?),
        Case::Run { archive, work, workers } => {
            serde_json::to_value(replay::run(&archive, &work, workers)?)
        }
        Case::Files { archive } => serde_json::to_value(floors::files(&archive)?),
        Case::Syncs { work, times } => serde_json::to_value(floors::syncs(&work, times)?),
        Case::Rounds { times } => serde_json::to_value(floors::rounds(times)),
        Case::Latency { archive, work, events, corrections: number, workers, medium } => {
            let config = live::config(&work, workers)?;
            serde_json::to_value(match medium {
                Medium::Memory => {
                    let logs = Gated::three_open();
                    latency::measure(&archive, &work, events, number, config, &logs)
                }
                Medium::Files => {
                    let logs = Renamed::three(&work)?;
                    latency::measure(&archive, &work, events, number, config, &logs)
                }
            }?)
        }
        Case::Idle { archive, work, length } => {
            serde_json::to_value(idle::measure(&archive, &work, length)?)
        }
        Case::Stages { archive, work, workers, has_tables } => {
            serde_json::to_value(stages::measure(&archive, &work, workers, has_tables)?)
        }
        Case::Sustained { archive, work, events, corrections, workers } => {
            serde_json::to_value(sustained::measure(&archive, &work, events, corrections, workers)?)
        }
        Case::Memory { archive, work, workers } => {
            serde_json::to_value(memory::measure(&archive, &work, workers)?)
        }
        Case::Commit { archive, work, rows, commits } => {
            serde_json::to_value(commit::measure(&archive, &work, rows, commits)?)
        }
    };
    println!("{}", json(answer?)?);
    Ok(())
}

/// Runs `case` in a child process, and returns its result.
pub(crate) fn measure<T: DeserializeOwned>(case: &Case) -> Result<T> {
    measure_with(case, &[])
}

/// Runs `case` in a child process with additional environment variables, and returns its result.
pub(crate) fn measure_with<T: DeserializeOwned>(
    case: &Case,
    variables: &[(&str, &str)],
) -> Result<T> {
    let case = serde_json::to_string(case)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--case", &case])
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("the case {case} ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
