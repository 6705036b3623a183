//! How soon is the loss of a process noticed?

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::Result;
use crate::cluster::args::Shapes;
use crate::cluster::case::{self, Process, Work};
use crate::support::archive;
use crate::support::live::{self, Live};
use crate::support::report::Report;

/// Follows the archive until another process is lost.
pub(crate) fn run(process: &Process, archive: &Path, records: u64) -> Result<()> {
    let streams = live::streams(archive, &process.place)?;
    let mut live = Live::start(streams, process.config()?)?;
    if process.process == 0 {
        live.replayed(records)?;
        println!("ready");
    }
    live.rest(Duration::from_secs(60))
}

/// Sends a signal to process 1 of two. Returns the seconds until process 0 has ended.
fn lose(dir: &Path, work: &Work, signal: &str) -> Result<f64> {
    let place = case::place(dir)?;
    let all = Process::all(work, place.path(), 2, 1);
    let mut children: Vec<Child> = all.iter().map(Process::start).collect::<Result<_>>()?;
    let waited = wait_for(&mut children, signal);
    for child in &mut children {
        // It may have ended.
        let _ = child.kill();
        child.wait()?;
    }
    waited
}

fn wait_for(children: &mut [Child], signal: &str) -> Result<f64> {
    let out = children[0].stdout.take().ok_or("process 0 has no output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    if line.trim() != "ready" {
        return Err(format!("process 0 is not ready: {line}").into());
    }
    let lost = children[1].id().to_string();
    let started = Instant::now();
    Command::new("kill").args([signal, &lost]).status()?;
    let status = children[0].wait()?;
    let seconds = started.elapsed().as_secs_f64();
    if status.success() {
        return Err("process 0 has not noticed the loss".into());
    }
    Ok(seconds)
}

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    // It only has to be there.
    let archive = archive::archive(dir, 20_000, 1000)?;
    let records = archive::count(&archive)?.records;
    let work = Work::Follow { archive, records };
    let (mut killed, mut stopped) = (Vec::new(), Vec::new());
    for round in 1..=shapes.repeat {
        eprintln!("loss: round {round} of {}", shapes.repeat);
        killed.push(lose(dir, &work, "-KILL")?);
        stopped.push(lose(dir, &work, "-STOP")?);
    }
    report.question("loss: how soon does process 0 end without process 1?");
    report.median_at_most("after SIGKILL", &killed, 1.0, "s");
    report.median_at_most("after SIGSTOP", &stopped, 10.0, "s");
    Ok(())
}
