//! Several processes of one run: those of one machine, which a supervisor starts, or those of
//! several machines, each of which names its place.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use super::process::at_signals;
use super::values;
use crate::cluster::{
    Address, Hello, Key, Limits, Membership, Patience, PrivateFolder, Supervisor, orders, parent,
};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Stop, drawn};
use crate::store::Store;

/// The number of a process that a supervisor has started.
const PROCESS: &str = "WATERSHED_PROCESS";
/// The folder of the sockets of these processes.
const FOLDER: &str = "WATERSHED_SOCKETS";
/// The shared secret of processes on several machines.
const SECRET: &str = "WATERSHED_SECRET";
/// The exit code of a process whose supervisor is gone.
const LOST_CODE: i32 = 75;
/// The exit code of a process of a supervisor that is ended before all are connected. The
/// supervisor then ends the others too; after 0 they would wait for this one.
const TERMINATED_CODE: i32 = 143;
/// The permission of all users of a machine to read a file.
const READABLE_BY_ALL: u32 = 0o004;

#[derive(Args, Clone)]
pub(super) struct ProcessArgs {
    /// Number of processes, each with as many workers. Process 0 reads, commits and answers, and
    /// all decode and compute. Without --process they are started on this machine, share its cores,
    /// and are started again after a failure
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    processes: Option<u16>,
    /// Number of this process, from 0. Start the same command on each machine, with another number.
    /// If one ends, all do: let systemd or Kubernetes start each of them again
    #[arg(long, value_name = "I", requires_all = ["processes", "hosts"])]
    process: Option<u16>,
    /// Addresses of all processes, such as a:2101,b:2101, or a pattern such as
    /// name-{}.service:2101. What they send is not encrypted: use a private network
    #[arg(long, value_name = "LIST", requires = "process")]
    hosts: Option<String>,
    /// Address at which this process listens, if it is another than its own in --hosts
    #[arg(long, value_name = "HOST:PORT", requires = "process")]
    listen_at: Option<String>,
    /// File with the secret that all processes share, at least 16 characters [default: the
    /// environment variable WATERSHED_SECRET]
    #[arg(long, value_name = "FILE", requires = "process")]
    secret: Option<PathBuf>,
    /// Longest wait for the other processes at the start [default: 1m]. Under Kubernetes more than
    /// 5m, its longest pause between two starts
    #[arg(long, value_name = "TIME", requires = "process", value_parser = values::interval)]
    start_within: Option<Duration>,
}

/// The part of this process in a run.
pub(super) enum Role {
    /// It is the only one.
    Alone,
    /// It starts this number of processes.
    Supervisor(usize),
    /// It is one of several.
    Member(Cluster, Gathering),
}

/// The wait of this process for the others at the start.
#[derive(Clone)]
pub(super) struct Gathering {
    is_connected: Arc<AtomicBool>,
    /// The exit code of an end during the wait.
    code: i32,
}

impl Gathering {
    /// Ends the process if it still waits for others: it has nothing to commit.
    pub(super) fn end(&self) {
        if !self.is_connected.load(Ordering::Acquire) {
            exit(self.code);
        }
    }
}

impl ProcessArgs {
    /// Returns the default number of workers on a machine with so many `cores`.
    ///
    /// All processes that a supervisor starts share the cores of its machine.
    pub(super) fn workers(&self, cores: usize) -> usize {
        match (self.processes, self.process) {
            (Some(processes), None) => (cores / usize::from(processes)).max(1),
            _ => cores,
        }
    }

    /// Returns true if the place of this process among several is given.
    pub(super) fn is_placed(&self) -> bool {
        self.process.is_some()
    }

    /// Returns the part of this process. A supervisor ends it by `stop`.
    ///
    /// # Errors
    /// When an address or the secret can't be used.
    pub(super) fn role(&self, stop: &Stop) -> Result<Role> {
        let Some(processes) = self.processes.map(usize::from) else { return Ok(Role::Alone) };
        if let Some(process) = variable(PROCESS) {
            let process = process.parse().map_err(|e| {
                Error::config(format!("{PROCESS}={process} is no number")).because(e)
            })?;
            let folder = variable(FOLDER).unwrap_or_default();
            let gathering = Gathering { is_connected: Arc::default(), code: TERMINATED_CODE };
            let (ordered, stop) = (gathering.clone(), stop.clone());
            let end = move || {
                ordered.end();
                stop.stop();
            };
            let key = parent(std::io::stdin(), end, || exit(LOST_CODE))?;
            let addresses = Address::several(&format!("unix:{folder}/{{}}"), processes)?;
            return Ok(member(process, addresses, None, key, Limits::default(), gathering));
        }
        let (Some(process), Some(hosts)) = (self.process, &self.hosts) else {
            return Ok(if processes == 1 { Role::Alone } else { Role::Supervisor(processes) });
        };
        let key = match &self.secret {
            Some(path) => {
                warn_if_readable_by_all(path);
                Key::from_file(path)?
            }
            None => Key::from_env(SECRET)?.ok_or_else(|| {
                Error::config("no shared secret").hint(format!(
                    "Set {SECRET}, or give --secret: the same in all processes, such as the output of `openssl rand -hex 32`."
                ))
            })?,
        };
        let listen = self.listen_at.as_deref().map(Address::parse).transpose()?;
        let addresses = Address::several(hosts, processes)?;
        let defaults = Limits::default();
        let gather = self.start_within.unwrap_or(defaults.gather);
        let limits = Limits { gather, ..defaults };
        let gathering = Gathering { is_connected: Arc::default(), code: 0 };
        Ok(member(process.into(), addresses, listen, key, limits, gathering))
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Warns of a secret that is none. A file that can't be read is reported when it is read.
fn warn_if_readable_by_all(path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |file| file.permissions().mode());
    if mode & READABLE_BY_ALL != 0 {
        tracing::warn!("every user of this machine can read the secret in {}", path.display());
    }
}

fn member(
    process: usize,
    addresses: Vec<Address>,
    listen: Option<Address>,
    key: Key,
    limits: Limits,
    gathering: Gathering,
) -> Role {
    // The run adds the facts of the program.
    let hello = Hello::new(process, addresses.len(), 0);
    let (random, is_connected) = (Arc::new(drawn), gathering.is_connected.clone());
    let membership = Membership { hello, addresses, listen, key, random, limits, is_connected };
    Role::Member(Cluster::of(membership), gathering)
}

/// Returns the number of the last manifest of a state, 0 without one.
fn last_manifest(state: &Store) -> Result<u64> {
    let names = state.list("manifest")?;
    Ok(names.last().and_then(|(name, _)| name.parse().ok()).unwrap_or_default())
}

/// Starts this command in several processes, until the run is over. Then it ends with the exit code
/// of the first cause.
///
/// # Errors
/// When the system can't start a process, and when all fail again and again without a commit.
pub(super) fn supervise(name: &'static str, processes: usize, state: &Store) -> Result<()> {
    let random = Arc::new(drawn);
    let folder = PrivateFolder::new(&(random.clone() as _))?;
    let program = std::env::current_exe()
        .map_err(|e| Error::internal("can't find the program of this process").because(e))?;
    let first = last_manifest(state)?;
    let command = |process: usize| {
        let mut command = Command::new(&program);
        // A reset that has begun is completed without the option.
        let is_begun = last_manifest(state).is_ok_and(|last| last > first);
        let arguments = std::env::args_os().skip(1);
        command.args(arguments.filter(|argument| !is_begun || argument != "--reset"));
        command.env(PROCESS, process.to_string()).env(FOLDER, folder.path());
        command
    };
    // A list that fails shows no progress.
    let progress = || last_manifest(state).unwrap_or(first);
    let (orders, notices) = orders();
    at_signals(name, "once all records read are committed", move || orders.stop())?;
    let patience = Patience::default();
    let supervisor =
        Supervisor { processes, command: &command, progress: &progress, random, patience };
    let code = supervisor.run(&notices)?;
    drop(folder);
    match code {
        0 => Ok(()),
        // The processes have reported the cause.
        code => exit(code.into()),
    }
}
