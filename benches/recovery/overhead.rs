//! How much more does a run with snapshots cost than one without a state?

use std::path::Path;
use std::time::Duration;

use crate::Result;
use crate::bench::archive;
use crate::bench::corrections::{Gated, corrections};
use crate::bench::live::{self, Live};
use crate::bench::machine::{Clock, Measured};
use crate::bench::report::{Report, seconds};
use crate::recovery::args::Shapes;
use crate::recovery::case::{self, Case};

/// Replays the archive, and measures from the first correction until all are committed.
pub(crate) fn follow(
    archive: &Path,
    work: &Path,
    events: u64,
    number: usize,
    state: bool,
) -> Result<Measured> {
    let found = corrections(archive, events, number)?;
    let logs = Gated::three();
    for (log, lines) in logs.iter().zip(&found.lines) {
        lines.iter().for_each(|line| log.append(line));
    }
    let corrections: u64 = found.lines.iter().map(|lines| lines.len() as u64).sum();
    let (first, last) = (found.records, found.records + corrections);
    drop(found.lines);
    let mut config = live::config(work, 2)?;
    if !state {
        config.state = None;
    }
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
    report.question(&format!(
        "overhead: how much more CPU with a state than without? (the middle of {rounds})"
    ));
    let (mut rows, mut shares) = (Vec::new(), Vec::new());
    for (name, follows) in [("replay", false), ("follow corrections", true)] {
        let mut pairs: Vec<[Measured; 2]> = Vec::new();
        for round in 1..=rounds {
            eprintln!("overhead: {name}, round {round} of {rounds}");
            let measure = |state: bool| -> Result<Measured> {
                let place = tempfile::tempdir_in(dir)?;
                let (archive, work) = (archive.clone(), place.path().into());
                case::measure(&match follows {
                    true => Case::Follow { archive, work, events, corrections, state },
                    false => Case::Run { archive, work, state },
                })
            };
            pairs.push([measure(true)?, measure(false)?]);
        }
        pairs.sort_by(|a, b| (a[0].cpu / a[1].cpu).total_cmp(&(b[0].cpu / b[1].cpu)));
        let [with, without] = pairs.swap_remove(pairs.len() / 2);
        shares.push(with.cpu / without.cpu - 1.0);
        for (state, measured) in [("with a state", with), ("without", without)] {
            rows.push([format!("{name}, {state}"), seconds(measured.wall), seconds(measured.cpu)]);
        }
    }
    report.table(["case", "time", "CPU"], rows);
    for ((name, limit), share) in [("replay", 8.0), ("follow", 5.0)].into_iter().zip(shares) {
        report.at_most(&format!("additional CPU, {name}"), share * 100.0, limit, "%");
    }
    Ok(())
}
