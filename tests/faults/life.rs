//! One life of the program: it starts, the log grows, a fault ends it.

use std::fs;
use std::time::{Duration, Instant};

use super::manifest::last_manifest;
use super::plan::{Fault, Life, Moment, PlannedChange};
use super::process::{Exit, Place, Process};
use super::worlds::{Address, Log, Occasion};
use crate::support::proxy::{Proxy, Weather};

/// The exit code of a run that a newer one has superseded.
const SUPERSEDED: i32 = 76;
/// The exit code of a run whose disk is full.
const UNREACHABLE: i32 = 69;
/// The longest time for which a fault at a point is waited for.
pub(super) const POINT_TIMEOUT: Duration = Duration::from_secs(6);
/// The longest time for any other event. Only a failing campaign waits so long.
pub(super) const EVENT_TIMEOUT: Duration = Duration::from_secs(120);
/// The pause between two looks at a process.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// The pause between two portions, once the first ones of a life are added.
const SLOW_PAUSE: Duration = Duration::from_millis(80);
/// The number of commits of the run that took over, before the log changes.
const PAUSED_COMMITS: u64 = 4;
/// The signal of an abort.
pub(super) const ABORT: i32 = 6;
/// The signal of a termination.
pub(super) const TERM: i32 = 15;

/// The course of a life.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// The fault struck as planned.
    pub(crate) fired: bool,
    /// The change of the log that was made.
    pub(crate) changed: Option<PlannedChange>,
    /// The time from the start to the first commit, if the lake had commits before.
    pub(crate) recovery: Option<Duration>,
    /// The time from a fault of one of several processes until all have ended.
    pub(crate) notice: Option<Duration>,
    /// Events that must not be.
    pub(crate) faults: Vec<String>,
}

/// The conduct of one life.
pub(crate) struct Conduct<'w> {
    pub(super) place: &'w Place,
    log: &'w mut dyn Log,
    pub(super) life: Life,
    /// The network to the service, in a life with an outage.
    proxy: Option<Proxy>,
    pub(super) address: Address,
    /// The number of manifests before this life.
    pub(super) before: u64,
    /// The time of the first commit.
    pub(super) committed: Option<Instant>,
    fed: Instant,
    /// The number of portions that this life has added to the log.
    portions: u32,
    pub(super) course: Course,
}

impl<'w> Conduct<'w> {
    pub(crate) fn new(place: &'w Place, log: &'w mut dyn Log, life: Life, before: u64) -> Self {
        let is_away = matches!(life.fault, Fault::Outage { .. });
        let proxy = if is_away { log.proxy() } else { None };
        let address = log.address(proxy.as_ref());
        Conduct {
            place,
            log,
            life,
            proxy,
            address,
            before,
            committed: None,
            fed: Instant::now(),
            portions: 0,
            course: Course::default(),
        }
    }

    /// Conducts the life to its end: afterwards no process of it is left.
    pub(crate) fn run(mut self) -> Course {
        self.change(Occasion::BetweenLives);
        let started = match self.life.fault {
            Fault::Cluster(cluster) if cluster.strike.is_on_machines() => self.on_machines(cluster),
            Fault::Cluster(cluster) => self.supervised(cluster),
            fault => self.alone(fault),
        };
        if let (Some(committed), true) = (self.committed, self.before > 0) {
            self.course.recovery = Some(committed - started);
        }
        self.course
    }

    /// Conducts a life of a run in one process. Returns its start.
    fn alone(&mut self, fault: Fault) -> Instant {
        let mut first = self.place.start(&self.life, &self.address, self.life.workers, true);
        let started = first.started;
        match fault {
            Fault::Kill(moment) | Fault::SlowDisk { kill: moment, .. } => {
                self.await_moment(&mut first, moment);
                self.kill(&mut first);
            }
            Fault::KillAt(_) => self.kill_at(&mut first),
            Fault::Takeover(moment) => {
                self.await_moment(&mut first, moment);
                first.signal("-STOP");
                self.take_over(&mut first);
            }
            Fault::TakeoverAt(_) => {
                match self.await_strike(&mut first, |first| first.is_stopped()) {
                    true => self.take_over(&mut first),
                    false => self.give_up(&mut first),
                }
            }
            Fault::Rival(moment) => {
                self.await_moment(&mut first, moment);
                self.take_over(&mut first);
            }
            Fault::FullDisk { .. } => self.fill(&mut first),
            Fault::Terminate(moment) => {
                self.await_moment(&mut first, moment);
                self.course.fired = true;
                self.terminate(&mut first);
            }
            Fault::Outage { weather, begin, millis } => {
                self.await_moment(&mut first, begin);
                self.hide_service(&mut first, weather, Duration::from_millis(millis));
                self.kill(&mut first);
            }
            Fault::Cluster(_) => {}
        }
        started
    }

    /// Adds portions until `is_done`, and returns true. Returns false if `process` ends first, or
    /// nothing happens for `timeout`.
    pub(super) fn feed_until(
        &mut self,
        process: &mut Process,
        timeout: Duration,
        mut is_done: impl FnMut(&mut Process) -> bool,
    ) -> bool {
        let begun = Instant::now();
        while !is_done(process) {
            if process.exit().is_some() || begun.elapsed() > timeout {
                return false;
            }
            self.tick();
        }
        true
    }

    /// Adds a portion if it is time, and notes the first commit.
    pub(super) fn tick(&mut self) {
        let pause = match self.portions.checked_sub(self.life.quick_portions) {
            None => self.life.pause,
            Some(0..60) => SLOW_PAUSE,
            // A long wait must not use up the records.
            Some(_) => SLOW_PAUSE * 8,
        };
        if self.fed.elapsed() >= pause {
            self.log.feed();
            (self.fed, self.portions) = (Instant::now(), self.portions + 1);
        }
        if self.committed.is_none() && self.manifests(self.before) > self.before {
            self.committed = Some(Instant::now());
            self.change(Occasion::InLife);
        }
        std::thread::park_timeout(POLL_INTERVAL);
    }

    /// Changes the log if this is the occasion.
    fn change(&mut self, occasion: Occasion) {
        let lake = self.place.path("lake");
        let due = self.life.change.filter(|planned| planned.occasion == occasion);
        self.course.changed =
            self.course.changed.or(due.filter(|planned| self.log.change(planned.change, &lake)));
    }

    /// Returns the number of manifests, which is not below `from`.
    pub(super) fn manifests(&self, from: u64) -> u64 {
        last_manifest(&self.place.path("lake"), from)
    }

    /// Returns the number of manifests before the first commit of this life. A run that resets or
    /// adopts the state starts with a manifest for that.
    pub(super) fn before_commits(&self) -> u64 {
        self.before + u64::from(self.life.resets() || self.place.has_versions)
    }

    pub(super) fn await_moment(&mut self, process: &mut Process, moment: Moment) {
        match moment {
            Moment::Start(after) => {
                self.feed_until(process, EVENT_TIMEOUT, |process| process.age() >= after);
            }
            Moment::Commit(after) => {
                self.await_commits(process, 1);
                let since = Instant::now();
                self.feed_until(process, EVENT_TIMEOUT, |_| since.elapsed() >= after);
            }
        }
    }

    /// Waits for a fault that may not be reached, and returns true if it struck. A run that is not
    /// struck must commit, however slow it is.
    pub(super) fn await_strike(
        &mut self,
        process: &mut Process,
        has_struck: fn(&mut Process) -> bool,
    ) -> bool {
        if self.feed_until(process, POINT_TIMEOUT, has_struck) {
            return true;
        }
        let first = self.before_commits();
        if self.manifests(self.before) <= first {
            let lake = self.place.path("lake");
            let goes_on =
                |process: &mut Process| has_struck(process) || last_manifest(&lake, first) > first;
            if !self.feed_until(process, EVENT_TIMEOUT, goes_on) && process.exit().is_none() {
                self.course.faults.push(format!("no commit in time: {}", process.printed()));
            }
        }
        has_struck(process)
    }

    /// Lets the network fail for a while. Afterwards the run must go on.
    fn hide_service(&mut self, process: &mut Process, weather: Weather, length: Duration) {
        let set = |conduct: &Self, weather| {
            conduct.proxy.iter().for_each(|proxy| proxy.set(weather));
        };
        set(self, weather);
        let begun = Instant::now();
        self.feed_until(process, EVENT_TIMEOUT, |_| begun.elapsed() >= length);
        set(self, Weather::Clear);
        self.await_commits(process, 1);
    }

    /// Waits until so many more commits are made.
    pub(super) fn await_commits(&mut self, process: &mut Process, count: u64) -> bool {
        let (lake, from) = (self.place.path("lake"), self.manifests(self.before_commits()));
        let done =
            self.feed_until(process, EVENT_TIMEOUT, |_| last_manifest(&lake, from) >= from + count);
        if !done && process.exit().is_none() {
            self.course.faults.push("no commit in time".into());
        }
        done
    }

    fn kill(&mut self, process: &mut Process) {
        match process.exit() {
            Some(exit) => self.unexpected(process, exit),
            None => {
                process.kill();
                self.course.fired = true;
            }
        }
    }

    /// Ends a process whose point was not reached.
    fn give_up(&mut self, process: &mut Process) {
        if let Some(exit) = process.exit() {
            self.unexpected(process, exit);
        }
        process.kill();
    }

    pub(super) fn unexpected(&mut self, process: &Process, exit: Exit) {
        let printed = process.printed();
        self.course.faults.push(format!("a run ended with {exit:?}: {printed}"));
    }

    fn kill_at(&mut self, process: &mut Process) {
        self.await_strike(process, |_| false);
        let is_fault = process.printed().contains("fault at");
        match process.exit() {
            Some(Exit::Signal(ABORT)) if is_fault => self.course.fired = true,
            _ => self.give_up(process),
        }
    }

    /// Runs on a disk that is full after a while.
    fn fill(&mut self, process: &mut Process) {
        self.await_strike(process, |_| false);
        match process.exit() {
            Some(Exit::Code(UNREACHABLE)) if process.printed().contains("No space left") => {
                self.course.fired = true;
            }
            _ => self.give_up(process),
        }
    }

    fn terminate(&mut self, process: &mut Process) {
        process.signal("-TERM");
        self.feed_until(process, EVENT_TIMEOUT, |_| false);
        match process.exit() {
            // The signal may come before the program handles it.
            Some(Exit::Code(0) | Exit::Signal(TERM)) => {}
            Some(exit) => self.unexpected(process, exit),
            None => {
                self.course.faults.push("a run does not end at SIGTERM".into());
                process.kill();
            }
        }
    }

    /// Starts a second run beside the stopped `first`, and lets it commit. Then the first goes on.
    /// One of the two supersedes the other, and only that one goes on.
    fn take_over(&mut self, first: &mut Process) {
        if let Some(exit) = first.exit() {
            return self.unexpected(first, exit);
        }
        let mut second =
            self.place.start(&self.life, &self.address, self.life.other_workers, false);
        // Of two runs that start at the same time, the second may be the older one.
        let lost = |second: &mut Process| second.exit() == Some(Exit::Code(SUPERSEDED));
        if !self.await_commits(&mut second, 1) && !lost(&mut second) {
            return self.give_up(&mut second);
        }
        if self.life.change.is_some_and(|planned| planned.occasion == Occasion::InPause) {
            self.await_commits(&mut second, PAUSED_COMMITS);
            self.change(Occasion::InPause);
        }
        first.signal("-CONT");
        let ended = |second: &mut Process| first.exit().is_some() || second.exit().is_some();
        self.feed_until(&mut second, EVENT_TIMEOUT, ended);
        let (mut loser, mut winner) = match first.exit() {
            Some(_) => (first, &mut second),
            None => (&mut second, first),
        };
        match loser.exit() {
            Some(Exit::Code(SUPERSEDED)) => self.course.fired = true,
            Some(exit) => self.unexpected(loser, exit),
            None => {
                self.course.faults.push("two runs go on beside one another".into());
                loser.kill();
            }
        }
        // The next commit may name a snapshot, and change nothing.
        self.await_commits(winner, 2);
        self.terminate(winner);
        for process in [&mut loser, &mut winner] {
            if process.exit().is_none() {
                process.kill();
            }
        }
    }
}

/// Removes the folder of a world.
pub(crate) fn remove(place: &Place) {
    fs::remove_dir_all(&place.folder).unwrap();
}
