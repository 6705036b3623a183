//! The comparison of a world with sound runs.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use xxhash_rust::xxh3::xxh3_128;

use super::place::{Place, Program, sorted};

/// Counts of comparisons.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) rows: u64,
    pub(super) versions: u64,
    pub(super) snapshots: u64,
}

/// The comparisons of one world.
#[derive(Default)]
pub(super) struct Checker {
    /// By topic, the first version of a Delta table that was not compared.
    next: BTreeMap<&'static str, u64>,
    /// The ends of partitions, by manifest.
    ends: BTreeMap<u64, BTreeMap<(String, u32), u64>>,
    pub(super) counts: Counts,
}

impl Checker {
    /// Compares everything that is durable, after a life that may have failed. Returns the paths of
    /// the objects that the last manifest needs.
    ///
    /// # Errors
    /// The first difference.
    pub(super) fn check(&mut self, place: &Place) -> Result<Vec<String>, String> {
        let state = place.state();
        let names = state.list("manifest").unwrap();
        let mut last = Json::Null;
        for (index, (name, _)) in names.iter().enumerate() {
            let n: u64 = name.parse().unwrap();
            if n != index as u64 + 1 {
                return Err(format!("manifest {n} follows {index}"));
            }
            let bytes = state.get(&format!("manifest/{name}")).unwrap().unwrap();
            last = serde_json::from_slice(&bytes).unwrap();
            let ends = ends(&last);
            if *self.ends.entry(n).or_insert_with(|| ends.clone()) != ends {
                return Err(format!("manifest {n} has changed"));
            }
        }
        if place.program == Program::Tables {
            for topic in place.topics() {
                let compared = match place.is_delta {
                    true => self.compare_delta(place, topic),
                    false => self.compare_memory(place, topic),
                };
                compared?;
            }
        }
        self.check_snapshots(place, &last)
    }

    fn compare(
        &mut self,
        place: &Place,
        topic: &str,
        n: u64,
        rows: &[String],
    ) -> Result<(), String> {
        let none = BTreeMap::new();
        let ends = match n {
            0 => &none,
            n => self
                .ends
                .get(&n)
                .ok_or_else(|| format!("{topic} has commit {n} without a manifest"))?,
        };
        let expected = sorted(place.expected(ends)[topic].clone());
        self.counts.rows += rows.len() as u64;
        self.counts.versions += 1;
        if expected == rows {
            return Ok(());
        }
        Err(format!("{topic} at commit {n} is {rows:?}, not {expected:?}"))
    }

    fn compare_memory(&mut self, place: &Place, topic: &'static str) -> Result<(), String> {
        let commits = place.world.tables[topic].commits();
        if !commits.is_sorted_by_key(|(n, _)| *n) {
            return Err(format!("{topic} has commits out of order"));
        }
        let last = commits.last().map_or(0, |(n, _)| *n);
        self.compare(place, topic, last, &place.memory_rows(topic))
    }

    fn compare_delta(&mut self, place: &Place, topic: &'static str) -> Result<(), String> {
        let Some(last) = place.last_version(topic) else { return Ok(()) };
        let first = self.next.insert(topic, last + 1).unwrap_or(0);
        let mut commit = 0;
        for version in 0..=last {
            let actions = place.actions(topic, version);
            for n in actions.iter().filter_map(|action| action["txn"]["version"].as_u64()) {
                if n <= commit {
                    return Err(format!("{topic} has commit {n} again in version {version}"));
                }
                commit = n;
            }
        }
        for version in first..=last {
            let (manifest, rows) = place.version_rows(topic, version);
            self.compare(place, topic, manifest.unwrap_or(0), &rows)
                .map_err(|error| format!("version {version}: {error}"))?;
        }
        Ok(())
    }

    /// The snapshots and layers that a manifest names are whole.
    fn check_snapshots(&mut self, place: &Place, manifest: &Json) -> Result<Vec<String>, String> {
        let (state, mut needed) = (place.state(), Vec::new());
        let mut whole = |path: &Json, digest: &Json| {
            let path = path.as_str().unwrap().to_string();
            let bytes = state.get(&path).unwrap();
            let bytes = bytes.filter(|bytes| *digest == format!("{:032x}", xxh3_128(bytes)));
            needed.push(path.clone());
            bytes.ok_or_else(|| format!("{path} is missing or damaged, which a manifest names"))
        };
        for name in manifest["snapshots"].as_array().into_iter().flatten() {
            let snapshot = whole(&name["path"], &name["digest"])?;
            let snapshot: Json = serde_json::from_slice(&snapshot).unwrap();
            self.counts.snapshots += 1;
            for layer in snapshot["layers"].as_array().unwrap() {
                whole(&layer["path"], &layer["digest"])?;
            }
        }
        Ok(needed)
    }

    /// Compares all tables after a life that was not disturbed: nothing is lost.
    ///
    /// # Errors
    /// The first difference.
    pub(super) fn check_end(&mut self, place: &Place) -> Result<(), String> {
        let fresh = place.world.fresh_run();
        let rows = |topic: &'static str| match place.is_delta {
            true => place
                .last_version(topic)
                .map_or(Vec::new(), |last| place.version_rows(topic, last).1),
            false => place.memory_rows(topic),
        };
        if place.program == Program::Changes {
            return consistent(&rows("all"), &rows("counts"), &rows("kept"), &rows("sums"), &fresh);
        }
        for topic in place.topics() {
            let (rows, expected) = (rows(topic), sorted(fresh[topic].clone()));
            self.counts.rows += rows.len() as u64;
            if rows != expected {
                return Err(format!("{topic} ends as {rows:?}, not {expected:?}"));
            }
        }
        Ok(())
    }
}

/// Returns the ends of all partitions in a manifest.
fn ends(manifest: &Json) -> BTreeMap<(String, u32), u64> {
    let mut ends = BTreeMap::new();
    for (topic, sources) in manifest["sources"].as_object().unwrap() {
        for (partition, bound) in sources[0]["partitions"].as_object().unwrap() {
            let partition = partition.parse().unwrap();
            ends.insert((topic.clone(), partition), bound["to"].as_u64().unwrap());
        }
    }
    ends
}

/// Checks rows that depend on where epochs ended: `all` are the changes of a table, `kept` the
/// last change of each key, `counts` the numbers of changes, and `sums` those of changes and
/// events.
fn consistent(
    all: &[String],
    counts: &[String],
    kept: &[String],
    sums: &[String],
    fresh: &BTreeMap<&'static str, Vec<String>>,
) -> Result<(), String> {
    let pair = |row: &String| -> (String, i64) {
        let (key, value) = row.rsplit_once('=').unwrap();
        (key.into(), value.parse().unwrap())
    };
    let (mut count, mut sum, mut last) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let current: BTreeMap<String, i64> = fresh["kept"].iter().map(pair).collect();
    for (key, value) in all.iter().map(pair) {
        *count.entry(key.clone()).or_insert(0) += 1;
        *sum.entry(key.clone()).or_insert(0) += value;
        last.insert(key.clone(), current.get(&key).copied().unwrap_or(-1));
    }
    for (key, value) in fresh["all"].iter().map(pair) {
        *sum.entry(key).or_insert(0) += value;
    }
    let found = [counts, kept, sums].map(|rows| rows.iter().map(pair).collect::<BTreeMap<_, _>>());
    if current.keys().any(|key| !last.contains_key(key)) {
        return Err(format!("changes are lost: {all:?} of {current:?}"));
    }
    let expected = [count, last, sum];
    match found == expected {
        true => Ok(()),
        false => Err(format!("{found:?} are not {expected:?}")),
    }
}
