//! A run: its threads, and all that it keeps in memory.

use crate::world::{Changes, Digest, Layer, Manifest, Named, Row, Snapshot, Version};

/// A process. Its committer and its chores are threads of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Memory {
    /// The number that it claims or has claimed.
    pub generation: u8,
    /// The last commit that all sinks show.
    pub last: u8,
    /// The end of that commit.
    pub end: u8,
    /// Digest of its manifest.
    pub digest: Digest,
    /// The snapshots that it names.
    pub named: [Option<Named>; 2],
    /// The table as far as it was read.
    pub view: View,
    /// True once a manifest of this run exists.
    pub decided: bool,
    /// True once both sinks show a commit of this run.
    pub begun: bool,
    /// The durable layers of the state, oldest first.
    pub layers: Vec<Layer>,
    /// A snapshot that the next manifest names.
    pub ready: Option<Named>,
    /// The application that owns the state.
    pub app: u8,
    /// True until its reset of the state is decided.
    pub resets: bool,
}

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Run {
    /// The memory that its threads share.
    pub memory: Memory,
    /// The next step of the committer.
    pub phase: Phase,
    /// The next step of the chore.
    pub chore: Chore,
}

/// The table as a run has read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct View {
    /// The last version that was read or made.
    pub version: u8,
    /// The last commit up to it.
    pub txn: u8,
    /// The rows, with those that are staged.
    pub rows: Vec<Row>,
    /// True if a compaction came too late; the next commit allows another.
    pub overtaken: bool,
    /// A compaction of unknown outcome.
    pub unresolved: Option<Version>,
}

/// A commit on its way into the sinks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Showing {
    /// Its number.
    pub n: u8,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its changes.
    pub changes: Changes,
    /// True if an earlier run made the manifest.
    pub earlier: bool,
}

/// The next step of the committer's thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Find the newest generation and the highest manifest.
    #[default]
    Find,
    /// Create the next generation.
    Claim,
    /// Check that no manifest came in between.
    Recheck,
    /// Empty the table for the application that has reset the state.
    EmptyTable,
    /// Empty the log.
    EmptyLog,
    /// Read the table.
    LoadTable,
    /// Make a version of its own in the table.
    Fence,
    /// Fence earlier producers of the log.
    OpenLog,
    /// Show the last manifest.
    CatchUp,
    /// Load the snapshot, and read the tail again.
    LoadState,
    /// Wait for records.
    Live,
    /// Create the next manifest.
    Create(Manifest),
    /// Read it back after an unknown outcome.
    ReadBack(Manifest),
    /// Read the log of the table.
    ShowTable(Showing),
    /// Create its next version.
    PutVersion(Showing),
    /// Append the records to the log, with the number of the commit.
    ShowLog(Showing),
    /// Write the number of the commit to the log, after its records (a weakening).
    WriteOffset(Showing),
    /// Create a version that compacts the table.
    PutCompaction(Version),
    /// Settle a compaction of unknown outcome.
    Resolve,
}

/// The next step of the thread for snapshots and collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Chore {
    /// Nothing to do.
    #[default]
    Idle,
    /// Put the last layer of the snapshot.
    PutLayer(Snapshot),
    /// Put the snapshot, whose layers are durable.
    PutSnapshot(Snapshot),
    /// Delete these objects.
    Delete(Vec<Snapshot>, Vec<Layer>),
}

impl Run {
    /// Returns true once it has recovered.
    pub fn is_live(&self) -> bool {
        match &self.phase {
            Phase::Live | Phase::Create(_) | Phase::ReadBack(_) => true,
            Phase::PutCompaction(_) | Phase::Resolve => true,
            Phase::ShowTable(showing) | Phase::PutVersion(showing) => !showing.earlier,
            Phase::ShowLog(showing) | Phase::WriteOffset(showing) => !showing.earlier,
            _ => false,
        }
    }
}
