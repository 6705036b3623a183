//! The points of a run at which it may die or pause, and the order in which a plan uses them.

use std::fmt;

use crate::support::Dice;

/// The points in a run's life at which it may die: `src/faults.rs` describes them.
const POINTS: [&str; 24] = [
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

/// Points that only a run with an earlier commit passes: the first run of a lake does not. Those of
/// a reset are passed by a run that resets the state.
const LATER_POINTS: [&str; 12] = [
    "recovery.forward.before",
    "recovery.forward.after",
    "recovery.verified",
    "recover.load",
    "merge",
    "collect",
    "reset.manifest.before",
    "reset.manifest.after",
    "reset.sink.before",
    "reset.sink.after",
    "reset.table.before",
    "reset.table.after",
];

/// Points that only process 0 of several passes.
const FIRST_POINTS: [&str; 2] = ["cluster.gathered", "cluster.welcome"];

/// Points that any of several processes passes.
const SHARED_POINTS: [&str; 2] = ["cluster.proven", "cluster.mesh"];

/// Points that only a process other than process 0 passes.
const OTHER_POINTS: [&str; 6] = [
    "cluster.joined",
    "cluster.welcomed",
    "process.opened",
    "process.changed",
    "process.part",
    "process.stored",
];

/// Points of a run in one process that other processes than process 0 pass too.
const WORKER_POINTS: [&str; 4] = ["store.staged", "store.named", "recover.load", "snapshot.layer"];

/// The place of a process among several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seat {
    /// Process 0.
    First,
    /// Another process.
    Other,
}

/// A point in one of several processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) seat: Seat,
    pub(crate) point: &'static str,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.seat {
            Seat::First => "process 0 of several",
            Seat::Other => "another process",
        };
        write!(f, "{} in {place}", self.point)
    }
}

/// A named point, and the passing that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct At {
    pub(crate) point: &'static str,
    pub(crate) passing: u64,
}

/// Returns all points of a run in one process.
pub(crate) fn points() -> Vec<&'static str> {
    [&POINTS[..], &LATER_POINTS[..]].concat()
}

/// Returns all points of a run in several processes, with the places of the processes.
pub(crate) fn spots() -> Vec<Spot> {
    let first = [&points()[..], &FIRST_POINTS[..], &SHARED_POINTS[..]].concat();
    let other = [&OTHER_POINTS[..], &SHARED_POINTS[..], &WORKER_POINTS[..]].concat();
    let of = |seat| move |point| Spot { seat, point };
    first.into_iter().map(of(Seat::First)).chain(other.into_iter().map(of(Seat::Other))).collect()
}

/// Hands out the points in a shuffled order, each as often as any other.
#[derive(Default)]
pub(super) struct Cycle {
    points: Vec<&'static str>,
    spots: Vec<Spot>,
}

impl Cycle {
    /// Returns the next point that the first life of a world, or a later one, can pass.
    pub(super) fn next(&mut self, dice: &mut Dice, is_first: bool) -> &'static str {
        if self.points.is_empty() {
            self.points = points();
            dice.shuffle(&mut self.points);
        }
        let at = self.points.iter().position(|point| !is_first || !is_late(point));
        match at {
            Some(at) => self.points.remove(at),
            None => "commit.staged",
        }
    }

    /// The same for a life in several processes.
    pub(super) fn next_of_several(&mut self, dice: &mut Dice, is_first: bool) -> Spot {
        if self.spots.is_empty() {
            self.spots = spots();
            dice.shuffle(&mut self.spots);
        }
        let at = self.spots.iter().position(|spot| !is_first || !is_late(spot.point));
        match at {
            Some(at) => self.spots.remove(at),
            None => Spot { seat: Seat::Other, point: "cluster.mesh" },
        }
    }
}

/// Returns true if the first life of a world may not pass the point.
fn is_late(point: &str) -> bool {
    LATER_POINTS.contains(&point) || !(point.starts_with("commit") || point.starts_with("cluster"))
}

/// Draws a passing of a point: a run passes some once, others once a sink or a commit.
pub(super) fn at(dice: &mut Dice, point: &'static str) -> At {
    let passings = match point {
        "recovery.generation" | "recovery.replayed" | "recovery.verified" => 1,
        "recovery.forward.before" | "recovery.forward.after" | "recover.load" => 1,
        "reset.manifest.before" | "reset.manifest.after" => 1,
        "merge" | "collect" => 2,
        "compaction.written" | "compaction.before" | "compaction.after" => 3,
        "checkpoint.before" | "checkpoint.after" | "cleanup.before" | "cleanup.after" => 2,
        "commit.sink.before" | "commit.sink.after" => 20,
        "store.staged" | "store.named" => 60,
        "cluster.gathered" | "cluster.welcome" | "cluster.mesh" => 1,
        "cluster.joined" | "cluster.welcomed" => 1,
        "cluster.proven" | "process.changed" => 3,
        _ => 6,
    };
    At { point, passing: 1 + dice.below(passings) }
}
