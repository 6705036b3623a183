//! The integration tests: one binary, a module a subject. Start with the verbs, then the laws they
//! obey.
//!
//! - [`stream`]: what each verb of a stream promises, and what becomes of null keys, tombstones,
//!   duplicates and garbage.
//! - [`table`]: what each verb of a table and of a group promises when rows come, change, arrive
//!   late and go.
//! - [`row`]: structs of one's own are rows, the same in every sink.
//! - [`laws`]: random feeds against an oracle of plain maps: any batching, any order, any number of
//!   workers, one answer.
//! - [`runtime`]: a run is checked before it starts, continued after any death, and never by two at
//!   once.
//! - [`connectors`]: one contract for all sources and sinks, and who keeps it.
//! - [`dataflows`]: the real executables, on data, against an oracle that shares no code with them.
//! - [`gateway`]: what each request is answered, what is too much, and what a log in a folder keeps
//!   whatever is killed.
//! - [`tidy`]: the house rules a machine can read, on the source tree itself.
//! - [`support`]: trials, dice, topics that break when told, and a real S3 server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod connectors;
mod dataflows;
mod gateway;
mod laws;
mod row;
mod runtime;
mod stream;
mod support;
mod table;
mod tidy;
