//! A run of the real program that follows a log.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::plan::{Fault, Life};
use super::worlds::Address;
use crate::support::disk;

/// Limits by which small tables are compacted, checkpointed and cleaned often.
pub(crate) const SMALL_LIMITS: &str =
    "rewrite_below=0,small_files=4,checkpoint_every=4,snapshot_bytes=1,layers=2";

/// A process, killed on drop.
pub(crate) struct Process {
    child: Child,
    pub(crate) started: Instant,
    /// The file of its standard error.
    errors: PathBuf,
    over: Option<ExitStatus>,
}

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

/// The place and the programs of a world.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) program: PathBuf,
    /// A bug that is planted in every process.
    pub(crate) bug: Option<String>,
    /// The program has versions, which adopt the state of one another.
    pub(crate) has_versions: bool,
}

impl Place {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns a command of the program.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).args(args).stdin(Stdio::null());
        if let Some(bug) = &self.bug {
            command.env("WATERSHED_BUG", bug);
        }
        command
    }

    /// Returns a command that runs a version of the program over the log at `address`. It resets
    /// the state if that is requested.
    pub(crate) fn run(&self, address: &Address, version: u8, resets: bool) -> Command {
        let mut command = self.command(&["run", "--lake", "lake"]);
        match resets {
            true => _ = command.arg("--reset"),
            false if self.has_versions => _ = command.arg("--adopt"),
            false => {}
        }
        command.env("VISITS_VERSION", version.to_string());
        command.args(&address.args);
        command.envs(address.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a run for `life` with so many workers. Only the first run of a life has its fault.
    pub(crate) fn start(
        &self,
        life: &Life,
        address: &Address,
        workers: usize,
        is_first: bool,
    ) -> Process {
        let mut command = self.follow(life, address, workers, is_first);
        if life.small {
            command.env("WATERSHED_LIMITS", SMALL_LIMITS);
        }
        match life.fault {
            _ if !is_first => {}
            Fault::KillAt(at) => {
                command.env("WATERSHED_FAULT", format!("{}:{}", at.point, at.passing));
            }
            Fault::TakeoverAt(at) => {
                command.env("WATERSHED_FAULT", format!("{}:{}:pause", at.point, at.passing));
            }
            Fault::FullDisk { bytes } => disk::full_after(&mut command, bytes),
            Fault::SlowDisk { millis, .. } => disk::slow_by(&mut command, millis),
            Fault::Kill(_)
            | Fault::Takeover(_)
            | Fault::Terminate(_)
            | Fault::Rival(_)
            | Fault::Outage { .. }
            | Fault::Cluster(_) => {}
        }
        self.spawn(command, if is_first { "errors" } else { "errors of the second" })
    }

    /// Returns a command that follows the log with so many workers. Only the first run of a life
    /// resets the state.
    pub(crate) fn follow(
        &self,
        life: &Life,
        address: &Address,
        workers: usize,
        is_first: bool,
    ) -> Command {
        let (every, workers) =
            (format!("{}ms", life.commit_every.as_millis()), workers.to_string());
        let mut command = self.run(address, life.version, is_first && life.resets());
        command.args(["--follow", "--commit-every", &every, "--workers", &workers]);
        command
    }

    /// Starts a command. The file `errors` gets its standard error.
    pub(crate) fn spawn(&self, mut command: Command, errors: &str) -> Process {
        let errors = self.path(errors);
        command.stdout(Stdio::null()).stderr(File::create(&errors).unwrap());
        let child = command.spawn().unwrap();
        Process { child, started: Instant::now(), errors, over: None }
    }
}

impl Process {
    /// Returns the exit of the process, if it has ended.
    pub(crate) fn exit(&mut self) -> Option<Exit> {
        if self.over.is_none() {
            self.over = self.child.try_wait().unwrap();
        }
        self.over.map(|status| match status.code() {
            Some(code) => Exit::Code(code),
            None => Exit::Signal(status.signal().unwrap_or_default()),
        })
    }

    /// Sends a signal, such as `-TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        // The process may have ended.
        let _ = Command::new("kill")
            .arg(signal)
            .arg(self.child.id().to_string())
            .stderr(Stdio::null())
            .status();
    }

    /// Kills the process, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // The process may have ended.
        let _ = self.child.kill();
        self.over = Some(self.child.wait().unwrap());
    }

    /// Returns true if the process is stopped by a signal.
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")))
    }

    /// Returns its standard error.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit().is_none() {
            self.kill();
        }
    }
}
