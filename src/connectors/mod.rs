//! The systems that topics can be bound to: each has a folder and a feature. A connector never
//! imports another.
//!
//! With `default-features = false, features = ["archive", "delta"]` a program builds no command
//! line (clap, indicatif, comfy-table) and no client of MySQL, Kafka or AWS. The HTTP client
//! reqwest comes with `delta` all the same: `deltalake-core` needs `buoyant_kernel_engine`, which
//! has it as a dependency that is not optional.

#[cfg(feature = "archive")]
pub mod archive;
pub mod console;
#[cfg(feature = "delta")]
pub mod delta;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kinesis")]
pub mod kinesis;
