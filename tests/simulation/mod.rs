//! Whole programs under one seeded scheduler: workers, readers, committer and saver, with virtual
//! time, crashes at any turn, and a store that loses and delays requests.
//!
//! A history is a few lives in one world. Each table is compared with plain loops over the records
//! at every commit. The same seed gives the same history, turn by turn and byte by byte:
//! `cargo run --release --example simulate -- --seed 7 --histories 1` repeats one, and
//! `--histories 100000` looks for more.

mod history;
mod oracle;
mod programs;
mod report;
#[cfg(test)]
mod seeds;
mod store;
#[cfg(test)]
mod tests;
mod topics;
mod world;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use history::{Counts, history};
use report::Report;
use watershed::simulation::{History, Simulation};

/// Histories to run.
pub(crate) struct Histories {
    pub(crate) seeds: Range<u64>,
    /// The number of simulations at the same time.
    pub(crate) parallel: u64,
    /// Runs each seed twice, and compares the traces.
    pub(crate) twice: bool,
    /// The name of a planted bug.
    pub(crate) bug: Option<String>,
    /// Prints each turn.
    pub(crate) prints: bool,
}

impl Histories {
    pub(crate) fn run(&self) -> Report {
        let next = AtomicU64::new(self.seeds.start);
        let some = || {
            let mut report = Report::default();
            loop {
                let seed = next.fetch_add(1, Ordering::SeqCst);
                if seed >= self.seeds.end {
                    return report;
                }
                report.add(seed, self.history(seed));
            }
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.parallel).map(|_| scope.spawn(some)).collect();
            let mut report = Report::default();
            threads.into_iter().for_each(|thread| report.merge(thread.join().unwrap()));
            report
        })
    }

    fn history(&self, seed: u64) -> History<Result<Counts, String>> {
        let (bug, prints) = (self.bug.clone(), self.prints);
        let simulation = Simulation { bug, prints, ..Simulation::new(seed) };
        let mut first = history(simulation.clone());
        if self.twice && first != history(simulation) {
            first.result = Err("the same seed made another history".into());
        }
        first
    }
}
