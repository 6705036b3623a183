//! Watershed: many streams, one delta.
mod builder;
pub mod connect;
pub mod connectors;
mod durable;
mod error;
mod graph;
mod grouped;
mod operators;
pub mod options;
pub mod record;
pub mod runtime;
pub mod serdes;
mod stream;
mod table;
pub mod testing;
mod time;
mod topology;

pub use builder::StreamsBuilder;
pub use error::{Error, ErrorKind, Result};
pub use graph::DEAD_LETTERS;
pub use grouped::KGrouped;
pub use operators::{Datum, Tally};
pub use stream::KStream;
pub use table::KTable;
pub use time::{Epoch, Timestamp};
pub use topology::Topology;
