//! Cases: the processes of one run, each a child process of this program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use watershed::runtime::{Cluster, Config};

use crate::Result;
use crate::cluster::{epochs, loss, reader, speed};
use crate::support::live;

/// The work of a run.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Run the program to the end of the archive.
    Replay { archive: PathBuf },
    /// The same, and measure the threads of the process apart.
    Read { archive: PathBuf },
    /// Run the program, and follow the archive of so many records.
    Follow { archive: PathBuf, records: u64 },
    /// Follow a log in memory, to which a record is appended for each epoch.
    Epochs { records: u64 },
}

/// A process of a run.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) work: Work,
    /// The folder of the state, the tables and the sockets.
    pub(crate) place: PathBuf,
    pub(crate) process: usize,
    pub(crate) processes: usize,
    /// Workers of each process.
    pub(crate) workers: usize,
    /// The addresses of all processes, as this one reaches them.
    pub(crate) hosts: String,
}

impl Process {
    /// Returns the processes of a run, connected by sockets in `place`.
    pub(crate) fn all(work: &Work, place: &Path, processes: usize, workers: usize) -> Vec<Self> {
        let (place, hosts) = (place.to_path_buf(), format!("unix:{}/{{}}", place.display()));
        let process = |process| {
            let (work, place, hosts) = (work.clone(), place.clone(), hosts.clone());
            Process { work, place, process, processes, workers, hosts }
        };
        (0..processes).map(process).collect()
    }

    /// Returns the configuration of the run, with state on disk.
    pub(crate) fn config(&self) -> Result<Config> {
        let config = live::config(&self.place, self.workers)?;
        if self.processes == 1 {
            return Ok(config);
        }
        let secret = self.place.join("secret");
        let cluster = Cluster::new(&self.hosts, self.process, self.processes, &secret)?;
        let cluster = match self.work {
            Work::Read { .. } => cluster.reading_only(),
            _ => cluster,
        };
        Ok(Config { cluster: Some(cluster), ..config })
    }

    /// Starts a child process.
    pub(crate) fn start(&self) -> Result<Child> {
        let case = serde_json::to_string(self)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--case", &case]).stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(command.spawn()?)
    }
}

/// Runs one process, and prints its result.
pub(crate) fn run(case: &str) -> Result {
    let process: Process = serde_json::from_str(case)?;
    let answer = match &process.work {
        Work::Replay { archive } => serde_json::to_value(speed::run(&process, archive)?),
        Work::Read { archive } => serde_json::to_value(reader::run(&process, archive)?),
        Work::Follow { archive, records } => {
            serde_json::to_value(loss::run(&process, archive, *records)?)
        }
        Work::Epochs { records } => serde_json::to_value(epochs::run(&process, *records)?),
    };
    println!("{}", answer?);
    Ok(())
}

/// A folder for a run, with the secret of its processes.
pub(crate) fn place(dir: &Path) -> Result<tempfile::TempDir> {
    // The path of a socket is short.
    let place = tempfile::Builder::new().prefix("c").tempdir_in(dir)?;
    fs::write(place.path().join("secret"), "the processes of a benchmark")?;
    Ok(place)
}

/// Starts all processes of a run, and returns the result of each.
pub(crate) fn measure<T: DeserializeOwned>(processes: &[Process]) -> Result<Vec<T>> {
    let started: Vec<Child> = processes.iter().map(Process::start).collect::<Result<_>>()?;
    // All must end before one is reported as failed.
    let ended: Vec<_> = started.into_iter().map(Child::wait_with_output).collect();
    let mut results = Vec::new();
    for output in ended {
        let output = output?;
        if !output.status.success() {
            return Err(format!("a process ended with {}", output.status).into());
        }
        results.push(serde_json::from_slice(&output.stdout)?);
    }
    Ok(results)
}
