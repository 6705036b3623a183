//! Does a restart cost by the state, or by the number of records that made it?

use std::path::Path;

use watershed::connectors::delta::Delta;
use watershed::prelude::*;
use watershed::runtime::Config;
use watershed::store::Store;

use crate::Result;
use crate::recovery::args::Shapes;
use crate::recovery::case::{self, Case};
use crate::recovery::rounds::{Contents, Rounds};
use crate::support::archive::Counts;
use crate::support::machine::{Clock, Measured};
use crate::support::report::{Report, count, seconds};

/// Records for each key.
const TIMES: [u64; 3] = [1, 10, 100];
/// The groups of the table.
const GROUPS: u64 = 1000;
/// Runs the program to the end of the log.
pub(crate) fn run(work: &Path, keys: u64, times: u64) -> Result<Measured> {
    let topology = Topology::new("rounds", |builder: &StreamsBuilder<'_>| {
        let rounds = builder.table::<String, i64>("rounds", Consumed::with(Utf8, Json));
        rounds.to("kept", Produced::columns(["key", "n"]));
        rounds
            .group_by(|_, n| ((*n as u64 % GROUPS) as i64, *n))
            .count()
            .to("counts", Produced::columns(["group", "count"]));
    });
    let at = |name: &str| work.join(name).display().to_string();
    let clock = Clock::start()?;
    let state = Some(Store::open(&at("state"))?);
    let summary = Streams::new(topology)
        .source("rounds", Rounds { keys, end: keys * times, contents: Contents::Numbers })
        .sink("kept", Delta::table(&at("kept"))?)
        .sink("counts", Delta::table(&at("counts"))?)
        .run(Config { workers: 2, state, ..Config::default() })?;
    let records = summary.topics.values().map(|topic| topic.read).sum();
    clock.measured(Counts { records, bytes: 0 })
}

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let keys = shapes.keys;
    let mut found: [Vec<(Measured, Measured)>; 3] = Default::default();
    for round in 1..=shapes.repeat {
        for (times, found) in TIMES.into_iter().zip(&mut found) {
            eprintln!("history: {times} records a key, round {round} of {}", shapes.repeat);
            let place = tempfile::tempdir_in(dir)?;
            let program = || Case::History { work: place.path().into(), keys, times };
            found.push((case::measure(&program())?, case::measure(&program())?));
        }
    }
    let ratios = |times: usize| -> Vec<f64> {
        let pairs = found[times].iter().zip(&found[0]);
        pairs.map(|((_, restart), (_, one))| restart.wall / one.wall).collect()
    };
    let (ten, hundred) = (ratios(1), ratios(2));
    let middle = found.map(|mut found| {
        found.sort_by(|(_, a), (_, b)| a.wall.total_cmp(&b.wall));
        found.swap_remove((found.len() - 1) / 2)
    });
    report.question(&format!(
        "history: how long is a restart after more records of the same {} keys?",
        count(keys)
    ));
    let rows = TIMES.into_iter().zip(&middle).map(|(times, (replay, restart))| {
        [
            times.to_string(),
            count(replay.counts.records),
            seconds(replay.wall),
            seconds(restart.wall),
            seconds(restart.cpu),
        ]
    });
    report.table(["records a key", "records", "replay", "restart", "CPU of the restart"], rows);
    report.median_at_most("restart after 10 / after 1 record a key", &ten, 1.2, "x");
    report.median_at_most("restart after 100 / after 1 record a key", &hundred, 1.2, "x");
    Ok(())
}
