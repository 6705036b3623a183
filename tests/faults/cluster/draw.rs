//! The draw of a life in several processes.

use std::time::Duration;

use super::super::plan::Moment;
use super::super::points::{Cycle, Seat, Spot, at};
use super::{Cluster, End, Strike, Target};
use crate::support::Dice;
use crate::support::proxy::Weather;

/// Draws a run in two or three processes, and its fault.
pub(in super::super) fn cluster(dice: &mut Dice, cycle: &mut Cycle, is_first: bool) -> Cluster {
    let mut processes = 2 + dice.below(2) as usize;
    let strike = match dice.below(100) {
        0..56 => {
            let spot = cycle.next_of_several(dice, is_first);
            // Of two processes, the last one accepts no connection.
            processes += usize::from(processes == 2 && accepts(spot));
            at_spot(dice, spot, processes)
        }
        56..58 => Strike::KillInEnd { process: process(dice, processes), millis: dice.below(100) },
        58..61 => {
            let process = dice.below(processes as u64 - 1) as usize;
            Strike::CutInEnd { process, millis: dice.below(100) }
        }
        61..70 => Strike::Kill(target(dice, processes), moment(dice)),
        70..75 => {
            let (process, moment) = (process(dice, processes), moment(dice));
            Strike::Pause { process, moment, millis: 50 + dice.below(500) }
        }
        75..80 => {
            let (process, moment) = (process(dice, processes), moment(dice));
            Strike::Hang { process, moment, millis: hang(dice) }
        }
        80..87 => Strike::Terminate(target(dice, processes), moment(dice)),
        87..94 => {
            let process = dice.below(processes as u64 - 1) as usize;
            let weather = [Weather::Slow, Weather::Silent, Weather::Closed];
            let weather = weather[dice.below(3) as usize];
            Strike::Link { process, weather, moment: moment(dice) }
        }
        94..97 => Strike::KillMachine { process: process(dice, processes), moment: moment(dice) },
        _ => {
            let (process, moment) = (process(dice, processes), moment(dice));
            Strike::HangMachine { process, moment, millis: hang(dice) }
        }
    };
    let end = match (dice.below(2), strike.is_on_machines()) {
        (0, _) => End::Kill,
        (_, true) => End::Terminate(Target::Process(process(dice, processes))),
        (_, false) => End::Terminate(target(dice, processes)),
    };
    Cluster { processes, strike, end }
}

/// Returns true if a process other than process 0 must accept connections to pass the point.
fn accepts(spot: Spot) -> bool {
    spot == Spot { seat: Seat::Other, point: "cluster.proven" }
}

fn at_spot(dice: &mut Dice, spot: Spot, processes: usize) -> Strike {
    let process = match spot.seat {
        Seat::First => 0,
        Seat::Other if accepts(spot) => 1,
        Seat::Other => 1 + dice.below(processes as u64 - 1) as usize,
    };
    let mut at = at(dice, spot.point);
    if spot.seat == Seat::Other {
        // Other processes pass fewer points.
        at.passing = 1 + (at.passing - 1) % 4;
    }
    if accepts(spot) {
        at.passing = 1;
    }
    match dice.below(6) {
        0 => Strike::HangAt { process, at },
        // A reset begins once.
        1 if !at.point.starts_with("reset") => {
            Strike::KillAt { process, at, times: 2 + dice.below(2) }
        }
        _ => Strike::KillAt { process, at, times: 1 },
    }
}

fn process(dice: &mut Dice, processes: usize) -> usize {
    dice.below(processes as u64) as usize
}

/// Draws the supervisor as often as process 0, as the others, and as all at once.
fn target(dice: &mut Dice, processes: usize) -> Target {
    match dice.below(4) {
        0 => Target::Supervisor,
        1 => Target::Process(0),
        2 => Target::All,
        _ => Target::Process(1 + dice.below(processes as u64 - 1) as usize),
    }
}

/// Draws a time that is longer than the others wait.
fn hang(dice: &mut Dice) -> u64 {
    3_000 + dice.below(2_000)
}

fn moment(dice: &mut Dice) -> Moment {
    match dice.below(3) {
        0 => Moment::Start(Duration::from_millis(dice.below(500))),
        _ => Moment::Commit(Duration::from_millis(dice.below(150))),
    }
}
