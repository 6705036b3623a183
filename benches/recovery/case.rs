//! Cases, each measured in a child process of this program.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::recovery::{history, layers, overhead, restart};

/// A measurement.
#[derive(Serialize, Deserialize)]
pub(crate) enum Case {
    /// Run the program to the end of the archive. With a state, it continues from that of `work`.
    Run { archive: PathBuf, work: PathBuf, state: bool },
    /// Read and unpack the layers of the youngest snapshot in `work`.
    Layers { work: PathBuf },
    /// Replay the archive, and then follow corrections.
    Follow { archive: PathBuf, work: PathBuf, events: u64, corrections: usize, state: bool },
    /// Run a small program over `times` records for each key. It continues from the state of
    /// `work`, if there is one.
    History { work: PathBuf, keys: u64, times: u64 },
}

/// Runs one case, and prints its result.
pub(crate) fn run(case: &str) -> Result {
    let json = match serde_json::from_str(case)? {
        Case::Run { archive, work, state } => {
            serde_json::to_string(&restart::run(&archive, &work, state)?)
        }
        Case::Layers { work } => serde_json::to_string(&layers::read(&work.join("state"))?),
        Case::Follow { archive, work, events, corrections, state } => {
            serde_json::to_string(&overhead::follow(&archive, &work, events, corrections, state)?)
        }
        Case::History { work, keys, times } => {
            serde_json::to_string(&history::run(&work, keys, times)?)
        }
    };
    println!("{}", json?);
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
