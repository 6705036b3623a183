//! The latency of corrections, one at a time, on an idle system.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use watershed::connect::Source;
use watershed::runtime::Config;

use crate::Result;
use crate::support::archive::KINDS;
use crate::support::corrections::corrections;
use crate::support::live::{self, Live};

/// Corrections before the measured ones.
const WARM_UP: usize = 15;

/// Seconds, one for each correction.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Latencies {
    /// From the append to the answers.
    pub(crate) answered: Vec<f64>,
    /// From the append to the read.
    pub(crate) read: Vec<f64>,
    /// From the read to the answers.
    pub(crate) processed: Vec<f64>,
    /// From the append to the commit.
    pub(crate) committed: Vec<f64>,
}

/// A log of corrections. Clones are handles of the same log.
pub(crate) trait Log: Source + Clone + 'static {
    fn append(&self, line: &[u8]) -> Result;
    /// The time of the last read.
    fn read_at(&self) -> Option<Instant>;
}

/// Appends corrections to `logs`, the later sources of the three topics, each after the previous
/// one is committed and a pause.
pub(crate) fn measure(
    archive: &Path,
    work: &Path,
    events: u64,
    number: usize,
    mut config: Config,
    logs: &[impl Log; 3],
) -> Result<Latencies> {
    let found = corrections(archive, events, number + WARM_UP + 6)?;
    // Put one record in each log first, because new partitions are discovered only once a second.
    for (log, lines) in logs.iter().zip(&found.lines) {
        log.append(&lines[0])?;
    }
    config.commit_every = Duration::ZERO;
    let streams = live::streams(archive, work)?;
    let bound = KINDS.iter().zip(logs);
    let streams = bound.fold(streams, |streams, (kind, log)| streams.source(kind, log.clone()));
    let mut live = Live::start(streams, config)?;
    let mut records = found.records + 3;
    live.replayed(records)?;
    live.rest(Duration::from_secs(2))?;
    let mut all = Latencies::default();
    for at in 0..number + WARM_UP {
        live.rest(pause(at))?;
        let (log, line) = (&logs[at % 3], &found.lines[at % 3][1 + at / 3]);
        records += 1;
        let appended = Instant::now();
        log.append(line)?;
        let answered = live.until(|live| live.answered >= records)?;
        let committed = if live.committed >= records {
            answered
        } else {
            live.until(|live| live.committed >= records)?
        };
        let read = log.read_at().ok_or("a correction was answered before it was read")?;
        if at >= WARM_UP {
            all.answered.push((answered - appended).as_secs_f64());
            all.read.push(read.saturating_duration_since(appended).as_secs_f64());
            all.processed.push((answered.saturating_duration_since(read)).as_secs_f64());
            all.committed.push((committed - appended).as_secs_f64());
        }
    }
    live.end()?;
    Ok(all)
}

/// The pause before a correction. Its length varies and divides no timer's interval, so that
/// corrections meet all phases of the timers.
pub(crate) fn pause(at: usize) -> Duration {
    Duration::from_micros(30_000 + (at as u64 * 7919) % 50_000)
}
