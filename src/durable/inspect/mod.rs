//! The inspection of a state without a run: its manifests, snapshots and layers, the reads of a
//! restart, and the damage.
//!
//! It only reads, and a run may be going. Objects are never replaced, but a run deletes old ones.
//! So if an object is missing and the run has committed meanwhile, the inspection begins again.

mod chain;
mod layers;
mod report;

use std::collections::{BTreeMap, BTreeSet};

pub use report::{
    ClockReport, Consequence, CutReport, Damage, Depth, Finding, KeysReport, LayerReport,
    ManifestRange, Restart, SnapshotReport, StateReport, StoredObject, Tail, TimeReport, Verified,
    WatermarkReport,
};

use super::manifest::{Manifest, SnapshotName, StepWatermark};
use super::snapshot::Snapshot;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use chain::numbers;
use layers::{LayerContent, Stored};

/// The number of inspections after which missing objects are reported, although a run commits.
const MAX_INSPECTIONS: usize = 20;

/// Inspects the state in `store`, and changes nothing. A run of the state may be going.
///
/// ```
/// use watershed::connect::memory::{MemoryLog, MemoryTable};
/// use watershed::prelude::*;
/// use watershed::runtime::{Consequence, Depth, inspect};
/// use watershed::store::Store;
///
/// let topology = Topology::new("copy", |builder: &StreamsBuilder<'_>| {
///     let rows = builder.table::<String, String>("in", Consumed::with(Utf8, Utf8));
///     rows.to("out", Produced::columns(["key", "value"]));
/// });
/// let input = MemoryLog::default();
/// input.append(0, Some(b"tea"), Some(b"green"));
/// # let folder = tempfile::tempdir().unwrap();
/// let state = Store::open(folder.path().to_str().unwrap())?;
/// let streams = Streams::new(topology).source("in", input).sink("out", MemoryTable::default());
/// streams.run(Config { state: Some(state.clone()), ..Config::default() })?;
///
/// let report = inspect(&state, Depth::Checksums)?;
/// assert_eq!(report.program.as_deref(), Some("copy"));
/// assert_eq!(report.consequence(), Consequence::Nothing);
/// assert_eq!(report.restart.topics["in"].records, 0); // the snapshot has all of them
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// When there is no state, a run of another version made it, or it can't be read. Damage is not an
/// error.
pub fn inspect(store: &Store, depth: Depth) -> Result<StateReport> {
    let mut inspections = 1;
    loop {
        let report = once(store, depth)?;
        let is_missing = report.damage.iter().any(|damage| damage.finding == Finding::Missing);
        let last = report.manifests.as_ref().map(|manifests| manifests.last);
        let newest = numbers(store, "manifest")?.last().map(|(n, _)| *n);
        if !is_missing || newest == last || inspections == MAX_INSPECTIONS {
            return Ok(report);
        }
        inspections += 1;
    }
}

fn once(store: &Store, depth: Depth) -> Result<StateReport> {
    let verified = (depth == Depth::Checksums).then(Verified::default);
    let mut report = StateReport { verified, ..StateReport::default() };
    chain::generation(store, &mut report)?;
    let last = chain::manifests(store, depth, &mut report)?;
    if report.generation == 0 && report.manifests.is_none() {
        return Err(Error::config(format!("there is no state in {}", store.name("")))
            .hint("Give the place of the state of a run."));
    }
    let mut kept = BTreeSet::new();
    if let Some(last) = &last {
        report.app = Some(last.app.clone());
        let found = snapshots(store, depth, last, &mut report, &mut kept)?;
        report.time = time(last);
        report.restart = restart(last, &found, &report.snapshots);
    }
    // The last manifest decides which objects are needed.
    let is_known = last.is_some() || report.manifests.is_none();
    for folder in ["layer", "snap"].iter().filter(|_| is_known) {
        for (name, bytes) in store.list(folder)? {
            let path = format!("{folder}/{name}");
            if !kept.contains(&path) {
                report.unneeded.push(StoredObject { path, bytes });
            }
        }
    }
    Ok(report)
}

/// Inspects the snapshots that the last manifest names, and returns their objects. `kept` receives
/// the paths of the objects that they need.
fn snapshots(
    store: &Store,
    depth: Depth,
    last: &Manifest,
    report: &mut StateReport,
    kept: &mut BTreeSet<String>,
) -> Result<Vec<Option<Snapshot>>> {
    // Snapshots share layers.
    let mut read: BTreeMap<String, LayerContent> = BTreeMap::new();
    let mut found = Vec::new();
    for name in &last.snapshots {
        kept.insert(name.path.clone());
        let snapshot = snapshot(store, name, report)?;
        let mut one = SnapshotReport {
            commit: name.n,
            path: name.path.clone(),
            is_sound: snapshot.is_some(),
            ..SnapshotReport::default()
        };
        for file in snapshot.iter().flat_map(|snapshot| &snapshot.layers) {
            kept.insert(file.path.clone());
            if !read.contains_key(&file.path) {
                let content = match depth {
                    Depth::Listing => layers::list(store, file)?,
                    Depth::Checksums => layers::verify(store, file)?,
                };
                if let Some(verified) = &mut report.verified {
                    verified.layers += 1;
                    verified.blocks += content.verified;
                    verified.bytes += file.size;
                }
                read.insert(file.path.clone(), content);
            }
            let layers::LayerContent { damage, .. } = &read[&file.path];
            one.is_sound &= damage.is_none();
            let (path, bytes) = (file.path.clone(), file.size);
            one.layers.push(LayerReport { path, bytes, is_merged: file.is_merged });
        }
        add_cuts(&mut one, snapshot.as_ref(), &read);
        report.snapshots.push(one);
        found.push(snapshot);
    }
    report_layers(report, &read);
    weigh(report);
    Ok(found)
}

/// Reads the object of a snapshot; none if it is damaged.
fn snapshot(
    store: &Store,
    name: &SnapshotName,
    report: &mut StateReport,
) -> Result<Option<Snapshot>> {
    match Snapshot::read(store, name) {
        Ok(snapshot) => {
            if let Some(verified) = &mut report.verified {
                verified.snapshots += 1;
            }
            Ok(Some(snapshot))
        }
        Err(error) if error.kind() == ErrorKind::Data => {
            let is_missing = store.get(&name.path)?.is_none();
            let finding = if is_missing { Finding::Missing } else { Finding::Changed };
            let (path, consequence) = (name.path.clone(), Consequence::Nothing);
            report.damage.push(Damage { path, finding, blocks: Vec::new(), consequence });
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Adds the rows of each cut in the layers of a snapshot.
fn add_cuts(
    one: &mut SnapshotReport,
    snapshot: Option<&Snapshot>,
    read: &BTreeMap<String, LayerContent>,
) {
    let Some(snapshot) = snapshot else { return };
    let content = || snapshot.layers.iter().filter_map(|file| read.get(&file.path));
    let mut spaces: BTreeMap<&String, Stored> = BTreeMap::new();
    for (space, stored) in content().flat_map(|content| &content.keys) {
        spaces.entry(space).or_default().add(stored);
    }
    for (name, Stored { rows: keys, bytes }) in spaces {
        one.keys.push(KeysReport { name: name.clone(), keys, bytes });
        one.bytes += bytes;
    }
    for cut in &snapshot.cuts {
        let mut sum = Stored::default();
        content().filter_map(|content| content.cuts.get(cut)).for_each(|stored| sum.add(stored));
        let Stored { rows, bytes } = sum;
        let (name, types) = (cut.name.clone(), cut.types.clone());
        one.cuts.push(CutReport { name, types, rows, bytes });
        one.rows += rows;
        one.bytes += bytes;
    }
}

/// Reports the damaged layers.
fn report_layers(report: &mut StateReport, read: &BTreeMap<String, LayerContent>) {
    for (path, content) in read {
        if let Some(damage) = &content.damage {
            let (path, blocks) = (path.clone(), damage.blocks.clone());
            let (finding, consequence) = (damage.finding, Consequence::Nothing);
            report.damage.push(Damage { path, finding, blocks, consequence });
        }
    }
}

/// Sets the consequence of each damage of a snapshot or its layers.
fn weigh(report: &mut StateReport) {
    let usable = report.snapshots.iter().position(|snapshot| snapshot.is_sound);
    for damage in &mut report.damage {
        let needs = |snapshot: &SnapshotReport| {
            snapshot.path == damage.path
                || snapshot.layers.iter().any(|layer| layer.path == damage.path)
        };
        if let Some(youngest) = report.snapshots.iter().position(needs) {
            damage.consequence = match usable {
                None => Consequence::AllRecords,
                Some(usable) if usable < youngest => Consequence::NoSpare,
                Some(_) => Consequence::LongerTail,
            };
        }
    }
}

/// Returns the event time at the commit of a manifest.
fn time(last: &Manifest) -> TimeReport {
    let watermark =
        |it: &StepWatermark| WatermarkReport { topics: it.topics.clone(), at: it.watermark.0 };
    let watermarks = last.time.watermarks.iter().map(watermark).collect();
    let mut clocks = Vec::new();
    for (topic, sources) in &last.sources {
        for (source, state) in sources.iter().enumerate() {
            clocks.extend(state.clocks.iter().map(|(partition, clock)| ClockReport {
                topic: topic.clone(),
                source,
                partition: *partition,
                at: state.time(*partition).map(|at| at.0),
                is_idle: clock.is_idle,
            }));
        }
    }
    TimeReport { watermarks, clocks }
}

/// Returns the reads of a restart: the youngest sound snapshot and the records behind it.
fn restart(last: &Manifest, found: &[Option<Snapshot>], reports: &[SnapshotReport]) -> Restart {
    let usable = found.iter().zip(reports).find(|(_, report)| report.is_sound);
    let snapshot = usable.and_then(|(snapshot, _)| snapshot.as_ref());
    let mut topics = BTreeMap::new();
    for (topic, states) in &last.sources {
        let mut tail = Tail::default();
        for (rank, state) in states.iter().enumerate() {
            let saved = snapshot.and_then(|snapshot| snapshot.sources.get(topic)?.get(rank));
            for (partition, bound) in &state.partitions {
                let saved = saved.and_then(|state| state.partitions.get(partition));
                let from = saved.map_or(bound.from, |saved| saved.to);
                tail.records += bound.to.saturating_sub(from);
            }
        }
        let before = snapshot.and_then(|snapshot| snapshot.topics.get(topic));
        tail.bytes = before.filter(|before| before.read > 0).map(|before| {
            let bytes = u128::from(tail.records) * u128::from(before.bytes);
            u64::try_from(bytes / u128::from(before.read)).unwrap_or(u64::MAX)
        });
        topics.insert(topic.clone(), tail);
    }
    let layers = usable.iter().flat_map(|(_, report)| &report.layers);
    Restart {
        snapshot: snapshot.map(|snapshot| snapshot.n),
        layer_bytes: layers.map(|layer| layer.bytes).sum(),
        topics,
    }
}
