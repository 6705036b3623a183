//! How much processor time does the process use that reads, if others decode all records?

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::cluster::args::Shapes;
use crate::cluster::case::{self, Process, Work};
use crate::cluster::speed;
use crate::support::archive;
use crate::support::machine::Measured;
use crate::support::report::{Report, percentile, spread};
use crate::support::threads::{self, WORKER};

/// The result of a process.
#[derive(Serialize, Deserialize)]
pub(crate) struct Threads {
    all: Measured,
    /// Processor time of the workers, in seconds.
    workers: f64,
}

/// Runs a process to the end of the archive.
pub(crate) fn run(process: &Process, archive: &Path) -> Result<Threads> {
    let (all, times) = threads::measured(|| speed::run(process, archive))?;
    let workers = times.get(WORKER).copied().unwrap_or_default();
    Ok(Threads { all: all?, workers })
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
