//! How long do two processes take, beside one?

use std::path::Path;

use crate::Result;
use crate::cluster::args::Shapes;
use crate::cluster::case::{self, Process, Work};
use crate::support::archive::{self, Counts};
use crate::support::live;
use crate::support::machine::{Clock, Measured};
use crate::support::report::{Report, megabytes, percentile, seconds, spread};

/// The numbers of processes and of workers in each.
const CASES: [(usize, usize); 3] = [(1, 1), (1, 2), (2, 1)];

/// Runs a process to the end of the archive.
pub(crate) fn run(process: &Process, archive: &Path) -> Result<Measured> {
    let clock = Clock::start()?;
    let summary = live::streams(archive, &process.place)?.run(process.config()?)?;
    let topics = summary.topics.values();
    let records = topics.clone().map(|topic| topic.read).sum();
    clock.measured(Counts { records, bytes: topics.map(|topic| topic.bytes).sum() })
}

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let archive = archive::archive(dir, shapes.events, 1000)?;
    let counted = archive::count(&archive)?;
    let mut rounds: Vec<Vec<Measured>> = Vec::new();
    for round in 1..=shapes.repeat {
        eprintln!("speed: round {round} of {}", shapes.repeat);
        let mut found = Vec::new();
        for (processes, workers) in CASES {
            let (place, work) = (case::place(dir)?, Work::Replay { archive: archive.clone() });
            let all = Process::all(&work, place.path(), processes, workers);
            let all: Vec<Measured> = case::measure(&all)?;
            if all[0].counts.records != counted.records {
                return Err("process 0 counts other records than the archive has".into());
            }
            found.push(Measured {
                wall: all.iter().map(|one| one.wall).fold(0.0, f64::max),
                cpu: all.iter().map(|one| one.cpu).sum(),
                peak: all.iter().map(|one| one.peak).sum(),
                ..all[0].clone()
            });
        }
        rounds.push(found);
    }
    let values = |at: usize, of: fn(&Measured) -> f64| -> Vec<f64> {
        rounds.iter().map(|round| of(&round[at])).collect()
    };
    let ratios = |at: usize, of: fn(&Measured) -> f64| -> Vec<f64> {
        rounds.iter().map(|round| of(&round[at]) / of(&round[0])).collect()
    };
    report.question(&format!("speed: how long, beside one process? (median of {})", shapes.repeat));
    let row = |(at, (processes, workers)): (usize, (usize, usize))| {
        let median = |of| percentile(&values(at, of), 0.5);
        [
            format!("processes: {processes}, workers of each: {workers}"),
            seconds(median(|it| it.wall)),
            seconds(median(|it| it.cpu)),
            megabytes(median(|it| it.peak)),
        ]
    };
    let header = ["case", "time", "CPU of all", "peak memory of all"];
    report.table(header, CASES.into_iter().enumerate().map(row));
    for (at, name) in [(1, "time of 2 workers / of one"), (2, "CPU of 2 processes / of one")] {
        let of: fn(&Measured) -> f64 = if at == 1 { |it| it.wall } else { |it| it.cpu };
        let found = ratios(at, of);
        report.line(&format!("- {name}{}: {:.2} x", spread(&found), percentile(&found, 0.5)));
    }
    let walls = ratios(2, |it| it.wall);
    report.median_at_most("time of 2 processes / of one", &walls, 0.65, "x");
    Ok(())
}
