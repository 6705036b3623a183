//! How many bytes of memory does an event keep?

use std::path::Path;
use std::time::Duration;

use crate::Result;
use crate::bench::args::Shapes;
use crate::bench::case::{self, Case};
use crate::support::archive;
use crate::support::live::{self, Live};
use crate::support::machine;
use crate::support::report::{Report, count, megabytes};

/// Makes the allocator return free memory at once; otherwise it keeps some for later. The first is
/// for jemalloc, the others are for glibc.
const RETURN_FREE_MEMORY: [(&str, &str); 3] = [
    ("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0"),
    ("MALLOC_TRIM_THRESHOLD_", "65536"),
    ("MALLOC_MMAP_THRESHOLD_", "65536"),
];

/// Measures resident bytes after the replay, once the run has been idle for some seconds.
pub(crate) fn measure(archive: &Path, work: &Path, workers: usize) -> Result<f64> {
    let records = archive::count(archive)?.records;
    let mut live = Live::start(live::streams(archive, work)?, live::config(work, workers)?)?;
    if records > 0 {
        live.replayed(records)?;
    }
    let (mut last, mut idle_samples) = (0.0, 0);
    for _ in 0..30 {
        live.rest(Duration::from_millis(500))?;
        let now = machine::status("VmRSS")?;
        idle_samples = if (now - last).abs() < now * 0.005 { idle_samples + 1 } else { 0 };
        last = now;
        if idle_samples == 4 {
            break;
        }
    }
    live.end()?;
    Ok(last)
}

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let sizes = [0, shapes.events / 4, shapes.events];
    let (mut rows, mut slope) = (Vec::new(), 0.0);
    let kinds: [(&str, &[(&str, &str)]); 2] =
        [("default", &[]), ("free memory returned", &RETURN_FREE_MEMORY)];
    for workers in [1, 2] {
        for (name, variables) in kinds {
            let mut found = Vec::new();
            for events in sizes {
                eprintln!("memory: {workers} workers, {events} events, {name}");
                let work = tempfile::tempdir_in(dir)?;
                let archive = archive::archive(dir, events, 1000)?;
                let case = Case::Memory { archive, work: work.path().into(), workers };
                found.push(case::measure_with::<f64>(&case, variables)?);
            }
            let each = |from: usize, to: usize| {
                (found[to] - found[from]) / (sizes[to] - sizes[from]) as f64
            };
            slope = each(1, 2);
            let [nothing, some, all] = [0, 1, 2].map(|size: usize| megabytes(found[size]));
            let per = |bytes: f64| format!("{bytes:.0} B");
            rows.push([
                format!("{workers}, {name}"),
                nothing,
                some,
                all,
                per(each(0, 1)),
                per(each(0, 2)),
                per(slope),
            ]);
        }
    }
    let [_, some, all] = sizes.map(count);
    report.question("memory: how much is resident, idle after the replay?");
    let (a, b) = (format!("an event, of {some}"), format!("of {all}"));
    report.table(["workers", "no events", &some, &all, &a, &b, "between the two"], rows);
    report.at_most("bytes an event, 2 workers, free memory returned", slope, 300.0, "B");
    Ok(())
}
