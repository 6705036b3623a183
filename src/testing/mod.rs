//! Tests of topologies: [`TopologyTestDriver`] runs a topology with topics in memory, and the test
//! sets the time.

mod clocks;
mod dice;
mod explore;
mod input;
mod laws;
mod network;
mod output;
mod partitions;
mod start;

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::thread::JoinHandle;

pub use explore::{Feed, explore};
pub use input::{InputTopic, TestRecord};
pub use laws::assert_aggregator_laws;
pub use output::OutputTopic;
use serde::de::DeserializeOwned;
pub use start::processes;

use crate::connect::Schema;
use crate::connect::memory::{Change, MemoryTable};
use crate::error::{Error, Result};
use crate::operators::Datum;
use crate::plan::DEAD_LETTERS;
use crate::ports::ReadOnlyStore;
use crate::record::{Batch, PartitionId};
use crate::row::Value;
use crate::runtime::{Fetched, Message, Stores, Summary};
use crate::serdes::Serializer;
use crate::sync::{Sender, channel};
use crate::time::{ProcessingMode, Timestamp};
use crate::topology::Topology;

/// Runs a topology on the real engine, with all its topics in memory. The test pipes records in;
/// [`commit`](Self::commit) closes an epoch, and then the test reads tables and changes.
///
/// ```
/// use watershed::options::{Consumed, Produced};
/// use watershed::serdes::Utf8;
/// use watershed::testing::TopologyTestDriver;
/// use watershed::{StreamsBuilder, Topology};
///
/// fn count(builder: &StreamsBuilder) {
///     let words = builder.stream("words", Consumed::with(Utf8, Utf8));
///     let counts = words.group_by(|_, word| (word.clone(), ())).count();
///     counts.to("counts", Produced::columns(["word", "count"]));
/// }
///
/// let mut driver = TopologyTestDriver::new(Topology::new("count", count))?;
/// let words = driver.input("words", Utf8, Utf8);
/// let counts = driver.output::<String, i64>("counts");
/// for word in ["to", "be", "or", "not", "to", "be"] {
///     words.pipe(&mut driver, &"speech".to_string(), &word.to_string());
/// }
/// driver.commit()?;
/// let rows = [("be", 2), ("not", 1), ("or", 1), ("to", 2)];
/// assert_eq!(counts.rows(&driver)?, rows.map(|(word, count)| (word.to_string(), count)));
/// # Ok::<(), watershed::Error>(())
/// ```
pub struct TopologyTestDriver {
    topology: Topology,
    stores: Stores,
    topics: Vec<String>,
    /// By topic, the tables that the topology writes.
    tables: BTreeMap<String, Table>,
    /// By topic, the changes that the test has not read.
    unread: BTreeMap<String, Unread>,
    /// The next offset of each partition.
    next: BTreeMap<PartitionId, u64>,
    /// The driver's time.
    now: Option<Timestamp>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    /// The run, until it has ended.
    run: Option<Run>,
}

/// A table in memory, with the schema of its rows.
struct Table {
    schema: Schema,
    table: MemoryTable,
}

/// The changes of a topic that the test has not read.
#[derive(Default)]
struct Unread {
    /// The number of commits whose changes were taken over.
    commits: usize,
    changes: VecDeque<Change>,
}

/// A run on a thread of its own.
struct Run {
    coordinator: Sender<Message>,
    thread: JoinHandle<Result<Summary>>,
    /// The other processes.
    others: Vec<JoinHandle<Result<Summary>>>,
}

impl Run {
    /// Waits for the end of the run, and returns its result.
    fn join(self) -> Result<Summary> {
        let result = joined(self.thread);
        self.others
            .into_iter()
            .map(joined)
            .fold(result, |result, other| result.and_then(|summary| other.map(|_| summary)))
    }
}

fn joined(thread: JoinHandle<Result<Summary>>) -> Result<Summary> {
    thread.join().unwrap_or_else(|_| Err(Error::internal("the run panicked")))
}

impl TopologyTestDriver {
    /// Starts a topology on one worker.
    ///
    /// # Errors
    /// When the topology has a mistake, such as a topic that is written twice.
    pub fn new(topology: Topology) -> Result<Self> {
        Self::with_workers(topology, 1)
    }

    /// Starts a topology on `workers` threads. Its tables must not depend on their number.
    ///
    /// ```
    /// use watershed::prelude::*;
    ///
    /// let topology = Topology::new("sums", |builder: &StreamsBuilder<'_>| {
    ///     let numbers = builder.stream("numbers", Consumed::with(Int64, Int64));
    ///     let sums = numbers.group_by(|id, n| (id % 10, *n)).sum(|n| *n);
    ///     sums.to("sums", Produced::columns(["digit", "sum"]));
    /// });
    /// let run = |workers| {
    ///     let mut driver = TopologyTestDriver::with_workers(topology.clone(), workers)?;
    ///     let numbers = driver.input("numbers", Int64, Int64);
    ///     (0..100).for_each(|n| numbers.pipe(&mut driver, &n, &n));
    ///     driver.commit()?;
    ///     Ok::<_, Error>(driver.rows("sums"))
    /// };
    /// assert_eq!(run(1)?, run(3)?);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When the topology has a mistake, such as a topic that is written twice.
    pub fn with_workers(topology: Topology, workers: usize) -> Result<Self> {
        start::driver(topology, workers, Vec::new(), ProcessingMode::Consistent)
    }

    /// Returns a topic into which the test pipes records, typed by its serdes.
    pub fn input<K, V, KS: Serializer<K>, VS: Serializer<V>>(
        &self,
        topic: &str,
        key: KS,
        value: VS,
    ) -> InputTopic<K, V, KS, VS> {
        InputTopic { topic: topic.to_string(), key, value, clock: None, types: PhantomData }
    }

    /// Returns a topic that the topology writes, with its rows as typed keys and values.
    /// [`rows`](Self::rows) and [`changes`](Self::changes) return the same rows as columns.
    pub fn output<K: DeserializeOwned, V: DeserializeOwned>(
        &self,
        topic: &str,
    ) -> OutputTopic<K, V> {
        OutputTopic { topic: topic.to_string(), types: PhantomData }
    }

    /// Sets the headers of the records that are piped from now on.
    pub fn set_headers(&mut self, headers: &[(&str, Option<&[u8]>)]) {
        self.headers = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.map(<[u8]>::to_vec)))
            .collect();
    }

    /// Pipes the next record of a partition. Does nothing if the topology does not read the topic.
    pub fn pipe(&mut self, topic: &str, partition: u32, key: Option<&[u8]>, value: Option<&[u8]>) {
        let Some(id) = self.partition(topic, partition) else { return };
        let offset = *self.next.get(&id).unwrap_or(&0);
        self.pipe_at(topic, partition, offset, key, value);
    }

    /// Pipes a record at an offset of your choice, so that records can arrive out of order. Its
    /// timestamp is the driver's time.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table::<i64, i64>("rows", Consumed::with(Json, Json));
    /// rows.to("kept", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// driver.pipe_at("rows", 0, 9, Some(b"1"), Some(b"70"));
    /// driver.pipe_at("rows", 0, 8, Some(b"1"), Some(b"60")); // arrives too late
    /// driver.commit()?;
    /// assert_eq!(driver.rows("kept"), [[Long(1), Long(70)]]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn pipe_at(
        &mut self,
        topic: &str,
        partition: u32,
        offset: u64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        let Some(id) = self.partition(topic, partition) else { return };
        let next = self.next.entry(id).or_default();
        *next = (*next).max(offset + 1);
        let mut batch = Batch { partition, first: offset, next: offset + 1, ..Batch::default() };
        batch.push(offset, self.now, key, value);
        for (name, value) in &self.headers {
            batch.push_header(name, value.as_deref());
        }
        if let Some(run) = &self.run {
            // A run that has failed returns its error at the next commit.
            let _ =
                run.coordinator.send(Message::Batch(Fetched { id, batch, digest: 0, last: None }));
        }
    }

    /// Returns the id of a partition; none if the topology does not read the topic.
    fn partition(&self, topic: &str, partition: u32) -> Option<PartitionId> {
        let number = self.topics.iter().position(|read| read == topic)?;
        PartitionId::new(number, 0, partition).ok()
    }

    /// Closes the epoch, and waits until tables and stores show all of its changes.
    ///
    /// # Errors
    /// When the run has failed.
    pub fn commit(&mut self) -> Result<()> {
        let (reply, committed) = channel();
        let close = |run: &Run| run.coordinator.send(Message::Close(reply)).is_ok();
        if self.run.as_ref().is_some_and(close) && committed.recv().is_ok() {
            return Ok(());
        }
        let error = self.run.take().and_then(|run| run.join().err());
        Err(error.unwrap_or_else(|| Error::internal("the run is over")))
    }

    /// Returns the changes of a topic since the last call: the key of each row, and the new row or
    /// `None`.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Long, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let rows = builder.table("rows", Consumed::with(Int64, Int64));
    /// rows.to("kept", Produced::columns(["id", "n"]));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let rows = driver.input("rows", Int64, Int64);
    /// rows.pipe(&mut driver, &1, &7);
    /// driver.commit()?;
    /// assert_eq!(driver.changes("kept"), [(vec![Long(1)], Some(vec![Long(1), Long(7)]))]);
    /// rows.delete(&mut driver, &1);
    /// driver.commit()?;
    /// assert_eq!(driver.changes("kept"), [(vec![Long(1)], None)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn changes(&mut self, topic: &str) -> Vec<Change> {
        self.read_unread(topic, |unread| unread.drain(..).collect())
    }

    /// Returns the result of `read` on the changes of a topic that the test has not read.
    fn read_unread<T>(&mut self, topic: &str, read: impl FnOnce(&mut VecDeque<Change>) -> T) -> T {
        let unread = self.unread.entry(topic.to_string()).or_default();
        if let Some(it) = self.tables.get(topic) {
            let commits = it.table.commits_from(unread.commits);
            unread.commits += commits.len();
            unread.changes.extend(commits.into_iter().flatten());
        }
        read(&mut unread.changes)
    }

    /// Returns the topics that the topology writes, in alphabetical order.
    ///
    /// ```
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// let numbers = builder.stream("in", Consumed::with(Int64, Int64));
    /// numbers.to("out", Produced::columns(["id", "n"]));
    /// # });
    /// # let driver = TopologyTestDriver::new(topology)?;
    /// assert!(driver.topics().eq([DEAD_LETTERS, "out"]));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// Returns the rows of a topic, sorted.
    pub fn rows(&self, topic: &str) -> Vec<Vec<Value>> {
        self.tables.get(topic).map(|it| it.table.rows()).unwrap_or_default()
    }

    /// Returns a handle to read the table that the topology materializes as `name`.
    ///
    /// # Errors
    /// When the topology has no such store, or one with other types of keys or values.
    pub fn store<K: Datum, V: Datum>(&self, name: &str) -> Result<ReadOnlyStore<K, V>> {
        self.stores.clone().open(&self.topology, name)
    }

    /// Returns the dead letters so far, sorted, each with the columns topic, partition, position,
    /// reason, detail and payload.
    ///
    /// ```
    /// # use watershed::prelude::{Value::Text, *};
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// builder.stream::<i64, i64>("numbers", Consumed::with(Json, Json)).print("numbers");
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// driver.pipe("numbers", 0, Some(b"1"), Some(b"seven"));
    /// driver.commit()?;
    /// let letters = driver.dead_letters();
    /// assert_eq!((&letters[0][0], &letters[0][3]), (
    ///     &Text("numbers".into()),
    ///     &Text("invalid json".into()),
    /// ));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn dead_letters(&self) -> Vec<Vec<Value>> {
        self.rows(DEAD_LETTERS)
    }

    /// Ends the run, and returns its summary.
    ///
    /// ```
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// builder.stream("numbers", Consumed::with(Int64, Int64)).print("numbers");
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// # let numbers = driver.input("numbers", Int64, Int64);
    /// numbers.pipe(&mut driver, &1, &7);
    /// driver.commit()?;
    /// assert_eq!(driver.finish()?.topics["numbers"].read, 1);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When the run has failed.
    pub fn finish(mut self) -> Result<Summary> {
        let run = self.run.take().ok_or_else(|| Error::internal("the run is over"))?;
        // A run that has ended already returns the cause when it is joined.
        let _ = run.coordinator.send(Message::Stop);
        run.join()
    }
}

impl Drop for TopologyTestDriver {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            // A test that needs the result calls `finish`.
            let _ = run.coordinator.send(Message::Stop);
            let _ = run.join();
        }
    }
}
