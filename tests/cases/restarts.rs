//! Cases with restarts: a run with logs, tables and a state, which ends and is continued.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use object_store::memory::InMemory;
use watershed::connect::Partition;
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::prelude::*;
use watershed::runtime::{Milestone, Summary};

use super::case::{Case, Input, LATE};
use super::check::Outputs;
use super::run::got;
use super::value::Dyn;

/// Returns the outputs of a case, one commit for each record. Before an input for which
/// `is_restarted` returns true, the run ends and is continued.
pub(super) fn outputs(
    case: &Case,
    topology: &Topology,
    mode: ProcessingMode,
    is_restarted: impl Fn(usize, &Input) -> bool,
) -> Result<Outputs, String> {
    let mut topics: Vec<&str> =
        case.inputs.iter().filter_map(|input| input.topic.as_deref()).collect();
    topics.extend(
        case.topology
            .nodes
            .iter()
            .filter(|it| it["in"].is_null())
            .filter_map(|node| node["topic"].as_str()),
    );
    let written = case.topology.nodes.iter().filter(|it| it["op"] == "to");
    let written = written.filter_map(|it| it["topic"].as_str()).map(String::from);
    let late = case.has_late_records().then(|| LATE.to_string());
    let sinks = case.topics().into_iter().chain(written).chain(late);
    let world = World {
        topology: topology.clone(),
        mode,
        logs: topics.into_iter().map(|it| (it.to_string(), MemoryLog::default())).collect(),
        tables: sinks.map(|it| (it, MemoryTable::default())).collect(),
        objects: Arc::default(),
    };
    let (mut run, mut records, mut outputs) = (world.start()?, 0, Vec::new());
    let mut seen = BTreeMap::new();
    for (n, input) in case.inputs.iter().enumerate() {
        if is_restarted(n, input) {
            run.end()?;
            run = world.start()?;
        }
        if let Some(topic) = &input.topic {
            let (key, value) = (input.key().bytes(), Dyn::of(&input.value).bytes());
            let at = Timestamp::from_millis(input.ts.unwrap_or_default());
            world.logs[topic].append_at(0, at, key.as_deref(), value.as_deref());
            records += 1;
            if !run.is_committed(records) {
                run.end()?;
                return Err("the run has ended".to_string());
            }
        }
        let new = world.tables.iter().map(|(topic, table)| {
            let commits = table.commits();
            let from = seen.insert(topic.clone(), commits.len()).unwrap_or(0);
            let rows = commits.into_iter().skip(from).flat_map(|(_, changes)| changes);
            (topic.clone(), rows.filter_map(|(_, row)| row).map(got).collect())
        });
        outputs.push(new.collect());
    }
    run.end()?;
    Ok(outputs)
}

/// Everything that outlives a run.
struct World {
    topology: Topology,
    mode: ProcessingMode,
    logs: BTreeMap<String, MemoryLog>,
    tables: BTreeMap<String, MemoryTable>,
    objects: Arc<InMemory>,
}

impl World {
    fn start(&self) -> Result<Run, String> {
        let mut streams = Streams::new(self.topology.clone());
        for (topic, log) in &self.logs {
            streams = streams.source(topic, OnePartition(log.clone()));
        }
        for (topic, table) in &self.tables {
            streams = streams.sink(topic, table.clone());
        }
        let (sender, milestones) = channel();
        let stop = Stop::default();
        let state = Store::objects(self.objects.clone(), "state");
        let config = Config {
            workers: 1,
            mode: self.mode,
            state: Some(state.map_err(|error| error.to_string())?),
            commit_every: Duration::ZERO,
            follow: true,
            stop: stop.clone(),
            milestone: Some(Box::new(move |milestone| {
                // The receiver may be gone.
                let _ = sender.send(milestone);
            })),
            ..Config::default()
        };
        Ok(Run { stop, milestones, thread: std::thread::spawn(move || streams.run(config)) })
    }
}

struct Run {
    stop: Stop,
    milestones: Receiver<Milestone>,
    thread: JoinHandle<Result<Summary>>,
}

impl Run {
    /// Waits until so many records are committed. Returns false if the run has ended before.
    fn is_committed(&self, records: u64) -> bool {
        let is_reached = |it| matches!(it, Milestone::Committed(n) if n >= records);
        self.milestones.iter().any(is_reached)
    }

    fn end(self) -> Result<(), String> {
        self.stop.stop();
        self.thread.join().unwrap().map(drop).map_err(|error| error.to_string())
    }
}

/// A log with one partition from the beginning.
struct OnePartition(MemoryLog);

impl Source for OnePartition {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        Ok(vec![0])
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        self.0.open(partition, from, follow)
    }
}
