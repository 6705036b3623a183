//! Where does the processor time of a replay go?

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use watershed::runtime::{Config, Profile};

use crate::Result;
use crate::bench::discard::Discard;
use crate::support::archive::Counts;
use crate::support::live;
use crate::support::machine::{Clock, Measured};
use crate::support::report::{Report, seconds};
use crate::support::threads::{self, WORKER};

/// The processor time of a replay, in seconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stages {
    all: Measured,
    /// By the name of the thread.
    threads: BTreeMap<String, f64>,
    /// The elapsed time of the workers by operator.
    operators: BTreeMap<String, f64>,
}

/// Runs the program to the end of the archive, into its tables or without any.
pub(crate) fn measure(
    archive: &Path,
    work: &Path,
    workers: usize,
    has_tables: bool,
) -> Result<Stages> {
    let (profile, clock) = (Profile::default(), Clock::start()?);
    let config = Config { profile: Some(profile.clone()), ..live::config(work, workers)? };
    let streams = match has_tables {
        true => live::streams(archive, work)?,
        false => live::streams_into(archive, |_| Ok(Discard))?,
    };
    let (summary, threads) = threads::measured(|| streams.run(config))?;
    let records = summary?.topics.values().map(|topic| topic.read).sum();
    let all = clock.measured(Counts { records, bytes: 0 })?;
    let operators = profile.operators().into_iter();
    let operators = operators.map(|(name, time)| (name, time.as_secs_f64())).collect();
    Ok(Stages { all, threads, operators })
}

/// A stage, and the first words of the names in it.
type Stage = (&'static str, &'static [&'static str]);

/// The stages of the workers, by operators. An outlet has the name of its table.
const OPERATORS: [Stage; 6] = [
    ("decode", &["decode"]),
    ("latest", &["table"]),
    ("join", &["join"]),
    ("group", &["group", "count", "count_distinct", "top", "median"]),
    ("snapshot", &["keep"]),
    ("progress", &["pinterest", "probe"]),
];
/// The stages of other threads.
const THREADS: [Stage; 4] = [
    ("read", &["read"]),
    ("commit", &["commit", "maintain"]),
    ("save the state", &["save", "release"]),
    ("workers", &[WORKER]),
];

/// Returns the time of each stage, and of the names of no stage.
fn by_stage<const N: usize>(
    times: &BTreeMap<String, f64>,
    stages: &[Stage; N],
) -> ([f64; N], BTreeMap<String, f64>) {
    let (mut all, mut rest) = ([0.0; N], BTreeMap::new());
    for (name, time) in times {
        let word = name.split(' ').next().unwrap_or_default();
        match stages.iter().position(|(_, words)| words.contains(&word)) {
            Some(stage) => all[stage] += time,
            None => _ = rest.insert(name.clone(), *time),
        }
    }
    (all, rest)
}

impl Stages {
    /// Returns how much of the elapsed time of the operators is processor time. It is more on a
    /// busy machine.
    fn scale(&self) -> f64 {
        let ([.., workers], _) = by_stage(&self.threads, &THREADS);
        (workers / self.operators.values().sum::<f64>()).min(1.0)
    }

    /// Returns the time of the outlets.
    fn outlets(&self) -> f64 {
        let is_outlet = |name: &str| live::tables().any(|table| table == name);
        let outlets = self.operators.iter().filter(|(name, _)| is_outlet(name));
        outlets.map(|(_, time)| time).sum::<f64>() * self.scale()
    }
}

/// Prints the stages. An outlet that discards its rows does the work of an outlet; the rest of its
/// time is the encoding.
pub(crate) fn report(stages: &Stages, discarding: &Stages, report: &mut Report) {
    let (cpu, millions) = (stages.all.cpu, stages.all.counts.records as f64 / 1e6);
    let row = |name: &str, time: f64| {
        [name.into(), seconds(time / millions), format!("{:.0} %", time / cpu * 1e2)]
    };
    let (operators, rest) = by_stage(&stages.operators, &OPERATORS);
    let ([read, commit, save, workers], other_threads) = by_stage(&stages.threads, &THREADS);
    let scale = stages.scale();
    let busy = stages.operators.values().sum::<f64>() * scale;
    let (both, outlet) = (stages.outlets(), discarding.outlets());
    let others = rest.values().sum::<f64>() * scale - both;
    let mut rows = vec![row("read", read)];
    rows.extend(OPERATORS.iter().zip(operators).map(|((name, _), time)| row(name, time * scale)));
    rows.push(row("outlet", outlet.min(both)));
    rows.push(row("encode", (both - outlet).max(0.0)));
    rows.push(row("other operators", others));
    rows.push(row("workers outside of operators", workers - busy));
    rows.push(row("commit", commit));
    rows.push(row("save the state", save));
    rows.push(row("other threads", other_threads.values().sum()));
    let seen: f64 = stages.threads.values().sum();
    rows.push(row("threads that lived for less than 10 ms", cpu - seen));
    rows.push(row("all", cpu));
    report.line("\nstages of the replay by 2 workers, with a profile:\n");
    report.table(["stage", "CPU a million records", "share"], rows);
}
