//! The machine, and the resources that this process has used.

use std::fs;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::support::archive::Counts;

/// The result of a case.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Elapsed time, in seconds.
    pub(crate) wall: f64,
    /// Processor time of all threads, in seconds.
    pub(crate) cpu: f64,
    /// Peak resident memory, in bytes.
    pub(crate) peak: f64,
    /// Records and bytes that were read.
    pub(crate) counts: Counts,
    /// Rows of all answers, if the case has answers.
    pub(crate) answers: u64,
}

/// The start of a measurement.
pub(crate) struct Clock {
    started: Instant,
    cpu: f64,
}

impl Clock {
    pub(crate) fn start() -> Result<Self> {
        Ok(Clock { cpu: cpu()?, started: Instant::now() })
    }

    pub(crate) fn measured(&self, counts: Counts) -> Result<Measured> {
        let wall = self.started.elapsed().as_secs_f64();
        Ok(Measured { wall, cpu: cpu()? - self.cpu, peak: status("VmHWM")?, counts, answers: 0 })
    }
}

/// Processor time of all threads of this process, ended ones included, in seconds.
pub(crate) fn cpu() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is a name in parentheses, which may contain spaces. Fields 14 and 15 are
    // ticks, always 100 a second.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| {
        fields
            .get(at - 3)
            .and_then(|field| field.parse::<f64>().ok())
            .ok_or("/proc/self/stat is short")
    };
    Ok((ticks(14)? + ticks(15)?) / 100.0)
}

/// A size of this process that the kernel reports, in bytes: `VmRSS` or `VmHWM`.
pub(crate) fn status(field: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kilobytes.ok_or_else(|| format!("/proc/self/status has no {field}"))? * 1024.0)
}

/// Cores, processor, memory, and the load before the run.
pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| Some(line.split_once(':')?.1.trim().to_string()))
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor =
        value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown processor".into());
    let total = value(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let total = total.split(' ').next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) >> 20;
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!("{cores} cores ({processor}), {total} GiB, load {load} before")
}
