//! How much more does a run with snapshots cost than one without a state?

use std::path::Path;
use std::time::Duration;

use watershed::runtime::Config;

use crate::Result;
use crate::recovery::args::Shapes;
use crate::recovery::case::{self, Case, State};
use crate::support::archive;
use crate::support::corrections::{Gated, corrections};
use crate::support::live::{self, Live};
use crate::support::machine::{Clock, Measured};
use crate::support::report::{Report, percentile, seconds};

/// Replays the archive, and measures from the first correction until all are committed.
pub(crate) fn follow(
    archive: &Path,
    work: &Path,
    events: u64,
    number: usize,
    config: Config,
) -> Result<Measured> {
    let found = corrections(archive, events, number)?;
    let logs = Gated::three();
    for (log, lines) in logs.iter().zip(&found.lines) {
        lines.iter().for_each(|line| log.append(line));
    }
    let corrections: u64 = found.lines.iter().map(|lines| lines.len() as u64).sum();
    let (first, last) = (found.records, found.records + corrections);
    drop(found.lines);
    let mut live = Live::start(Gated::bind(&logs, live::streams(archive, work)?), config)?;
    live.replayed(first)?;
    live.rest(Duration::from_secs(2))?;
    let clock = Clock::start()?;
    logs[0].open_gate();
    live.until(|live| live.answered >= last && live.committed >= last)?;
    // A snapshot of these corrections may still be written.
    live.rest(Duration::from_secs(1))?;
    let measured = clock.measured(archive::Counts::default())?;
    live.end()?;
    Ok(measured)
}

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let archive = archive::archive(dir, shapes.events, 1000)?;
    archive::count(&archive)?;
    let (events, corrections) = (shapes.events, shapes.corrections);
    let rounds = shapes.repeat;
    report.question("overhead: how much more CPU does a run with a state use?");
    let (mut rows, mut added) = (Vec::new(), Vec::new());
    for (name, follows) in [("replay", false), ("follow corrections", true)] {
        let mut found: [Vec<Measured>; 2] = Default::default();
        for round in 1..=rounds {
            eprintln!("overhead: {name}, round {round} of {rounds}");
            for (state, found) in [State::OnDisk, State::Nowhere].into_iter().zip(&mut found) {
                let place = tempfile::tempdir_in(dir)?;
                let (archive, work) = (archive.clone(), place.path().into());
                found.push(case::measure(&match follows {
                    true => Case::Follow { archive, work, events, corrections, state },
                    false => Case::Run { archive, work, state },
                })?);
            }
        }
        for (state, found) in ["with a state", "without"].into_iter().zip(&found) {
            let median = |of: fn(&Measured) -> f64| {
                seconds(percentile(&found.iter().map(of).collect::<Vec<_>>(), 0.5))
            };
            rows.push([format!("{name}, {state}"), median(|m| m.wall), median(|m| m.cpu)]);
        }
        let [with, without] = &found;
        let share = |(a, b): (&Measured, &Measured)| (a.cpu / b.cpu - 1.0) * 100.0;
        added.push(with.iter().zip(without).map(share).collect::<Vec<_>>());
    }
    report.table(["case", "time", "CPU"], rows);
    for ((name, limit), added) in [("replay", 8.0), ("follow", 5.0)].into_iter().zip(added) {
        report.median_at_most(&format!("additional CPU, {name}"), &added, limit, "%");
    }
    Ok(())
}
