//! The manifest of a commit: its content and its format.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::connect::Identity;
use crate::error::{Advice, Error, Result};
use crate::secret::Secret;
use crate::store::Store;
use crate::time::Timestamp;

/// The format of generations and manifests. It changes with each change of them, because a program
/// reads only one.
pub(super) const FORMAT: u32 = 2;

/// The rule by which the digests of the rows of sinks are computed. It changes with each change of
/// them; digests of different rules are not compared.
pub(crate) const ROW_DIGESTS: u32 = 1;

/// A commit: the ranges that were read, and the content of the sinks after them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) n: u64,
    pub(crate) generation: u64,
    /// Name of the application, unique to the state: every run from the state has the same name.
    pub(crate) app: String,
    /// The key of the digests that are recorded here, and of all others of a run.
    pub(crate) secret: Secret,
    pub(crate) program: String,
    /// Digest of the topology's plan.
    pub(crate) topology: String,
    /// Digest of the previous manifest; empty for the first.
    pub(crate) previous: String,
    /// The sources of each topic, in the order in which they are bound.
    pub(crate) sources: BTreeMap<String, Vec<SourceState>>,
    pub(crate) sinks: BTreeMap<String, SinkState>,
    #[serde(default, skip_serializing_if = "CommitTime::is_default")]
    pub(crate) time: CommitTime,
    /// The snapshots that count, from the youngest to the oldest: at most three.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) snapshots: Vec<SnapshotName>,
    /// The reset of the state. Then the manifest has no ranges, sinks and snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reset: Option<Reset>,
}

/// A snapshot as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotName {
    /// The number of its commit.
    pub(crate) n: u64,
    pub(crate) path: String,
    /// The XXH3-128 checksum of the object, in hexadecimal.
    pub(crate) digest: String,
    /// The path of its oldest layer. Snapshots with different ones share no layer.
    pub(crate) base: String,
}

impl SnapshotName {
    /// Returns the snapshots that are kept beside this one, the youngest of all: the one before it,
    /// and the youngest of those that share no layer with it. So there is a way back if a layer is
    /// damaged. `earlier` are ordered from the youngest to the oldest.
    pub(crate) fn kept_with(&self, earlier: &[SnapshotName]) -> Vec<SnapshotName> {
        let independent = earlier.iter().position(|other| other.base != self.base);
        let is_kept = |at: &usize| *at == 0 || Some(*at) == independent;
        (0..earlier.len()).filter(is_kept).map(|at| earlier[at].clone()).collect()
    }
}

/// The part of a manifest that begins the state anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reset {
    /// The name of the replaced application, which made the rows of the sinks.
    pub(crate) replaced: String,
    /// The topics whose sinks are emptied.
    pub(crate) topics: Vec<String>,
}

impl Manifest {
    /// Checks that this manifest continues `last`: numbers and generations ascend, and no range
    /// shrinks or moves. Only another topology leaves out topics. A reset begins without ranges, as
    /// another application.
    ///
    /// # Errors
    /// When it does not: a bug of this library.
    pub(super) fn check_after(&self, last: &Manifest) -> Result<()> {
        let wrong = |what: String| {
            let n = self.n;
            Err(Error::internal(format!("manifest {n} does not continue the last one: {what}")))
        };
        if self.n != last.n + 1 || self.generation < last.generation {
            return wrong(format!("generation {} after {}", self.generation, last.generation));
        }
        if self.reset.is_some() {
            return Ok(());
        }
        if self.app != last.app {
            return wrong(format!("application {} after {}", self.app, last.app));
        }
        for (topic, sources) in &last.sources {
            if self.topology != last.topology && !self.sources.contains_key(topic) {
                // Another topology may read fewer topics.
                continue;
            }
            let now = self.sources.get(topic).map_or(&[][..], Vec::as_slice);
            for (rank, source) in sources.iter().enumerate() {
                for (partition, before) in &source.partitions {
                    let bound = now.get(rank).and_then(|source| source.partitions.get(partition));
                    if bound.is_none_or(|b| b.from != before.from || b.to < before.to) {
                        return wrong(format!(
                            "{topic}, partition {partition}, has {bound:?} after {before:?}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The committed ranges of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceState {
    /// Its description and location, for people only.
    pub(crate) source: String,
    pub(crate) identities: Vec<Identity>,
    pub(crate) partitions: BTreeMap<u32, Bound>,
    /// If the topic is timed, the clocks of all partitions that have joined, also of those without
    /// records.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) clocks: BTreeMap<u32, PartitionClock>,
    /// The state that the source needs to find these offsets again.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub(crate) memory: serde_json::Value,
}

impl SourceState {
    /// Returns the time of a partition: the greatest timestamp of its range, or its floor if that
    /// is greater.
    pub(crate) fn time(&self, partition: u32) -> Option<Timestamp> {
        let time = self.partitions.get(&partition).and_then(|bound| bound.partition_time);
        self.clocks.get(&partition).and_then(|clock| clock.floor).max(time)
    }
}

/// The part of a partition in the watermarks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionClock {
    /// The least time of the partition since it has joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) floor: Option<Timestamp>,
    /// The same for the first time that it has joined, before any of its records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_floor: Option<Timestamp>,
    /// The partition is left out of the watermarks.
    pub(crate) is_idle: bool,
}

/// The event time at the end of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommitTime {
    pub(crate) watermarks: Vec<StepWatermark>,
    /// The number of the last commit with an event of a clock that the records alone can't repeat:
    /// a recovery needs a snapshot of it, or of a later commit. 0 if there is none.
    pub(crate) changed: u64,
}

impl CommitTime {
    fn is_default(&self) -> bool {
        *self == CommitTime::default()
    }
}

/// The watermark of the steps behind a set of topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepWatermark {
    /// The topics in the order of the plan.
    pub(crate) topics: Vec<String>,
    pub(crate) watermark: Timestamp,
}

/// The committed range `[from, to)` of a partition, and the sum of its records' digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) digest: u64,
    /// The greatest timestamp of these records. `None` if no record has one, in a state that was
    /// made before timestamps were recorded, and until the commit is passed to the committer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partition_time: Option<Timestamp>,
    /// The last of these records. `None` in a state that was made before it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<LastRecord>,
}

/// The last record of a range, by which a log that was recreated is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastRecord {
    pub(crate) offset: u64,
    /// Its digest, keyed by the secret of the state.
    pub(crate) digest: u64,
}

impl Bound {
    /// Returns true if both ranges hold the same records; their timestamps may be unknown.
    pub(crate) fn same_records(&self, other: &Bound) -> bool {
        (self.from, self.to, self.digest) == (other.from, other.to, other.digest)
    }
}

/// The visible rows of a sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SinkState {
    /// Its description and location, for people only.
    pub(crate) sink: String,
    pub(crate) identity: Identity,
    pub(crate) rows: u64,
    pub(crate) digest: u64,
    /// The rule of the digest, [`ROW_DIGESTS`]; 0 in a state that was made before it was recorded.
    #[serde(default)]
    pub(crate) rule: u32,
    /// The content of this commit; `None` if it changes nothing here.
    pub(crate) content: Option<serde_json::Value>,
}

/// The format of a generation or a manifest, which is read before anything else. The first
/// generations have none.
#[derive(Deserialize)]
pub(super) struct Format {
    format: Option<u32>,
    app: Option<serde::de::IgnoredAny>,
}

/// Fails if a run of another version wrote the state. An object without format and application is
/// not of any run; reading its other fields fails.
pub(super) fn check_format(state: &Store, Format { format, app }: Format) -> Result<()> {
    let version = match format {
        Some(FORMAT) => return Ok(()),
        None if app.is_none() => return Ok(()),
        Some(later) if later > FORMAT => "a later",
        _ => "an earlier",
    };
    Err(Error::data(format!(
        "{} is the state of {version} version, from which this one can't continue",
        state.name("")
    ))
    .hint("Run the version that made it, or begin anew.")
    .advise(Advice::OtherPlaces))
}

/// Returns the topics whose visible rows were changed by commit `n`, as its `state` recorded it;
/// `None` if the state has no such commit.
///
/// # Errors
/// When the state can't be read.
pub fn changed(state: &Store, n: u64) -> Result<Option<Vec<String>>> {
    let path = format!("manifest/{n:020}");
    let Some(bytes) = state.get(&path)? else { return Ok(None) };
    let corrupt =
        |e| Error::data(format!("{} is not as a run wrote it", state.name(&path))).because(e);
    check_format(state, serde_json::from_slice(&bytes).map_err(corrupt)?)?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(corrupt)?;
    let changed = manifest.sinks.into_iter().filter(|(_, sink)| sink.content.is_some());
    let cleared = manifest.reset.into_iter().flat_map(|reset| reset.topics);
    Ok(Some(changed.map(|(topic, _)| topic).chain(cleared).collect()))
}
