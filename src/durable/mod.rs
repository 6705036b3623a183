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
//! A run that can't examine the state between two commits first claims it (`gen/<g>.<name>`): then
//! the present run holds its next commit back for a while.
//!
//! # Snapshots
//!
//! A run reads only the records behind a *snapshot*. `layer/…` hold changed rows by keyspace and
//! bucket, and are written once ([`layer`]). `snap/<g>-<n>` lists the layers that together hold the
//! rows after commit `n`, and the ranges and totals of that commit. It counts only once a manifest
//! names it, with its checksum. So a manifest stays the only decision, and objects of a run that
//! was superseded never count. Layers are merged when they are many.
//!
//! A manifest names the youngest snapshot, the one before it, and the youngest one that shares no
//! layer with it. So a damaged layer is never fatal: the run falls back to an earlier snapshot and
//! reads more records again. Sources are told that records are released only up to the last of
//! these. The newest generation deletes all other objects of its own and of earlier generations,
//! once its first manifest is there. Each process of a run writes layers. Process 0 deletes none of
//! another one before it knows that layer. A model check of these rules is in `tests/model`.
//!
//! A state can begin anew without another place: see [`reset`].

mod claim;
mod fence;
mod inspect;
mod layer;
mod ledger;
mod manifest;
mod reset;
mod snapshot;
mod steps;

pub(crate) use claim::Claim;
pub(crate) use fence::{Fence, mark};
pub use inspect::{
    ClockReport, Consequence, CutReport, Damage, Depth, Finding, KeysReport, LayerReport,
    ManifestRange, Restart, SnapshotReport, StateReport, StoredObject, Tail, TimeReport, Verified,
    WatermarkReport, inspect,
};
pub(crate) use layer::LayerFile;
pub(crate) use ledger::Ledger;
pub use manifest::changed;
pub(crate) use manifest::{
    Bound, CommitTime, LastRecord, Manifest, PartitionClock, ROW_DIGESTS, SinkState, SnapshotName,
    SourceState, StepWatermark,
};
pub(crate) use snapshot::{Layers, Snapshot, write_layer};
pub(crate) use steps::TopologyRecord;
