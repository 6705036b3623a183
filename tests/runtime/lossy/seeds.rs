//! The lives of the world of one seed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use watershed::runtime::Summary;
use watershed::{Error, ErrorKind, Result};

use super::check::{Checker, Counts};
use super::place::{Place, Program};
use crate::support::Dice;
use crate::support::broken::Fuse;
use crate::support::lossy::fault::FAULTS;
use crate::support::lossy::{Fault, Lossy, Stall, Weather};

const LIVES: u64 = 6;

/// Counts over all worlds.
#[derive(Default)]
pub(super) struct Seeds {
    lives: u64,
    deaths: u64,
    zombies: u64,
    /// Runs that failed, by the kind of their error.
    failed: BTreeMap<String, u64>,
    counts: Counts,
    fired: BTreeMap<Fault, u64>,
}

/// The world of a seed, and the draws of its lives.
struct Lives<'c> {
    place: Place,
    checker: Checker,
    dice: Dice,
    seeds: &'c mut Seeds,
    /// True if some listings are late.
    lists_late: bool,
}

impl Seeds {
    /// Runs the lives of a world. Panics at the first difference.
    pub(super) fn run(&mut self, seed: u64) {
        let mut dice = Dice::new(seed);
        let program = if seed % 5 == 4 { Program::Changes } else { Program::Tables };
        let place = Place::new(program, dice.below(3) > 0);
        let lists_late = seed % 7 == 6;
        let (checker, is_delta) = (Checker::default(), place.is_delta);
        let mut lives = Lives { place, checker, dice, seeds: self, lists_late };
        for life in 1..=LIVES {
            let lived = lives.live();
            lived.unwrap_or_else(|e| panic!("seed {seed} {program:?} {is_delta} life {life}: {e}"));
        }
        lives.end().unwrap_or_else(|e| panic!("seed {seed} {program:?} {is_delta} the end: {e}"));
        let Lives { place, checker: Checker { counts, .. }, .. } = lives;
        self.counts.rows += counts.rows;
        self.counts.versions += counts.versions;
        self.counts.snapshots += counts.snapshots;
        for (fault, count) in place.bucket.fired() {
            *self.fired.entry(fault).or_default() += count;
        }
    }
}

impl Lives<'_> {
    fn live(&mut self) -> Result<(), String> {
        self.place.append(&mut self.dice);
        if self.dice.below(3) == 0 {
            self.zombie()?
        } else {
            self.disturbed()?
        }
        let needed = self.checker.check(&self.place)?;
        // A manifest that is on its way may need more.
        if self.dice.below(4) == 0 && !self.place.bucket.has_late_puts() {
            self.place.forget_unneeded(&needed);
        }
        Ok(())
    }

    /// Draws a connection and the number of workers.
    fn draw(&mut self) -> (Lossy, usize) {
        let mut lossy = Lossy::to(&self.place.bucket);
        let mut faults: Vec<Fault> = FAULTS.into();
        if self.lists_late {
            faults.extend([Fault::LateListing; 5]);
        }
        if self.dice.below(2) == 0 {
            faults = vec![faults[self.dice.below(faults.len() as u64) as usize]];
        }
        let permille = [0, 5, 15, 40][self.dice.below(4) as usize];
        lossy.weather = Weather { seed: self.dice.below(u64::MAX), permille, faults };
        if self.dice.below(2) == 0 {
            lossy.fuse = Fuse::at(1 + self.dice.below(120) as i64, self.dice.below(2) == 0);
        }
        (lossy, [1, 2, 4][self.dice.below(3) as usize])
    }

    /// A run on a bad connection. It may die at any request.
    fn disturbed(&mut self) -> Result<(), String> {
        let (connection, workers) = self.draw();
        let fuse = connection.fuse.clone();
        let result = self.place.run(connection, workers)();
        self.seeds.deaths += u64::from(fuse.broken());
        let is_through = self.judge(result)?;
        if is_through { self.checker.check_end(&self.place) } else { Ok(()) }
    }

    /// A run that stalls in a put. Its successor runs; then the put arrives and the run goes on.
    fn zombie(&mut self) -> Result<(), String> {
        let (mut connection, workers) = self.draw();
        let (stall, stalled) =
            Stall::at(1 + self.dice.below(if self.place.is_delta { 40 } else { 20 }));
        connection.stall = Mutex::new(Some(stall));
        let older = self.place.run(connection, workers);
        let older = std::thread::spawn(older);
        let is_stalled = stalled.wait();
        self.seeds.zombies += u64::from(is_stalled);
        self.place.append(&mut self.dice);
        if is_stalled {
            self.disturbed()?;
            self.checker.check(&self.place)?;
        }
        stalled.end();
        let result = older.join().map_err(|_| "the older run panicked")?;
        // Its successor may have collected the layers that it merges.
        if is_stalled && result.as_ref().is_err_and(|e| e.kind() == ErrorKind::Data) {
            self.seeds.lives += 1;
            return Ok(());
        }
        self.judge(result)?;
        Ok(())
    }

    /// Returns true if the run came to the end of its logs. An error must be one of the store.
    fn judge(&mut self, result: Result<Summary>) -> Result<bool, String> {
        self.seeds.lives += 1;
        let error: Error = match result {
            Ok(summary) => {
                let balances = summary.topics.values().all(|topic| topic.balances());
                return balances.then_some(true).ok_or(format!("the counts differ: {summary:?}"));
            }
            Err(error) => error,
        };
        *self.seeds.failed.entry(format!("{:?}", error.kind())).or_default() += 1;
        match error.kind() {
            ErrorKind::Connect | ErrorKind::Superseded => Ok(false),
            // A listing with a gap looks like a damaged table: refused, and never read wrongly.
            ErrorKind::Data if self.lists_late => Ok(false),
            _ => Err(format!("a run failed: {error}")),
        }
    }

    /// All requests arrive, and a sound run comes to the end.
    fn end(&mut self) -> Result<(), String> {
        self.place.bucket.settle();
        let needed = self.checker.check(&self.place)?;
        self.place.forget_unneeded(&needed);
        let run = self.place.run(Lossy::to(&self.place.bucket), 2);
        let summary = run().map_err(|error| format!("a sound run failed: {error}"))?;
        self.seeds.lives += 1;
        if !summary.topics.values().all(|topic| topic.balances()) {
            return Err(format!("the counts differ: {summary:?}"));
        }
        self.checker.check(&self.place)?;
        self.checker.check_end(&self.place)
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seeds { lives, deaths, zombies, failed, counts, fired } = self;
        let Counts { rows, versions, snapshots } = counts;
        for (count, name) in [
            (lives, "lives"),
            (deaths, "deaths"),
            (zombies, "zombies"),
            (rows, "rows compared"),
            (versions, "versions"),
            (snapshots, "snapshots"),
        ] {
            writeln!(f, "{count:>8} {name}")?;
        }
        failed.iter().try_for_each(|(kind, count)| writeln!(f, "{count:>8} errors: {kind}"))?;
        fired.iter().try_for_each(|(fault, count)| writeln!(f, "{count:>8} {fault:?}"))
    }
}
