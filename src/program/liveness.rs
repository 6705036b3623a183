//! The liveness file of a process: it is written each second, unless a thread of the run hangs.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::faults;
use crate::runtime::Liveness;

/// The time between two writes.
const INTERVAL: Duration = Duration::from_secs(1);

/// The time without a sign of life, in milliseconds, after which a thread counts as stuck. Long
/// steps are usual: a large batch, or a bucket of a snapshot.
const STUCK_MILLIS: u64 = 60_000;

/// Writes the file from now on, until the process ends. The run must give its signs of life.
///
/// # Errors
/// When it can't be written, or the system provides no thread.
pub(super) fn keep(path: &Path) -> Result<Liveness> {
    let (liveness, path) = (Liveness::default(), path.to_path_buf());
    let write = move || fs::write(&path, "alive\n").map_err(|e| (e, path.clone()));
    write().map_err(|(e, path)| {
        let message = format!("can't write the liveness file {}", path.display());
        Error::connect(message).because(e).hint("Give a file that this user may write.")
    })?;
    let (watched, stuck) =
        (liveness.clone(), Duration::from_millis(faults::limit("stuck_millis", STUCK_MILLIS)));
    let watch = move || {
        loop {
            thread::park_timeout(INTERVAL);
            if watched.silence() < stuck {
                // Without the file the process is started again, which is right on a full disk too.
                let _ = write();
            }
        }
    };
    thread::Builder::new()
        .name("liveness".into())
        .spawn(watch)
        .map_err(|e| Error::no_thread("the thread of the liveness file", e))?;
    Ok(liveness)
}
