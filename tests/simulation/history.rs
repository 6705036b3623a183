//! The history of one seed: several lives of a program in one world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use watershed::runtime::{Stop, Summary};
use watershed::simulation::{End, History, Life, Simulation, draw, pause, start};
use watershed::{ErrorKind, Result};

use super::programs::Program;
use super::world::{Compared, Settings, World};
use crate::support::lossy::fault::FAULTS;
use crate::support::lossy::{Fault, Lossy, Weather};

/// Limits with which small worlds make many snapshots, layers and compactions, and readers wait for
/// workers.
const SMALL: [(&str, u64); 7] = [
    ("snapshot_bytes", 1),
    ("layers", 2),
    ("layer_bytes", 600),
    ("in_flight_bytes", 400),
    ("small_files", 4),
    ("rewrite_below", 2),
    ("checkpoint_every", 4),
];
/// No sound history has more turns.
const MOST_TURNS: u64 = 1 << 16;

/// Counts of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(super) lives: u64,
    pub(super) records: u64,
    /// Crashes by the place of the turn.
    pub(super) crashes: BTreeMap<String, u64>,
    /// Runs that another one has taken over while they were stopped.
    pub(super) takeovers: u64,
    /// Runs that failed, by the kind of the error.
    pub(super) failed: BTreeMap<String, u64>,
    pub(super) faults: BTreeMap<Fault, u64>,
    pub(super) compared: Compared,
}

/// Runs the history of a seed. Every second one has small limits.
pub(super) fn history(of: Simulation) -> History<Result<Counts, String>> {
    let limits = if of.seed.is_multiple_of(2) { SMALL.to_vec() } else { Vec::new() };
    Simulation { limits, max_turns: MOST_TURNS, ..of }.run(live)
}

/// The lives of a world.
struct Lives {
    world: Arc<World>,
    counts: Counts,
}

type Run = Life<Result<Summary>>;

fn live() -> Result<Counts, String> {
    let (program, is_delta) = match draw(32) {
        0..8 => (Program::Changes, false),
        8..20 => (Program::Joins, false),
        20..30 => (Program::Tables, false),
        _ => (Program::Tables, true),
    };
    let world = Arc::new(World::new(program, is_delta));
    let mut lives = Lives { world, counts: Counts::default() };
    for _ in 0..1 + draw(3) {
        lives.world.append(draw(12));
        if draw(5) == 0 {
            lives.takeover()?
        } else {
            lives.one()?
        }
        lives.check()?;
    }
    lives.world.bucket.settle();
    lives.world.append(draw(4));
    let settings = Settings::to_the_end(1 + draw(2) as usize);
    let sound = start(None, lives.world.run(Lossy::to(&lives.world.bucket), settings));
    match sound.join() {
        End::Returned(Ok(_)) => lives.counts.lives += 1,
        End::Returned(Err(error)) => return Err(format!("a sound run failed: {error}")),
        End::Crashed(place) => return Err(format!("a sound run crashed at {place}")),
    }
    lives.world.check_end();
    lives.check()?;
    let Lives { world, mut counts } = lives;
    counts.records = world.records() as u64;
    counts.faults = world.bucket.fired();
    counts.compared = world.compared.lock().unwrap().clone();
    Ok(counts)
}

impl Lives {
    /// Draws a run.
    fn start(&self, crash_at: Option<u64>) -> (Run, Settings) {
        let mut connection = Lossy::to(&self.world.bucket);
        let mut faults: Vec<Fault> = FAULTS.into();
        if draw(2) == 0 {
            faults = vec![faults[draw(faults.len() as u64) as usize]];
        }
        let permille = [0, 0, 5, 20, 60][draw(5) as usize];
        connection.weather = Weather { seed: draw(u64::MAX), permille, faults };
        let settings = Settings {
            workers: [1, 1, 2, 2, 3][draw(5) as usize],
            follow: draw(3) == 0,
            commit_every: Duration::from_millis([0, 1, 30][draw(3) as usize]),
            stop: Stop::default(),
        };
        (start(crash_at, self.world.run(connection, settings.clone())), settings)
    }

    /// Lets a run that follows the logs process some more records, and ends it.
    fn feed(&self, settings: &Settings) {
        if settings.follow {
            for _ in 0..draw(4) {
                pause(Duration::from_micros(draw(40_000)));
                self.world.append(1 + draw(4));
            }
            // Some runs live long enough to discover partitions.
            pause(Duration::from_micros(draw(if draw(8) == 0 { 3_000_000 } else { 100_000 })));
            settings.stop.stop();
        }
    }

    /// A run that may crash at any turn.
    fn one(&mut self) -> Result<(), String> {
        // A life has some hundreds of turns.
        let crash_at = (draw(3) > 0).then(|| 1 + draw(1 << (5 + draw(7))));
        let (run, settings) = self.start(crash_at);
        self.feed(&settings);
        let is_through = self.judge(run.join())?;
        if is_through && !settings.follow {
            self.world.check_end();
        }
        Ok(())
    }

    /// A run that is stopped while another one takes over.
    fn takeover(&mut self) -> Result<(), String> {
        let (older, settings) = self.start(None);
        pause(Duration::from_micros(draw(1 << (8 + draw(10)))));
        older.stop(Duration::from_micros(draw(1 << (10 + draw(12)))));
        self.world.append(draw(4));
        self.one()?;
        self.counts.takeovers += 1;
        settings.stop.stop();
        self.judge(older.join())?;
        Ok(())
    }

    /// Returns true if the run came to its end. An error must be one of the store.
    fn judge(&mut self, end: End<Result<Summary>>) -> Result<bool, String> {
        self.counts.lives += 1;
        let error = match end {
            End::Crashed(place) => {
                *self.counts.crashes.entry(place).or_default() += 1;
                return Ok(false);
            }
            End::Returned(Ok(summary)) => {
                let balances = summary.topics.values().all(|topic| topic.balances());
                return balances.then_some(true).ok_or(format!("the counts differ: {summary:?}"));
            }
            End::Returned(Err(error)) => error,
        };
        *self.counts.failed.entry(format!("{:?}", error.kind())).or_default() += 1;
        match error.kind() {
            ErrorKind::Connect | ErrorKind::Superseded => Ok(false),
            _ => Err(format!("a run failed: {error}")),
        }
    }

    fn check(&self) -> Result<(), String> {
        self.world.check_state();
        self.world.difference().map_or(Ok(()), Err)
    }
}
