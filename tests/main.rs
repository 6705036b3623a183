//! The integration tests: one binary, one module a subject. Start with the verbs, then read the
//! laws.
//!
//! - [`stream`]: promises of each stream verb, with null keys, tombstones, duplicates and garbage.
//! - [`table`]: promises of each table and group verb, with rows that are added, changed, late and
//!   deleted.
//! - [`row`]: user structs are rows, the same in every sink.
//! - [`laws`]: random feeds against an oracle of plain maps. Batching, order and number of workers
//!   change no answer.
//! - [`cases`]: inputs and outputs of public tests of Kafka Streams, run on the DSL.
//! - [`runtime`]: a run is checked before it starts, recovers from any crash, and excludes a second
//!   run.
//! - [`connectors`]: one contract for all sources and sinks, run against each connector.
//! - [`dataflows`]: the real executables on data, against an oracle that shares no code with them.
//! - [`faults`]: the real program is killed, paused and starved; each version of each table is
//!   right.
//! - [`simulation`]: whole runs under one seeded scheduler, with virtual time, crash at any turn.
//! - [`gateway`]: responses to requests, limits, and the durability of a log in a folder.
//! - [`tidy`]: the house rules that a machine can check, on the source tree itself.
//! - [`support`]: trials, seeded randomness, topics that fail on request, and real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod cases;
mod connectors;
mod dataflows;
mod faults;
mod gateway;
mod laws;
mod row;
mod runtime;
mod simulation;
mod stream;
mod support;
mod table;
mod tidy;
