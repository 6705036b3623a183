//! What the machine is, and what this process has used of it.

use std::fs;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::bench::archive::Counts;

/// What a case took.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Seconds that passed.
    pub(crate) wall: f64,
    /// Seconds of processor time, of all threads.
    pub(crate) cpu: f64,
    /// The most bytes that were ever resident.
    pub(crate) peak: f64,
    /// What was read.
    pub(crate) counts: Counts,
    /// Rows of all answers, where there are answers.
    pub(crate) answers: u64,
}

/// The begin of something that is measured.
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

/// Seconds of processor time that all threads of this process have used, those that have ended too.
pub(crate) fn cpu() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is a name in parentheses, which may hold blanks; 14 and 15 are ticks, of
    // which a second always has 100.
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

/// A size in bytes that the kernel tells of this process: `VmRSS` or `VmHWM`.
pub(crate) fn status(field: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kilobytes.ok_or_else(|| format!("/proc/self/status has no {field}"))? * 1024.0)
}

/// Cores, processor, memory, and how busy it is already.
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
