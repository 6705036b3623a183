//! How long does a restart take, beside the replay that it spares and the reading of its bytes?

use std::path::Path;

use watershed::runtime::Config;

use crate::Result;
use crate::recovery::args::Shapes;
use crate::recovery::case::{self, Case, State};
use crate::recovery::layers::Layers;
use crate::support::archive::{self, Counts};
use crate::support::live;
use crate::support::machine::{Clock, Measured};
use crate::support::report::{Report, count, megabytes, seconds};

/// Runs the program to the end of the archive.
pub(crate) fn run(archive: &Path, work: &Path, config: Config) -> Result<Measured> {
    let clock = Clock::start()?;
    let summary = live::streams(archive, work)?.run(config)?;
    let topics = summary.topics.values();
    let records = topics.clone().map(|topic| topic.read).sum();
    clock.measured(Counts { records, bytes: topics.map(|topic| topic.bytes).sum() })
}

/// The measurements of one round.
struct Round {
    replay: Measured,
    restart: Measured,
    layers: Layers,
}

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let archive = archive::archive(dir, shapes.events, 1000)?;
    archive::count(&archive)?;
    let mut rounds = Vec::new();
    for round in 1..=shapes.repeat {
        eprintln!("restart: round {round} of {}", shapes.repeat);
        let place = tempfile::tempdir_in(dir)?;
        let work = || place.path().to_path_buf();
        let program = || Case::Run { archive: archive.clone(), work: work(), state: State::OnDisk };
        rounds.push(Round {
            replay: case::measure(&program())?,
            restart: case::measure(&program())?,
            layers: case::measure(&Case::Layers { work: work() })?,
        });
    }
    rounds.sort_by(|a, b| {
        (a.restart.wall / a.replay.wall).total_cmp(&(b.restart.wall / b.replay.wall))
    });
    let ratios = |of: fn(&Measured) -> f64| -> Vec<f64> {
        rounds.iter().map(|round| of(&round.restart) / of(&round.replay)).collect()
    };
    let (walls, cpus) = (ratios(|measured| measured.wall), ratios(|measured| measured.cpu));
    let Round { replay, restart, layers } = rounds.swap_remove((rounds.len() - 1) / 2);
    let number = shapes.repeat;
    report.question(&format!("restart: how long, beside its replay? (the middle of {number})"));
    let row = |name: &str, wall, cpu, peak: Option<f64>| {
        [name.into(), seconds(wall), seconds(cpu), peak.map_or_else(String::new, megabytes)]
    };
    report.table(
        ["case", "time", "CPU", "peak memory"],
        [
            row("replay, 2 workers", replay.wall, replay.cpu, Some(replay.peak)),
            row("restart, 2 workers", restart.wall, restart.cpu, Some(restart.peak)),
            row("read and unpack, 1 thread", layers.wall, layers.cpu, None),
        ],
    );
    let (raw, packed) = (layers.raw as f64, layers.packed as f64);
    let an_event = |bytes: f64| bytes / shapes.events as f64;
    report.line(&format!(
        "- the snapshot: {} rows, {} raw and {} packed; an event {:.0} B raw and {:.0} B packed",
        count(layers.rows),
        megabytes(raw),
        megabytes(packed),
        an_event(raw),
        an_event(packed)
    ));
    report.median_at_most("time of the restart / of the replay", &walls, 0.33, "x");
    report.median_at_most("CPU of the restart / of the replay", &cpus, 0.33, "x");
    report.at_most("restart of 1 GB of raw rows", restart.wall / raw * 1e9, 20.0, "s");
    report.line(&format!(
        "- its floor, read and unpack: {:.2} s/GB; the restart takes {:.1} times as long",
        layers.wall / raw * 1e9,
        restart.wall / layers.wall
    ));
    if restart.counts.records != replay.counts.records {
        return Err("the restart counts other records than the replay".into());
    }
    Ok(())
}
