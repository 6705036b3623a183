//! The report of a campaign: counts of everything that really happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::check::Findings;
use super::plan::{Runs, faults};
use super::points::{Seat, Spot, points, spots};
use super::worlds::Kind;

/// The count of lives whose fault was not reached.
pub(crate) const MISSED: &str = "not reached";

/// Counts of a campaign.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) lives: usize,
    pub(crate) worlds: usize,
    pub(crate) findings: Findings,
    /// The number of faults that struck and of conditions that were met, by name.
    counts: BTreeMap<Kind, BTreeMap<&'static str, u64>>,
    /// The number of deaths and of pauses at each point.
    pub(crate) deaths: BTreeMap<&'static str, u64>,
    pub(crate) pauses: BTreeMap<&'static str, u64>,
    /// The number of faults at each point in runs of several processes.
    pub(crate) in_several: BTreeMap<Spot, u64>,
    pub(crate) recoveries: Vec<Duration>,
    /// Times from a fault of one of several processes until all have ended.
    pub(crate) notices: Vec<Duration>,
    pub(crate) elapsed: Duration,
}

/// Returns the names of faults and conditions that a campaign counts in worlds of a kind.
fn names(kind: Kind, runs: Runs) -> Vec<&'static str> {
    [faults(kind, runs), kind.conditions()].concat()
}

impl Report {
    /// Adds to the count of a fault or a condition.
    pub(crate) fn count(&mut self, kind: Kind, name: &'static str, count: u64) {
        *self.counts.entry(kind).or_default().entry(name).or_default() += count;
    }

    /// Returns the number of times that a fault struck, or a condition was met.
    pub(crate) fn counted(&self, kind: Kind, name: &str) -> u64 {
        self.counts.get(&kind).and_then(|counts| counts.get(name)).copied().unwrap_or(0)
    }

    /// Returns the faults, the conditions and the points that never struck in such runs, in worlds
    /// of `kinds`.
    pub(crate) fn never(&self, kinds: &[Kind], runs: Runs) -> Vec<String> {
        let mut never = Vec::new();
        for kind in kinds {
            let absent =
                names(*kind, runs).into_iter().filter(|name| self.counted(*kind, name) == 0);
            never.extend(absent.map(|name| format!("{kind}: {name}")));
        }
        let struck =
            |point: &&str| self.deaths.contains_key(point) || self.pauses.contains_key(point);
        let alone = points().into_iter().filter(|point| runs == Runs::All && !struck(point));
        never.extend(alone.map(String::from));
        let spots = spots().into_iter().filter(|spot| !self.in_several.contains_key(spot));
        never.extend(spots.map(|spot| spot.to_string()));
        never
    }

    /// Returns true if anything was compared, and everything was right.
    pub(crate) fn is_right(&self) -> bool {
        let findings = &self.findings;
        findings.faults.is_empty()
            && findings.lost + findings.surplus == 0
            && findings.rows > 0
            && findings.versions > 0
    }
}

/// Returns the percentiles 50 and 99 of `times`, in milliseconds.
fn percentiles(times: &[Duration]) -> [u128; 2] {
    let mut times = times.to_vec();
    times.sort();
    [50, 99].map(|percent| {
        let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(at).copied().unwrap_or_default().as_millis()
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings { rows, versions, commits, adoptions, late, lost, surplus, faults } =
            &self.findings;
        let Report { lives, worlds, elapsed, .. } = self;
        writeln!(f, "{lives} lives in {worlds} worlds, {:.0} s", elapsed.as_secs_f64())?;
        writeln!(f, "{rows} rows of {versions} versions compared, {commits} commits")?;
        writeln!(f, "{late} late records of snapshots compared")?;
        writeln!(f, "{adoptions} states adopted by another version")?;
        writeln!(f, "{lost} rows lost, {surplus} rows duplicated or wrong")?;
        let [p50, p99] = percentiles(&self.recoveries);
        let recoveries = self.recoveries.len();
        writeln!(
            f,
            "start to first commit: p50 {p50} ms, p99 {p99} ms of {recoveries} recoveries"
        )?;
        let [p50, p99] = percentiles(&self.notices);
        writeln!(
            f,
            "fault of one of several processes to the end of all: p50 {p50} ms, p99 {p99} ms of {}",
            self.notices.len()
        )?;
        for kind in self.counts.keys() {
            writeln!(f, "{kind}:")?;
            for name in names(*kind, Runs::All).into_iter().chain([MISSED]) {
                writeln!(f, "{:>6} {name}", self.counted(*kind, name))?;
            }
        }
        writeln!(f, "deaths and pauses by point; of several processes in process 0, in others:")?;
        let several = spots().into_iter().map(|spot| spot.point);
        for point in points().into_iter().chain(several).collect::<BTreeSet<_>>() {
            let of = |counts: &BTreeMap<&str, u64>| *counts.get(point).unwrap_or(&0);
            let [first, other] = [Seat::First, Seat::Other]
                .map(|seat| *self.in_several.get(&Spot { seat, point }).unwrap_or(&0));
            let (deaths, pauses) = (of(&self.deaths), of(&self.pauses));
            writeln!(f, "{deaths:>6} {pauses:>4} {first:>4} {other:>4} {point}")?;
        }
        faults.iter().try_for_each(|fault| writeln!(f, "FAULT: {fault}"))
    }
}
