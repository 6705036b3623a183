//! How soon after the start of its process does a restarted run commit a new record?

#![allow(clippy::disallowed_methods, reason = "two processes compare their times")]

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::generate;
use crate::recovery::args::Shapes;
use crate::recovery::case::{self, Case};
use crate::support::archive;
use crate::support::corrections::{Corrections, Gated, corrections};
use crate::support::live::{self, Live};
use crate::support::report::{Report, count, percentile, seconds, spread};

/// Seconds from the start of the process to the first new record in …
#[derive(Serialize, Deserialize)]
pub(crate) struct First {
    /// … all answers.
    answered: f64,
    /// … a commit.
    committed: f64,
}

/// Replays the archive.
pub(crate) fn replay(archive: &Path, work: &Path, records: u64) -> Result {
    let streams = Gated::bind(&Gated::three(), live::streams(archive, work)?);
    let mut live = Live::start(streams, live::config(work, 2)?)?;
    live.replayed(records)?;
    live.end()?;
    Ok(())
}

/// Continues after the replay of `records` records, with one more.
pub(crate) fn run(
    archive: &Path,
    work: &Path,
    records: u64,
    line: &str,
    started: Duration,
) -> Result<First> {
    let logs = Gated::three();
    logs[0].append(line.as_bytes());
    logs[0].open_gate();
    let streams = Gated::bind(&logs, live::streams(archive, work)?);
    let mut live = Live::start(streams, live::config(work, 2)?)?;
    let since = |at: Instant| -> Result<f64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(now.saturating_sub(started).saturating_sub(at.elapsed()).as_secs_f64())
    };
    let answered = since(live.until(|live| live.answered > records)?)?;
    let committed = match live.committed > records {
        true => answered,
        false => since(live.until(|live| live.committed > records)?)?,
    };
    live.end()?;
    Ok(First { answered, committed })
}

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let events = generate::Options::default().events;
    let archive = archive::archive(dir, events, 1000)?;
    let Corrections { lines, records } = corrections(&archive, events, 3)?;
    let line = lines[0].first().ok_or("the archive has no pin to correct")?;
    let line = String::from_utf8(line.clone())?;
    let mut found = Vec::new();
    for round in 1..=shapes.repeat {
        eprintln!("first answer: round {round} of {}", shapes.repeat);
        let place = tempfile::tempdir_in(dir)?;
        let (archive, work) = (|| archive.clone(), || place.path().to_path_buf());
        case::measure::<()>(&Case::Replay { archive: archive(), work: work(), records })?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let (archive, work, line) = (archive(), work(), line.clone());
        found.push(case::measure(&Case::FirstAnswer { archive, work, records, line, started })?);
    }
    let [answered, committed]: [Vec<f64>; 2] =
        [|first: &First| first.answered, |first: &First| first.committed]
            .map(|of| found.iter().map(of).collect());
    report.question(&format!(
        "first answer: how soon after the start? ({} events, 2 workers, a restart)",
        count(events)
    ));
    report.line(&format!(
        "- start of the process to all answers with the new record{}: {}",
        spread(&answered),
        seconds(percentile(&answered, 0.5))
    ));
    report.median_at_most("start of the process to its commit", &committed, 2.0, "s");
    Ok(())
}
