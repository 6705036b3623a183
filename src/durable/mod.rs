//! The state from which a run continues after any crash: one immutable manifest for each commit,
//! created only if it is absent.
//!
//! The manifest *is* the decision. It binds a contiguous range of every source partition to the
//! content of every sink after it. So it is written after the staged files are durable and before
//! any of them is visible. A run that continues reads the newest manifest and makes its content
//! visible; each sink detects by the commit's number whether it already is. Then it reads on after
//! the ranges.
//!
//! Two runs can't both commit: a run first creates the next `gen/<g>`, and a manifest is only ever
//! created, never replaced. If the outcome of a creation is unknown, the stored object decides.

mod layer;
mod ledger;
mod manifest;
mod merge;
mod snapshot;

pub(crate) use layer::LayerFile;
pub(crate) use ledger::Ledger;
pub use manifest::changed;
pub(crate) use manifest::{Bound, Manifest, SinkState, SnapshotName, SourceState};
pub(crate) use snapshot::{Layers, Snapshot, write_layer};
