//! Does a record cost as much in five times as many events?

use std::path::Path;

use crate::Result;
use crate::bench::args::Shapes;
use crate::bench::case::{self, Case};
use crate::support::archive;
use crate::support::machine::Measured;
use crate::support::report::{Report, count, megabytes, seconds};

/// How many times as many events the larger archive has.
const TIMES: u64 = 5;

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let sizes = [shapes.events, TIMES * shapes.events];
    let mut found: [Vec<Measured>; 2] = Default::default();
    for _ in 0..shapes.repeat {
        for (events, found) in sizes.iter().zip(&mut found) {
            eprintln!("large: {events} events");
            let archive = archive::archive(dir, *events, 1000)?;
            // The files are in the page cache, as far as it is large enough.
            archive::count(&archive)?;
            let work = tempfile::tempdir_in(dir)?;
            let case = Case::Run { archive, work: work.path().into(), workers: 2 };
            found.push(case::measure(&case)?);
        }
    }
    let middle = found.map(|mut found| {
        found.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
        found.swap_remove(found.len() / 2)
    });
    let cost = |m: &Measured| m.cpu / m.counts.records as f64 * 1e6;
    report.question(&format!(
        "large: does a record cost as much in {TIMES} times as many events? (2 workers, the middle \
         of {} by CPU)",
        shapes.repeat
    ));
    let rows = sizes.iter().zip(&middle).map(|(events, m)| {
        [
            count(*events),
            seconds(m.wall),
            seconds(m.cpu),
            seconds(cost(m)),
            megabytes(m.peak),
            format!("{:.0} B", m.peak / *events as f64),
        ]
    });
    let head = ["events", "time", "CPU", "CPU a million records", "peak memory", "an event"];
    report.table(head, rows);
    let [small, large] = &middle;
    report.at_most("CPU a record, of the larger archive", cost(large) / cost(small), 1.1, "x");
    Ok(())
}
