//! A run as its schedule decides: in the test driver, or with a state and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use object_store::memory::InMemory;

use super::schedule::{End, Life, Places, Push, Schedule};
use super::{Feed, FeedPartition, Outcome};
use crate::connect::memory::{MemoryLog, MemoryTable};
use crate::connect::{Partition, Poll, Source};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Config, Milestone, Stop, Streams, Summary};
use crate::store::Store;
use crate::sync::{Receiver, channel};
use crate::testing::network::Serialised;
use crate::testing::{TopologyTestDriver, processes};
use crate::topology::Topology;

/// The time between two commits of a life that is killed before its first.
const NEVER_INTERVAL: Duration = Duration::from_secs(1 << 20);
const KILLED: &str = "killed";

/// Runs the topology over the records of a feed, and returns what it has made of them.
///
/// # Errors
/// When a run fails, unless it was killed.
pub(super) fn run(topology: &Topology, feed: &Feed, schedule: &Schedule) -> Result<Outcome> {
    let plan = topology.plan();
    let partitions = feed.partitions(&plan.sources);
    if let [life] = &schedule.lives[..] {
        return in_driver(topology, &partitions, life);
    }
    let tables = plan.sinks.iter().map(|sink| (sink.topic.clone(), MemoryTable::default()));
    let world = World {
        topology,
        partitions: &partitions,
        topics: &plan.sources,
        tables: tables.collect(),
        objects: Arc::default(),
    };
    let mut done = vec![0; partitions.len()];
    let mut late = None;
    for life in &schedule.lives {
        let summary = world.live(life, &mut done)?;
        // A life waits until the records that it appends are committed.
        late = summary.filter(|_| !life.epochs.is_empty()).as_ref().map(late_records);
    }
    let rows = world.tables.into_iter().map(|(topic, table)| (topic, table.rows())).collect();
    Ok(Outcome { rows, late })
}

/// Returns the number of late records of each step that has any.
fn late_records(summary: &Summary) -> BTreeMap<String, u64> {
    let steps = summary.steps.iter();
    let late = steps.map(|step| (format!("{} {}", step.number, step.verb), step.total().late));
    late.filter(|(_, late)| *late > 0).collect()
}

/// Returns the places of the processes of a life; none for one without encoding.
fn clusters(places: Places) -> Result<Vec<Cluster>> {
    match places {
        Places::One => Ok(Vec::new()),
        Places::Serialised => Ok(vec![Cluster::on(Serialised)]),
        Places::Processes(count) => processes(count),
    }
}

fn in_driver(
    topology: &Topology,
    partitions: &[FeedPartition<'_>],
    life: &Life,
) -> Result<Outcome> {
    let (topology, workers) = (topology.clone(), life.workers);
    let mut driver = match life.places {
        Places::One => TopologyTestDriver::with_workers(topology, workers)?,
        Places::Serialised => TopologyTestDriver::serialised(topology, workers)?,
        Places::Processes(count) => TopologyTestDriver::with_processes(topology, count, workers)?,
    };
    for FeedPartition { topic, partition, .. } in partitions {
        driver.add_partitions(topic, [*partition]);
    }
    let mut done = vec![0; partitions.len()];
    for epoch in &life.epochs {
        for Push { partition: number, records, .. } in epoch {
            let FeedPartition { topic, partition, records: all } = &partitions[*number];
            for record in all.iter().skip(done[*number]).take(*records) {
                driver.set_time(record.timestamp);
                driver.pipe(topic, *partition, record.key.as_deref(), record.value.as_deref());
            }
            done[*number] += records;
        }
        driver.commit()?;
    }
    let rows = driver.topics().map(|topic| (topic.to_string(), driver.rows(topic)));
    let rows = rows.collect();
    let late = Some(late_records(&driver.finish()?));
    Ok(Outcome { rows, late })
}

/// Everything that outlives a run.
struct World<'a> {
    topology: &'a Topology,
    partitions: &'a [FeedPartition<'a>],
    topics: &'a [String],
    tables: BTreeMap<String, MemoryTable>,
    objects: Arc<InMemory>,
}

impl World<'_> {
    /// Runs one life, and returns the summary of one that was not killed. `done` is the number of
    /// committed records of each partition.
    fn live(&self, life: &Life, done: &mut Vec<usize>) -> Result<Option<Summary>> {
        let dead = Arc::new(AtomicBool::new(false));
        let logs: BTreeMap<&String, MemoryLog> =
            self.topics.iter().map(|topic| (topic, MemoryLog::default())).collect();
        // A topic of the driver has this partition too.
        logs.values().for_each(|log| log.append_all(0, std::iter::empty()));
        for (FeedPartition { topic, partition, records }, done) in
            self.partitions.iter().zip(&*done)
        {
            let records = records.iter().take(*done);
            logs[topic].append_all(*partition, records.map(|it| it.stored()));
        }
        let streams = || {
            let mut streams = Streams::new(self.topology.clone());
            for (topic, log) in &logs {
                streams = streams.source(topic, Mortal { log: log.clone(), dead: dead.clone() });
            }
            for (topic, table) in &self.tables {
                streams = streams.sink(topic, table.clone());
            }
            streams
        };
        let (sender, milestones) = channel();
        let stop = Stop::default();
        let is_lost = life.end == End::KilledBeforeCommit;
        let config = |cluster| {
            Ok::<_, Error>(Config {
                workers: life.workers,
                cluster,
                state: Some(Store::objects(self.objects.clone(), "state")?),
                commit_every: if is_lost { NEVER_INTERVAL } else { Duration::ZERO },
                snapshot_each_commit: life.has_snapshots,
                follow: true,
                ..Config::default()
            })
        };
        let mut clusters = clusters(life.places)?.into_iter();
        let first = Config {
            stop: stop.clone(),
            milestone: Some(Box::new(move |milestone| {
                // The receiver may be gone.
                let _ = sender.send(milestone);
            })),
            ..config(clusters.next())?
        };
        let mut others = Vec::new();
        for cluster in clusters {
            let (streams, config) = (streams(), config(Some(cluster))?);
            others.push(thread::spawn(move || streams.run(config)));
        }
        let streams = streams();
        let run = thread::spawn(move || streams.run(first));
        let reached = |records: u64| match is_lost {
            true => wait(&milestones, |it| matches!(it, Milestone::Answered(n) if n >= records)),
            false => wait(&milestones, |it| matches!(it, Milestone::Committed(n) if n >= records)),
        };
        let mut at = done.clone();
        let mut is_alive = true;
        for Push { partition: number, records, .. } in life.epochs.iter().flatten() {
            let FeedPartition { topic, partition, records: all } = &self.partitions[*number];
            let next = all.iter().skip(at[*number]).take(*records);
            logs[topic].append_all(*partition, next.map(|it| it.stored()));
            at[*number] += records;
            is_alive = reached(at.iter().sum::<usize>() as u64);
            if !is_alive {
                break;
            }
        }
        match life.end {
            End::Finished => stop.stop(),
            End::KilledAfterCommit | End::KilledBeforeCommit => {
                dead.store(true, Ordering::Relaxed);
                logs.values().for_each(MemoryLog::wake);
            }
        }
        let ended = |run: JoinHandle<Result<Summary>>| {
            run.join().unwrap_or_else(|_| Err(Error::internal("the run panicked")))
        };
        let ended: Vec<Result<Summary>> = std::iter::once(run).chain(others).map(ended).collect();
        let is_death = |ended: &Result<Summary>| {
            ended.as_ref().is_err_and(|error| error.to_string().contains(KILLED))
        };
        // The others fail too, because their process is gone.
        let is_killed = is_alive && life.end != End::Finished && ended.iter().any(is_death);
        if !is_lost {
            *done = at;
        }
        match ended.into_iter().collect::<Result<Vec<_>>>() {
            Err(_) if is_killed => Ok(None),
            ended => ended.map(|all| all.into_iter().next()),
        }
    }
}

/// Waits for a milestone. Returns false if the run ends before.
fn wait(milestones: &Receiver<Milestone>, mut is_reached: impl FnMut(Milestone) -> bool) -> bool {
    while let Ok(milestone) = milestones.recv() {
        if is_reached(milestone) {
            return true;
        }
    }
    false
}

/// A log that fails once its run is to die.
struct Mortal {
    log: MemoryLog,
    dead: Arc<AtomicBool>,
}

impl Source for Mortal {
    fn describe(&self) -> String {
        self.log.describe()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        self.log.partitions()
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let reader = self.log.open(partition, from, follow)?;
        Ok(Box::new(MortalReader { reader, dead: self.dead.clone() }))
    }

    fn span(&self, partition: u32) -> Result<Option<std::ops::Range<u64>>> {
        self.log.span(partition)
    }
}

struct MortalReader {
    reader: Box<dyn Partition>,
    dead: Arc<AtomicBool>,
}

impl Partition for MortalReader {
    fn poll(&mut self) -> Result<Poll> {
        if self.dead.load(Ordering::Relaxed) {
            return Err(Error::connect(KILLED));
        }
        self.reader.poll()
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        self.reader.wait(timeout)
    }

    fn remaining(&self) -> u64 {
        self.reader.remaining()
    }
}
