//! How many corrections a second can the answers follow?

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use watershed::runtime::Milestone;

use crate::Result;
use crate::bench::args::Shapes;
use crate::bench::case::{self, Case};
use crate::support::archive;
use crate::support::corrections::{Gated, corrections};
use crate::support::live::{self, Live};
use crate::support::machine;
use crate::support::report::{HANG_TIMEOUT, Report, count, millis, seconds};

/// The cost of following the corrections.
#[derive(Serialize, Deserialize)]
pub(crate) struct Followed {
    corrections: u64,
    /// Seconds from opening the gate until all were answered.
    wall: f64,
    cpu: f64,
    /// The number of times that new answers appeared.
    answers: u64,
    /// The longest time without new answers, in seconds.
    longest: f64,
    commits: u64,
}

/// Keeps all corrections behind the gate during the replay, opens it, and measures until all are
/// answered.
pub(crate) fn measure(
    archive: &Path,
    work: &Path,
    events: u64,
    number: usize,
    workers: usize,
) -> Result<Followed> {
    let found = corrections(archive, events, number)?;
    let logs = Gated::three();
    for (log, lines) in logs.iter().zip(&found.lines) {
        lines.iter().for_each(|line| log.append(line));
    }
    let corrections: u64 = found.lines.iter().map(|lines| lines.len() as u64).sum();
    let (first, last) = (found.records, found.records + corrections);
    drop(found.lines);
    let mut live = Live::start(
        Gated::bind(&logs, live::streams(archive, work)?),
        live::config(work, workers)?,
    )?;
    live.replayed(first)?;
    live.rest(Duration::from_secs(2))?;
    let (started, cpu) = (Instant::now(), machine::cpu()?);
    logs[0].open_gate();
    let (mut answers, mut commits) = (vec![started], 0);
    while live.answered < last {
        match live.next(HANG_TIMEOUT)?.ok_or("the corrections were not answered")? {
            (at, Milestone::Answered(records)) if records > first => answers.push(at),
            (_, Milestone::Committed(records)) if records > first => commits += 1,
            _ => {}
        }
    }
    let cpu = machine::cpu()? - cpu;
    let longest =
        answers.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).fold(0.0, f64::max);
    let followed = Followed {
        corrections,
        wall: (answers[answers.len() - 1] - started).as_secs_f64(),
        cpu,
        answers: answers.len() as u64 - 1,
        longest,
        commits,
    };
    live.end()?;
    Ok(followed)
}

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let archive = archive::archive(dir, shapes.events, 1000)?;
    let (mut rows, mut rate) = (Vec::new(), 0.0);
    for workers in [1, 2] {
        eprintln!("sustained: {workers} workers");
        let work = tempfile::tempdir_in(dir)?;
        let (archive, work, events) = (archive.clone(), work.path().into(), shapes.events);
        let found: Followed = case::measure(&Case::Sustained {
            archive,
            work,
            events,
            corrections: shapes.sustained,
            workers,
        })?;
        rate = found.corrections as f64 / found.wall;
        rows.push([
            workers.to_string(),
            count(found.corrections),
            seconds(found.wall),
            seconds(found.cpu),
            count(rate as u64),
            count(found.answers),
            millis(found.longest),
            count(found.commits),
        ]);
    }
    report.question(
        "sustained: how many corrections a second, with all answers maintained and committed?",
    );
    report.table(
        [
            "workers",
            "corrections",
            "time",
            "CPU",
            "records/s",
            "times answered",
            "longest wait",
            "commits",
        ],
        rows,
    );
    report.at_least("2 workers", rate / 1e3, 200.0, "k records/s");
    Ok(())
}
