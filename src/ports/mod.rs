//! The places where a dataflow touches the runtime: batches enter, rows leave to sinks and stores,
//! and progress is observed.

mod credit;
mod ends;
mod feed;
mod gauges;
mod materialize;
mod sink_handle;
mod source;
mod store;
mod times;

pub(crate) use credit::Credit;
pub(crate) use ends::Ends;
pub(crate) use feed::Feed;
pub(crate) use gauges::measure;
pub(crate) use materialize::{materialize, materialize_diffs};
pub(crate) use sink_handle::{Barriers, Report, SinkHandle, append, snapshot, snapshot_diffs};
pub(crate) use source::{Decode, source};
pub(crate) use store::{AnyStore, Rows};
pub use store::{ReadOnlyStore, View};
