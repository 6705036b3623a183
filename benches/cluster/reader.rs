//! How much processor time does the process use that reads, if others decode all records?

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::cluster::args::Shapes;
use crate::cluster::case::{self, Process, Work};
use crate::cluster::speed;
use crate::support::archive;
use crate::support::machine::Measured;
use crate::support::report::{Report, percentile, spread};

/// Time between two looks at the threads.
const INTERVAL: Duration = Duration::from_millis(10);
/// The beginning of the names of workers.
const WORKER: &str = "timely:work";

/// The result of a process.
#[derive(Serialize, Deserialize)]
pub(crate) struct Threads {
    all: Measured,
    /// Processor time of the workers, in seconds.
    workers: f64,
}

/// Runs a process to the end of the archive.
pub(crate) fn run(process: &Process, archive: &Path) -> Result<Threads> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = || {
            let mut found = BTreeMap::new();
            while !is_over.load(Ordering::Acquire) {
                look(&mut found);
                thread::park_timeout(INTERVAL);
            }
            found.values().sum()
        };
        let watching = scope.spawn(watch);
        let all = speed::run(process, archive);
        is_over.store(true, Ordering::Release);
        let workers = watching.join().map_err(|_| "the thread that watches has panicked")?;
        Ok(Threads { all: all?, workers })
    })
}

/// Notes the processor time of each worker of this process. A thread that ends keeps its last one.
fn look(found: &mut BTreeMap<String, f64>) {
    for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        if name.starts_with(WORKER) {
            // The first field: nanoseconds on a processor.
            let times = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let time = times.split(' ').next().and_then(|time| time.parse::<f64>().ok());
            let id = thread.file_name().to_string_lossy().into_owned();
            if let Some(time) = time {
                found.insert(id, time / 1e9);
            }
        }
    }
}

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let archive = archive::archive(dir, shapes.events, 1000)?;
    archive::count(&archive)?;
    let (mut costs, mut gigabytes, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=shapes.repeat {
        eprintln!("reader: round {round} of {}", shapes.repeat);
        let (place, work) = (case::place(dir)?, Work::Read { archive: archive.clone() });
        let processes = Process::all(&work, place.path(), 2, 1);
        let first: Threads = case::measure(&processes)?.swap_remove(0);
        let own = first.all.cpu - first.workers;
        costs.push(own / first.all.counts.records as f64 * 1e6);
        gigabytes.push(own / first.all.counts.bytes as f64 * 1e9);
        all.push(first.all.cpu / first.all.counts.records as f64 * 1e6);
    }
    report.question("reader: CPU of process 0, which decodes no record (2 processes)");
    for (name, values) in [
        ("CPU a million records, without its worker", &costs),
        ("CPU a gigabyte of records, without its worker", &gigabytes),
        ("CPU a million records, with its worker, which owns half of the keys", &all),
    ] {
        report.line(&format!("- {name}{}: {:.2} s", spread(values), percentile(values, 0.5)));
    }
    let ceiling = 1.0 / percentile(&costs, 0.5);
    report
        .line(&format!("- ceiling of one core that reads: {ceiling:.1} million records a second"));
    Ok(())
}
