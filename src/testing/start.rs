//! The start of a topology under test: one process, or several that are threads of one.

use std::collections::BTreeMap;
use std::thread::{Builder, JoinHandle};

use super::network::{Serialised, places};
use super::{Run, Table, TopologyTestDriver, joined};
use crate::connect::memory::{MemoryLog, MemoryTable};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Config, Coordinator, RunMode, Stores, Streams, Summary};
use crate::sync::channel;
use crate::time::{ProcessingMode, Timestamp};
use crate::topology::Topology;

impl TopologyTestDriver {
    /// Starts a topology on `processes` times `workers` threads. Each group of `workers` threads is
    /// a process: batches, rows and reports are encoded on their way from one to another.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("sums", |builder: &StreamsBuilder<'_>| {
    ///     let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    ///     let sums = numbers.group_by(|id, n| (id % 10, *n)).sum(|n| *n);
    ///     sums.to("sums", Produced::columns(["digit", "sum"]));
    /// });
    /// let run = |mut driver: TopologyTestDriver| {
    ///     let numbers = driver.input("numbers", Int64, Int64);
    ///     (0..100).for_each(|n| numbers.pipe(&mut driver, &n, &n));
    ///     driver.commit()?;
    ///     Ok::<_, Error>(driver.rows("sums"))
    /// };
    /// let one = run(TopologyTestDriver::new(topology.clone())?)?;
    /// assert_eq!(one, run(TopologyTestDriver::with_processes(topology, 2, 2)?)?);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When the topology has a mistake, such as a topic that is written twice.
    pub fn with_processes(topology: Topology, processes: usize, workers: usize) -> Result<Self> {
        driver(topology, workers, self::processes(processes)?, ProcessingMode::Consistent)
    }

    /// Starts a topology on one worker, in the mode
    /// [`PerRecord`](crate::runtime::ProcessingMode::PerRecord): each record is an epoch and a
    /// commit of its own, in the order in which the test pipes them.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("count", |builder: &StreamsBuilder<'_>| {
    ///     let words = builder.stream("words", Consumed::with(Utf8, Utf8));
    ///     let counts = words.group_by(|_, word| (word.clone(), ())).count();
    ///     counts.to("counts", Produced::columns(["word", "n"]));
    /// });
    /// let mut driver = TopologyTestDriver::per_record(topology)?;
    /// let (words, counts) = (driver.input("words", Utf8, Utf8), driver.output("counts"));
    /// for word in ["be", "or", "be"] {
    ///     words.pipe(&mut driver, &"speech".to_string(), &word.to_string());
    /// }
    /// driver.commit()?;
    /// let row = |word: &str, n: i64| (word.to_string(), Some(n));
    /// assert_eq!(counts.changes(&mut driver)?, [row("be", 1), row("or", 1), row("be", 2)]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When the topology has a mistake, such as a topic that is written twice.
    pub fn per_record(topology: Topology) -> Result<Self> {
        driver(topology, 1, Vec::new(), ProcessingMode::PerRecord)
    }

    /// Starts a topology on `workers` threads that encode all rows on their way from one to
    /// another, as workers of different processes do. So the types of keys and values are tested.
    ///
    /// ```
    /// use watershed::prelude::{Value::Long, *};
    ///
    /// let topology = Topology::new("copy", |builder: &StreamsBuilder<'_>| {
    ///     let rows = builder.table::<i64, i64>("in", Consumed::with(Json, Json));
    ///     rows.to("out", Produced::columns(["id", "n"]));
    /// });
    /// let mut driver = TopologyTestDriver::serialised(topology, 2)?;
    /// driver.pipe("in", 0, Some(b"1"), Some(b"7"));
    /// driver.commit()?;
    /// assert_eq!(driver.rows("out"), [[Long(1), Long(7)]]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When the topology has a mistake, such as a topic that is written twice.
    pub fn serialised(topology: Topology, workers: usize) -> Result<Self> {
        driver(topology, workers, vec![Cluster::on(Serialised)], ProcessingMode::Consistent)
    }
}

/// Returns the places of `count` processes that are threads of this one, for tests of whole runs.
/// Each of them runs the same program.
///
/// ```
/// use std::thread;
///
/// use watershed::connect::memory::{MemoryLog, MemoryTable};
/// use watershed::prelude::*;
/// use watershed::testing::processes;
///
/// let (input, output) = (MemoryLog::default(), MemoryTable::default());
/// input.append(0, Some(b"tea"), Some(b"green"));
/// let run = |cluster| {
///     let topology = Topology::new("copy", |builder: &StreamsBuilder<'_>| {
///         let rows = builder.table::<String, String>("in", Consumed::with(Utf8, Utf8));
///         rows.to("out", Produced::columns(["key", "value"]));
///     });
///     let streams = Streams::new(topology).source("in", input.clone());
///     let config = Config { workers: 1, cluster: Some(cluster), ..Config::default() };
///     streams.sink("out", output.clone()).run(config)
/// };
/// let clusters = processes(3)?;
/// let all: Result<Vec<_>> = thread::scope(|scope| {
///     let run = &run;
///     let runs = clusters.into_iter().map(|cluster| scope.spawn(move || run(cluster)));
///     runs.collect::<Vec<_>>().into_iter().map(|run| run.join().unwrap()).collect()
/// });
/// assert_eq!((all?[0].topics["in"].read, output.rows().len()), (1, 1));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// When the system provides no socket.
pub fn processes(count: usize) -> Result<Vec<Cluster>> {
    Ok(places(count.max(1))?.into_iter().map(Cluster::on).collect())
}

/// Starts a topology, in as many processes as there are `clusters`; without any in one.
pub(super) fn driver(
    topology: Topology,
    workers: usize,
    clusters: Vec<Cluster>,
    mode: ProcessingMode,
) -> Result<TopologyTestDriver> {
    let (plan, stores) = (topology.plan(), Stores::all(&topology));
    let mut topics = plan.sources;
    topics.dedup();
    let mut tables = BTreeMap::new();
    for schema in plan.sinks {
        tables.insert(schema.topic.clone(), Table { schema, table: MemoryTable::default() });
    }
    let bound = || {
        let mut streams = Streams::new(topology.clone());
        for topic in &topics {
            streams = streams.source(topic, MemoryLog::default());
        }
        for (topic, table) in &tables {
            streams = streams.sink(topic, table.table.clone());
        }
        streams
    };
    let mut clusters = clusters.into_iter();
    let cluster = clusters.next();
    let config = |cluster| Config { workers, cluster, mode, follow: true, ..Config::default() };
    let mut others = Vec::new();
    for cluster in clusters {
        let (streams, config) = (bound(), config(Some(cluster)));
        others.push(thread(move || streams.run(config))?);
    }
    let (mut streams, config) = (bound(), config(cluster));
    streams.stores = stores.clone();
    let (started, start) = channel();
    let run = move || {
        let (coordinator, outbox) = Coordinator::start(streams, config, RunMode::TestDriver)?;
        // The receiver blocks on this, so it still exists.
        let _ = started.send(outbox);
        coordinator.run()
    };
    let thread = thread(run)?;
    let Ok(coordinator) = start.recv() else {
        let ended = Error::internal("the run ended before it began");
        return Err(joined(thread).err().unwrap_or(ended));
    };
    let mut driver = TopologyTestDriver {
        topology,
        stores,
        topics,
        tables,
        unread: BTreeMap::new(),
        next: BTreeMap::new(),
        now: Some(Timestamp(0)),
        headers: Vec::new(),
        run: Some(Run { coordinator, thread, others }),
    };
    // Epoch 0 is the recovery, with nothing to recover here. Records belong to later epochs.
    driver.commit()?;
    Ok(driver)
}

fn thread(
    run: impl FnOnce() -> Result<Summary> + Send + 'static,
) -> Result<JoinHandle<Result<Summary>>> {
    Builder::new().spawn(run).map_err(|e| Error::no_thread("the run", e))
}
