//! The names that a dataflow imports.

pub use crate::row;
pub use crate::row::{Double, Row, Value};

pub use crate::connect::{Sink, Source};

pub use crate::options::{
    Consumed, Emit, JoinWindows, Materialized, Produced, SessionWindows, SlidingWindows,
    Suppressed, Ties, TimeWindows, UnlimitedWindows, Windows,
};
pub use crate::runtime::{Config, ProcessingMode, Stop, Streams};
pub use crate::serdes::{
    Deserializer, Int32, Int64, Json, Nullable, Raw, Reject, Serializer, SessionWindowed,
    TimeWindowed, Utf8,
};
pub use crate::store::Store;
pub use crate::testing::TopologyTestDriver;
pub use crate::{
    DEAD_LETTERS, Error, GlobalKTable, KGrouped, KStream, KTable, KWindowed, OuterKey,
    ReadOnlyStore, Result, StreamsBuilder, Timestamp, Topology, Windowed,
};
