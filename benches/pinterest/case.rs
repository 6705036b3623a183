//! Cases, each in a process of its own: this program again.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::bench::{commit, floors, latency, memory, naive, replay, sustained};

/// Something to measure. Folders named `work` are empty.
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
    /// Open and read every file, a thread a partition.
    Files { archive: PathBuf },
    /// Create, write and sync three files, one after the other, so many times.
    Syncs { work: PathBuf, times: usize },
    /// Two threads that compute and wait for each other, so many times.
    Rounds { times: usize },
    /// Corrections one at a time.
    Latency { archive: PathBuf, work: PathBuf, events: u64, corrections: usize, workers: usize },
    /// Corrections at once.
    Sustained { archive: PathBuf, work: PathBuf, events: u64, corrections: usize, workers: usize },
    /// Follow, idle, and weigh.
    Memory { archive: PathBuf, work: PathBuf, workers: usize },
    /// Change some rows of a table, so many times.
    Commit { archive: PathBuf, work: PathBuf, rows: u32, commits: u64 },
}

/// Answers one case on standard output.
pub(crate) fn answer(case: &str) -> Result {
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
        Case::Latency { archive, work, events, corrections, workers } => {
            serde_json::to_value(latency::measure(&archive, &work, events, corrections, workers)?)
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

/// Has a process of its own answer `case`.
pub(crate) fn ask<T: DeserializeOwned>(case: &Case) -> Result<T> {
    ask_with(case, &[])
}

/// Has a process of its own, with these variables, answer `case`.
pub(crate) fn ask_with<T: DeserializeOwned>(case: &Case, variables: &[(&str, &str)]) -> Result<T> {
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
