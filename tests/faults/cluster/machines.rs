//! The conduct of a life on several machines: each process is started by itself, again after a
//! failure, and reaches the others through proxies.

use std::fs;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::super::life::{Conduct, EVENT_TIMEOUT};
use super::super::manifest::last_manifest;
use super::super::plan::Moment;
use super::super::process::{Exit, Process, SMALL_LIMITS};
use super::{Cluster, End, KILL, NOTICE_TIMEOUT, Strike, TIME_LIMITS, Target, is_lost};
use crate::support::proxy::{Proxy, Weather};

/// The file with the secret of all processes.
const SECRET: &str = "secret";
/// The time for which a slow link stays slow, and a bad link without an effect stays bad.
const BAD_TIME: Duration = Duration::from_millis(1_200);
/// The time between the end of a process and its next start.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// One of several machines.
struct Machine {
    process: Process,
    /// The time of the end of its process.
    ended: Option<Instant>,
    /// The ends of its processes so far.
    ends: Vec<Exit>,
}

/// A cut of the network in front of a machine.
struct Cut {
    process: usize,
    after: Duration,
}

/// Several machines, and the network between them.
struct Machines {
    all: Vec<Machine>,
    /// The proxies in front of all machines but the last one, to which none connects.
    proxies: Vec<Proxy>,
    /// The addresses of all, through the proxies.
    hosts: String,
    /// The addresses at which they listen.
    listen: Vec<String>,
    /// The number of processes that were started.
    starts: usize,
}

impl Machines {
    /// Returns the number of ends of each machine.
    fn ends(&self) -> Vec<usize> {
        self.all.iter().map(|machine| machine.ends.len()).collect()
    }

    /// Returns true if a process of each machine has ended since.
    fn have_all_ended_since(&self, before: &[usize]) -> bool {
        self.all.iter().zip(before).all(|(machine, before)| machine.ends.len() > *before)
    }

    fn has_any_ended_since(&self, before: &[usize]) -> bool {
        self.all.iter().zip(before).any(|(machine, before)| machine.ends.len() > *before)
    }
}

impl Conduct<'_> {
    /// Conducts a life of processes on several machines. Returns its start.
    pub(in super::super) fn on_machines(&mut self, cluster: Cluster) -> Instant {
        let started = Instant::now();
        let mut machines = self.machines(cluster.processes);
        match cluster.strike {
            Strike::Link { process, weather, moment } => {
                self.await_moment_of(&mut machines, moment);
                self.spoil(&mut machines, process, weather, moment);
            }
            Strike::KillMachine { process, moment } => {
                self.await_moment_of(&mut machines, moment);
                let before = machines.ends();
                machines.all[process].process.signal("-KILL");
                self.await_ends(&mut machines, &before, Some(process), moment);
            }
            Strike::HangMachine { process, moment, millis } => {
                self.await_moment_of(&mut machines, moment);
                let before = machines.ends();
                machines.all[process].process.signal("-STOP");
                self.feed_machines_for(&mut machines, Duration::from_millis(millis));
                machines.all[process].process.signal("-CONT");
                self.await_ends(&mut machines, &before, None, moment);
            }
            _ => {}
        }
        self.course.fired = self.course.faults.is_empty() && self.await_commit_of(&mut machines);
        match (cluster.strike, cluster.end) {
            _ if !self.course.fired => {}
            (Strike::CutInEnd { process, millis }, _) => {
                let cut = Cut { process, after: Duration::from_millis(millis) };
                self.terminate_all(&mut machines, cluster.processes - 1, Some(cut));
            }
            (_, End::Terminate(Target::Process(process))) => {
                self.terminate_all(&mut machines, process, None);
            }
            _ => {}
        }
        drop(machines);
        self.await_nobody();
        started
    }

    /// Starts all machines, and the network between them.
    fn machines(&self, processes: usize) -> Machines {
        // Each test has addresses of its own, so no other program takes their ports.
        static PORT: AtomicU16 = AtomicU16::new(2101);
        let port = PORT.fetch_add(1, Ordering::SeqCst);
        let [high, low] = (std::process::id() as u16).to_be_bytes();
        let listen = (0..processes).map(|number| format!("127.{high}.{low}.{}:{port}", number + 1));
        let listen: Vec<String> = listen.collect();
        let proxies = listen[..processes - 1].iter().map(|address| Proxy::to(address));
        let proxies: Vec<Proxy> = proxies.collect();
        let last = [listen[processes - 1].clone()];
        let hosts = proxies.iter().map(|proxy| proxy.address().to_string()).chain(last);
        let hosts = hosts.collect::<Vec<_>>().join(",");
        fs::write(self.place.path(SECRET), "a secret of all these machines").unwrap();
        let mut machines = Machines { all: Vec::new(), proxies, hosts, listen, starts: 0 };
        for number in 0..processes {
            let process = self.machine(&mut machines, number);
            machines.all.push(Machine { process, ended: None, ends: Vec::new() });
        }
        machines
    }

    /// Starts the process of one machine.
    fn machine(&self, machines: &mut Machines, number: usize) -> Process {
        let mut command = self.place.follow(&self.life, &self.address, self.life.workers, false);
        command.args(["--processes", &machines.listen.len().to_string()]);
        command.args(["--process", &number.to_string(), "--hosts", &machines.hosts]);
        command.args(["--listen-at", &machines.listen[number], "--secret", SECRET]);
        let limits = if self.life.small { SMALL_LIMITS } else { "" };
        command.env("WATERSHED_LIMITS", format!("{TIME_LIMITS},{limits}"));
        machines.starts += 1;
        self.place.spawn(command, &format!("errors of start {}", machines.starts))
    }

    /// Adds portions until `is_done`, and starts each process that has failed again. Returns false
    /// if nothing happens for `timeout`.
    fn feed_machines(
        &mut self,
        machines: &mut Machines,
        timeout: Duration,
        mut is_done: impl FnMut(&mut Machines) -> bool,
    ) -> bool {
        let begun = Instant::now();
        while !is_done(machines) {
            if begun.elapsed() > timeout {
                return false;
            }
            self.tick();
            for number in 0..machines.all.len() {
                self.watch(machines, number);
            }
        }
        true
    }

    /// Notes the end of a process, and starts it again a moment later.
    fn watch(&mut self, machines: &mut Machines, number: usize) {
        let machine = &mut machines.all[number];
        match (machine.process.exit(), machine.ended) {
            (Some(exit), None) => {
                machine.ended = Some(Instant::now());
                machine.ends.push(exit);
                if !is_lost(exit) && exit != Exit::Signal(KILL) {
                    let printed = machine.process.printed();
                    let fault = format!("machine {number} ended with {exit:?}: {printed}");
                    self.course.faults.push(fault);
                }
            }
            (Some(_), Some(ended)) if ended.elapsed() >= RESTART_PAUSE => {
                let process = self.machine(machines, number);
                let machine = &mut machines.all[number];
                (machine.process, machine.ended) = (process, None);
            }
            _ => {}
        }
    }

    fn feed_machines_for(&mut self, machines: &mut Machines, length: Duration) {
        let begun = Instant::now();
        self.feed_machines(machines, EVENT_TIMEOUT, |_| begun.elapsed() >= length);
    }

    fn await_moment_of(&mut self, machines: &mut Machines, moment: Moment) {
        match moment {
            Moment::Start(after) => self.feed_machines_for(machines, after),
            Moment::Commit(after) => {
                self.await_commit_of(machines);
                self.feed_machines_for(machines, after);
            }
        }
    }

    fn await_commit_of(&mut self, machines: &mut Machines) -> bool {
        let (lake, from) = (self.place.path("lake"), self.manifests(self.before_commits()));
        let done = |_: &mut Machines| last_manifest(&lake, from) > from;
        let done = self.feed_machines(machines, EVENT_TIMEOUT, done);
        if !done {
            let printed = machines.all.iter().map(|machine| machine.process.printed());
            let printed = printed.collect::<Vec<_>>().join("\n");
            self.course.faults.push(format!("no commit of several machines in time: {printed}"));
        }
        done
    }

    /// Makes the network in front of a machine bad for a while.
    fn spoil(&mut self, machines: &mut Machines, process: usize, weather: Weather, moment: Moment) {
        let before = machines.ends();
        machines.proxies[process].set(weather);
        match (weather, moment) {
            (Weather::Slow, _) => {
                self.feed_machines_for(machines, BAD_TIME);
                self.await_commit_of(machines);
                if machines.has_any_ended_since(&before) {
                    self.course.faults.push("a slow link ended a process".into());
                }
            }
            (_, Moment::Start(_)) => self.feed_machines_for(machines, BAD_TIME),
            (_, Moment::Commit(_)) => self.await_ends(machines, &before, None, moment),
        }
        machines.proxies[process].set(Weather::Clear);
    }

    /// Waits until a process of each machine has ended because it has lost another one; `killed`
    /// is the number of the one that was killed. Processes that are not connected yet go on.
    fn await_ends(
        &mut self,
        machines: &mut Machines,
        before: &[usize],
        killed: Option<usize>,
        moment: Moment,
    ) {
        if matches!(moment, Moment::Start(_)) {
            return;
        }
        let begun = Instant::now();
        let all = |machines: &mut Machines| machines.have_all_ended_since(before);
        if !self.feed_machines(machines, NOTICE_TIMEOUT, all) {
            let ends = machines.all.iter().map(|machine| &machine.ends).collect::<Vec<_>>();
            self.course.faults.push(format!("not all machines have ended: {ends:?}"));
            return;
        }
        self.course.notice = Some(begun.elapsed());
        for (number, machine) in machines.all.iter().enumerate() {
            let exit = machine.ends[before[number]];
            let is_killed = killed == Some(number) && exit == Exit::Signal(KILL);
            if !is_killed && !is_lost(exit) {
                self.course.faults.push(format!("machine {number} ended with {exit:?}"));
            }
        }
    }

    /// Ends all machines by SIGTERM at one of them. If the network is cut meanwhile, some have lost
    /// the others.
    fn terminate_all(&mut self, machines: &mut Machines, process: usize, mut cut: Option<Cut>) {
        machines.all[process].process.signal("-TERM");
        let (begun, is_cut) = (Instant::now(), cut.is_some());
        while machines.all.iter_mut().any(|machine| machine.process.exit().is_none())
            && begun.elapsed() < EVENT_TIMEOUT
        {
            self.tick();
            if let Some(cut) = cut.take_if(|cut| begun.elapsed() >= cut.after) {
                machines.proxies[cut.process].set(Weather::Closed);
            }
        }
        for (number, machine) in machines.all.iter_mut().enumerate() {
            let exit = machine.process.exit();
            if exit != Some(Exit::Code(0)) && !(is_cut && exit.is_some_and(is_lost)) {
                let printed = machine.process.printed();
                let fault = format!("machine {number} ended with {exit:?} at SIGTERM: {printed}");
                self.course.faults.push(fault);
            }
        }
    }
}
