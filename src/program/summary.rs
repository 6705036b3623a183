//! The summary that `run` prints: the counts of all records, and the time.

use std::time::Duration;

use comfy_table::{CellAlignment, Table};
use indicatif::{HumanCount, HumanDuration};

use crate::runtime::{StepMetrics, Summary};

/// Durations below this one are printed in seconds.
const SHORT_DURATION_MAX: Duration = Duration::from_secs(120);

/// Returns a table of the records of each topic, the gauges, and a last line about the whole run.
pub(super) fn summarise(summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header([
        "topic",
        "read",
        "applied",
        "duplicates",
        "superseded",
        "dead letters",
        "rows now",
        "replaced",
    ]);
    for (topic, t) in &summary.topics {
        let counts = [t.read, t.applied, t.duplicates, t.superseded, t.dead, t.rows, t.replaced]
            .map(|n| HumanCount(n).to_string());
        table.add_row([topic.clone()].into_iter().chain(counts));
    }
    table
        .column_iter_mut()
        .skip(1)
        .for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    let gauges: String =
        summary.gauges.iter().map(|(name, n)| format!("{} {name}\n", HumanCount(*n))).collect();
    let late: String = summary.steps.iter().filter_map(late_records).collect();
    let read: u64 = summary.topics.values().map(|t| t.read).sum();
    let (new, seconds) = (read.saturating_sub(summary.recovered), summary.elapsed.as_secs_f64());
    let earlier = match summary.recovered {
        0 => String::new(),
        n => format!(", after {} of earlier runs", HumanCount(n)),
    };
    let took = if summary.elapsed < SHORT_DURATION_MAX {
        format!("{seconds:.1} s")
    } else {
        HumanDuration(summary.elapsed).to_string()
    };
    format!(
        "{table}\n\n{gauges}{late}\n{} new records{earlier} in {took}, commit {}\n",
        HumanCount(new),
        summary.committed
    )
}

/// Returns a line about the late records of a step, if it has left out any.
fn late_records(step: &StepMetrics) -> Option<String> {
    let late = Some(step.total().late).filter(|late| *late > 0)?;
    let name = step.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    let (number, verb) = (step.number, &step.verb);
    let closed = match step.total().closed {
        0 => String::new(),
        n => format!(", {} of a partition that came after the windows had closed", HumanCount(n)),
    };
    Some(format!("{} late records at step {number} {verb}{name}{closed}\n", HumanCount(late)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::StepRows;

    #[test]
    fn late_records_are_shown_where_there_are_any() {
        let step = |late| StepMetrics {
            number: 3,
            verb: "count".into(),
            name: Some("visits".into()),
            workers: [(0, late), (1, late)]
                .map(|(worker, late)| (worker, StepRows { late, ..StepRows::default() }))
                .into(),
        };
        assert_eq!(late_records(&step(0)), None);
        let line = "1,400 late records at step 3 count \"visits\"\n";
        assert_eq!(late_records(&step(700)).as_deref(), Some(line));
        let mut step = step(3);
        step.workers.values_mut().for_each(|rows| rows.closed = 1);
        let line = "6 late records at step 3 count \"visits\", 2 of a partition that came after \
                    the windows had closed\n";
        assert_eq!(late_records(&step).as_deref(), Some(line));
    }
}
