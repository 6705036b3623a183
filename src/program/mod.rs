//! The command line that every dataflow gets: [`Program`].
//!
//! A program names its topology, the topics it reads, and those it writes: as Delta tables, or as
//! lines of JSON in an archive. The commands are the same for all programs:
//!
//! | command | purpose |
//! |---|---|
//! | `run` | binds topics to URLs, runs the topology, prints answers and a summary |
//! | `answers` | prints tables, all at one commit, as a table, JSON or CSV |
//! | `check` | compares tables and archived lines with the rows of a batch program |
//! | `describe` | prints the topology and the places it is bound to |
//! | `state` | prints the manifests and snapshots of a state, and finds damage |
//! | `archive` | copies topics of Kafka into an archive |
//! | `gateway` | takes records by HTTP, if built with that feature |
//! | `streams` | manages streams of Kinesis |
//!
//! Topics are bound by URL: a path, `file://` or `s3://` is an archive, `kafka://` and `kinesis://`
//! are services, and a program may add schemes of its own. A program ends with the exit code of its
//! [error](crate::Error::exit_code), and passwords in URLs are never printed.

mod advice;
mod answers;
#[cfg(feature = "gateway")]
mod append;
mod archive;
mod bar;
mod bind;
mod build;
mod check;
mod cli;
mod context;
mod entry;
#[cfg(feature = "gateway")]
mod gateway;
mod help;
mod lake;
mod liveness;
mod missing;
mod process;
mod processes;
mod run;
mod shell;
mod state;
mod streams;
mod summary;
mod upload;
mod values;
mod veil;

#[cfg(test)]
mod archived_tests;
#[cfg(test)]
mod tests;

#[cfg(feature = "gateway")]
pub use append::Appending;
pub use bind::plainly;
pub use build::Program;
pub use check::{Expected, Inputs, Origin};
pub use context::Context;
pub use shell::{Output, Prefix};
pub use upload::upload;
pub use values::duration;
