//! Faults on request: a process that dies or stops at a named point, and known bugs.
//!
//! The tests use them to show that a run recovers from a death at any step, and that a bug in one
//! of these steps would not stay hidden. Without the feature `faults` every function here does
//! nothing. With it, a process reads its environment once:
//!
//! - `WATERSHED_FAULT=point:n` aborts the process at its `n`-th passing of the point.
//!   `point:n:pause` stops it there, until it receives SIGCONT.
//! - `WATERSHED_FAULT_PROCESS=number` restricts this to one of the processes that a supervisor
//!   starts. `WATERSHED_FAULT_LEFT=file` restricts it to as many faults as the file has a number
//!   of: each fault lowers it, and at 0 the point is sound.
//! - `WATERSHED_BUG=name` plants one bug.
//! - `WATERSHED_LIMITS=name=number,…` replaces limits, so that small tables need maintenance too.
//!
//! A thread of a [simulation](crate::simulation) gets bugs and limits from there instead. A point
//! ends its turn, at which it may crash.

#[cfg(not(feature = "faults"))]
pub(crate) use absent::*;
#[cfg(feature = "faults")]
pub(crate) use present::*;

/// The functions without the feature.
#[cfg(not(feature = "faults"))]
mod absent {
    /// Passes a named point.
    #[inline]
    pub(crate) const fn point(_name: &str) {}

    /// Returns true if the bug is planted.
    #[inline]
    pub(crate) const fn bug(_name: &str) -> bool {
        false
    }

    /// Returns the replacement of a limit, or else its `default`.
    #[inline]
    pub(crate) const fn limit(_name: &str, default: u64) -> u64 {
        default
    }
}

/// The functions with the feature.
#[cfg(feature = "faults")]
mod present {
    use std::process::Command;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use crate::simulation::current;

    /// The content of the environment.
    struct Plan {
        /// The name of the point; empty for none.
        point: String,
        /// The number of passings up to the fault.
        left: AtomicU64,
        pauses: bool,
        /// The file with the number of faults that are left; empty for none.
        faults_left: String,
        bug: String,
        limits: Vec<(String, u64)>,
    }

    fn plan() -> &'static Plan {
        static PLAN: OnceLock<Plan> = OnceLock::new();
        PLAN.get_or_init(|| {
            let read = |name: &str| std::env::var(name).unwrap_or_default();
            let fault = read("WATERSHED_FAULT");
            let mut parts = fault.split(':');
            let point = parts.next().unwrap_or_default();
            let process = read("WATERSHED_FAULT_PROCESS");
            let is_meant = process.is_empty() || process == read("WATERSHED_PROCESS");
            let faults_left = read("WATERSHED_FAULT_LEFT");
            let is_due = is_meant && (faults_left.is_empty() || number_in(&faults_left) > 0);
            let point = if is_due { point } else { Default::default() }.to_string();
            let left = parts.next().and_then(|n| n.parse().ok()).unwrap_or(1);
            let limits = read("WATERSHED_LIMITS");
            let limit = |pair: &str| {
                let (name, number) = pair.split_once('=')?;
                Some((name.to_string(), number.parse().ok()?))
            };
            Plan {
                point,
                left: AtomicU64::new(left),
                pauses: parts.next() == Some("pause"),
                faults_left,
                bug: read("WATERSHED_BUG"),
                limits: limits.split(',').filter_map(limit).collect(),
            }
        })
    }

    /// Returns the number in a file, 0 without one.
    fn number_in(file: &str) -> u64 {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.trim().parse().unwrap_or_default()
    }

    /// Passes a named point.
    pub(crate) fn point(name: &str) {
        if let Some(task) = current() {
            return task.switch(name);
        }
        let plan = plan();
        if plan.point != name || plan.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        if !plan.faults_left.is_empty() {
            let Some(left) = number_in(&plan.faults_left).checked_sub(1) else { return };
            // A file that can't be written lets the fault come again, which the test notices.
            let _ = std::fs::write(&plan.faults_left, left.to_string());
        }
        eprintln!("fault at {name}");
        if !plan.pauses {
            std::process::abort();
        }
        let stopped =
            Command::new("kill").arg("-STOP").arg(std::process::id().to_string()).status();
        if !stopped.is_ok_and(|status| status.success()) {
            std::process::abort();
        }
    }

    /// Returns true if the bug is planted.
    pub(crate) fn bug(name: &str) -> bool {
        current().map_or_else(|| plan().bug == name, |task| task.has_bug(name))
    }

    /// Returns the replacement of a limit, or else its `default`.
    pub(crate) fn limit(name: &str, default: u64) -> u64 {
        if let Some(task) = current() {
            return task.limit(name).unwrap_or(default);
        }
        let found = plan().limits.iter().find(|(limit, _)| limit == name);
        found.map_or(default, |(_, number)| *number)
    }
}
