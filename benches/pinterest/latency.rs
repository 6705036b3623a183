//! How soon is a correction in the answers, and how soon on disk, on an idle system?

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::bench::archive;
use crate::bench::args::Shapes;
use crate::bench::case::{self, Case};
use crate::bench::corrections::{Gated, corrections};
use crate::bench::floors;
use crate::bench::live::{self, Live};
use crate::bench::report::{Report, millis, percentile};

/// Corrections before the measured ones.
const WARM_UP: usize = 15;

/// Seconds, one for each correction.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Latencies {
    /// From the append to the answers.
    answered: Vec<f64>,
    /// From the append to the read.
    read: Vec<f64>,
    /// From the read to the answers.
    processed: Vec<f64>,
    /// From the append to the commit.
    committed: Vec<f64>,
}

/// Appends corrections, each after the previous one is committed and a pause.
pub(crate) fn measure(
    archive: &Path,
    work: &Path,
    events: u64,
    number: usize,
    workers: usize,
) -> Result<Latencies> {
    let found = corrections(archive, events, number + WARM_UP + 6)?;
    let logs = Gated::three();
    // Put one record in each log first, because new partitions are discovered only once a second.
    logs.iter().zip(&found.lines).for_each(|(log, lines)| log.append(&lines[0]));
    logs[0].open_gate();
    let mut config = live::config(work, workers)?;
    config.commit_every = Duration::ZERO;
    let mut live = Live::start(Gated::bind(&logs, live::streams(archive, work)?), config)?;
    let mut records = found.records + 3;
    live.replayed(records)?;
    live.rest(Duration::from_secs(2))?;
    let mut all = Latencies::default();
    for at in 0..number + WARM_UP {
        live.rest(floors::pause(at))?;
        let (log, line) = (&logs[at % 3], &found.lines[at % 3][1 + at / 3]);
        records += 1;
        let appended = Instant::now();
        log.append(line);
        let answered = live.until(|live| live.answered >= records)?;
        let committed = if live.committed >= records {
            answered
        } else {
            live.until(|live| live.committed >= records)?
        };
        let read = log.read_at().ok_or("a correction was answered before it was read")?;
        if at >= WARM_UP {
            all.answered.push((answered - appended).as_secs_f64());
            all.read.push(read.saturating_duration_since(appended).as_secs_f64());
            all.processed.push((answered.saturating_duration_since(read)).as_secs_f64());
            all.committed.push((committed - appended).as_secs_f64());
        }
    }
    live.end()?;
    Ok(all)
}

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let archive = archive::archive(dir, shapes.events, 1000)?;
    let work = tempfile::tempdir_in(dir)?;
    let syncs = |work: &Path| {
        case::measure::<Vec<f64>>(&Case::Syncs { work: work.into(), times: shapes.corrections })
    };
    eprintln!("latency: three syncs");
    let syncs = syncs(work.path())?;
    eprintln!("latency: two threads");
    let rounds = case::measure::<Vec<f64>>(&Case::Rounds { times: shapes.corrections })?;
    let mut rows = vec![
        row("floor: three files created and synced", &syncs),
        row("floor: two threads, five rounds", &rounds),
    ];
    let mut last = Latencies::default();
    for workers in [1, 2] {
        eprintln!("latency: {workers} workers");
        let work = tempfile::tempdir_in(dir)?;
        let (archive, work, events) = (archive.clone(), work.path().into(), shapes.events);
        let found: Latencies = case::measure(&Case::Latency {
            archive,
            work,
            events,
            corrections: shapes.corrections,
            workers,
        })?;
        let name = if workers == 1 { "1 worker" } else { "2 workers" };
        rows.push(row(&format!("{name}: appended to read"), &found.read));
        rows.push(row(&format!("{name}: read to answers"), &found.processed));
        rows.push(row(&format!("{name}: appended to answers"), &found.answered));
        rows.push(row(&format!("{name}: appended to commit"), &found.committed));
        last = found;
    }
    let number = last.answered.len();
    report.question(&format!("latency: how soon is a correction in the answers, and on disk? ({number} corrections, one at a time)"));
    report.table(["from … to", "p50", "p90", "p99"], rows);
    let [read, processed] =
        [&last.read, &last.processed].map(|values| percentile(values, 0.5) * 1e3);
    report.line(&format!("- appended to answers with 2 workers, p50: {read:.2} ms until it is read, {processed:.2} ms from there"));
    for (what, values, limit) in [
        ("appended to answers", &last.answered, 1.0),
        ("appended to commit", &last.committed, 30.0),
    ] {
        let [half, most] = [0.5, 0.99].map(|share| percentile(values, share));
        report.at_most(&format!("{what}, p50"), half * 1e3, limit, "ms");
        report.at_most(&format!("{what}, p99 / p50"), most / half, 5.0, "x");
    }
    Ok(())
}

fn row(name: &str, values: &[f64]) -> [String; 4] {
    let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| millis(percentile(values, share)));
    [name.into(), p50, p90, p99]
}
