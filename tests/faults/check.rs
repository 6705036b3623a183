//! The comparison of a lake with the oracle: every version of every table, and the chain of
//! manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};
use watershed::connectors::delta::Table;

use super::manifest::manifest;
use super::oracle::{Answer, Oracle};
use super::worlds::Log;
use crate::support::lake::{folders, named, table_lines};

/// Counts of comparisons, and the differences that they found.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) rows: u64,
    pub(crate) versions: u64,
    pub(crate) commits: u64,
    /// Commits of another topology than the one before.
    pub(crate) adoptions: u64,
    /// Late records in the snapshots that were compared.
    pub(crate) late: u64,
    /// Rows of the oracle that a version lacks.
    pub(crate) lost: u64,
    /// Rows of a version that the oracle lacks.
    pub(crate) surplus: u64,
    pub(crate) faults: Vec<String>,
}

/// The part of a table's log that was compared.
#[derive(Default)]
struct Checked {
    /// The number of versions.
    versions: u64,
    /// The commits in them, ascending.
    commits: Vec<u64>,
}

/// The comparison of one lake, from death to death.
pub(crate) struct Checker {
    lake: PathBuf,
    tables: BTreeMap<String, Checked>,
    /// The oracle's answers by commit.
    expected: BTreeMap<u64, Answer>,
    /// The end of each partition at the last manifest, by topic and partition.
    ends: BTreeMap<(String, String), u64>,
    generation: u64,
    manifest: u64,
    /// The topology of the last manifest, unless it is a reset.
    topology: Option<String>,
    /// The commit of the youngest snapshot that was compared.
    snapshot: u64,
    /// The manifests that reset the state.
    resets: BTreeSet<u64>,
}

impl Checker {
    pub(crate) fn new(lake: &Path) -> Self {
        Checker {
            lake: lake.into(),
            tables: BTreeMap::new(),
            expected: BTreeMap::from([(0, Answer::default())]),
            ends: BTreeMap::new(),
            generation: 0,
            manifest: 0,
            topology: None,
            snapshot: 0,
            resets: BTreeSet::new(),
        }
    }

    /// Compares everything that was made since the last call. No process may write meanwhile.
    /// All of it was made by runs of one `version` of the program.
    pub(crate) fn check(
        &mut self,
        log: &dyn Log,
        oracle: &mut Oracle,
        version: u8,
        findings: &mut Findings,
    ) {
        self.read_manifests(log, oracle, version, findings);
        let lake = self.lake.display().to_string();
        for folder in folders(&lake) {
            self.check_table(&format!("{lake}/{folder}"), &folder, findings);
        }
        self.check_settled(findings);
        // Later versions name this commit or later ones.
        let oldest = self.tables.values().filter_map(|table| table.commits.last()).min();
        let oldest = oldest.copied().unwrap_or(0);
        self.expected = self.expected.split_off(&oldest);
        self.expected.entry(0).or_default();
    }

    /// Compares the last version of each table with the oracle over the whole log.
    pub(crate) fn check_end(
        &mut self,
        log: &dyn Log,
        oracle: &mut Oracle,
        version: u8,
        findings: &mut Findings,
    ) {
        let expected = oracle.answer(log.held(), &Json::Null, version);
        let lake = self.lake.display().to_string();
        let mut found: Vec<String> = Vec::new();
        for folder in folders(&lake) {
            let name = named(&folder);
            match Table::open(&format!("{lake}/{folder}")) {
                Ok(table) => compare("the end", &name, &table, &expected, findings),
                Err(error) => findings.faults.push(format!("the end: {name}: {error}")),
            }
            found.push(name);
        }
        let expected = expected.tables.keys().chain(expected.choices.keys());
        let missing = expected.filter(|name| !found.contains(name));
        findings.faults.extend(missing.map(|name| format!("the end: there is no table {name}")));
    }

    /// Reads the new manifests, and checks that they continue the earlier ones.
    fn read_manifests(
        &mut self,
        log: &dyn Log,
        oracle: &mut Oracle,
        version: u8,
        findings: &mut Findings,
    ) {
        loop {
            let n = self.manifest + 1;
            let Some(manifest) = manifest(&self.lake, n) else { break };
            let generation = manifest["generation"].as_u64().unwrap();
            if manifest["n"] != n || generation < self.generation {
                findings.faults.push(format!("manifest {n} is of generation {generation}"));
            }
            let is_reset = !manifest["reset"].is_null();
            let topology = Some(manifest["topology"].to_string()).filter(|_| !is_reset);
            let before = std::mem::replace(&mut self.topology, topology);
            findings.adoptions +=
                u64::from(before.is_some() && before != self.topology && !is_reset);
            if is_reset {
                oracle.reset();
                self.ends.clear();
                self.resets.insert(n);
            }
            let mut ends = Map::new();
            for (topic, sources) in manifest["sources"].as_object().unwrap() {
                let partitions = sources[0]["partitions"].as_object().unwrap();
                for (partition, bound) in partitions {
                    let (from, to) =
                        (bound["from"].as_u64().unwrap(), bound["to"].as_u64().unwrap());
                    let key = (topic.clone(), partition.clone());
                    let first = log.first(partition.parse().unwrap());
                    let before = self.ends.insert(key, to).unwrap_or(first);
                    if from != first || to < before {
                        findings.faults.push(format!(
                            "manifest {n} binds {from}..{to} of {topic} {partition} after {before}"
                        ));
                    }
                }
                let misplaced = log.misplaced(topic, &sources[0]);
                findings
                    .faults
                    .extend(misplaced.iter().map(|place| format!("manifest {n} records {place}")));
                let ends_of = partitions.iter().map(|(p, bound)| (p.clone(), bound["to"].clone()));
                ends.insert(topic.clone(), Json::Object(ends_of.collect()));
            }
            let expected = match is_reset {
                true => Answer::default(),
                false => oracle.answer(log.held(), &Json::Object(ends), version),
            };
            self.expected.insert(n, expected);
            self.check_late(&manifest, findings);
            (self.manifest, self.generation) = (n, generation);
            findings.commits += 1;
        }
    }

    /// Compares the numbers of late records in the youngest snapshot, unless it is collected.
    fn check_late(&mut self, manifest: &Json, findings: &mut Findings) {
        let name = &manifest["snapshots"][0];
        let Some(n) = name["n"].as_u64().filter(|n| *n > self.snapshot) else { return };
        self.snapshot = n;
        let expected = self.expected.get(&n);
        let path = self.lake.join("_watershed").join(name["path"].as_str().unwrap_or_default());
        let (Some(expected), Ok(snapshot)) = (expected, fs::read(path)) else { return };
        let snapshot: Json = serde_json::from_slice(&snapshot).unwrap();
        let counts = snapshot["late"].as_object().into_iter().flatten();
        // The last step of a chain is the one that counts. Its name is quoted.
        let counts = counts.map(|(chain, count)| {
            let name = chain.rsplit('"').nth(1).unwrap_or(chain);
            (name.to_string(), count.as_u64().unwrap())
        });
        let counts: BTreeMap<String, u64> = counts.collect();
        findings.late += counts.values().sum::<u64>();
        if counts != expected.late {
            let late = &expected.late;
            findings.faults.push(format!("{name}: {counts:?} late records, not {late:?}"));
        }
    }

    /// Compares each new version of a table with the oracle at the commit that it names.
    fn check_table(&mut self, url: &str, folder: &str, findings: &mut Findings) {
        let name = named(folder);
        let checked = self.tables.entry(folder.to_string()).or_default();
        loop {
            let version = checked.versions;
            let log = Path::new(url).join(format!("_delta_log/{version:020}.json"));
            let Ok(actions) = fs::read_to_string(log) else { break };
            let actions: Vec<Json> =
                actions.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let last = checked.commits.last().copied().unwrap_or(0);
            for txn in actions.iter().filter_map(|action| action["txn"]["version"].as_u64()) {
                if txn <= last {
                    findings.faults.push(format!("{name} version {version}: commit {txn} again"));
                }
                checked.commits.push(txn);
            }
            let commit = checked.commits.last().copied().unwrap_or(0);
            let at = format!("version {version}, commit {commit}");
            checked.versions += 1;
            let moves = |action: &Json| action.get("add").or(action.get("remove")).is_some();
            if !actions.iter().any(moves) {
                // A version without files has the rows of the one before it.
                continue;
            }
            match (Table::at_version(url, version), self.expected.get(&commit)) {
                (Ok(table), Some(expected)) => {
                    compare(&at, &name, &table, expected, findings);
                }
                (Ok(_), None) => {
                    findings.faults.push(format!("{name} {at}: there is no such manifest"));
                }
                (Err(error), _) => findings.faults.push(format!("{name} {at}: {error}")),
            }
        }
    }

    /// Checks that no table lacks a commit that changes its rows. The last one may be missing: the
    /// next run makes it visible, or resets the table.
    fn check_settled(&self, findings: &mut Findings) {
        let before_reset = |n: u64| self.resets.contains(&(n + 1));
        let settled = self.expected.range(..self.manifest).filter(|(n, _)| !before_reset(**n));
        for (n, expected) in settled {
            for (folder, checked) in &self.tables {
                let shown = checked.commits.iter().rev().find(|commit| *commit <= n);
                let name = named(folder);
                let rows = |answer: &Answer| answer.tables.get(&name).cloned().unwrap_or_default();
                let shown = self.expected.get(shown.unwrap_or(&0));
                if shown.is_some_and(|shown| rows(shown) != rows(expected)) {
                    findings.faults.push(format!("{name} lacks commit {n}"));
                }
            }
        }
    }
}

/// Compares the rows of a table with those of the oracle.
fn compare(at: &str, name: &str, table: &Table, expected: &Answer, findings: &mut Findings) {
    let found = match table_lines(name, table) {
        Ok(found) => found,
        Err(error) => return findings.faults.push(format!("{name} {at}: {error}")),
    };
    findings.rows += found.len() as u64;
    findings.versions += 1;
    let (lost, surplus) = match expected.choices.get(name) {
        Some(choices) => choices.compare(&found),
        None => {
            let nothing = Vec::new();
            let expected = expected.tables.get(name).unwrap_or(&nothing);
            (missing(expected, &found), missing(&found, expected))
        }
    };
    findings.lost += lost.len() as u64;
    findings.surplus += surplus.len() as u64;
    if !lost.is_empty() || !surplus.is_empty() {
        let show = |rows: &[String]| format!("{:#?}", &rows[..rows.len().min(3)]);
        findings.faults.push(format!(
            "{name} {at}: {} rows lost {}, {} rows too many {}",
            lost.len(),
            show(&lost),
            surplus.len(),
            show(&surplus)
        ));
    }
}

/// Returns the sorted `rows` that the sorted `others` lack; each repetition counts.
fn missing(rows: &[String], others: &[String]) -> Vec<String> {
    let mut others = others.iter().peekable();
    let lacks = |row: &&String| {
        while others.next_if(|other| other < row).is_some() {}
        others.next_if_eq(row).is_none()
    };
    rows.iter().filter(lacks).cloned().collect()
}
