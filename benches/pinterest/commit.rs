//! Does a commit cost by the changes, or by the size of the table?

use std::path::Path;
use std::time::Instant;

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use watershed::connect::{Committer, Writer};
use watershed::connectors::delta::Delta;

use crate::Result;
use crate::bench::args::Shapes;
use crate::bench::case::{self, Case};
use crate::bench::floors::{Opened, open, schema};
use crate::model::{PIN_COLUMNS, Pin};
use crate::support::archive::{self, Cleaned, cleaned, objects};
use crate::support::machine;
use crate::support::report::{Report, count, millis, percentile};

/// Changed rows of a commit.
const CHANGED_ROWS: usize = 1000;
/// Commits before the measured ones.
const WARM_UP: u64 = 3;

/// Seconds, one for each commit.
#[derive(Serialize, Deserialize)]
pub(crate) struct Commits {
    wall: Vec<f64>,
    /// Mean processor time, in seconds.
    cpu: f64,
    /// Duration of the maintenance after each commit, in seconds.
    maintenance: Vec<f64>,
}

/// Fills a table of pins with `rows` rows, then changes some rows and commits, again and again.
pub(crate) fn measure(archive: &Path, work: &Path, rows: u32, commits: u64) -> Result<Commits> {
    let (_, pins) =
        archive::read(&objects(archive)?[..10], vec![Vec::new()], |pins, object, _, line| {
            if let Some(Cleaned::Pin((_, pin))) = cleaned(object.kind, line) {
                pins.push(pin);
            }
            Ok(())
        })?;
    let pins: Vec<Pin> = pins.into_iter().flatten().collect();
    let sink = Delta::table(&work.join("table").display().to_string())?;
    let Opened { mut writers, mut committer } =
        open(&sink, &schema::<(i64, Pin)>(&PIN_COLUMNS), 1)?;
    let writer = writers.first_mut().ok_or("a table without a writer")?;
    for slot in 0..rows {
        writer.insert(slot, &(i64::from(slot), pins[slot as usize % pins.len()].clone()))?;
    }
    commit(writer.as_mut(), committer.as_mut(), 1)?;
    committer.maintain_now()?;
    let mut random = Pcg64::seed_from_u64(7);
    let (mut wall, mut maintenance, mut cpu) = (Vec::new(), Vec::new(), 0.0);
    for n in 0..WARM_UP + commits {
        let changed: Vec<_> = (0..CHANGED_ROWS)
            .map(|_| {
                let slot = random.next_u32() % rows;
                (slot, (i64::from(slot), pins[random.next_u32() as usize % pins.len()].clone()))
            })
            .collect();
        let (used, started) = (machine::cpu()?, Instant::now());
        for (slot, row) in &changed {
            writer.insert(*slot, row)?;
        }
        commit(writer.as_mut(), committer.as_mut(), n + 2)?;
        let shown = Instant::now();
        if n >= WARM_UP {
            cpu += machine::cpu()? - used;
            wall.push((shown - started).as_secs_f64());
        }
        let started = Instant::now();
        committer.maintain_now()?;
        if n >= WARM_UP {
            maintenance.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(Commits { wall, cpu: cpu / commits as f64, maintenance })
}

fn commit(writer: &mut dyn Writer, committer: &mut dyn Committer, n: u64) -> Result {
    let parts = writer.stage()?.into_iter().collect();
    if let Some(content) = committer.stage(n, parts)? {
        committer.commit(n, &content)?;
    }
    Ok(())
}

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let archive = archive::archive(dir, shapes.events, 1000)?;
    let (mut rows, mut walls) = (Vec::new(), Vec::new());
    for size in shapes.tables {
        eprintln!("commit: {size} rows");
        let work = tempfile::tempdir_in(dir)?;
        let (archive, work) = (archive.clone(), work.path().into());
        let found: Commits =
            case::measure(&Case::Commit { archive, work, rows: size, commits: shapes.commits })?;
        let middle = percentile(&found.wall, 0.5);
        let [least, most] = [0.0, 1.0].map(|share| millis(percentile(&found.wall, share)));
        let longest = millis(percentile(&found.maintenance, 1.0));
        let maintenance = found.maintenance.iter().sum::<f64>() / found.maintenance.len() as f64;
        rows.push([
            count(size.into()),
            millis(middle),
            least,
            most,
            millis(found.cpu),
            millis(maintenance),
            longest,
        ]);
        walls.push(middle);
    }
    let commits = shapes.commits;
    report.question(&format!(
        "commit: does it cost by the changes, or by the size of the table? (1,000 random rows, {commits} times)"
    ));
    report.table(
        [
            "rows of the table",
            "time, middle",
            "least",
            "most",
            "CPU, mean",
            "maintenance, mean",
            "most",
        ],
        rows,
    );
    let of = |size: usize| count(shapes.tables[size].into());
    report.at_most(
        &format!("time at {} rows / at {}", of(2), of(0)),
        walls[2] / walls[0],
        1.3,
        "x",
    );
    Ok(())
}
