//! What topics can be bound to: a wing on the ground floors, a folder and a feature each. A
//! connector never uses another.

#[cfg(feature = "archive")]
pub mod archive;
pub mod console;
#[cfg(feature = "delta")]
pub mod delta;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kinesis")]
pub mod kinesis;
