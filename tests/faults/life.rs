//! One life of the program: it starts, the archive grows, a fault ends it.

use std::fs;
use std::time::{Duration, Instant};

use super::feeder::Feeder;
use super::plan::{Fault, Life, Moment};
use super::process::{Exit, Place, Process};

/// The exit code of a run that a newer one has superseded.
const SUPERSEDED: i32 = 76;
/// The exit code of a run whose disk is full.
const UNREACHABLE: i32 = 69;
/// The longest time for which a fault at a point is waited for.
const POINT_TIMEOUT: Duration = Duration::from_secs(6);
/// The longest time for any other event. Only a failing campaign waits so long.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause between two looks at a process.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// The pause between two objects, once the first ones of a life are added.
const SLOW_PAUSE: Duration = Duration::from_millis(80);
/// The signal of an abort.
const ABORT: i32 = 6;
/// The signal of a termination.
const TERM: i32 = 15;

/// The course of a life.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// The fault struck as planned.
    pub(crate) fired: bool,
    /// The time from the start to the first commit, if the lake had commits before.
    pub(crate) recovery: Option<Duration>,
    /// Events that must not be.
    pub(crate) faults: Vec<String>,
}

/// The conduct of one life.
pub(crate) struct Conduct<'w> {
    place: &'w Place,
    feeder: &'w mut Feeder,
    life: Life,
    /// The number of manifests before this life.
    before: u64,
    /// The time of the first commit.
    committed: Option<Instant>,
    fed: Instant,
    /// The number of objects that this life has added to the archive.
    objects: u32,
    course: Course,
}

/// Returns the number of manifests of the lake.
pub(crate) fn manifests(place: &Place, from: u64) -> u64 {
    let named = |n: u64| place.path(&format!("lake/_watershed/manifest/{n:020}"));
    (from..).find(|n| !named(n + 1).exists()).unwrap_or(from)
}

impl<'w> Conduct<'w> {
    pub(crate) fn new(place: &'w Place, feeder: &'w mut Feeder, life: Life, before: u64) -> Self {
        let (now, course) = (Instant::now(), Course::default());
        Conduct { place, feeder, life, before, committed: None, fed: now, objects: 0, course }
    }

    /// Conducts the life to its end: afterwards no process of it is left.
    pub(crate) fn run(mut self) -> Course {
        let mut first = self.place.start(&self.life, self.life.workers, true);
        match self.life.fault {
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
                let stopped = |first: &mut Process| first.is_stopped();
                match self.feed_until(&mut first, POINT_TIMEOUT, stopped) {
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
        }
        if let (Some(committed), true) = (self.committed, self.before > 0) {
            self.course.recovery = Some(committed - first.started);
        }
        self.course
    }

    /// Adds objects until `is_done`, and returns true. Returns false if `process` ends first, or
    /// nothing happens for `timeout`.
    fn feed_until(
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
            let pause = match self.objects.checked_sub(self.life.quick_objects) {
                None => self.life.pause,
                Some(0..60) => SLOW_PAUSE,
                // A long wait must not use up the archive.
                Some(_) => SLOW_PAUSE * 8,
            };
            if self.fed.elapsed() >= pause {
                self.feeder.feed();
                (self.fed, self.objects) = (Instant::now(), self.objects + 1);
            }
            if self.committed.is_none() && manifests(self.place, self.before) > self.before {
                self.committed = Some(Instant::now());
            }
            std::thread::park_timeout(POLL_INTERVAL);
        }
        true
    }

    fn await_moment(&mut self, process: &mut Process, moment: Moment) {
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

    /// Waits until so many more commits are made.
    fn await_commits(&mut self, process: &mut Process, count: u64) -> bool {
        let (place, from) = (self.place, manifests(self.place, self.before));
        let done =
            self.feed_until(process, EVENT_TIMEOUT, |_| manifests(place, from) >= from + count);
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

    fn unexpected(&mut self, process: &Process, exit: Exit) {
        let printed = process.printed();
        self.course.faults.push(format!("a run ended with {exit:?}: {printed}"));
    }

    fn kill_at(&mut self, process: &mut Process) {
        self.feed_until(process, POINT_TIMEOUT, |_| false);
        let is_fault = process.printed().contains("fault at");
        match process.exit() {
            Some(Exit::Signal(ABORT)) if is_fault => self.course.fired = true,
            _ => self.give_up(process),
        }
    }

    /// Runs on a disk that is full after a while.
    fn fill(&mut self, process: &mut Process) {
        self.feed_until(process, POINT_TIMEOUT, |_| false);
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
        let mut second = self.place.start(&self.life, self.life.other_workers, false);
        // Of two runs that start at the same time, the second may be the older one.
        let lost = |second: &mut Process| second.exit() == Some(Exit::Code(SUPERSEDED));
        if !self.await_commits(&mut second, 1) && !lost(&mut second) {
            return self.give_up(&mut second);
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
        self.await_commits(winner, 1);
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
