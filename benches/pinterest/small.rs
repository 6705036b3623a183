//! The cost of objects of one record and of partitions with few records, compared with the same
//! records in large objects.

use std::path::Path;

use crate::Result;
use crate::bench::args::Shapes;
use crate::bench::case::{self, Case};
use crate::support::archive;
use crate::support::machine::Measured;
use crate::support::report::{Report, count, percentile, seconds};

/// Partitions of a topic, in the case of many.
const PARTITIONS: u32 = 1000;

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let [large, small] = [1000, 1].map(|each| archive::archive(dir, shapes.small, each));
    let (large, small) = (large?, small?);
    archive::count(&large)?;
    let objects = archive::count(&small)?.records;
    let scattered = archive::scattered(dir, shapes.small, PARTITIONS)?;
    let names = [
        "opening and reading the small files",
        "pinterest, 1,000 records an object",
        "pinterest, one record an object",
        "pinterest, 1,000 partitions a topic",
    ];
    let mut found: [Vec<Measured>; 4] = Default::default();
    for _ in 0..shapes.repeat.max(3) {
        let folders =
            [tempfile::tempdir_in(dir)?, tempfile::tempdir_in(dir)?, tempfile::tempdir_in(dir)?];
        let run = |archive: &Path, at: usize| Case::Run {
            archive: archive.into(),
            work: folders[at].path().into(),
            workers: 2,
        };
        let cases = [
            Case::Files { archive: small.clone() },
            run(&large, 0),
            run(&small, 1),
            run(&scattered, 2),
        ];
        for ((name, case), found) in names.iter().zip(&cases).zip(&mut found) {
            eprintln!("small: {name}");
            found.push(case::measure(case)?);
        }
    }
    let middle = |of: fn(&Measured) -> f64| {
        found.each_ref().map(|f| percentile(&f.iter().map(of).collect::<Vec<_>>(), 0.5))
    };
    let (wall, cpu, peak) = (middle(|m| m.wall), middle(|m| m.cpu), middle(|m| m.peak));
    report.question(&format!(
        "small: how much do {} objects of one record cost? (2 workers)",
        count(objects)
    ));
    let rows = (0..4).map(|at| [names[at].to_string(), seconds(wall[at]), seconds(cpu[at])]);
    report.table(["case", "time", "CPU"], rows);
    report.at_most(
        "one record an object / (1,000 + opening and reading)",
        wall[2] / (wall[0] + wall[1]),
        2.0,
        "x",
    );
    report.at_most("1,000 partitions a topic / 3, time", wall[3] / wall[1], 2.0, "x");
    report.at_most("1,000 partitions a topic / 3, memory", peak[3] / peak[1], 2.0, "x");
    Ok(())
}
