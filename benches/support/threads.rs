//! The processor time of the threads of this process, apart.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::Result;

/// Time between two looks at the threads.
const INTERVAL: Duration = Duration::from_millis(10);
/// The beginning of the names of workers.
pub(crate) const WORKER: &str = "timely:work";

/// Does `work`. Returns its result, and the seconds on a processor of all threads meanwhile, by
/// their names without numbers. Threads that live shorter than ten milliseconds may be missing.
pub(crate) fn measured<T>(work: impl FnOnce() -> T) -> Result<(T, BTreeMap<String, f64>)> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = || {
            let mut found = BTreeMap::new();
            while !is_over.load(Ordering::Acquire) {
                look(&mut found);
                thread::park_timeout(INTERVAL);
            }
            found
        };
        let watching = scope.spawn(watch);
        let done = work();
        is_over.store(true, Ordering::Release);
        let found = watching.join().map_err(|_| "the thread that watches has panicked")?;
        let mut times = BTreeMap::new();
        for (name, time) in found.into_values() {
            *times.entry(name).or_default() += time;
        }
        Ok((done, times))
    })
}

/// Notes the name and the time of each thread by its number. One that ends keeps its last time.
fn look(found: &mut BTreeMap<String, (String, f64)>) {
    for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let name =
            name.trim_end().trim_end_matches(|c: char| c.is_ascii_digit() || " -".contains(c));
        // The first field: nanoseconds on a processor.
        let times = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        if let Some(time) = times.split(' ').next().and_then(|time| time.parse::<f64>().ok()) {
            let id = thread.file_name().to_string_lossy().into_owned();
            found.insert(id, (name.into(), time / 1e9));
        }
    }
}
