//! The plan of a campaign: the lives of the program, each with its fault. A seed decides all of it.

use std::fmt;
use std::time::Duration;

use crate::support::Dice;

/// The points in a run's life at which it may die: `src/faults.rs` describes them.
pub(crate) const POINTS: [&str; 24] = [
    "commit.begin",
    "commit.staged",
    "commit.manifest.before",
    "commit.manifest.in",
    "commit.manifest.after",
    "commit.sink.before",
    "commit.sink.after",
    "commit.end",
    "store.staged",
    "store.named",
    "compaction.written",
    "compaction.before",
    "compaction.after",
    "checkpoint.before",
    "checkpoint.after",
    "cleanup.before",
    "cleanup.after",
    "recovery.generation",
    "recovery.table.before",
    "recovery.table.after",
    "recovery.replayed",
    "snapshot.begin",
    "snapshot.layer",
    "snapshot.object",
];

/// Points that only a run with an earlier commit passes: the first run of a lake does not.
pub(crate) const LATER_POINTS: [&str; 6] = [
    "recovery.forward.before",
    "recovery.forward.after",
    "recovery.verified",
    "recover.load",
    "merge",
    "collect",
];

/// The kinds of faults, as the report counts them.
pub(crate) const FAULTS: [&str; 8] = [
    "kill at a moment",
    "kill at a point",
    "pause and takeover at a moment",
    "pause and takeover at a point",
    "full disk",
    "slow disk and kill",
    "terminate",
    "second run beside the first",
];

/// A moment in a life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moment {
    /// So long after its start.
    Start(Duration),
    /// So long after its first commit.
    Commit(Duration),
}

/// A named point, and the passing that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct At {
    pub(crate) point: &'static str,
    pub(crate) passing: u64,
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
}

impl Fault {
    /// Returns its kind, one of [`FAULTS`].
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
        };
        FAULTS[kind]
    }

    /// Returns the point at which it strikes, if it has one.
    pub(crate) fn point(&self) -> Option<At> {
        match self {
            Fault::KillAt(at) | Fault::TakeoverAt(at) => Some(*at),
            _ => None,
        }
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
    /// The pause between two objects that are added to the archive.
    pub(crate) pause: Duration,
    /// The number of objects after which the archive grows more slowly.
    pub(crate) quick_objects: u32,
    pub(crate) fault: Fault,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = if self.small { ", small limits" } else { "" };
        write!(f, "{} workers{limits}, {:?}", self.workers, self.fault)
    }
}

/// The lives of a world: a lake and an archive that grows while they last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct World {
    /// The seed of its records.
    pub(crate) seed: u64,
    pub(crate) lives: Vec<Life>,
}

/// The largest number of lives of a world.
const WORLD_LIVES: usize = 24;

/// Draws a plan of so many lives.
pub(crate) fn plan(seed: u64, lives: usize) -> Vec<World> {
    let mut dice = Dice::new(seed);
    let mut cycle = Cycle::default();
    let mut worlds = Vec::new();
    let mut left = lives;
    while left > 0 {
        let lives = left.min(WORLD_LIVES);
        let seed = dice.below(1 << 32);
        // The first life makes the tables, and has no earlier commit.
        let lives = (0..lives).map(|number| life(&mut dice, &mut cycle, number)).collect();
        worlds.push(World { seed, lives });
        left -= worlds.last().map_or(left, |world: &World| world.lives.len());
    }
    worlds
}

/// Returns all points.
pub(crate) fn points() -> Vec<&'static str> {
    [&POINTS[..], &LATER_POINTS[..]].concat()
}

/// Hands out the points in a shuffled order, each as often as any other.
#[derive(Default)]
struct Cycle {
    points: Vec<&'static str>,
}

impl Cycle {
    fn next(&mut self, dice: &mut Dice, is_first: bool) -> &'static str {
        if self.points.is_empty() {
            self.points = points();
            dice.shuffle(&mut self.points);
        }
        let late = |point: &&str| LATER_POINTS.contains(point) || !point.starts_with("commit");
        let at = self.points.iter().position(|point| !is_first || !late(point));
        match at {
            Some(at) => self.points.remove(at),
            None => "commit.staged",
        }
    }
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

/// Draws a passing of a point: a run passes some once, others once a sink or a commit.
fn at(dice: &mut Dice, point: &'static str) -> At {
    let passings = match point {
        "recovery.generation" | "recovery.replayed" | "recovery.verified" => 1,
        "recovery.forward.before" | "recovery.forward.after" | "recover.load" => 1,
        "merge" | "collect" => 2,
        "compaction.written" | "compaction.before" | "compaction.after" => 3,
        "checkpoint.before" | "checkpoint.after" | "cleanup.before" | "cleanup.after" => 2,
        "commit.sink.before" | "commit.sink.after" => 20,
        "store.staged" | "store.named" => 60,
        _ => 6,
    };
    At { point, passing: 1 + dice.below(passings) }
}

fn life(dice: &mut Dice, cycle: &mut Cycle, number: usize) -> Life {
    let workers = [1, 2, 4];
    let is_first = number == 0;
    let fault = match dice.below(100) {
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
        ["compaction", "checkpoint", "cleanup", "snapshot", "merge", "collect"]
            .iter()
            .any(|part| at.point.starts_with(part))
    });
    Life {
        workers: workers[dice.below(3) as usize],
        other_workers: workers[dice.below(3) as usize],
        small: dice.below(2) == 0 || maintained,
        commit_every: millis(dice, 100) + Duration::from_millis(1),
        pause: millis(dice, 40) + Duration::from_millis(2),
        quick_objects: 20,
        fault,
    }
}
