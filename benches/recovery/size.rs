//! How long does a restart with a state of about a gigabyte take?

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use watershed::connectors::delta::Delta;
use watershed::prelude::*;
use watershed::runtime::Config;
use watershed::store::Store;

use crate::Result;
use crate::recovery::args::Shapes;
use crate::recovery::case::{self, Case};
use crate::recovery::layers::Layers;
use crate::recovery::rounds::{Contents, Rounds};
use crate::support::archive::Counts;
use crate::support::machine::{Clock, Measured};
use crate::support::report::{Report, count, megabytes, percentile, seconds};

/// A run, and the disk that it needed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sized {
    measured: Measured,
    /// The largest size of its folder, in bytes. It is looked at about ten times a second.
    disk: u64,
}

/// Runs the program to the end of the log.
pub(crate) fn run(work: &Path, keys: u64) -> Result<Sized> {
    let topology = Topology::new("size", |builder: &StreamsBuilder<'_>| {
        let texts = builder.table::<String, String>("texts", Consumed::with(Utf8, Utf8));
        texts.to("kept", Produced::columns(["key", "text"]));
        texts
            .group_by(|_, text| (text.chars().take(2).collect::<String>(), ()))
            .count()
            .to("counts", Produced::columns(["beginning", "count"]));
    });
    let at = |name: &str| work.join(name).display().to_string();
    let (disk, folder) = (Arc::new(AtomicU64::new(0)), work.to_path_buf());
    let peak = disk.clone();
    let clock = Clock::start()?;
    let summary = Streams::new(topology)
        .source("texts", Rounds { keys, end: keys, contents: Contents::Texts })
        .sink("kept", Delta::table(&at("kept"))?)
        .sink("counts", Delta::table(&at("counts"))?)
        .run(Config {
            workers: 2,
            state: Some(Store::open(&at("state"))?),
            progress: Some(Box::new(move |_| {
                peak.fetch_max(bytes(&folder), Ordering::Relaxed);
            })),
            ..Config::default()
        })?;
    let records = summary.topics.values().map(|topic| topic.read).sum();
    let measured = clock.measured(Counts { records, bytes: 0 })?;
    Ok(Sized { measured, disk: disk.load(Ordering::Relaxed).max(bytes(work)) })
}

/// Returns the size of all files in a folder. Files may vanish meanwhile.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Measures, and prints the answer. One replay serves all restarts: they write nothing.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let (keys, rounds) = (shapes.size_keys, shapes.repeat);
    let place = tempfile::tempdir_in(dir)?;
    let work = || place.path().to_path_buf();
    eprintln!("size: replay of {} records", count(keys));
    let replay: Sized = case::measure(&Case::Size { work: work(), keys })?;
    let (mut restarts, mut layers) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        eprintln!("size: restart, round {round} of {rounds}");
        restarts.push(case::measure::<Sized>(&Case::Size { work: work(), keys })?);
        layers.push(case::measure::<Layers>(&Case::Layers { work: work() })?);
    }
    if restarts.iter().any(|restart| restart.measured.counts.records != keys) {
        return Err(format!("a restart counts other records than {keys}").into());
    }
    let walls: Vec<f64> = restarts.iter().map(|restart| restart.measured.wall).collect();
    let floors: Vec<f64> = layers.iter().map(|layers| layers.wall).collect();
    restarts.sort_by(|a, b| a.measured.wall.total_cmp(&b.measured.wall));
    let restart = restarts.swap_remove((restarts.len() - 1) / 2);
    let Layers { packed, raw, rows, .. } = layers[0];
    let (packed, raw) = (packed as f64, raw as f64);
    report.question("size: how long is a restart with a large state?");
    let row = |name: &str, Sized { measured, disk }: &Sized| {
        let Measured { wall, cpu, peak, .. } = *measured;
        [name.into(), seconds(wall), seconds(cpu), megabytes(peak), megabytes(*disk as f64)]
    };
    report.table(
        ["case", "time", "CPU", "peak memory", "peak disk"],
        [row("replay, 2 workers", &replay), row("restart, 2 workers", &restart)],
    );
    report.line(&format!(
        "- the snapshot: {} rows of {} keys, layers of {}, {} unpacked",
        count(rows),
        count(keys),
        megabytes(packed),
        megabytes(raw)
    ));
    report.median_at_most(&format!("restart, {}", megabytes(packed)), &walls, 20.0, "s");
    let (wall, floor) = (percentile(&walls, 0.5), percentile(&floors, 0.5));
    report.line(&format!(
        "- a GB of layers: {:.2} s; its floor, read and unpack with 1 thread: {:.2} s",
        wall / packed * 1e9,
        floor / packed * 1e9
    ));
    Ok(())
}
