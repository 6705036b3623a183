//! The report on a state, as data for programs and for people.

use std::collections::BTreeMap;

use serde::Serialize;

/// The thoroughness of an inspection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Reads the last manifests, the snapshots and the indexes of their layers.
    Listing,
    /// Reads every object that a snapshot or a manifest names, and compares all checksums.
    Checksums,
}

/// The content of a state, and the part of it that a restart reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StateReport {
    /// The name of the topology; none if the newest generation is damaged.
    pub program: Option<String>,
    /// The name of the application, unique to the state.
    pub app: Option<String>,
    /// The number of the newest run; 0 if no run has begun.
    pub generation: u64,
    /// The manifests; none before the first commit.
    pub manifests: Option<ManifestRange>,
    /// The snapshots that the last manifest names, from the youngest to the oldest.
    pub snapshots: Vec<SnapshotReport>,
    /// The objects that none of these snapshots needs. A run that is going may be writing them;
    /// later runs delete them.
    pub unneeded: Vec<StoredObject>,
    /// The event time at the last commit.
    pub time: TimeReport,
    /// The reads of a restart with the same topology.
    pub restart: Restart,
    /// The number of checksums that were compared; none if only names and sizes were read.
    pub verified: Option<Verified>,
    /// The damage that was found, in the order of generations, manifests and snapshots.
    pub damage: Vec<Damage>,
}

impl StateReport {
    /// Returns the gravest consequence of the damage.
    pub fn consequence(&self) -> Consequence {
        let all = self.damage.iter().map(|damage| damage.consequence);
        all.max().unwrap_or_default()
    }
}

/// The event time at a commit, in microseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TimeReport {
    /// The watermarks of the steps that use them.
    pub watermarks: Vec<WatermarkReport>,
    /// The clocks of the partitions of topics whose time is used.
    pub clocks: Vec<ClockReport>,
}

/// A watermark: all records up to it have been read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WatermarkReport {
    /// The topics before the steps that use it.
    pub topics: Vec<String>,
    /// The least time of their partitions.
    pub at: i64,
}

/// The clock of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClockReport {
    /// The topic.
    pub topic: String,
    /// The number of its source, in the order in which the sources are bound.
    pub source: usize,
    /// The number of the partition.
    pub partition: u32,
    /// The greatest timestamp of its records; none before the first.
    pub at: Option<i64>,
    /// True if it is silent, so that it holds no watermark.
    pub is_idle: bool,
}

/// The manifests of a state. Old ones are deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ManifestRange {
    /// The number of the first manifest that is kept.
    pub first: u64,
    /// The number of the last one, which is that of the last commit.
    pub last: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// The number of the run that made the last one; none if it is damaged.
    pub generation: Option<u64>,
    /// The time at which the last one was stored, in milliseconds since 1970; none if the store
    /// keeps no times.
    pub stored_at: Option<i64>,
}

/// A snapshot: the rows of all cuts after one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SnapshotReport {
    /// The number of its commit.
    pub commit: u64,
    /// The path of the object in the state.
    pub path: String,
    /// True if the object and all of its layers were found as they were written. Their content is
    /// compared only if checksums are.
    pub is_sound: bool,
    /// The stored rows, which count a key once for each layer with a change of it.
    pub rows: u64,
    /// The stored bytes of these rows.
    pub bytes: u64,
    /// The keys of the rows.
    pub keys: Vec<KeysReport>,
    /// The cuts with their rows.
    pub cuts: Vec<CutReport>,
    /// The files with the rows, from the oldest to the youngest.
    pub layers: Vec<LayerReport>,
}

/// The rows of one cut in a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CutReport {
    /// The steps from the topics to the cut, and the purpose of the rows.
    pub name: String,
    /// The types of key and value.
    pub types: String,
    /// The stored rows.
    pub rows: u64,
    /// The stored bytes of these rows.
    pub bytes: u64,
}

/// The keys of one keyspace in a snapshot: tables with keys of one type share them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeysReport {
    /// The type of the keys, or the cut whose data they are.
    pub name: String,
    /// The stored keys.
    pub keys: u64,
    /// The stored bytes of these keys.
    pub bytes: u64,
}

/// A file of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerReport {
    /// The path of the file in the state.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// True if it was merged: no key is in it twice.
    pub is_merged: bool,
}

/// An object of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredObject {
    /// Its path in the state.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// The reads of a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restart {
    /// The commit of the snapshot that is loaded; none if all records are read again.
    pub snapshot: Option<u64>,
    /// The bytes of its layers.
    pub layer_bytes: u64,
    /// By topic, the committed records behind the snapshot.
    pub topics: BTreeMap<String, Tail>,
}

/// The committed records of a topic behind a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tail {
    /// The number of offsets. A compacted log has fewer records.
    pub records: u64,
    /// Their bytes, estimated by the records of the topic before the snapshot; none if it has
    /// none.
    pub bytes: Option<u64>,
}

/// The number of objects whose checksums were compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Manifests. The next one names the checksum of each, so only the form of the last is checked.
    pub manifests: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Files of layers.
    pub layers: u64,
    /// Blocks of these files.
    pub blocks: u64,
    /// Bytes of all these.
    pub bytes: u64,
}

/// A damaged object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Its path in the state.
    pub path: String,
    /// The kind of the damage.
    pub finding: Finding,
    /// The damaged blocks of a layer: the cut and the bucket of each.
    pub blocks: Vec<String>,
    /// The consequence for the next run.
    pub consequence: Consequence,
}

/// The kind of a damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The object does not exist.
    Missing,
    /// The object is not as a run wrote it.
    Changed,
}

/// The consequence of a damage for the next run, from the lightest to the gravest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Consequence {
    /// No run reads the object.
    #[default]
    Nothing,
    /// The object belongs to the spare snapshot only.
    NoSpare,
    /// A restart reads the previous snapshot and more records.
    LongerTail,
    /// A restart reads all records again.
    AllRecords,
    /// Every run is refused.
    NoRun,
}

impl Consequence {
    /// Returns the consequence as a sentence without its full stop.
    pub fn text(self) -> &'static str {
        match self {
            Consequence::Nothing => "no run reads it",
            Consequence::NoSpare => {
                "a restart does not need it, but if the younger snapshot is lost too, all records \
                 are read again"
            }
            Consequence::LongerTail => {
                "a restart reads the previous snapshot and a longer tail of the records"
            }
            Consequence::AllRecords => {
                "a restart reads all records again, so the sources must still have them"
            }
            Consequence::NoRun => "every run is refused: restore it, or begin anew",
        }
    }
}
