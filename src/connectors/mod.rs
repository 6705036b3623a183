//! The systems that topics can be bound to: each has a folder and a feature. A connector never
//! imports another.

#[cfg(feature = "archive")]
pub mod archive;
pub mod console;
#[cfg(feature = "delta")]
pub mod delta;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kinesis")]
pub mod kinesis;
