//! Lives of a run in several processes: under a supervisor on one machine ([`supervised`]), or on
//! several machines with a network between them ([`machines`]).

mod draw;
mod machines;
mod running;
mod supervised;

use std::time::Duration;

use super::plan::Moment;
use super::points::{At, Seat, Spot};
use super::process::Exit;
use crate::support::proxy::Weather;

pub(super) use draw::cluster;

/// The limits of time in these lives. Those of a real run are longer.
const TIME_LIMITS: &str = "silence_millis=2500,beat_millis=150,gather_millis=6000,\
                           ending_millis=1000,restart_millis=100";
/// The longest time from a fault until all processes have ended: generous for a busy machine.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(20);
/// The exit code of a process that has lost another one.
const LOST: i32 = 75;
/// The signal of a kill.
const KILL: i32 = 9;

/// The kinds of faults, as the report counts them.
pub(super) const FAULTS: [&str; 19] = [
    "process 0 of several is killed",
    "another process is killed",
    "the supervisor is killed",
    "one of several is killed at a point",
    "one of several hangs at a point",
    "one of several hangs",
    "one of several is stopped for a moment",
    "SIGTERM at process 0",
    "SIGTERM at another process",
    "SIGTERM at the supervisor",
    "the link of machines is cut",
    "the link of machines is slow",
    "the link of machines is half-open",
    "one of several machines is killed",
    "one of several machines hangs",
    "one of several is killed as all end",
    "the link of machines is cut as all end",
    "all processes and the supervisor are killed",
    "SIGTERM at all processes and the supervisor",
];

/// A process that a fault can choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    Supervisor,
    /// The process of this number.
    Process(usize),
    /// All processes and the supervisor, as systemd ends a service.
    All,
}

/// The fault of a run in several processes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Strike {
    Kill(Target, Moment),
    /// A process dies at a point, in so many starts.
    KillAt {
        process: usize,
        at: At,
        times: u64,
    },
    /// A process stops at a point, until the supervisor kills it.
    HangAt {
        process: usize,
        at: At,
    },
    /// A process is stopped for longer than the others wait.
    Hang {
        process: usize,
        moment: Moment,
        millis: u64,
    },
    /// A process is stopped for less time than the others wait.
    Pause {
        process: usize,
        moment: Moment,
        millis: u64,
    },
    Terminate(Target, Moment),
    /// The network in front of a machine is bad for a while.
    Link {
        process: usize,
        weather: Weather,
        moment: Moment,
    },
    KillMachine {
        process: usize,
        moment: Moment,
    },
    HangMachine {
        process: usize,
        moment: Moment,
        millis: u64,
    },
    /// A process is killed a while after SIGTERM at the supervisor.
    KillInEnd {
        process: usize,
        millis: u64,
    },
    /// The network in front of a machine is cut a while after SIGTERM at the last one.
    CutInEnd {
        process: usize,
        millis: u64,
    },
}

/// The end of a life, after its fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Terminate(Target),
    Kill,
}

/// A run in several processes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cluster {
    pub(crate) processes: usize,
    pub(crate) strike: Strike,
    pub(crate) end: End,
}

impl Strike {
    /// Returns its kind, one of [`FAULTS`].
    pub(super) fn kind(&self) -> &'static str {
        let kind = match self {
            Strike::Kill(Target::Process(0), _) => 0,
            Strike::Kill(Target::Process(_), _) => 1,
            Strike::Kill(Target::Supervisor, _) => 2,
            Strike::Kill(Target::All, _) => 17,
            Strike::KillAt { .. } => 3,
            Strike::HangAt { .. } => 4,
            Strike::Hang { .. } => 5,
            Strike::Pause { .. } => 6,
            Strike::Terminate(Target::Process(0), _) => 7,
            Strike::Terminate(Target::Process(_), _) => 8,
            Strike::Terminate(Target::Supervisor, _) => 9,
            Strike::Terminate(Target::All, _) => 18,
            Strike::Link { weather: Weather::Closed | Weather::Clear, .. } => 10,
            Strike::Link { weather: Weather::Slow, .. } => 11,
            Strike::Link { weather: Weather::Silent, .. } => 12,
            Strike::KillMachine { .. } => 13,
            Strike::HangMachine { .. } => 14,
            Strike::KillInEnd { .. } => 15,
            Strike::CutInEnd { .. } => 16,
        };
        FAULTS[kind]
    }

    /// Returns the point at which it strikes, if it has one.
    pub(super) fn point(&self) -> Option<At> {
        self.at().map(|(_, at)| at)
    }

    /// Returns the point and the place of its process among the others.
    pub(super) fn spot(&self) -> Option<Spot> {
        self.at().map(|(process, at)| {
            let seat = if process == 0 { Seat::First } else { Seat::Other };
            Spot { seat, point: at.point }
        })
    }

    fn at(&self) -> Option<(usize, At)> {
        match self {
            Strike::KillAt { process, at, .. } | Strike::HangAt { process, at } => {
                Some((*process, *at))
            }
            _ => None,
        }
    }

    /// Returns true if the processes run on several machines.
    pub(super) fn is_on_machines(&self) -> bool {
        matches!(
            self,
            Strike::Link { .. }
                | Strike::KillMachine { .. }
                | Strike::HangMachine { .. }
                | Strike::CutInEnd { .. }
        )
    }
}

/// Returns true for the end of a process that has lost another one.
fn is_lost(exit: Exit) -> bool {
    exit == Exit::Code(LOST)
}
