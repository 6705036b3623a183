//! The rows that pass through the steps of a topology.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::late::LateCounts;
use crate::time::Epoch;

/// The counters of a step on one worker, which alone writes them. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<Rows>);

#[derive(Debug, Default)]
struct Rows {
    step: usize,
    input: AtomicU64,
    output: AtomicU64,
    late: AtomicU64,
    closed: AtomicU64,
    /// The late ones by epoch, of all steps.
    late_by_epoch: LateCounts,
}

impl Meter {
    /// Returns the counters of a step, which also counts its late records in `late_by_epoch`.
    pub(super) fn new(step: usize, late_by_epoch: LateCounts) -> Self {
        Meter(Arc::new(Rows { step, late_by_epoch, ..Rows::default() }))
    }

    /// Counts records of an epoch that the step has left out because they are late: `n`, and of
    /// them those whose windows were `closed` before their partition came. A worker must count them
    /// before it completes the epoch.
    pub(crate) fn late(&self, epoch: Epoch, n: usize, closed: usize) {
        if n > 0 {
            self.0.late.fetch_add(n as u64, Ordering::Relaxed);
            self.0.closed.fetch_add(closed as u64, Ordering::Relaxed);
            self.0.late_by_epoch.add(self.0.step, epoch, n as u64);
        }
    }

    /// Begins with the number of late records of earlier runs.
    pub(super) fn restore_late(&self, earlier: u64) {
        self.0.late.fetch_add(earlier, Ordering::Relaxed);
    }

    /// Counts the rows of a batch.
    pub(crate) fn count(&self, rows_in: usize, rows_out: usize) {
        self.0.input.fetch_add(rows_in as u64, Ordering::Relaxed);
        self.0.output.fetch_add(rows_out as u64, Ordering::Relaxed);
    }

    /// Sets the numbers to those of a worker of another process.
    pub(crate) fn set(&self, rows: StepRows) {
        self.0.input.store(rows.rows_in, Ordering::Relaxed);
        self.0.output.store(rows.rows_out, Ordering::Relaxed);
        self.0.late.store(rows.late, Ordering::Relaxed);
        self.0.closed.store(rows.closed, Ordering::Relaxed);
    }

    pub(super) fn rows(&self) -> StepRows {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Rows { input, output, late, closed, .. } = &*self.0;
        let (rows_in, rows_out) = (read(input), read(output));
        StepRows { rows_in, rows_out, late: read(late), closed: read(closed) }
    }
}

/// Rows that passed through a step. A change of a row counts as one or two: a retraction and an
/// addition.
///
/// A row that the filter of a table leaves out may pass on as a deletion, which the filter does not
/// count, and the next step does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StepRows {
    /// Rows that the step has taken.
    pub rows_in: u64,
    /// Rows that the step has emitted to other steps. A step at an end, such as `to`, has none.
    pub rows_out: u64,
    /// Records that the step has left out because they were late, since the beginning of the state.
    /// Those of earlier runs are counted at worker 0.
    pub late: u64,
    /// Those of the late ones in this run whose partition was not late itself: their windows were
    /// closed while it was [idle](crate::options::Consumed::idle_after), or before it was added.
    pub closed: u64,
}

/// A step of a topology and the rows that passed through it in this run.
///
/// Rows that are read again to rebuild the state count too. The number of rows depends on where
/// epochs end, because an aggregate emits at most one change a group and epoch.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StepMetrics {
    /// The number of the step, as [`Topology::describe`](crate::Topology::describe) prints it.
    pub number: usize,
    /// The verb of the step, such as `filter` or `table pin`.
    pub verb: String,
    /// The name given by `named`.
    pub name: Option<String>,
    /// The rows by the number of the worker.
    pub workers: BTreeMap<usize, StepRows>,
}

impl StepMetrics {
    /// Returns the rows of all workers.
    pub fn total(&self) -> StepRows {
        self.workers.values().fold(StepRows::default(), |sum, rows| StepRows {
            rows_in: sum.rows_in + rows.rows_in,
            rows_out: sum.rows_out + rows.rows_out,
            late: sum.late + rows.late,
            closed: sum.closed + rows.closed,
        })
    }
}
