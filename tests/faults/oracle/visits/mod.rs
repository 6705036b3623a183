//! The oracle of `visits`: windows, sessions, joins and folds by plain loops over all records.
//!
//! Times are microseconds. A record is late for a window if its partition, up to the record, has
//! come to the end of the window and the grace. A window closes when the greatest times of all
//! partitions have come so far.

mod epochs;
mod joins;
mod windows;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::Answer;
use super::choices::{Choice, Choices};
use crate::support::lake::{Tables, lines};
use epochs::Past;

const SECOND: i64 = 1_000_000;

/// The objects of an archive that were read so far.
#[derive(Default)]
pub(crate) struct Archive {
    objects: BTreeMap<PathBuf, Vec<Vec<u8>>>,
    /// The answers that later ones depend on, in the order of commits.
    past: Past,
}

/// A view or an order that could be decoded.
#[derive(Clone)]
struct Visit {
    partition: u32,
    offset: u64,
    user: i64,
    n: i64,
    at: i64,
    /// The greatest time of its partition up to it.
    partition_time: i64,
}

/// All records of a topic of visits.
struct Visits {
    all: Vec<Visit>,
    /// The least of the greatest times of all partitions; none if one of them has no time.
    watermark: Option<i64>,
}

/// A change of the limit of a user; none deletes it.
struct Limit {
    partition: u32,
    offset: u64,
    user: i64,
    n: Option<i64>,
}

impl Limit {
    fn place(&self) -> (u64, u32) {
        (self.offset, self.partition)
    }

    /// Returns the later one of two.
    fn later<'l>(&'l self, other: &'l Self) -> &'l Self {
        if self.place() > other.place() { self } else { other }
    }
}

/// The records of all topics up to the ends of a commit.
struct Inputs {
    views: Visits,
    orders: Visits,
    both: Visits,
    /// All changes of limits.
    changes: Vec<Limit>,
    /// The limits of users that stand.
    limits: BTreeMap<i64, i64>,
    /// The end of each partition, by topic and partition; null for no ends.
    ends: Json,
}

/// The rows of tables.
#[derive(Default)]
struct Rows {
    of: BTreeMap<String, Vec<Json>>,
    /// The tables that depend on where epochs end.
    choices: BTreeMap<String, Choices>,
    /// The origins of dead letters.
    letters: Vec<String>,
}

impl Rows {
    fn add(&mut self, table: &str, row: Json) {
        self.of.entry(table.into()).or_default().push(row);
    }

    /// Adds the possible rows of a key.
    fn choose(&mut self, table: &str, choice: Choice) {
        self.choices.entry(table.into()).or_default().keys.push(choice);
    }

    /// Returns the sorted rows as text.
    fn tables(mut self) -> Tables {
        let mut tables: Tables =
            self.of.iter().map(|(name, rows)| (name.clone(), lines(rows))).collect();
        self.letters.sort();
        tables.insert("dead_letters".into(), self.letters);
        tables
    }
}

/// The numbers of late records by step.
type Late = BTreeMap<String, u64>;

impl Archive {
    /// Returns the outputs for the records up to `ends`. A version has the bits of its changes, and
    /// from the fourth on the number of its family of tables. In one with the bit 4, there is one
    /// more table.
    pub(super) fn answer(&mut self, archive: &Path, ends: &Json, version: u8) -> Answer {
        let (mut rows, mut late) = (Rows::default(), Late::new());
        let inputs = self.inputs(archive, ends, &mut rows);
        match version >> 3 {
            0 => windows::tables(&inputs, version, &mut rows, &mut late),
            1 => joins::tables(&inputs, version, &mut rows, &mut late),
            _ => epochs::tables(&inputs, &mut self.past, &mut rows, &mut late),
        }
        let limits = &inputs.limits;
        if version >> 3 > 0 {
            totals(limits, version & 1 > 0, &mut rows);
        }
        if version & 4 > 0 {
            let mut digits: BTreeMap<i64, i64> = BTreeMap::new();
            limits.values().for_each(|limit| *digits.entry(limit % 10).or_default() += 1);
            for (digit, count) in digits {
                rows.add("digits", json!({"digit": digit, "limits": count}));
            }
        }
        let choices = std::mem::take(&mut rows.choices);
        Answer { tables: rows.tables(), choices, late }
    }

    /// Forgets the answers: the next run makes all of them again.
    pub(super) fn forget(&mut self) {
        self.past = Past::default();
    }

    /// Reads the records of all topics up to `ends`.
    fn inputs(&mut self, archive: &Path, ends: &Json, rows: &mut Rows) -> Inputs {
        let views = self.visits(archive, "view", ends, rows);
        let orders = self.visits(archive, "order", ends, rows);
        let changes = self.limits(archive, ends, rows);
        let both = Visits {
            all: views.all.iter().chain(&orders.all).cloned().collect(),
            watermark: views.watermark.zip(orders.watermark).map(|(one, other)| one.min(other)),
        };
        let mut last: BTreeMap<i64, &Limit> = BTreeMap::new();
        for change in &changes {
            let before = last.entry(change.user).or_insert(change);
            *before = change.later(before);
        }
        let limits = last.into_iter().filter_map(|(user, limit)| Some((user, limit.n?))).collect();
        Inputs { views, orders, both, changes, limits, ends: ends.clone() }
    }

    /// Returns the lines of a topic before `ends` in the order of their positions, by partition.
    fn read(
        &mut self,
        archive: &Path,
        topic: &str,
        ends: &Json,
    ) -> BTreeMap<u32, Vec<(u64, Vec<u8>)>> {
        let mut partitions = BTreeMap::new();
        for folder in fs::read_dir(archive.join("topics").join(topic)).unwrap() {
            let folder = folder.unwrap().path();
            let name = folder.file_name().unwrap().to_str().unwrap();
            let partition: u32 = name.strip_prefix("partition=").unwrap().parse().unwrap();
            let end = match ends {
                Json::Null => u64::MAX,
                ends => ends[topic][partition.to_string()].as_u64().unwrap_or(0),
            };
            let records: &mut Vec<_> = partitions.entry(partition).or_default();
            for object in fs::read_dir(&folder).unwrap() {
                let path = object.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                let Some(name) = name.strip_suffix(".json") else { continue };
                let first: u64 = name.rsplit('+').next().unwrap().parse().unwrap();
                let read = || {
                    let bytes = fs::read(&path).unwrap();
                    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
                    let mut lines: Vec<_> = lines.collect();
                    assert_eq!(lines.pop(), Some(Vec::new()), "{}", path.display());
                    lines
                };
                let lines = self.objects.entry(path.clone()).or_insert_with(read);
                let placed = (first..end).zip(lines.iter().cloned());
                records.extend(placed);
            }
            records.sort();
        }
        partitions
    }

    /// Decodes the visits of a topic.
    fn visits(&mut self, archive: &Path, topic: &str, ends: &Json, rows: &mut Rows) -> Visits {
        let (mut all, mut times) = (Vec::new(), Vec::new());
        for (partition, records) in self.read(archive, topic, ends) {
            let mut time = None;
            for (offset, line) in records {
                let parsed: Json = serde_json::from_slice(&line).unwrap_or_default();
                let field = |name: &str| parsed[name].as_i64();
                let (Some(user), Some(n), Some(at)) = (field("user"), field("n"), field("at"))
                else {
                    rows.letters.push(format!("{topic} {partition} {offset}"));
                    continue;
                };
                let partition_time = at.max(time.unwrap_or(at));
                time = Some(partition_time);
                all.push(Visit { partition, offset, user, n, at, partition_time });
            }
            times.push(time);
        }
        Visits { all, watermark: times.into_iter().min().flatten() }
    }

    /// Decodes the limits of users.
    fn limits(&mut self, archive: &Path, ends: &Json, rows: &mut Rows) -> Vec<Limit> {
        let mut all = Vec::new();
        for (partition, records) in self.read(archive, "limit", ends) {
            for (offset, line) in records {
                let parsed: Json = serde_json::from_slice(&line).unwrap_or_default();
                match parsed["user"].as_i64() {
                    Some(user) => {
                        all.push(Limit { partition, offset, user, n: parsed["n"].as_i64() });
                    }
                    None => rows.letters.push(format!("limit {partition} {offset}")),
                }
            }
        }
        all
    }
}

/// Adds one to the late records of a step.
fn leave_out(late: &mut Late, step: &str) {
    *late.entry(step.into()).or_default() += 1;
}

/// Returns the last `n` of each user, by position.
fn last_of(visits: &Visits) -> BTreeMap<i64, i64> {
    let mut last: BTreeMap<i64, (u64, u32, i64)> = BTreeMap::new();
    for visit in &visits.all {
        let view = (visit.offset, visit.partition, visit.n);
        let before = last.entry(visit.user).or_insert(view);
        *before = view.max(*before);
    }
    last.into_iter().map(|(user, (_, _, n))| (user, n)).collect()
}

/// Counts the limits of each part of the users, or adds them up.
fn totals(limits: &BTreeMap<i64, i64>, counts: bool, rows: &mut Rows) {
    let mut totals: BTreeMap<i64, i64> = BTreeMap::new();
    for (user, limit) in limits {
        *totals.entry(user % 4).or_default() += if counts { 1 } else { *limit };
    }
    for (part, total) in totals {
        rows.add("totals", json!({"part": part, "total": total}));
    }
}
