//! The schedule of a random run: its processes, workers, epochs, batches and kills.

use std::fmt;

use super::{Feed, FeedPartition};
use crate::testing::dice::Dice;
use crate::topology::Topology;

/// A run with all its decisions.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// One life of the run after the other. A single life has no state.
    pub(super) lives: Vec<Life>,
}

/// A life of a run: from its start, or a restart, to its end.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) places: Places,
    /// The workers of each process.
    pub(super) workers: usize,
    pub(super) epochs: Vec<Vec<Push>>,
    pub(super) end: End,
    /// Each commit has a snapshot, from which the next life begins.
    pub(super) has_snapshots: bool,
}

/// The number of processes of a life, as threads of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// One process.
    One,
    /// One process, whose workers encode the rows that they exchange as those of several do.
    Serialised,
    /// So many processes.
    Processes(usize),
}

/// The most workers of one of several processes.
const WORKERS_OF_PROCESS_MAX: usize = 2;

/// Some records of a partition, in its order.
#[derive(Clone, Debug)]
pub(super) struct Push {
    /// The number of the partition in the feed.
    pub(super) partition: usize,
    pub(super) records: usize,
    /// The name of the partition.
    name: String,
}

/// The end of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All records are committed, and the run ends in good order.
    Finished,
    /// All records of the life are committed, then it is killed.
    KilledAfterCommit,
    /// It is killed before any of its records is committed.
    KilledBeforeCommit,
}

impl Schedule {
    /// Returns the schedule of one worker and one epoch.
    pub(super) fn plain(feed: &Feed, topology: &Topology) -> Self {
        let partitions = feed.partitions(&topology.plan().sources);
        let all = partitions.iter().enumerate().map(|(n, it)| push(n, it, it.records.len()));
        let (epochs, end) = (vec![all.collect()], End::Finished);
        let life = Life { places: Places::One, workers: 1, epochs, end, has_snapshots: false };
        Schedule { lives: vec![life] }
    }

    /// Draws a schedule.
    pub(super) fn draw(feed: &Feed, topology: &Topology, seed: u64) -> Self {
        let partitions = feed.partitions(&topology.plan().sources);
        let mut dice = Dice::new(seed);
        // A run without records can't be killed while it reads.
        let restarts =
            if dice.below(3) == 0 && !partitions.is_empty() { 1 + dice.below(3) } else { 0 };
        let mut done = vec![0; partitions.len()];
        let mut lives = Vec::new();
        for _ in 0..restarts {
            let end = [End::KilledAfterCommit, End::KilledBeforeCommit][dice.below(2)];
            let before = done.clone();
            let pushes = 1 + dice.below(4);
            lives.push(life(&mut dice, &partitions, &mut done, end, Limits { epoch: 1, pushes }));
            if end == End::KilledBeforeCommit {
                done = before;
            }
        }
        // An epoch of a run with a state has one batch: the clock decides about the next one.
        let epoch = if restarts > 0 { 1 } else { [1, 3, 10, usize::MAX][dice.below(4)] };
        let limits = Limits { epoch, pushes: usize::MAX };
        lives.push(life(&mut dice, &partitions, &mut done, End::Finished, limits));
        if restarts > 0 {
            lives.iter_mut().for_each(|life| life.has_snapshots = dice.below(2) == 0);
        }
        for life in &mut lives {
            life.places = match dice.below(6) {
                0 => Places::Serialised,
                1 => Places::Processes(2),
                _ => Places::One,
            };
            if let Places::Processes(_) = life.places {
                life.workers = life.workers.min(WORKERS_OF_PROCESS_MAX);
            }
        }
        Schedule { lives }
    }
}

/// The limits of the number of pushes.
struct Limits {
    /// In an epoch.
    epoch: usize,
    /// In a life.
    pushes: usize,
}

fn push(number: usize, partition: &FeedPartition<'_>, records: usize) -> Push {
    let name = format!("{}/{}", partition.topic, partition.partition);
    Push { partition: number, records, name }
}

/// Draws a life over the records that are not done.
fn life(
    dice: &mut Dice,
    partitions: &[FeedPartition<'_>],
    done: &mut [usize],
    end: End,
    limits: Limits,
) -> Life {
    let largest = [1, 4, 100][dice.below(3)];
    let workers = 1 + dice.below(4);
    let (mut epochs, mut epoch, mut pushes) = (Vec::new(), Vec::new(), 0);
    loop {
        let left = |n: &usize| done[*n] < partitions[*n].records.len();
        let open: Vec<usize> = (0..partitions.len()).filter(left).collect();
        if open.is_empty() || pushes == limits.pushes {
            break;
        }
        let number = open[dice.below(open.len())];
        let left = partitions[number].records.len() - done[number];
        let records = (1 + dice.below(largest)).min(left);
        done[number] += records;
        pushes += 1;
        epoch.push(push(number, &partitions[number], records));
        if epoch.len() >= limits.epoch || dice.below(6) == 0 && limits.epoch < usize::MAX {
            epochs.push(std::mem::take(&mut epoch));
        }
    }
    epochs.extend((!epoch.is_empty()).then_some(epoch));
    Life { places: Places::One, workers, epochs, end, has_snapshots: false }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, life) in self.lives.iter().enumerate() {
            let Life { places, workers, epochs, end, has_snapshots } = life;
            let then = if n == 0 { "a run with" } else { "then one with" };
            write!(f, "{then} {workers} worker{}", if *workers == 1 { "" } else { "s" })?;
            match places {
                Places::One => {}
                Places::Serialised => f.write_str(", encoded rows")?,
                Places::Processes(count) => write!(f, " in each of {count} processes")?,
            }
            f.write_str(if *has_snapshots { ", snapshots" } else { "" })?;
            for (n, epoch) in epochs.iter().enumerate() {
                let pushes = epoch.iter().map(|push| format!("{} of {}", push.records, push.name));
                let pushes: Vec<String> = pushes.collect();
                write!(
                    f,
                    "{} {}",
                    if n == 0 { " and the epochs" } else { " |" },
                    pushes.join(", ")
                )?;
            }
            f.write_str(match end {
                End::Finished => "",
                End::KilledAfterCommit => ", killed after a commit, ",
                End::KilledBeforeCommit => ", killed before a commit, ",
            })?;
        }
        Ok(())
    }
}
