//! Running a topology: [`Streams`] binds topics to connectors, checks the whole, and runs it.
//!
//! # States of a change
//!
//! ```text
//!    readers        coordinator         workers         workers         committer
//!  ┌─────────┐     ┌────────────┐     ┌───────────┐     ┌────────┐     ┌───────────┐
//!  │ fetched ├────►│ dispatched ├────►│ completed ├────►│ staged ├────►│ committed │
//!  └─────────┘  1  └────────────┘  2  └───────────┘  3  └────────┘  4  └───────────┘
//! ```
//!
//! 1. Threads fetch batches of all partitions (`pool`, `ingest`); credit bounds their bytes.
//!    The coordinator dispatches each batch to the open epoch in the input queue of its topic, and
//!    extends the binding of its partition (`epochs`, `bindings`).
//! 2. Any worker takes batches from the queues, so a faster worker does more. If a step uses the
//!    time of a topic, one worker decodes all batches of a partition (`clocks`). An epoch closes at
//!    once when no more batches are available, later under load, and only when the previous one is
//!    completed. It is completed when the dataflow's frontier has passed it on every worker. Then
//!    stores publish it in one step, whether it is committed or not.
//! 3. When a commit is due, the epoch that closes gets a commit barrier (`commits`). Each writer
//!    of each sink stages its changes up to the barrier.
//! 4. With the parts of all workers the `committer` stages files and creates the manifest. The
//!    manifest is the decision. Then it makes the commit visible in every sink.
//!
//! # Recovery
//!
//! Before anything is changed, `begin` examines the state, every sink and every source. A run
//! that it refuses leaves no trace. Then the run is the newest generation of the state, and the
//! only one that commits. Epoch 0 is the recovery (`recover`): the rows of a snapshot are loaded
//! at the cuts of the dataflow, and the ranges behind it are read again. Meanwhile sinks write
//! nothing and only find their rows again. Digests of all records and of all rows prove that the
//! state is the recorded one. From epoch 1 on the run is live.
//!
//! # Snapshots
//!
//! The builder places *cuts*: on each path from a source, before the first operator that
//! remembers rows. At a barrier each worker hands the changed rows of its cuts to the `saver`, a
//! thread that writes them as layers. A snapshot of a commit is made beside the commits that
//! follow, and the next manifest names it (`snapshots`). At the end of a run it is part of the
//! last commit.
//!
//! # Event time
//!
//! Each partition of a timed topic has a clock: the greatest timestamp up to a position, which the
//! worker that decodes the partition adds to each record. The least time of all partitions before a
//! step is its watermark, at the close of an epoch. The coordinator decides which partitions count
//! (`clocks`): when a new one joins, and when a silent one is idle. Commits record both, so results
//! depend on positions and on recorded decisions alone.
//!
//! # Processes
//!
//! A run may have several processes, each with the same workers ([`Cluster`]). Process 0 is the one
//! described so far. It deals batches to the input queues of all processes, and sends them barriers
//! and the epochs that it opens (`agents`). Each other process is an `agent`: it feeds its workers,
//! stores the files of their parts and the layers of their rows, and sends their reports, the names
//! of the layers, and the numbers that they have counted. An epoch is completed when each process
//! has reported it, because then all of its numbers are counted. Each process loads the snapshot
//! from the store by itself. All of them end with the first failure of any.
//!
//! # Invariants
//!
//! - One thread stamps batches and extends bindings. So an epoch consists of exactly the ranges
//!   that its manifest records.
//! - There is at most one commit at a time. Epochs continue meanwhile, and their changes stay in
//!   the writers.
//! - Clocks decide when epochs close, never their contents. A clock also decides that a partition
//!   is idle, and then the commit records it.
//! - A process gets a barrier before it gets the next epoch, so no sink can miss it.
//!
//! # Owners
//!
//! The `coordinator` is a loop over `message`s. Its state belongs to five owners with private
//! fields, `epochs`, `commits`, `snapshots`, `readers` and `reporter`, and to `recover`. A file
//! names no file that names it, directly or through others.

mod adoption;
mod agent;
mod agents;
mod begin;
mod bindings;
mod clocks;
mod commits;
mod committer;
mod config;
mod content;
mod coordinator;
mod counts;
mod discovery;
mod earliest;
mod epochs;
mod ingest;
mod installed;
mod liveness;
mod message;
mod network;
mod opening;
mod panic_guard;
mod pool;
mod profile;
mod progress;
mod protocol;
mod readers;
mod recover;
mod releases;
mod remote;
mod repeats;
mod reporter;
mod reset;
mod run;
mod saver;
mod secret;
mod senders;
mod snapshots;
mod sockets;
mod stores;
mod streams;
mod times;
mod topics;
mod unwritten;
mod worker;
mod writers;

pub use crate::durable::{
    ClockReport, Consequence, CutReport, Damage, Depth, Finding, KeysReport, LayerReport,
    ManifestRange, Restart, SnapshotReport, StateReport, StoredObject, Tail, TimeReport, Verified,
    WatermarkReport, changed, inspect,
};
pub use crate::metrics::{Metrics, MetricsSnapshot, StepMetrics, StepRows, TopicSummary};
pub use crate::time::ProcessingMode;
pub use adoption::Adoption;
pub(crate) use config::RunMode;
pub use config::{Config, Stop, TopologyChange};
pub(crate) use coordinator::Coordinator;
pub use liveness::Liveness;
pub(crate) use message::{Fetched, Message};
pub use network::Cluster;
pub(crate) use network::{Deliver, Event, Installed, Leader, Member, Mesh, Network, Outbox};
pub use profile::Profile;
pub use progress::{Holds, Milestone, Progress, Summary};
pub(crate) use protocol::{Down, Up, Welcome};
pub(crate) use secret::drawn;
pub use secret::secret;
pub(crate) use sockets::{Joined, Led};
pub(crate) use stores::Stores;
pub use streams::Streams;
