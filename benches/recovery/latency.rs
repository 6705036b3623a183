//! How much later are the answers to a correction with a state?

use std::path::Path;

use crate::Result;
use crate::recovery::args::Shapes;
use crate::recovery::case::{self, Case, State};
use crate::support::archive;
use crate::support::latency::Latencies;
use crate::support::report::{Report, millis, percentile, spread};

/// The shares of the corrections for which an added latency is printed.
const SHARES: [(&str, f64); 2] = [("p50", 0.5), ("p90", 0.9)];

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let archive = archive::archive(dir, shapes.events, 1000)?;
    archive::count(&archive)?;
    let mut found: [Vec<Latencies>; 2] = Default::default();
    for round in 1..=shapes.repeat {
        eprintln!("latency: round {round} of {}", shapes.repeat);
        for (state, found) in [State::OnDisk, State::Nowhere].into_iter().zip(&mut found) {
            let place = tempfile::tempdir_in(dir)?;
            let (archive, work, events) = (archive.clone(), place.path().into(), shapes.events);
            let corrections = shapes.single_corrections;
            found.push(case::measure(&Case::Latency {
                archive,
                work,
                events,
                corrections,
                state,
            })?);
        }
    }
    let number = shapes.single_corrections;
    report.question(&format!(
        "latency: how much later are answers with a state? ({number} corrections, one at a time)"
    ));
    let mut rows = Vec::new();
    for (state, found) in ["with a state", "without"].into_iter().zip(&found) {
        let row = |end: &str, of: fn(&Latencies) -> &[f64]| {
            let median = |share| millis(percentile(&each(found, of, share), 0.5));
            [format!("{state}: appended to {end}"), median(0.5), median(0.9)]
        };
        rows.push(row("answers", |latencies| &latencies.answered));
        rows.push(row("commit", |latencies| &latencies.committed));
    }
    report.table(["from … to", "p50", "p90"], rows);
    for (name, share) in SHARES {
        let [with, without] =
            [&found[0], &found[1]].map(|found| each(found, |all| &all.answered, share));
        let added: Vec<f64> =
            with.iter().zip(&without).map(|(with, without)| (with - without) * 1e3).collect();
        let [least, most] = [0.0, 1.0].map(|share| percentile(&without, share) * 1e3);
        let (median, noise) = (percentile(&added, 0.5), most - least);
        report.line(&format!(
            "- added to a correction, {name}{}: {median:.2} ms (goal 0 ms; {noise:.2} ms between \
             runs without a state: {})",
            spread(&added),
            if median <= noise { "met" } else { "missed" }
        ));
    }
    Ok(())
}

/// Returns a percentile of each round.
fn each(found: &[Latencies], of: fn(&Latencies) -> &[f64], share: f64) -> Vec<f64> {
    found.iter().map(|latencies| percentile(of(latencies), share)).collect()
}
