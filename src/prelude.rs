//! The names that a dataflow imports.

pub use crate::connect::{Row, Sink, Source, Store, Value};
pub use crate::options::{Consumed, Materialized, Produced, Ties};
pub use crate::runtime::{Config, Stop, Streams};
pub use crate::serdes::{Int32, Int64, Json, Nullable, Raw, Reject, Utf8};
pub use crate::testing::TopologyTestDriver;
pub use crate::{
    DEAD_LETTERS, Error, KGrouped, KStream, KTable, ReadOnlyStore, Result, StreamsBuilder,
    Timestamp, Topology,
};
