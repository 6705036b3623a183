//! Does a restart cost by the state, or by the number of records that made it?

use std::path::Path;

use watershed::connect::{Partition, Poll, Source};
use watershed::connectors::delta::Delta;
use watershed::prelude::*;
use watershed::record::Batch;
use watershed::runtime::Config;
use watershed::store::Store;

use crate::Result;
use crate::bench::archive::Counts;
use crate::bench::machine::{Clock, Measured};
use crate::bench::report::{Report, count, seconds};
use crate::recovery::args::Shapes;
use crate::recovery::case::{self, Case};

/// Records for each key.
const TIMES: [u64; 3] = [1, 10, 100];
/// The groups of the table.
const GROUPS: u64 = 1000;
/// The number of records in a batch.
const BATCH_RECORDS: u64 = 4096;

/// A log of computed records: one for each key, again and again.
struct Rounds {
    keys: u64,
    end: u64,
}

impl Source for Rounds {
    fn describe(&self) -> String {
        "rounds".into()
    }

    fn partitions(&self) -> watershed::Result<Vec<u32>> {
        Ok(vec![0])
    }

    fn open(&self, _: u32, from: Option<u64>, _: bool) -> watershed::Result<Box<dyn Partition>> {
        let (keys, end, next) = (self.keys, self.end, from.unwrap_or(0));
        if next > end {
            return Err(Error::data(format!("can't read rounds from {next}: they end at {end}")));
        }
        Ok(Box::new(Reader { keys, end, next }))
    }
}

struct Reader {
    keys: u64,
    end: u64,
    next: u64,
}

impl Partition for Reader {
    fn poll(&mut self) -> watershed::Result<Poll> {
        if self.next == self.end {
            return Ok(Poll::End);
        }
        let (first, next) = (self.next, self.end.min(self.next + BATCH_RECORDS));
        let mut batch = Batch { first, next, ..Batch::default() };
        for n in first..next {
            let (key, value) = (format!("key-{:08}", n % self.keys), n.to_string());
            batch.push(n, None, Some(key.as_bytes()), Some(value.as_bytes()));
        }
        self.next = next;
        Ok(Poll::Batch(batch))
    }

    fn remaining(&self) -> u64 {
        (self.end - self.next) * 20
    }
}

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
        .source("rounds", Rounds { keys, end: keys * times })
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
    let middle = found.map(|mut found| {
        found.sort_by(|(_, a), (_, b)| a.wall.total_cmp(&b.wall));
        found.swap_remove(found.len() / 2)
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
    let [one, ten, hundred] = middle.map(|(_, restart)| restart);
    report.at_most("restart after 10 / after 1 record a key", ten.wall / one.wall, 1.2, "x");
    report.at_most("restart after 100 / after 1 record a key", hundred.wall / one.wall, 1.2, "x");
    Ok(())
}
