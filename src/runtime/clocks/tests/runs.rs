//! Partition times and watermarks of whole runs: of any batching, workers, processes, and restarts.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use object_store::memory::InMemory;
use timely::dataflow::operators::Inspect;
use timely::dataflow::operators::vec::Map;

use crate::connect::memory::{MemoryLog, MemoryTable};
use crate::connect::{Partition, Poll, Source};
use crate::prelude::*;
use crate::record::Batch;
use crate::runtime::Summary;
use crate::store::Store;
use crate::stream::{Event, KStream, Updates};
use crate::sync::lock;
use crate::testing::processes;
use crate::time::{Epoch, Timestamp};
use crate::{Error, StreamsBuilder};

/// A log that returns small batches.
struct Small(MemoryLog, u64);

struct SmallReader {
    log: Box<dyn Partition>,
    rest: Option<Batch>,
    size: u64,
}

impl Source for Small {
    fn describe(&self) -> String {
        "small".into()
    }
    fn partitions(&self) -> Result<Vec<u32>, Error> {
        self.0.partitions()
    }
    fn open(&self, n: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>, Error> {
        let log = self.0.open(n, from, follow)?;
        Ok(Box::new(SmallReader { log, rest: None, size: self.1 }))
    }
}

impl Partition for SmallReader {
    fn poll(&mut self) -> Result<Poll, Error> {
        let mut batch = match self.rest.take() {
            Some(rest) => rest,
            None => match self.log.poll()? {
                Poll::Batch(batch) => batch,
                other => return Ok(other),
            },
        };
        let end = batch.first + self.size;
        if batch.next > end {
            self.rest = Some(batch.split_off(end));
        }
        Ok(Poll::Batch(batch))
    }
    fn wait(&mut self, timeout: Duration) -> bool {
        self.rest.is_some() || self.log.wait(timeout)
    }
}

/// The times of a run.
#[derive(Default)]
pub(super) struct Seen {
    /// The partition times of records, with their epochs.
    records: Vec<(Epoch, i64)>,
    /// By worker, its watermarks.
    pub(super) watermarks: BTreeMap<usize, Vec<(Epoch, i64)>>,
    /// The watermarks behind topic a alone, on worker 0.
    pub(super) of_a: Vec<i64>,
    pub(super) risen: Option<Sender<i64>>,
}

impl Seen {
    /// Checks that no record is before the watermark of an earlier epoch, and that all workers have
    /// the same watermarks. Returns them.
    pub(super) fn check(&self) -> Vec<i64> {
        let watermarks = self.watermarks.values().next().cloned().unwrap_or_default();
        assert!(self.watermarks.values().all(|other| *other == watermarks));
        assert!(watermarks.is_sorted_by(|a, b| a.1 < b.1), "{watermarks:?}");
        for (epoch, time) in &self.records {
            let before = watermarks.iter().rfind(|(closed, _)| closed < epoch);
            assert!(before.is_none_or(|(_, watermark)| time >= watermark), "{time} {before:?}");
        }
        watermarks.into_iter().map(|(_, watermark)| watermark).collect()
    }
}

/// Writes the partition time of each record of two topics, whose values are their timestamps.
fn timed(seen: &Arc<Mutex<Seen>>, idle_after: Option<Duration>) -> Topology {
    let seen = seen.clone();
    Topology::new("timed", move |builder: &StreamsBuilder<'_>| {
        let consumed = || {
            let values = Consumed::with(Int64, Int64).timestamp(|_, value| Timestamp(*value));
            idle_after.into_iter().fold(values, Consumed::idle_after)
        };
        let a = builder.stream("a", consumed());
        let (graph, log) = (a.graph.clone(), seen.clone());
        let of_a = graph.watermarks(graph.node("times of a", &[a.node]));
        let is_first = graph.scope().index() == 0;
        graph.end(of_a.inspect(move |watermark| {
            lock(&log).of_a.extend(is_first.then_some(watermark.0));
        }));
        let both = a.merge(&builder.stream("b", consumed()));
        let (graph, log, worker) = (both.graph.clone(), seen.clone(), both.graph.scope().index());
        let node = graph.node("times", &[both.node]);
        let meter = graph.meter(node);
        let events = both.events.clone().inspect_batch(move |epoch, events| {
            let times = events.iter().map(|event| (*epoch, event.partition_time.0));
            lock(&log).records.extend(times);
            let late = events.iter().filter(|e| e.value < e.partition_time.0).count();
            meter.late(*epoch, late, 0);
        });
        let events =
            events.map(|Event { key, order, ordinal, timestamp, partition_time, .. }| Event {
                key,
                value: partition_time.0,
                order,
                ordinal,
                timestamp,
                partition_time,
                diff: 1,
            });
        let times = KStream::new(graph, node, events, Updates::AppendOnly, both.restored);
        times.to("times", Produced::columns(["id", "time"]));
        let log = seen.clone();
        let watermarks = times.graph.watermarks(node).inspect_time(move |epoch, watermark| {
            let mut log = lock(&log);
            log.watermarks.entry(worker).or_default().push((*epoch, watermark.0));
            log.risen.iter().for_each(|risen| _ = risen.send(watermark.0));
        });
        times.graph.end(watermarks);
    })
}

/// Everything that outlives a run.
#[derive(Default)]
pub(super) struct World {
    logs: [MemoryLog; 2],
    table: MemoryTable,
    objects: Arc<InMemory>,
    pub(super) records: i64,
}

impl World {
    /// Appends a record with this timestamp; returns its id.
    pub(super) fn append(&mut self, topic: usize, partition: u32, time: i64) -> i64 {
        self.records += 1;
        let (key, value) = (self.records.to_be_bytes(), time.to_be_bytes());
        self.logs[topic].append(partition, Some(&key), Some(&value));
        self.records
    }

    pub(super) fn streams(
        &self,
        seen: &Arc<Mutex<Seen>>,
        batch: u64,
        idle: Option<Duration>,
    ) -> Streams {
        let [a, b] = self.logs.clone();
        let streams = Streams::new(timed(seen, idle)).source("a", Small(a, batch));
        streams.source("b", Small(b, batch)).sink("times", self.table.clone())
    }

    pub(super) fn config(&self) -> Config {
        let state = Some(Store::objects(self.objects.clone(), "state").unwrap());
        Config { workers: 1, state, commit_every: Duration::ZERO, ..Config::default() }
    }

    /// Runs until all records are read. Returns the watermarks and the summary.
    pub(super) fn run(
        &self,
        places: (usize, usize),
        batch: u64,
        close_at_end: bool,
    ) -> (Vec<i64>, Summary) {
        let (seen, summary) = self.seen_run(places, batch, close_at_end);
        (seen.check(), summary)
    }

    pub(super) fn seen_run(
        &self,
        places: (usize, usize),
        batch: u64,
        close_at_end: bool,
    ) -> (Seen, Summary) {
        let (workers, count) = places;
        let seen = Arc::default();
        let run = |cluster| {
            let config = Config { workers, close_at_end, cluster, ..self.config() };
            self.streams(&seen, batch, None).run(config).unwrap()
        };
        let summary = if count == 1 {
            run(None)
        } else {
            thread::scope(|scope| {
                let run = &run;
                let all = processes(count).unwrap().into_iter();
                let all: Vec<_> = all.map(|it| scope.spawn(move || run(Some(it)))).collect();
                all.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>().remove(0)
            })
        };
        let seen = std::mem::take(&mut *lock(&seen));
        (seen, summary)
    }

    /// The partition times by the ids of records.
    pub(super) fn times(&self) -> BTreeMap<i64, i64> {
        let long =
            |value: &Value| if let Value::Long(n) = value { *n } else { panic!("{value:?}") };
        self.table.rows().iter().map(|row| (long(&row[0]), long(&row[1]))).collect()
    }

    fn delete_snapshots(&self) {
        let state = self.config().state.unwrap();
        for (name, _) in state.list("snap").unwrap() {
            state.delete(&format!("snap/{name}")).unwrap();
        }
    }

    /// The last manifest.
    pub(super) fn manifest(&self) -> serde_json::Value {
        let state = self.config().state.unwrap();
        let last = state.list("manifest").unwrap().into_iter().map(|(name, _)| name).max().unwrap();
        let bytes = state.get(&format!("manifest/{last}")).unwrap().unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }
}

/// Numbers that look random.
fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |sides| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % sides
    }
}

#[test]
fn times_are_the_same_for_any_batches_workers_and_restarts() {
    for (case, places) in [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2)].into_iter().enumerate() {
        let (mut world, mut dice) = (World::default(), dice(7));
        let (mut expected, mut last) = (BTreeMap::new(), BTreeMap::new());
        for life in 0..3 {
            for _ in 0..80 {
                let (topic, partition) = (dice(2) as usize, dice(3) as u32);
                let time = life * 50 + dice(200) as i64;
                let greatest = last.entry((topic, partition)).or_insert(time);
                *greatest = time.max(*greatest);
                expected.insert(world.append(topic, partition, time), *greatest);
            }
            if case % 2 == 1 {
                // All records are read again.
                world.delete_snapshots();
            }
            let batch = [1, 7, 1000][(case + life as usize) % 3];
            let (watermarks, summary) = world.run(places, batch, false);
            assert_eq!(watermarks.last(), last.values().min());
            assert_eq!(world.times(), expected, "{places:?}");
            let late = summary.steps.iter().map(|step| step.total().late).sum::<u64>();
            let times = expected.values().zip(1..);
            let recorded = world.logs.iter().flat_map(values).collect::<BTreeMap<_, _>>();
            let is_late = |(time, id): &(&i64, i64)| recorded[id] < **time;
            assert_eq!(late, times.filter(is_late).count() as u64, "of all lives");
        }
    }
}

/// The values of a log by its keys.
fn values(log: &MemoryLog) -> Vec<(i64, i64)> {
    let mut all = Vec::new();
    for partition in log.partitions().unwrap() {
        let mut reader = log.open(partition, None, false).unwrap();
        while let Poll::Batch(batch) = reader.poll().unwrap() {
            let number =
                |bytes: Option<&[u8]>| i64::from_be_bytes(bytes.unwrap().try_into().unwrap());
            all.extend(batch.iter(0).map(|it| (number(it.key), number(it.value))));
        }
    }
    all
}

#[test]
fn a_partition_added_between_runs_begins_at_the_watermark() {
    let mut world = World::default();
    world.append(0, 0, 50);
    world.append(1, 0, 40);
    assert_eq!(world.run((1, 1), 9, false).0, [40]);
    // The partition of topic b holds the watermark of both at 40; that of topic a alone is 50.
    let added = [10, 55].map(|time| world.append(0, 1, time));
    assert_eq!(world.run((2, 1), 9, false).0, [40]);
    assert_eq!(added.map(|id| world.times()[&id]), [50, 55]);
    let clocks = world.manifest()["sources"]["a"][0]["clocks"].clone();
    assert_eq!((&clocks["1"]["floor"], &clocks["0"]["floor"]), (&50.into(), &().into()));
    let more = world.append(0, 1, 42);
    world.append(1, 0, 60);
    assert_eq!(world.run((1, 2), 9, false).0, [40, 50]);
    assert_eq!(world.times()[&more], 55);
    world.delete_snapshots();
    let error = world.streams(&Arc::default(), 9, None).run(world.config()).unwrap_err();
    assert!(error.to_string().contains("has no sound snapshot"), "{error}");
}

#[test]
fn the_end_of_a_last_replay_closes_all_windows() {
    let mut world = World::default();
    world.append(0, 0, 50);
    world.append(1, 0, 40);
    assert_eq!(world.run((2, 1), 9, true).0.last(), Some(&i64::MAX));
    let commits = world.manifest()["n"].clone();
    assert_eq!(world.run((1, 1), 9, true).0, [i64::MAX], "restored");
    assert_eq!(world.manifest()["n"], commits, "it was closed before");
    let late = world.append(0, 0, 70);
    assert_eq!(world.run((1, 1), 9, false).0, [i64::MAX]);
    assert_eq!(world.times()[&late], i64::MAX);
}
