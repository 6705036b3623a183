//! The contract of connectors: [`Source`] and [`Partition`] for records that come in, [`Sink`],
//! [`Writer`] and [`Committer`] for rows that go out.
//!
//! The `mod.rs` of a connector defines four terms in this order: its partitions, its positions, its
//! commits and its guarantees. A connector contains no dataflow: the runtime reads partitions on
//! its own threads, gives every worker a writer, and drives one committer for each sink.

pub mod append;
mod fixed;
mod identity;
pub mod memory;
mod part;
mod pieces;
mod sink;
mod source;
mod writer;

pub use fixed::FixedPartitions;
pub use identity::Identity;
pub use part::{Part, PartFile};
pub use pieces::Pieces;
pub use sink::{Committer, MaintenanceTask, Mode, Schema, Sink, SinkContext};
pub use source::{Partition, Poll, Source};
pub use writer::{CountRows, FoundRows, Recovered, Recovering, Writer};
