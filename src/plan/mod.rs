//! The plan of a topology: its steps, topics and stores, without its closures.

mod chains;
mod origins;
mod time;

use std::any::TypeId;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::connect::Schema;
use crate::error::{Error, Result};
use crate::ports::AnyStore;
use crate::row::{ColumnType, Put, Row};

pub(crate) use chains::PlannedCut;
pub(crate) use time::TimePlan;

/// The topic to which dead letters are written. Each is a row with the columns topic, partition,
/// position, reason, detail and payload.
///
/// ```
/// use watershed::connect::memory::{MemoryLog, MemoryTable};
/// use watershed::prelude::*;
///
/// let topology = Topology::new("copy", |builder: &StreamsBuilder<'_>| {
///     let numbers = builder.stream::<i64, i64>("in", Consumed::with(Json, Json));
///     numbers.to("out", Produced::columns(["id", "n"]));
/// });
/// let (input, letters) = (MemoryLog::default(), MemoryTable::default());
/// input.append(0, Some(b"1"), Some(b"seven"));
/// let streams = Streams::new(topology).source("in", input).sink("out", MemoryTable::default());
/// streams.sink(DEAD_LETTERS, letters.clone()).run(Config::default())?;
/// assert_eq!(letters.rows()[0][3], Value::Text("invalid json".into()));
/// # Ok::<(), Error>(())
/// ```
pub const DEAD_LETTERS: &str = "dead_letters";

/// A record that could not be used: a row of [`DEAD_LETTERS`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct DeadLetter {
    pub(crate) topic: String,
    pub(crate) partition: i64,
    pub(crate) position: String,
    pub(crate) reason: String,
    pub(crate) detail: String,
    pub(crate) payload: Vec<u8>,
}

impl DeadLetter {
    /// The names of its columns.
    pub(crate) const COLUMNS: [&str; 6] =
        ["topic", "partition", "position", "reason", "detail", "payload"];
}

impl Row for DeadLetter {
    fn columns() -> Vec<(ColumnType, bool)> {
        use ColumnType::{Binary, Long, Text};
        [Text, Long, Text, Text, Text, Binary].map(|ty| (ty, false)).to_vec()
    }
    fn put(&self, out: &mut dyn Put) {
        out.text(Some(&self.topic));
        out.long(Some(self.partition));
        out.text(Some(&self.position));
        out.text(Some(&self.reason));
        out.text(Some(&self.detail));
        out.binary(Some(&self.payload));
    }
}

/// A step of a topology, for `describe` and for the fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) verb: String,
    pub(crate) name: Option<String>,
    pub(crate) inputs: Vec<usize>,
}

/// A table that other threads can read while it is maintained.
#[derive(Clone, Debug)]
pub(crate) struct MaterializedTable {
    /// The name of its store.
    pub(crate) name: String,
    /// The step that makes its rows.
    pub(crate) node: usize,
    /// The type of the pair of key and value.
    pub(crate) types: TypeId,
    /// The same types by name, for messages.
    pub(crate) type_names: String,
    /// Makes an empty store of these types.
    pub(crate) make: fn() -> Arc<dyn AnyStore>,
}

/// Returns the names of two types without their paths, for messages.
pub(crate) fn type_names<K, V>() -> String {
    format!("{}, {}", type_name::<K>(), type_name::<V>())
}

/// Returns the name of a type, without its modules.
pub(crate) fn type_name<T>() -> String {
    let name = std::any::type_name::<T>();
    let parts = name.split_inclusive(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    parts.filter_map(|part| part.rsplit("::").next()).collect()
}

/// A topology as data, without its closures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<Node>,
    pub(crate) sources: Vec<String>,
    /// Not part of the fingerprint: the steps imply it.
    pub(crate) time: TimePlan,
    pub(crate) sinks: Vec<Schema>,
    /// Not part of the fingerprint: a run may continue a state with other stores.
    pub(crate) stores: Vec<MaterializedTable>,
    pub(crate) errors: Vec<String>,
    /// The results of a step depend on where epochs end. The records alone can't rebuild them.
    pub(crate) volatile: bool,
    /// The cuts whose rows a snapshot saves. Not part of the fingerprint: they depend on the sinks
    /// and the stores of a run.
    pub(crate) cuts: Vec<PlannedCut>,
    /// The topics to which the rows of records are appended once, and not again after a restart.
    pub(crate) tails: Vec<String>,
}

impl Plan {
    /// Returns the schema of the rows that are written to `topic`.
    ///
    /// # Errors
    /// When the topology does not write to it.
    pub(crate) fn sink(&self, topic: &str) -> Result<&Schema> {
        let sink = self.sinks.iter().find(|schema| schema.topic == topic);
        sink.ok_or_else(|| Error::internal(format!("topic {topic} has no schema")))
    }
}
