//! How soon is a correction in the answers, and how soon on disk, on an idle system? How much does
//! it cost to wait for one?

use std::path::Path;

use crate::Result;
use crate::bench::args::Shapes;
use crate::bench::case::{self, Case, Medium};
use crate::support::archive;
use crate::support::latency::Latencies;
use crate::support::report::{Report, count, millis, percentile};

/// Partitions of each topic, in the case of idle ones.
const PARTITIONS: u32 = 1000;

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
    let measured = |workers, medium| -> Result<Latencies> {
        let work = tempfile::tempdir_in(dir)?;
        case::measure(&Case::Latency {
            archive: archive.clone(),
            work: work.path().into(),
            events: shapes.events,
            corrections: shapes.corrections,
            workers,
            medium,
        })
    };
    let mut last = Latencies::default();
    for workers in [1, 2] {
        eprintln!("latency: {workers} workers");
        let found = measured(workers, Medium::Memory)?;
        let name = if workers == 1 { "1 worker" } else { "2 workers" };
        rows.push(row(&format!("{name}: appended to read"), &found.read));
        rows.push(row(&format!("{name}: read to answers"), &found.processed));
        rows.push(row(&format!("{name}: appended to answers"), &found.answered));
        rows.push(row(&format!("{name}: appended to commit"), &found.committed));
        last = found;
    }
    eprintln!("latency: files");
    let files = measured(2, Medium::Files)?;
    rows.push(row("file renamed to seen", &files.read));
    rows.push(row("file seen to answers", &files.processed));
    let known = files.committed.iter().zip(&files.answered);
    let saved: Vec<f64> = known.map(|(committed, answered)| committed - answered).collect();
    rows.push(row("answers to commit", &saved));
    rows.push(row("file renamed to commit", &files.committed));
    eprintln!("latency: {PARTITIONS} idle partitions");
    let work = tempfile::tempdir_in(dir)?;
    let idle: f64 = case::measure(&Case::Idle {
        archive: archive::scattered(dir, shapes.small, PARTITIONS)?,
        work: work.path().into(),
        length: shapes.idle,
    })?;
    let number = last.answered.len();
    report.question(&format!(
        "latency: how soon is a correction in the answers, and on disk? \
        ({number} corrections, one at a time)"
    ));
    report.table(["from … to", "p50", "p90", "p99"], rows);
    let [read, processed] =
        [&last.read, &last.processed].map(|values| percentile(values, 0.5) * 1e3);
    report.line(&format!(
        "- appended to answers with 2 workers, p50: \
        {read:.2} ms until it is read, {processed:.2} ms from there"
    ));
    for (what, values, limit) in [
        ("appended to answers", &last.answered, 1.0),
        ("appended to commit", &last.committed, 30.0),
        ("file renamed to commit", &files.committed, 20.0),
    ] {
        let [half, most] = [0.5, 0.99].map(|share| percentile(values, share));
        report.at_most(&format!("{what}, p50"), half * 1e3, limit, "ms");
        report.at_most(&format!("{what}, p99 / p50"), most / half, 5.0, "x");
    }
    let partitions = count(3 * u64::from(PARTITIONS));
    report.at_most(&format!("idle: {partitions} partitions, of a core"), idle * 1e2, 1.0, "%");
    Ok(())
}

fn row(name: &str, values: &[f64]) -> [String; 4] {
    let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| millis(percentile(values, share)));
    [name.into(), p50, p90, p99]
}
