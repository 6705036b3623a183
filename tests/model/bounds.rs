//! The bounds of a search, and the rules that it can leave out.

/// The bounds of a search.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Records in the source.
    pub records: u8,
    /// Manifests.
    pub commits: u8,
    /// Generations that are claimed.
    pub generations: u8,
    /// Requests that are in flight at the same time without a waiting sender.
    pub late: usize,
    /// Compactions of the table.
    pub compactions: u8,
    /// Layers that are written, as a part of a snapshot.
    pub layers: u8,
    /// Layers that are damaged.
    pub damages: u8,
    /// Versions of the table that another program makes. They change no row.
    pub foreign: u8,
    /// Resets of the state.
    pub resets: u8,
}

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakening {
    /// A commit to the table does not look for its number in the log of the table.
    NoTxn,
    /// The offset of the log is written after the records.
    OffsetsAfterRecords,
    /// The sinks show a commit before its manifest exists.
    ManifestAfterShowing,
    /// After an unknown outcome the next manifest binds other records.
    FreshBindings,
    /// The highest manifest is collected.
    CollectHighest,
    /// A manifest of another run at the number of one's own counts as one's own.
    AdoptForeign,
    /// A request without an answer counts as done.
    TrustUnknown,
    /// A version that exists already counts as one's own commit.
    TrustTaken,
    /// A run does not show the last manifest of the run before.
    NoRollForward,
    /// A run makes no version of its own in the table, and old runs compact.
    NoFence,
    /// A compaction of unknown outcome is not settled before the next commit is staged.
    Unsettled,
    /// A snapshot counts once its object exists; old objects are collected by generation.
    SnapshotsByCreation,
    /// Collection does not wait for a manifest of the generation.
    CollectEarly,
    /// Layers are collected that a kept snapshot has in common with an earlier one.
    CollectShared,
    /// A snapshot of the collector's own run is collected before a manifest names it.
    CollectReady,
    /// The source forgets all records before the newest snapshot.
    ReleaseNewest,
    /// A snapshot is named before its layers are durable.
    NameEarly,
    /// A run that has fallen back goes on to name the damaged snapshot.
    KeepDamaged,
    /// The snapshot to fall back to is the one before, though they have layers in common.
    SharedFallback,
    /// The snapshot to fall back to is found by the manifests that are left.
    SearchedFallback,
    /// The name of a snapshot is made of its generation and its manifest alone.
    ReusedName,
    /// A run deletes files of the table before it has made a commit.
    CleanEarly,
    /// Sinks are emptied before the manifest of the reset exists.
    EmptyEarly,
    /// A run does not complete the reset that an earlier one has begun.
    ForgottenReset,
}
