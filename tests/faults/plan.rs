//! The plan of a campaign: the lives of the program, each with its fault. A seed decides all of it.

use std::fmt;
use std::time::Duration;

use super::cluster::{self, Cluster, cluster};
use super::points::{At, Cycle, Seat, Spot, at};
use super::worlds::{Change, Kind, OCCASIONS, Occasion};
use crate::support::Dice;
use crate::support::proxy::Weather;

/// The kinds of faults, as the report counts them.
const FAULTS: [&str; 9] = [
    "kill at a moment",
    "kill at a point",
    "pause and takeover at a moment",
    "pause and takeover at a point",
    "full disk",
    "slow disk and kill",
    "terminate",
    "second run beside the first",
    "service away and kill",
];

/// The runs of a campaign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Runs {
    /// In one process or in several.
    All,
    /// In several processes only.
    Several,
}

/// Returns the kinds of faults that strike such runs of a program with such a log.
pub(crate) fn faults(kind: Kind, runs: Runs) -> Vec<&'static str> {
    let alone = match (runs, kind) {
        (Runs::Several, _) => &[],
        (_, Kind::Archive | Kind::Visits) => &FAULTS[..8],
        (_, Kind::Kafka | Kind::Kinesis) => &FAULTS[..],
    };
    [alone, &cluster::FAULTS].concat()
}

/// A moment in a life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moment {
    /// So long after its start.
    Start(Duration),
    /// So long after its first commit.
    Commit(Duration),
}

/// The fault that ends a life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Kill(Moment),
    KillAt(At),
    Takeover(Moment),
    TakeoverAt(At),
    FullDisk {
        bytes: u64,
    },
    SlowDisk {
        millis: u64,
        kill: Moment,
    },
    Terminate(Moment),
    /// A second run starts while the first goes on.
    Rival(Moment),
    /// The network to the service is bad for a while. The run must commit again, and is killed.
    Outage {
        weather: Weather,
        begin: Moment,
        millis: u64,
    },
    /// The run has several processes.
    Cluster(Cluster),
}

impl Fault {
    /// Returns its kind, one of [`faults`].
    pub(crate) fn kind(&self) -> &'static str {
        let kind = match self {
            Fault::Kill(_) => 0,
            Fault::KillAt(_) => 1,
            Fault::Takeover(_) => 2,
            Fault::TakeoverAt(_) => 3,
            Fault::FullDisk { .. } => 4,
            Fault::SlowDisk { .. } => 5,
            Fault::Terminate(_) => 6,
            Fault::Rival(_) => 7,
            Fault::Outage { .. } => 8,
            Fault::Cluster(cluster) => return cluster.strike.kind(),
        };
        FAULTS[kind]
    }

    /// Returns the point at which it strikes, if it has one.
    pub(crate) fn point(&self) -> Option<At> {
        match self {
            Fault::KillAt(at) | Fault::TakeoverAt(at) => Some(*at),
            Fault::Cluster(cluster) => cluster.strike.point(),
            _ => None,
        }
    }
}

/// A change of the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PlannedChange {
    pub(crate) change: Change,
    pub(crate) occasion: Occasion,
}

impl PlannedChange {
    /// Returns its name in the report.
    pub(crate) fn name(self) -> &'static str {
        self.change.name(self.occasion)
    }
}

/// One life of the program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Life {
    pub(crate) workers: usize,
    /// The number of workers of a second run that takes over.
    pub(crate) other_workers: usize,
    /// The tables have small limits, so that they are compacted and cleaned often.
    pub(crate) small: bool,
    pub(crate) commit_every: Duration,
    /// The pause between two portions that are added to the log.
    pub(crate) pause: Duration,
    /// The number of portions after which the log grows more slowly.
    pub(crate) quick_portions: u32,
    pub(crate) change: Option<PlannedChange>,
    /// The version of the program, which adopts the state of the one before: `visits` has several.
    pub(crate) version: u8,
    pub(crate) fault: Fault,
}

impl Life {
    /// Returns true if its first run resets the state.
    pub(crate) fn resets(&self) -> bool {
        self.fault.point().is_some_and(|at| at.point.starts_with("reset"))
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = if self.small { ", small limits" } else { "" };
        let change = self.change.map(|change| format!("{}, ", change.name()));
        let change = change.unwrap_or_default();
        let version =
            if self.version > 0 { format!("version {}, ", self.version) } else { String::new() };
        write!(f, "{change}{version}{} workers{limits}, {:?}", self.workers, self.fault)
    }
}

/// The lives of a world: a lake and a log that grows while they last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct World {
    /// The kind of its log.
    pub(crate) kind: Kind,
    /// The seed of its records.
    pub(crate) seed: u64,
    pub(crate) lives: Vec<Life>,
}

/// The families of tables of `visits`, of which a world has one, and the first bit of their number
/// in a version.
const FAMILIES: usize = 3;
const FAMILY_BIT: u8 = 3;
/// The largest number of lives of a world.
const WORLD_LIVES: usize = 24;

/// Draws a plan of so many lives, in worlds of these kinds in turn.
pub(crate) fn plan(seed: u64, lives: usize, kinds: &[Kind], runs: Runs) -> Vec<World> {
    let mut dice = Dice::new(seed);
    let mut cycle = Cycle::default();
    let mut worlds = Vec::new();
    let mut left = lives;
    for kind in kinds.iter().copied().cycle() {
        if left == 0 {
            break;
        }
        let lives = left.min(WORLD_LIVES);
        let seed = dice.below(1 << 32);
        let before = worlds.iter().filter(|world: &&World| world.kind == kind).count();
        let family = (before % FAMILIES) as u8;
        // The first life makes the tables, and has no earlier commit.
        let mut draw = |number| match kind {
            Kind::Archive => life(&mut dice, &mut cycle, number, runs),
            Kind::Visits => {
                let version = version(&mut dice, number) | family << FAMILY_BIT;
                Life { version, ..life(&mut dice, &mut cycle, number, runs) }
            }
            Kind::Kafka | Kind::Kinesis => {
                life_with_service(&mut dice, &mut cycle, number, kind, runs)
            }
        };
        let lives: Vec<_> = (0..lives).map(&mut draw).collect();
        left -= lives.len();
        worlds.push(World { kind, seed, lives });
    }
    worlds
}

fn millis(dice: &mut Dice, end: u64) -> Duration {
    Duration::from_millis(dice.below(end))
}

fn moment(dice: &mut Dice) -> Moment {
    match dice.below(3) {
        0 => Moment::Start(millis(dice, 250)),
        _ => Moment::Commit(millis(dice, 120)),
    }
}

/// Draws a version of `visits`. A table that was left out can't come back: the last bit stays.
fn version(dice: &mut Dice, number: usize) -> u8 {
    let bits = dice.below(4) as u8;
    if number < WORLD_LIVES / 3 { bits } else { bits | 4 }
}

fn life(dice: &mut Dice, cycle: &mut Cycle, number: usize, runs: Runs) -> Life {
    let workers = [1, 2, 4];
    let is_first = number == 0;
    let in_several = runs == Runs::Several || dice.below(5) < 2;
    let fault = match dice.below(100) {
        _ if in_several => Fault::Cluster(cluster(dice, cycle, is_first)),
        0..45 => {
            let point = cycle.next(dice, is_first);
            Fault::KillAt(at(dice, point))
        }
        45..60 => Fault::Kill(moment(dice)),
        60..68 => Fault::Takeover(moment(dice)),
        68..80 => {
            let point = cycle.next(dice, is_first);
            Fault::TakeoverAt(at(dice, point))
        }
        80..87 => Fault::FullDisk { bytes: 2000 + dice.below(40_000) },
        87..92 => Fault::SlowDisk { millis: 1 + dice.below(20), kill: moment(dice) },
        92..96 => Fault::Rival(moment(dice)),
        _ => Fault::Terminate(moment(dice)),
    };
    let maintained = fault.point().is_some_and(|at| {
        ["compaction", "checkpoint", "cleanup", "snapshot", "merge", "collect", "process.changed"]
            .iter()
            .any(|part| at.point.starts_with(part))
    });
    // Another process creates files for snapshots only.
    let in_store = |spot: Spot| spot.seat == Seat::Other && spot.point.starts_with("store");
    let is_snapshot = matches!(fault, Fault::Cluster(it) if it.strike.spot().is_some_and(in_store));
    Life {
        workers: workers[dice.below(3) as usize],
        other_workers: workers[dice.below(3) as usize],
        small: dice.below(2) == 0 || maintained || is_snapshot,
        commit_every: millis(dice, 100) + Duration::from_millis(1),
        pause: millis(dice, 40) + Duration::from_millis(2),
        quick_portions: 20,
        change: None,
        version: 0,
        fault,
    }
}

/// Draws a life with what only services do: their logs change, and they are away.
fn life_with_service(
    dice: &mut Dice,
    cycle: &mut Cycle,
    number: usize,
    kind: Kind,
    runs: Runs,
) -> Life {
    let mut life = life(dice, cycle, number, runs);
    let changes = kind.changes();
    let change = changes[dice.below(changes.len() as u64) as usize];
    let is_paused = matches!(life.fault, Fault::Takeover(_) | Fault::TakeoverAt(_));
    let occasions = if is_paused { &OCCASIONS[..] } else { &OCCASIONS[..2] };
    // At the other draws there is none.
    let drawn = dice.below(occasions.len() as u64 + 2) as usize;
    if let Some(occasion) = occasions.get(drawn).copied().filter(|_| number > 0) {
        life.change = Some(PlannedChange { change, occasion });
    }
    let begin = Moment::Commit(millis(dice, 120));
    let weather = [Weather::Slow, Weather::Silent, Weather::Closed][dice.below(3) as usize];
    let outage = Fault::Outage { weather, begin, millis: 200 + dice.below(1500) };
    // A log that has lost its first records refuses a reset.
    if life.resets() || (runs == Runs::All && life.fault.point().is_none() && dice.below(5) == 0) {
        life.fault = outage;
    }
    life
}
