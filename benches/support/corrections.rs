//! Corrections: records of the archive with one changed value, from a second source of the same
//! topics.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64;
use watershed::connect::memory::MemoryLog;
use watershed::connect::{Partition, Poll, Source};
use watershed::runtime::Streams;

use crate::Result;
use crate::support::archive::{self, KINDS, cleaned, objects};
use crate::support::latency::Log;

/// The changed value of each kind: the text before it, and the characters that end it.
const CHANGES: [(&str, [char; 2]); 3] =
    [("\"follower_count\":\"", ['"'; 2]), ("\"country\":\"", ['"'; 2]), ("\"age\":", [',', '}'])];
const COUNTRIES: [&str; 8] =
    ["Albania", "Bulgaria", "Chile", "Denmark", "Estonia", "France", "Ghana", "Hungary"];

/// Corrections by kind, and the number of records in the archive.
pub(crate) struct Corrections {
    pub(crate) lines: [Vec<Vec<u8>>; 3],
    pub(crate) records: u64,
}

/// Corrects at least `wanted` records of an archive of `events` events: evenly spread, a third of
/// each kind, in random order.
pub(crate) fn corrections(archive: &Path, events: u64, wanted: usize) -> Result<Corrections> {
    // Some lines are dirty, so take ten per cent more samples.
    let each = wanted.div_ceil(3);
    let step = (events * 10 / (each as u64 * 11).max(1)).max(1);
    let samples: [Vec<Vec<u8>>; 3] = Default::default();
    let (counts, mut samples) =
        archive::read(&objects(archive)?, vec![samples], |samples, object, offset, line| {
            if offset % step == 0 {
                samples[object.kind].push(line.to_vec());
            }
            Ok(())
        })?;
    let mut random = Pcg64::seed_from_u64(7);
    let mut lines: [Vec<Vec<u8>>; 3] = Default::default();
    for (kind, (samples, lines)) in samples.iter_mut().flatten().zip(&mut lines).enumerate() {
        for at in (1..samples.len()).rev() {
            samples.swap(at, random.next_u64() as usize % (at + 1));
        }
        while lines.len() < each {
            let before = lines.len();
            let room = each - before;
            lines.extend(
                samples.iter().filter_map(|line| corrected(kind, line, &mut random)).take(room),
            );
            if lines.len() == before {
                return Err(format!("no record of {} could be corrected", KINDS[kind]).into());
            }
        }
    }
    Ok(Corrections { lines, records: counts.records })
}

/// Returns the record with another follower count, country or age. Returns `None` if it has none or
/// is a dead letter.
fn corrected(kind: usize, line: &[u8], random: &mut Pcg64) -> Option<Vec<u8>> {
    let line = std::str::from_utf8(line).ok()?;
    let (name, ends) = CHANGES[kind];
    let from = line.find(name)? + name.len();
    let to = from + line[from..].find(ends)?;
    let drawn = random.next_u64();
    let value = match kind {
        0 => (drawn % 1_000_000).to_string(),
        1 => COUNTRIES[drawn as usize % COUNTRIES.len()].to_string(),
        _ => (18 + drawn % 50).to_string(),
    };
    let line = [&line[..from], &value, &line[to..]].concat().into_bytes();
    cleaned(kind, &line).is_some().then_some(line)
}

/// A log in memory behind a gate. It records the time of the last read.
#[derive(Clone)]
pub(crate) struct Gated {
    pub(crate) log: MemoryLog,
    open: Arc<AtomicBool>,
    read: Arc<Mutex<Option<Instant>>>,
}

impl Gated {
    /// Creates a log for each topic, behind one gate.
    pub(crate) fn three() -> [Gated; 3] {
        let open = Arc::new(AtomicBool::new(false));
        KINDS.map(|_| Gated { log: MemoryLog::default(), open: open.clone(), read: Arc::default() })
    }

    /// Binds the logs as the later sources of their topics.
    pub(crate) fn bind(logs: &[Gated; 3], streams: Streams) -> Streams {
        KINDS
            .iter()
            .zip(logs)
            .fold(streams, |streams, (kind, log)| streams.source(kind, log.clone()))
    }

    pub(crate) fn append(&self, line: &[u8]) {
        self.log.append(0, None, Some(line));
    }

    /// Creates a log for each topic, behind an open gate.
    pub(crate) fn three_open() -> [Gated; 3] {
        let logs = Self::three();
        logs[0].open_gate();
        logs
    }

    /// Opens the gate of all three logs.
    pub(crate) fn open_gate(&self) {
        self.open.store(true, Ordering::Release);
    }
}

impl Log for Gated {
    fn append(&self, line: &[u8]) -> Result {
        Gated::append(self, line);
        Ok(())
    }

    fn read_at(&self) -> Option<Instant> {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Gated {
    fn describe(&self) -> String {
        self.log.describe()
    }

    fn partitions(&self) -> watershed::Result<Vec<u32>> {
        self.log.partitions()
    }

    fn open(
        &self,
        partition: u32,
        from: Option<u64>,
        follow: bool,
    ) -> watershed::Result<Box<dyn Partition>> {
        Ok(Box::new(Behind {
            gate: self.clone(),
            partition: self.log.open(partition, from, follow)?,
        }))
    }
}

struct Behind {
    gate: Gated,
    partition: Box<dyn Partition>,
}

impl Partition for Behind {
    fn poll(&mut self) -> watershed::Result<Poll> {
        if !self.gate.open.load(Ordering::Acquire) {
            return Ok(Poll::Idle);
        }
        let poll = self.partition.poll()?;
        if matches!(poll, Poll::Batch(_)) {
            *self.gate.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(poll)
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        self.gate.open.load(Ordering::Acquire) && self.partition.wait(timeout)
    }
}
