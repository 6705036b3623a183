//! Topologies under test: [`TopologyTestDriver`] runs one with topics in memory and a clock you
//! hold.

mod output;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

pub use output::OutputTopic;
use serde::de::DeserializeOwned;

use crate::connect::Schema;
use crate::connect::memory::{Change, MemoryLog, MemoryTable};
use crate::error::{Error, Result};
use crate::operators::Datum;
use crate::plan::DEAD_LETTERS;
use crate::ports::ReadOnlyStore;
use crate::record::{Batch, PartitionId};
use crate::row::Value;
use crate::runtime::{Config, Coordinator, Fetched, Message, RunMode, Stores, Streams, Summary};
use crate::serdes::Serializer;
use crate::time::Timestamp;
use crate::topology::Topology;

/// Runs a topology on the real engine, with all its topics in memory: records go in when you pipe
/// them, an epoch is closed when you [`commit`](Self::commit), and then the changes and the tables
/// are there to be looked at.
///
/// ```
/// use watershed::options::{Consumed, Produced};
/// use watershed::serdes::Utf8;
/// use watershed::testing::TopologyTestDriver;
/// use watershed::{StreamsBuilder, Topology};
///
/// fn count(builder: &StreamsBuilder) {
///     let words = builder.stream("words", Consumed::with(Utf8, Utf8));
///     words.group_by(|_, word| (word.clone(), ())).count().to("counts", Produced::columns(["word", "count"]));
/// }
///
/// let mut driver = TopologyTestDriver::new(Topology::new("count", count))?;
/// let (words, counts) = (driver.input("words", Utf8, Utf8), driver.output::<String, i64>("counts"));
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
    tables: BTreeMap<String, (Schema, MemoryTable)>,
    seen: BTreeMap<String, usize>,
    next: BTreeMap<(usize, u32), u64>,
    now: Option<Timestamp>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    run: Option<(Sender<Message>, JoinHandle<Result<Summary>>)>,
}

/// A topic to pipe records into.
pub struct InputTopic<K, V, KS, VS> {
    topic: String,
    key: KS,
    value: VS,
    types: PhantomData<(K, V)>,
}

impl<K, V, KS: Serializer<K>, VS: Serializer<V>> InputTopic<K, V, KS, VS> {
    /// Pipes a record into partition 0, at the driver's time.
    pub fn pipe(&self, driver: &mut TopologyTestDriver, key: &K, value: &V) {
        driver.pipe(
            &self.topic,
            0,
            self.key.encode(key).as_deref(),
            self.value.encode(value).as_deref(),
        );
    }

    /// Pipes a record into partition 0 with a timestamp of its own; the driver's time stays.
    ///
    /// ```
    /// # use watershed::prelude::*;
    /// # let topology = Topology::new("doc", |builder: &StreamsBuilder<'_>| {
    /// use watershed::record::Record;
    ///
    /// let decode = |record: &Record<'_>| Ok((record.timestamp, record.value.map(|_| ())));
    /// builder.table("seen", Consumed::from_record(decode)).materialize(Materialized::named("seen"));
    /// # });
    /// # let mut driver = TopologyTestDriver::new(topology)?;
    /// let pins = driver.input("seen", Utf8, Utf8);
    /// pins.pipe_at(&mut driver, &"a".into(), &"b".into(), Timestamp(1_598_586_767_000_000));
    /// driver.commit()?;
    /// let seen = driver.store::<Option<Timestamp>, ()>("seen")?;
    /// assert_eq!(seen.get(&Some(Timestamp(1_598_586_767_000_000))), Some(()));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn pipe_at(
        &self,
        driver: &mut TopologyTestDriver,
        key: &K,
        value: &V,
        timestamp: Timestamp,
    ) {
        let now = driver.now.replace(timestamp);
        self.pipe(driver, key, value);
        driver.now = now;
    }

    /// Pipes a tombstone: a null value, which deletes from a table.
    pub fn delete(&self, driver: &mut TopologyTestDriver, key: &K) {
        driver.pipe(&self.topic, 0, self.key.encode(key).as_deref(), None);
    }

    /// Pipes a tombstone with a timestamp of its own; the driver's time stays.
    pub fn delete_at(&self, driver: &mut TopologyTestDriver, key: &K, timestamp: Timestamp) {
        let now = driver.now.replace(timestamp);
        self.delete(driver, key);
        driver.now = now;
    }
}

impl TopologyTestDriver {
    /// Starts a topology on one worker.
    ///
    /// # Errors
    /// When the topology can't run.
    pub fn new(topology: Topology) -> Result<Self> {
        Self::with_workers(topology, 1)
    }

    /// Starts a topology on `workers` threads.
    ///
    /// # Errors
    /// When the topology can't run.
    pub fn with_workers(topology: Topology, workers: usize) -> Result<Self> {
        let (plan, stores) = (topology.plan(), Stores::all(&topology));
        let mut streams = Streams::new(topology.clone());
        streams.stores = stores.clone();
        let mut topics = plan.sources;
        topics.dedup();
        for topic in &topics {
            streams = streams.source(topic, MemoryLog::default());
        }
        let mut tables = BTreeMap::new();
        for schema in plan.sinks {
            let table = MemoryTable::default();
            streams = streams.sink(&schema.topic, table.clone());
            tables.insert(schema.topic.clone(), (schema, table));
        }
        let (tell, told) = channel();
        let config = Config { workers, follow: true, ..Config::default() };
        let run = move || {
            let (coordinator, outbox) = Coordinator::start(streams, config, RunMode::TestDriver)?;
            // Who started it waits for this.
            let _ = tell.send(outbox);
            coordinator.run()
        };
        let thread =
            std::thread::Builder::new().spawn(run).map_err(|e| Error::no_thread("the run", e))?;
        let mut driver = TopologyTestDriver {
            topology,
            stores,
            topics,
            tables,
            seen: BTreeMap::new(),
            next: BTreeMap::new(),
            now: Some(Timestamp(0)),
            headers: Vec::new(),
            run: None,
        };
        match told.recv() {
            Ok(outbox) => driver.run = Some((outbox, thread)),
            Err(_) => {
                return Err(joined(thread)
                    .err()
                    .unwrap_or_else(|| Error::internal("the run ended before it began")));
            }
        }
        // Records belong to live epochs: wait until the run is through with having nothing to
        // recover.
        driver.commit()?;
        Ok(driver)
    }

    /// A topic to pipe records into, typed by its serdes.
    pub fn input<K, V, KS: Serializer<K>, VS: Serializer<V>>(
        &self,
        topic: &str,
        key: KS,
        value: VS,
    ) -> InputTopic<K, V, KS, VS> {
        InputTopic { topic: topic.to_string(), key, value, types: PhantomData }
    }

    /// A topic to look at, typed by what its rows are made of: a key and a value.
    /// [`rows`](Self::rows) and [`changes`](Self::changes) show it column by column.
    pub fn output<K: DeserializeOwned, V: DeserializeOwned>(
        &self,
        topic: &str,
    ) -> OutputTopic<K, V> {
        OutputTopic { topic: topic.to_string(), types: PhantomData }
    }

    /// Sets the timestamp of the records that are piped from now on; `None` is none, as of a source
    /// that has no timestamps. At first it is 0.
    pub fn set_time(&mut self, now: impl Into<Option<Timestamp>>) {
        self.now = now.into();
    }

    /// Sets the headers of the records that are piped from now on.
    pub fn set_headers(&mut self, headers: &[(&str, Option<&[u8]>)]) {
        self.headers = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.map(<[u8]>::to_vec)))
            .collect();
    }

    /// Pipes the next record of a partition. A topic that the topology does not read takes nothing.
    pub fn pipe(&mut self, topic: &str, partition: u32, key: Option<&[u8]>, value: Option<&[u8]>) {
        let Some(number) = self.topics.iter().position(|t| t == topic) else { return };
        let offset = *self.next.get(&(number, partition)).unwrap_or(&0);
        self.pipe_at(topic, partition, offset, key, value);
    }

    /// Pipes a record at an offset of its own: arrival need not be in the order of offsets. Its
    /// timestamp is the driver's time.
    pub fn pipe_at(
        &mut self,
        topic: &str,
        partition: u32,
        offset: u64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        let Some(number) = self.topics.iter().position(|t| t == topic) else { return };
        let next = self.next.entry((number, partition)).or_default();
        *next = (*next).max(offset + 1);
        let mut batch = Batch { partition, first: offset, next: offset + 1, ..Batch::default() };
        batch.push(offset, self.now, key, value);
        for (name, value) in &self.headers {
            batch.push_header(name, value.as_deref());
        }
        if let (Some((run, _)), Ok(id)) = (&self.run, PartitionId::new(number, 0, partition)) {
            // A run that has failed returns its error at the next commit.
            let _ = run.send(Message::Batch(Fetched { id, batch, digest: 0 }));
        }
    }

    /// Closes the epoch and waits until all it changed is in the tables and stores.
    ///
    /// # Errors
    /// When the run has failed.
    pub fn commit(&mut self) -> Result<()> {
        let (answer, answered) = channel();
        let sent =
            self.run.as_ref().is_some_and(|(run, _)| run.send(Message::Close(answer)).is_ok());
        if sent && answered.recv().is_ok() {
            return Ok(());
        }
        match self.run.take() {
            Some((_, thread)) => {
                Err(joined(thread).err().unwrap_or_else(|| Error::internal("the run is over")))
            }
            None => Err(Error::internal("the run is over")),
        }
    }

    /// What has changed in a topic since the last call: each row's key, and the row or `None`.
    pub fn changes(&mut self, topic: &str) -> Vec<Change> {
        let commits = self.tables.get(topic).map(|(_, table)| table.commits()).unwrap_or_default();
        let seen = self.seen.insert(topic.to_string(), commits.len()).unwrap_or(0);
        commits.into_iter().skip(seen).flat_map(|(_, changes)| changes).collect()
    }

    /// The rows of a topic, sorted.
    pub fn rows(&self, topic: &str) -> Vec<Vec<Value>> {
        self.tables.get(topic).map(|(_, table)| table.rows()).unwrap_or_default()
    }

    /// A handle of the table that the topology materializes as `name`.
    ///
    /// # Errors
    /// When the topology has no such store, or one of other keys or values.
    pub fn store<K: Datum, V: Datum>(&self, name: &str) -> Result<ReadOnlyStore<K, V>> {
        self.stores.clone().open(&self.topology, name)
    }

    /// The dead letters so far, sorted: topic, partition, position, reason, detail, payload.
    pub fn dead_letters(&self) -> Vec<Vec<Value>> {
        self.rows(DEAD_LETTERS)
    }

    /// Ends the run.
    ///
    /// # Errors
    /// When it has failed.
    pub fn finish(mut self) -> Result<Summary> {
        match self.run.take() {
            Some((run, thread)) => {
                // A run that is gone says why when it is joined.
                let _ = run.send(Message::Stop);
                joined(thread)
            }
            None => Err(Error::internal("the run is over")),
        }
    }
}

impl Drop for TopologyTestDriver {
    fn drop(&mut self) {
        if let Some((run, thread)) = self.run.take() {
            let _ = run.send(Message::Stop);
            let _ = thread.join();
        }
    }
}

fn joined(thread: JoinHandle<Result<Summary>>) -> Result<Summary> {
    thread.join().unwrap_or_else(|_| Err(Error::internal("the run panicked")))
}
