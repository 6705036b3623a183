//! The report of a campaign: counts of everything that really happened.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::check::Findings;
use super::plan::{FAULTS, points};

/// Counts of a campaign.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) lives: usize,
    pub(crate) worlds: usize,
    pub(crate) findings: Findings,
    /// The number of faults that struck, by kind.
    pub(crate) fired: BTreeMap<&'static str, u64>,
    /// The number of deaths and of pauses at each point.
    pub(crate) deaths: BTreeMap<&'static str, u64>,
    pub(crate) pauses: BTreeMap<&'static str, u64>,
    /// The number of lives whose fault was not reached.
    pub(crate) missed: u64,
    pub(crate) recoveries: Vec<Duration>,
    pub(crate) elapsed: Duration,
}

impl Report {
    /// Returns the kinds of faults and the points that never struck.
    pub(crate) fn never(&self) -> Vec<&'static str> {
        let struck = |name: &&str| {
            let deaths = self.deaths.get(name).unwrap_or(&0) + self.pauses.get(name).unwrap_or(&0);
            deaths + self.fired.get(name).unwrap_or(&0) > 0
        };
        [FAULTS.to_vec(), points()].concat().into_iter().filter(|name| !struck(name)).collect()
    }

    /// Returns true if anything was compared, and everything was right.
    pub(crate) fn is_right(&self) -> bool {
        let findings = &self.findings;
        findings.faults.is_empty()
            && findings.lost + findings.surplus == 0
            && findings.rows > 0
            && findings.versions > 0
    }

    fn recovery(&self, percent: usize) -> Duration {
        let mut times = self.recoveries.clone();
        times.sort();
        let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings { rows, versions, commits, lost, surplus, faults } = &self.findings;
        let Report { lives, worlds, missed, elapsed, .. } = self;
        writeln!(f, "{lives} lives in {worlds} worlds, {:.0} s", elapsed.as_secs_f64())?;
        writeln!(f, "{rows} rows of {versions} versions compared, {commits} commits")?;
        writeln!(f, "{lost} rows lost, {surplus} rows duplicated or wrong")?;
        let [p50, p99] = [50, 99].map(|percent| self.recovery(percent).as_millis());
        let recoveries = self.recoveries.len();
        writeln!(
            f,
            "start to first commit: p50 {p50} ms, p99 {p99} ms of {recoveries} recoveries"
        )?;
        for kind in FAULTS {
            writeln!(f, "{:>6} {kind}", self.fired.get(kind).unwrap_or(&0))?;
        }
        writeln!(f, "{missed:>6} not reached")?;
        writeln!(f, "deaths and pauses by point:")?;
        for point in points() {
            let of = |counts: &BTreeMap<&str, u64>| *counts.get(point).unwrap_or(&0);
            writeln!(f, "{:>6} {:>4} {point}", of(&self.deaths), of(&self.pauses))?;
        }
        faults.iter().try_for_each(|fault| writeln!(f, "FAULT: {fault}"))
    }
}
