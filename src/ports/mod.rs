//! The places where a dataflow touches the runtime: batches enter, rows leave to sinks and stores,
//! and progress is observed.

mod barriers;
mod credit;
mod gauges;
mod input_queue;
mod materialize;
mod probe;
mod share;
mod sink_handle;
mod source;
mod store;
mod times;
mod versions;

pub(crate) use barriers::Barriers;
pub(crate) use credit::Credit;
pub(crate) use gauges::measure;
pub(crate) use input_queue::{ClockEvent, Deal, Decoded, InputQueue, TopicInput};
pub(crate) use materialize::{materialize, materialize_diffs};
pub(crate) use probe::Probe;
pub(crate) use share::SinkStart;
pub(crate) use sink_handle::{AppendedRows, Report, SinkHandle, append, snapshot, snapshot_diffs};
pub(crate) use source::{Decode, Decoding, TimeBefore, source};
pub(crate) use store::{AnyStore, KeyValueStore};
pub use store::{ReadOnlyStore, View};
pub(crate) use versions::SinkCuts;
