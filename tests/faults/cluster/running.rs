//! The processes of a world, as the system lists them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A process that runs in the folder of a world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Running {
    id: u32,
    /// Its number, if a supervisor has started it.
    number: Option<usize>,
}

impl Running {
    /// Returns the processes that run in `folder`.
    pub(super) fn all(folder: &Path) -> Vec<Self> {
        let folder = folder.canonicalize().unwrap();
        let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let id: u32 = entry.unwrap().file_name().to_str()?.parse().ok()?;
            // A process that has ended has no folder.
            let own = fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|cwd| cwd == folder);
            own.then_some(Running { id, number: number(id) })
        });
        ids.collect()
    }

    /// Returns the process of this number.
    pub(super) fn of(folder: &Path, number: usize) -> Option<Self> {
        Self::all(folder).into_iter().find(|process| process.number == Some(number))
    }

    /// Sends a signal, such as `-TERM`.
    pub(super) fn signal(&self, signal: &str) {
        signal_all(&[*self], signal);
    }
}

/// Sends a signal to all `processes` at once.
pub(super) fn signal_all(processes: &[Running], signal: &str) {
    let ids = processes.iter().map(|process| process.id.to_string());
    // A process may have ended.
    let _ = Command::new("kill").arg(signal).args(ids).stderr(Stdio::null()).status();
}

/// Returns the number that a supervisor has given to a process.
fn number(id: u32) -> Option<usize> {
    let environment = fs::read(format!("/proc/{id}/environ")).ok()?;
    let value = |entry: &[u8]| Some(entry.strip_prefix(b"WATERSHED_PROCESS=")?.to_vec());
    let number = environment.split(|byte| *byte == 0).find_map(value)?;
    String::from_utf8(number).ok()?.parse().ok()
}
