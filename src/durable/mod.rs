//! What makes a run continue after any death: one immutable manifest a commit, created if absent.
//!
//! The manifest *is* the decision. It binds a contiguous range of every source partition to what
//! every sink shows after it, so it is written after the staged files are durable and before any of
//! them is visible. Whoever comes back reads the highest manifest, shows what it says (each sink
//! knows by its own number whether it has), and goes on after its ranges.
//!
//! Two runs can't both commit: a run first creates the next `gen/<g>`, and a manifest is only ever
//! created, never replaced. An answer to a creation other than "created" decides nothing; what is
//! there does.

mod manifest;

pub use manifest::changed;
pub(crate) use manifest::{Bound, Ledger, Manifest, SinkState, SourceState};
