//! The report of many histories: counts of everything that happened.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use watershed::Result;
use watershed::simulation::History;

use super::history::Counts;
use crate::support::lossy::fault::FAULTS;

/// Counts over many histories.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) histories: u64,
    turns: u64,
    /// A digest of all traces, in any order.
    pub(crate) trace: u64,
    /// The virtual time of all histories.
    time: Duration,
    counts: Counts,
    /// By seed, the first failures.
    pub(crate) failures: BTreeMap<u64, String>,
    pub(crate) failed: u64,
}

/// Failures that are printed.
const MOST_FAILURES: usize = 10;
/// With so many histories, runs have crashed at every kind of place.
const ENOUGH: u64 = 3000;

impl Report {
    /// Adds the history of a seed.
    pub(crate) fn add(&mut self, seed: u64, history: History<Result<Counts, String>>) {
        let History { result, turns, time, trace } = history;
        self.histories += 1;
        self.turns += turns;
        self.trace = self.trace.wrapping_add(trace);
        self.time += time;
        match result.and_then(|result| result) {
            Ok(counts) => self.counts.add(counts),
            Err(failure) => {
                self.failed += 1;
                if self.failures.len() < MOST_FAILURES {
                    self.failures.insert(seed, failure);
                }
            }
        }
    }

    /// Adds another report.
    pub(crate) fn merge(&mut self, other: Report) {
        self.histories += other.histories;
        self.turns += other.turns;
        self.trace = self.trace.wrapping_add(other.trace);
        self.time += other.time;
        self.failed += other.failed;
        self.counts.add(other.counts);
        self.failures.extend(other.failures);
    }

    /// Returns the names of everything that should have happened and did not. Few histories need
    /// not have crashed everywhere.
    pub(crate) fn never(&self) -> Vec<String> {
        let Counts { lives, records, crashes, takeovers, faults, compared, .. } = &self.counts;
        let numbers = [
            ("lives", *lives),
            ("records", *records),
            ("takeovers", *takeovers),
            ("commits compared", compared.commits),
            ("rows compared", compared.rows),
            ("snapshots", compared.snapshots),
        ];
        let places = [
            "a step",
            "a message",
            "poll",
            "stage, done",
            "show",
            "show, done",
            "create manifest",
            "create manifest, done",
            "put layer",
            "put snap, done",
            "recovery.replayed",
            "create a log of Delta",
        ];
        let places = if self.histories < ENOUGH { &[][..] } else { &places };
        let numbers = numbers.into_iter().filter(|(_, number)| *number == 0);
        let numbers = numbers.map(|(name, _)| name.to_string());
        let places = places.iter().filter(|place| !crashes.contains_key(**place));
        let places = places.map(|place| format!("crashes at {place}"));
        let faults = FAULTS.into_iter().filter(|fault| !faults.contains_key(fault));
        numbers.chain(places).chain(faults.map(|fault| format!("{fault:?}"))).collect()
    }
}

fn add<K: Ord>(sums: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    more.into_iter().for_each(|(key, count)| *sums.entry(key).or_default() += count);
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.lives += other.lives;
        self.records += other.records;
        self.takeovers += other.takeovers;
        self.compared.commits += other.compared.commits;
        self.compared.rows += other.compared.rows;
        self.compared.snapshots += other.compared.snapshots;
        add(&mut self.crashes, other.crashes);
        add(&mut self.failed, other.failed);
        add(&mut self.faults, other.faults);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { lives, records, crashes, takeovers, failed, faults, compared } = &self.counts;
        for (number, name) in [
            (self.histories, "histories"),
            (self.failed, "histories failed"),
            (self.turns, "turns"),
            (self.time.as_secs(), "seconds of virtual time"),
            (*lives, "lives"),
            (crashes.values().sum(), "crashes"),
            (*takeovers, "takeovers"),
            (*records, "records"),
            (compared.commits, "commits compared"),
            (compared.rows, "rows compared"),
            (compared.snapshots, "snapshots"),
        ] {
            writeln!(f, "{number:>10} {name}")?;
        }
        failed.iter().try_for_each(|(kind, count)| writeln!(f, "{count:>10} errors: {kind}"))?;
        faults.iter().try_for_each(|(fault, count)| writeln!(f, "{count:>10} {fault:?}"))?;
        crashes
            .iter()
            .try_for_each(|(place, count)| writeln!(f, "{count:>10} crashes at {place}"))?;
        writeln!(f, "{:010x} the sum of all traces", self.trace >> 24)?;
        self.failures.iter().try_for_each(|(seed, failure)| writeln!(f, "seed {seed}: {failure}"))
    }
}
