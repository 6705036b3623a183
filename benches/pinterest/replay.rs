//! How long does a replay take, and how much of it is more than reading, cleaning and writing?

use std::path::Path;

use watershed::connectors::delta::Table;

use crate::Result;
use crate::bench::args::Shapes;
use crate::bench::case::{self, Case};
use crate::bench::stages;
use crate::questions::QUESTIONS;
use crate::support::archive::{self, Counts};
use crate::support::live;
use crate::support::machine::{Clock, Measured};
use crate::support::report::{Report, count, megabytes, seconds};

/// Runs the program to the end of the archive.
pub(crate) fn run(archive: &Path, work: &Path, workers: usize) -> Result<Measured> {
    let clock = Clock::start()?;
    let summary = live::streams(archive, work)?.run(live::config(work, workers)?)?;
    let mut counts = Counts::default();
    for topic in summary.topics.values() {
        counts.records += topic.read;
        counts.bytes += topic.bytes;
    }
    let mut measured = clock.measured(counts)?;
    for (view, _) in QUESTIONS {
        Table::open(&live::table(work, view))?.for_each(&mut |_| {
            measured.answers += 1;
            Ok(())
        })?;
    }
    Ok(measured)
}

/// The name of a case, and its constructor from an archive and an empty folder.
type Named = (&'static str, fn(&Path, &Path) -> Case);

const CASES: [Named; 7] = [
    ("parse, 1 thread", |archive, _| Case::Parse { archive: archive.into(), threads: 1 }),
    ("parse, 2 threads", |archive, _| Case::Parse { archive: archive.into(), threads: 2 }),
    ("parse + Parquet, 1 thread", |archive, work| Case::Parquet {
        archive: archive.into(),
        work: work.into(),
        threads: 1,
    }),
    ("parse + Parquet, 2 threads", |archive, work| Case::Parquet {
        archive: archive.into(),
        work: work.into(),
        threads: 2,
    }),
    ("naive batch, no tables", |archive, _| Case::Naive { archive: archive.into() }),
    ("pinterest, 1 worker", |archive, work| Case::Run {
        archive: archive.into(),
        work: work.into(),
        workers: 1,
    }),
    ("pinterest, 2 workers", |archive, work| Case::Run {
        archive: archive.into(),
        work: work.into(),
        workers: 2,
    }),
];

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let archive = archive::archive(dir, shapes.events, 1000)?;
    archive::count(&archive)?;
    let mut found: [Vec<Measured>; 7] = Default::default();
    // Round by round, so that a busy moment of the machine does not fall on one case only.
    for _ in 0..shapes.repeat {
        for ((name, case), found) in CASES.iter().zip(&mut found) {
            eprintln!("replay: {name}");
            let work = tempfile::tempdir_in(dir)?;
            found.push(case::measure(&case(&archive, work.path()))?);
        }
    }
    let middle = found.map(|mut found| {
        found.sort_by(|a, b| a.wall.total_cmp(&b.wall));
        found.swap_remove(found.len() / 2)
    });
    report.question(&format!(
        "replay: how long, beside its floors? (the middle of {} by time)",
        shapes.repeat
    ));
    let rows = CASES.iter().zip(&middle).map(|((name, _), m)| {
        let rate = m.counts.records as f64 / m.wall;
        let throughput = format!("{:.0}", m.counts.bytes as f64 / m.wall / 1e6);
        [
            name.to_string(),
            seconds(m.wall),
            seconds(m.cpu),
            count(rate as u64),
            throughput,
            megabytes(m.peak),
        ]
    });
    report.table(["case", "time", "CPU", "records/s", "MB/s", "peak memory"], rows);
    let [_, _, parquet_1, parquet_2, naive, one, two] = &middle;
    let (records, bytes) = (count(two.counts.records), megabytes(two.counts.bytes as f64));
    report.line(&format!("- {records} records, {bytes}; {} rows of answers", count(two.answers)));
    report.at_most("CPU of 1 worker / parse + Parquet", one.cpu / parquet_1.cpu, 1.5, "x");
    report.at_most("CPU of 2 workers / parse + Parquet", two.cpu / parquet_2.cpu, 1.5, "x");
    report.line(&format!(
        "- time of parse + Parquet on 2 threads / on 1: {:.2} x",
        parquet_2.wall / parquet_1.wall
    ));
    report.at_most("time of 2 workers / of 1", two.wall / one.wall, 0.6, "x");
    report.at_least("2 workers", two.counts.records as f64 / two.wall / 1e6, 0.9, "M records/s");
    let answers = [naive, one, two].map(|case| case.answers);
    if answers != [two.answers; 3] {
        return Err(format!(
            "the rows of the answers differ: {answers:?} (naive, 1 worker, 2 workers)"
        )
        .into());
    }
    eprintln!("replay: stages");
    let stages = |has_tables| {
        let (archive, work) = (archive.clone(), tempfile::tempdir_in(dir)?);
        case::measure(&Case::Stages { archive, work: work.path().into(), workers: 2, has_tables })
    };
    stages::report(&stages(true)?, &stages(false)?, report);
    Ok(())
}
