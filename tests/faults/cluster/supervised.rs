//! The conduct of a life under a supervisor: it starts all processes again after a failure.

use std::fs;
use std::time::{Duration, Instant};

use super::super::life::{ABORT, Conduct, EVENT_TIMEOUT, POINT_TIMEOUT, TERM};
use super::super::plan::Moment;
use super::super::process::{Exit, Process, SMALL_LIMITS};
use super::running::{Running, signal_all};
use super::{Cluster, End, KILL, LOST, NOTICE_TIMEOUT, Strike, TIME_LIMITS, Target};

/// The file with the number of faults that are left.
const FAULTS_LEFT: &str = "faults left";
/// The number that a shell adds to that of a signal.
const SIGNAL_BASE: i32 = 128;
/// The time between two looks at all processes of the system.
const LIST_INTERVAL: Duration = Duration::from_millis(5);

impl Process {
    /// Returns the exit codes for which this supervisor has started all processes again.
    fn restarts(&self) -> Vec<i32> {
        let printed = self.printed();
        let codes = printed.split("exit code ").skip(1).filter_map(|rest| {
            let (code, rest) = rest.split_once(':')?;
            code.parse().ok().filter(|_| rest.starts_with(" all processes start again"))
        });
        codes.collect()
    }

    /// Returns the number of faults at points.
    fn strikes(&self) -> usize {
        self.printed().matches("fault at ").count()
    }
}

impl Conduct<'_> {
    /// Conducts a life of several processes on one machine. Returns its start.
    pub(in super::super) fn supervised(&mut self, cluster: Cluster) -> Instant {
        let mut supervisor = self.supervisor(cluster, true);
        let started = supervisor.started;
        match cluster.strike {
            Strike::Kill(target @ (Target::Supervisor | Target::All), moment) => {
                self.await_moment(&mut supervisor, moment);
                supervisor = self.kill_supervisor(cluster, target, supervisor);
            }
            Strike::Kill(Target::Process(number), moment) => {
                self.await_moment(&mut supervisor, moment);
                if let Some(process) = self.process(&mut supervisor, number) {
                    process.signal("-KILL");
                    let code = SIGNAL_BASE + KILL;
                    self.course.fired = self.await_restart(&mut supervisor, code);
                }
            }
            Strike::KillAt { times, .. } => {
                if self.await_strike(&mut supervisor, |process| process.strikes() > 0) {
                    let code = SIGNAL_BASE + ABORT;
                    self.course.fired = self.await_restart(&mut supervisor, code);
                    let all = |process: &mut Process| process.strikes() as u64 >= times;
                    self.feed_until(&mut supervisor, POINT_TIMEOUT, all);
                    // No fault may come as all end.
                    fs::write(self.place.path(FAULTS_LEFT), "0").unwrap();
                    self.await_commits(&mut supervisor, 1);
                }
            }
            Strike::HangAt { .. } => {
                if self.await_strike(&mut supervisor, |process| process.strikes() > 0) {
                    self.course.fired = self.await_restart(&mut supervisor, LOST);
                }
            }
            Strike::Hang { process, moment, millis } => {
                self.await_moment(&mut supervisor, moment);
                self.stop_for(&mut supervisor, process, millis);
                // Processes that are not connected yet wait longer.
                self.course.fired = match moment {
                    Moment::Commit(_) => self.await_restart(&mut supervisor, LOST),
                    Moment::Start(_) => self.await_commits(&mut supervisor, 1),
                };
            }
            Strike::Pause { process, moment, millis } => {
                self.await_moment(&mut supervisor, moment);
                self.stop_for(&mut supervisor, process, millis);
                self.course.fired = self.await_commits(&mut supervisor, 1);
                if !supervisor.restarts().is_empty() {
                    let fault = format!("a short pause ended all: {}", supervisor.printed());
                    self.course.faults.push(fault);
                }
            }
            Strike::Terminate(target, moment) => {
                self.await_moment(&mut supervisor, moment);
                self.course.fired = self.ended(&mut supervisor, target);
            }
            Strike::KillInEnd { process, millis } => {
                self.await_moment(&mut supervisor, Moment::Commit(Duration::ZERO));
                self.kill_in_end(&mut supervisor, process, millis);
            }
            // These are lives on machines.
            Strike::Link { .. }
            | Strike::KillMachine { .. }
            | Strike::HangMachine { .. }
            | Strike::CutInEnd { .. } => {}
        }
        match cluster.end {
            _ if supervisor.exit().is_some() => {}
            End::Terminate(target) if self.course.fired => {
                self.ended(&mut supervisor, target);
            }
            // A point that was not reached may be reached yet.
            End::Terminate(_) | End::Kill => supervisor.kill(),
        }
        if supervisor.exit().is_none() {
            supervisor.kill();
        }
        self.await_nobody();
        started
    }

    /// Starts a supervisor. Only the first one of a life has its fault.
    fn supervisor(&self, cluster: Cluster, is_first: bool) -> Process {
        let mut command = self.place.follow(&self.life, &self.address, self.life.workers, is_first);
        command.args(["--processes", &cluster.processes.to_string()]);
        let limits = if self.life.small { SMALL_LIMITS } else { "" };
        command.env("WATERSHED_LIMITS", format!("{TIME_LIMITS},{limits}"));
        let fault = match cluster.strike {
            Strike::KillAt { process, at, times } => Some((process, at, times, "")),
            Strike::HangAt { process, at } => Some((process, at, 1, ":pause")),
            _ => None,
        };
        if let Some((process, at, times, action)) = fault.filter(|_| is_first) {
            let left = self.place.path(FAULTS_LEFT);
            fs::write(&left, times.to_string()).unwrap();
            command.env("WATERSHED_FAULT", format!("{}:{}{action}", at.point, at.passing));
            command.env("WATERSHED_FAULT_PROCESS", process.to_string());
            command.env("WATERSHED_FAULT_LEFT", left);
        }
        let errors = if is_first { "errors" } else { "errors of the second" };
        self.place.spawn(command, errors)
    }

    /// Kills the supervisor, perhaps with all its processes, and starts it again. Returns it.
    fn kill_supervisor(
        &mut self,
        cluster: Cluster,
        target: Target,
        mut supervisor: Process,
    ) -> Process {
        if let Some(exit) = supervisor.exit() {
            self.unexpected(&supervisor, exit);
            return supervisor;
        }
        if target == Target::All {
            signal_all(&Running::all(&self.place.folder), "-KILL");
        }
        supervisor.kill();
        // Its processes have not ended yet when it starts again.
        let orphans = Running::all(&self.place.folder);
        let killed = Instant::now();
        let mut next = self.supervisor(cluster, false);
        self.await_end(&mut next, &orphans, killed);
        self.course.fired = self.await_commits(&mut next, 1);
        next
    }

    /// Stops a process for a while.
    fn stop_for(&mut self, supervisor: &mut Process, number: usize, millis: u64) {
        if let Some(process) = self.process(supervisor, number) {
            process.signal("-STOP");
            self.feed_for(supervisor, millis);
            process.signal("-CONT");
        }
    }

    /// Kills a process a while after SIGTERM at the supervisor, which ends because of either.
    fn kill_in_end(&mut self, supervisor: &mut Process, number: usize, millis: u64) {
        let Some(process) = self.process(supervisor, number) else { return };
        supervisor.signal("-TERM");
        self.feed_for(supervisor, millis);
        process.signal("-KILL");
        self.feed_until(supervisor, EVENT_TIMEOUT, |_| false);
        let killed = SIGNAL_BASE + KILL;
        match supervisor.exit() {
            Some(Exit::Code(code)) if code == 0 || code == killed => self.course.fired = true,
            Some(exit) => self.unexpected(supervisor, exit),
            None => self.course.faults.push("no end after SIGTERM".into()),
        }
    }

    /// Waits until the process of this number runs.
    fn process(&mut self, supervisor: &mut Process, number: usize) -> Option<Running> {
        let (folder, mut found) = (&self.place.folder, None);
        let mut listed = Instant::now();
        self.feed_until(supervisor, EVENT_TIMEOUT, |_| {
            if found.is_none() && listed.elapsed() >= LIST_INTERVAL {
                (found, listed) = (Running::of(folder, number), Instant::now());
            }
            found.is_some()
        });
        if found.is_none() {
            let fault = format!("process {number} does not run: {}", supervisor.printed());
            self.course.faults.push(fault);
        }
        found
    }

    fn feed_for(&mut self, supervisor: &mut Process, millis: u64) {
        let begun = Instant::now();
        let length = Duration::from_millis(millis);
        self.feed_until(supervisor, EVENT_TIMEOUT, |_| begun.elapsed() >= length);
    }

    /// Waits until the supervisor has started all processes again, because of this exit code, and
    /// until these commit. Returns true if they do.
    fn await_restart(&mut self, supervisor: &mut Process, code: i32) -> bool {
        let begun = Instant::now();
        let restarted =
            self.feed_until(supervisor, NOTICE_TIMEOUT, |process| !process.restarts().is_empty());
        let restarts = supervisor.restarts();
        if !restarted || restarts.first() != Some(&code) {
            let printed = supervisor.printed();
            let fault = format!("not all started again for exit code {code}: {printed}");
            self.course.faults.push(fault);
            return false;
        }
        self.course.notice = Some(begun.elapsed());
        self.await_commits(supervisor, 1)
    }

    /// Waits until all `processes` have ended, after their supervisor was killed.
    fn await_end(&mut self, supervisor: &mut Process, processes: &[Running], since: Instant) {
        let folder = &self.place.folder;
        let mut listed = Instant::now();
        let ended = self.feed_until(supervisor, NOTICE_TIMEOUT, |_| {
            if listed.elapsed() < LIST_INTERVAL {
                return false;
            }
            listed = Instant::now();
            let all = Running::all(folder);
            processes.iter().all(|process| !all.contains(process))
        });
        match ended {
            true => self.course.notice = Some(since.elapsed()),
            false => self.course.faults.push("processes outlive their supervisor".into()),
        }
    }

    /// Ends all processes by SIGTERM at one of them. Returns true if they have ended gracefully.
    fn ended(&mut self, supervisor: &mut Process, target: Target) -> bool {
        match target {
            Target::Supervisor => supervisor.signal("-TERM"),
            Target::All => signal_all(&Running::all(&self.place.folder), "-TERM"),
            Target::Process(number) => match self.process(supervisor, number) {
                Some(process) => process.signal("-TERM"),
                None => return false,
            },
        }
        let restarts = supervisor.restarts().len();
        let is_over = |process: &mut Process| process.restarts().len() > restarts;
        self.feed_until(supervisor, EVENT_TIMEOUT, is_over);
        match supervisor.exit() {
            Some(Exit::Code(0)) => return true,
            // The signal may come before the program handles it.
            Some(Exit::Signal(TERM)) => {}
            Some(exit) => self.unexpected(supervisor, exit),
            None => {
                let fault = format!("no end at SIGTERM to {target:?}: {}", supervisor.printed());
                self.course.faults.push(fault);
            }
        }
        false
    }

    /// Waits until no process of the life is left, and kills those that are.
    pub(super) fn await_nobody(&mut self) {
        let begun = Instant::now();
        loop {
            let left = Running::all(&self.place.folder);
            if left.is_empty() {
                return;
            }
            if begun.elapsed() > NOTICE_TIMEOUT {
                self.course.faults.push(format!("processes are left: {left:?}"));
                left.iter().for_each(|process| process.signal("-KILL"));
                return;
            }
            std::thread::park_timeout(LIST_INTERVAL);
        }
    }
}
