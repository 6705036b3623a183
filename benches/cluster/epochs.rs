//! How many epochs a second are completed, one after the other?

use std::path::Path;

use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::prelude::*;
use watershed::runtime::Streams;

use crate::Result;
use crate::cluster::args::Shapes;
use crate::cluster::case::{self, Process, Work};
use crate::support::live::Live;
use crate::support::report::{Report, count, millis, percentile, spread};

/// Returns the program: a table and its groups, so that rows change the worker twice.
fn program() -> Topology {
    Topology::new("epochs", |builder: &StreamsBuilder<'_>| {
        let rows = builder.table::<i64, i64>("rows", Consumed::with(Json, Json));
        let counts = rows.group_by(|_, n| (n % 10, ())).count();
        counts.to("counts", Produced::columns(["digit", "count"]));
    })
}

/// Completes an epoch for each record. Returns the seconds for one epoch, in process 0.
pub(crate) fn run(process: &Process, records: u64) -> Result<f64> {
    let log = MemoryLog::default();
    let streams =
        Streams::new(program()).source("rows", log.clone()).sink("counts", MemoryTable::default());
    let config = process.config()?;
    if process.process > 0 {
        streams.run(config)?;
        return Ok(0.0);
    }
    let mut live = Live::start(streams, config)?;
    let mut append = |n: u64| {
        log.append(0, Some(n.to_string().as_bytes()), Some(n.to_string().as_bytes()));
        live.until(|live| live.answered > n)
    };
    let warm = records / 10 + 1;
    let mut started = append(0)?;
    for n in 1..warm {
        started = append(n)?;
    }
    let mut ended = started;
    for n in warm..warm + records {
        ended = append(n)?;
    }
    live.end()?;
    Ok(ended.duration_since(started).as_secs_f64() / records as f64)
}

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let work = Work::Epochs { records: shapes.records };
    let mut found: [Vec<f64>; 2] = Default::default();
    for round in 1..=shapes.repeat {
        eprintln!("epochs: round {round} of {}", shapes.repeat);
        for (processes, found) in (1..).zip(&mut found) {
            let place = case::place(dir)?;
            let all = Process::all(&work, place.path(), processes, 1);
            found.push(case::measure::<f64>(&all)?[0]);
        }
    }
    report.question("epochs: how many a second, one after the other? (one record in each)");
    let row = |(processes, found): (usize, &Vec<f64>)| {
        let epoch = percentile(found, 0.5);
        [format!("processes: {processes}"), millis(epoch), count((1.0 / epoch) as u64)]
    };
    report.table(["case", "an epoch", "epochs a second"], (1..).zip(&found).map(row));
    let more: Vec<f64> = found[1].iter().zip(&found[0]).map(|(two, one)| two - one).collect();
    let median = millis(percentile(&more, 0.5));
    report.line(&format!("- added by the link{}: {median}", spread(&more)));
    Ok(())
}
