//! The points of a run at which it may die or pause, and the order in which a plan uses them.

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

/// A named point, and the passing that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct At {
    pub(crate) point: &'static str,
    pub(crate) passing: u64,
}

/// Returns all points.
pub(crate) fn points() -> Vec<&'static str> {
    [&POINTS[..], &LATER_POINTS[..]].concat()
}

/// Hands out the points in a shuffled order, each as often as any other.
#[derive(Default)]
pub(super) struct Cycle {
    points: Vec<&'static str>,
}

impl Cycle {
    /// Returns the next point that the first life of a world, or a later one, can pass.
    pub(super) fn next(&mut self, dice: &mut Dice, is_first: bool) -> &'static str {
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
        _ => 6,
    };
    At { point, passing: 1 + dice.below(passings) }
}
