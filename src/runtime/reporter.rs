//! Reports to the caller of a run: its callbacks, and the summary at the end.

use std::time::{Duration, Instant};

use super::counts::Counts;
use super::liveness::{Liveness, Sign};
use super::progress::{Holds, Milestone, Progress, Summary};
use super::topics::Topics;
use crate::metrics::{Metrics, MetricsSnapshot};
use crate::sync::{elapsed, now};

/// Time between two calls of the progress callback.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Callback for the progress of a run.
type OnProgress = Box<dyn FnMut(&Progress) + Send>;

/// Callback for the milestones of a run.
type OnMilestone = Box<dyn FnMut(Milestone) + Send>;

/// Status of the coordinator, which becomes part of a [`Progress`].
pub(super) struct Status {
    pub(super) remaining: u64,
    pub(super) recovering: bool,
    pub(super) committed: u64,
    pub(super) holds: Holds,
}

/// Owner of the callbacks and of everything that only reports need.
pub(super) struct Reporter {
    topics: Topics,
    metrics: Metrics,
    started: Instant,
    last_report: Instant,
    on_progress: Option<OnProgress>,
    on_milestone: Option<OnMilestone>,
    sign: Option<Sign>,
}

impl Reporter {
    pub(super) fn new(
        topics: Topics,
        metrics: Metrics,
        started: Instant,
        on_progress: Option<OnProgress>,
        on_milestone: Option<OnMilestone>,
        liveness: Option<&Liveness>,
    ) -> Self {
        let (last_report, sign) = (started, liveness.map(Liveness::enter));
        Reporter { topics, metrics, started, last_report, on_progress, on_milestone, sign }
    }

    /// Gives a sign of life of the coordinator.
    pub(super) fn renew_sign(&self) {
        self.sign.iter().for_each(Sign::renew);
    }

    pub(super) fn notify_milestone(&mut self, milestone: Milestone) {
        if let Some(callback) = &mut self.on_milestone {
            callback(milestone);
        }
    }

    /// Returns true if it is time for a progress report, and there is a callback for it.
    pub(super) fn is_progress_due(&self) -> bool {
        self.on_progress.is_some() && elapsed(self.last_report) >= PROGRESS_INTERVAL
    }

    pub(super) fn report_progress(&mut self, status: Status) {
        self.last_report = now();
        let progress = Progress {
            records: self.topics.records(),
            bytes: self.topics.bytes(),
            remaining: status.remaining,
            elapsed: elapsed(self.started),
            recovering: status.recovering,
            committed: status.committed,
            holds: status.holds,
        };
        if let Some(callback) = &mut self.on_progress {
            callback(&progress);
        }
    }

    /// Adds the numbers that another process has counted.
    pub(super) fn add(&self, counts: Counts) {
        counts.add_to(self.topics.iter(), &self.metrics);
    }

    pub(super) fn summary(&self, committed: u64, recovered: u64) -> Summary {
        let MetricsSnapshot { topics, gauges, steps, .. } = self.metrics.snapshot();
        Summary { topics, gauges, steps, committed, recovered, elapsed: elapsed(self.started) }
    }
}
