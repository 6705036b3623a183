//! A model check of the commit protocol: every order of steps, crashes, and failures of the stores,
//! within small bounds.
//!
//! ```text
//! cargo test -p watershed-model                              small bounds, and each rule left out
//! cargo test -p watershed-model -- --ignored --nocapture     larger bounds; about 20 minutes
//! ```
//!
//! [`world`] holds the durable objects: the state store, a Delta table, a log with offsets in its
//! transactions (a Kafka topic), and a source that forgets. [`run`] is the memory of a process.
//! [`start`], [`commit`], [`maintenance`] and [`chores`] are its steps; [`protocol`] has the moves
//! of the world: processes start and are killed at any step, at most two are alive, answers are
//! lost, requests arrive late or never, other programs write to the table, bits flip.
//! [`properties`] are promises about every state that can be reached. [`tests`](self) search for a
//! state that breaks one.
//!
//! Each rule of the protocol is a [`Weakening`](bounds::Weakening): without it the search must find
//! a state that breaks a promise, and it prints the shortest way there. So a rule that the model
//! does not need, or a model that is too coarse for a rule, fails a test. `--nocapture` shows the
//! ways.
//!
//! # The model and the code
//!
//! The model is written by hand; no test compares it with the code. It differs in this:
//!
//! - A step is atomic. It reads or changes one store, or only memory.
//! - The code checks some conditions more often. Such a check only removes steps.
//! - A commit that changes rows never meets a compaction that came after it was staged. The code
//!   can translate such a commit; the model counts it as a refusal.
//! - A reset empties the log in one step. Of the sinks of the library only some can be emptied.
//! - The log writes only if its producer is not fenced, and a run exits after an unknown outcome.
//! - Layers and snapshots are written beside commits. Collection lists first, and deletes later.
//! - A record is its own digest. Digests, secrets, clocks, disks, and more than one partition or
//!   process a run are not in the model.
//!
//! # Rules that the search has found
//!
//! - A run that can't use the state looks at it again before it refuses it. If a newer run has
//!   begun, or another manifest has come, the run has read the past and has to be started again.
//! - The snapshot to fall back to shares no layer with the newest one: it is the last one before a
//!   merge. The source keeps the records after it. Otherwise one flipped bit damages both, and the
//!   source has forgotten the rest.
//! - A manifest names both snapshots, because manifests that named the older one may be gone.
//! - A run that has fallen back never names the damaged snapshot again. Otherwise its records are
//!   released as if it were whole.
//! - No two attempts at a snapshot have the same name, because a put may arrive late.
//!
//! # The checker
//!
//! `stateright` (MIT) searches. It is a small dependency of this package alone, and its explorer
//! needs no code here. Its hashes of states have 64 bits: among ten million states the chance that
//! two share one is 3 in a million. The search is depth-first for promises, since it keeps only
//! hashes, and breadth-first for counterexamples, since it finds the shortest.

pub mod bounds;
pub mod chores;
pub mod commit;
pub mod maintenance;
pub mod properties;
pub mod protocol;
pub mod run;
pub mod start;
pub mod trace;
pub mod world;

#[cfg(test)]
mod tests;
