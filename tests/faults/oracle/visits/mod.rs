//! The oracle of `visits`: windows, sessions and joins by plain loops over all records.
//!
//! It has no epochs and no state. Times are microseconds. A record is late for a window if its
//! partition, up to the record, has come to the end of the window and the grace. A window closes
//! when the greatest times of all partitions have come so far.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::Answer;
use crate::support::lake::{Tables, lines};

const SECOND: i64 = 1_000_000;
/// The tumbling windows, and their grace.
const TUMBLING: i64 = 10 * SECOND;
const TUMBLING_GRACE: i64 = 4 * SECOND;
/// The hopping windows: size, distance, grace and retention.
const HOPPING: i64 = 12 * SECOND;
const HOP: i64 = 5 * SECOND;
const HOPPING_GRACE: i64 = 3 * SECOND;
const HOPPING_KEPT: i64 = 60 * SECOND;
/// The pause that ends a session, and the grace of sessions.
const GAP: i64 = 4 * SECOND;
const SESSION_GRACE: i64 = 5 * SECOND;
/// The reach of a view: how much earlier and later an order may be, and the grace.
const BEFORE: i64 = 2 * SECOND;
const AFTER: i64 = 5 * SECOND;
const JOIN_GRACE: i64 = 3 * SECOND;

/// The objects of an archive that were read so far.
#[derive(Default)]
pub(crate) struct Archive {
    objects: BTreeMap<PathBuf, Vec<Vec<u8>>>,
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

/// The rows of tables.
#[derive(Default)]
struct Rows {
    of: BTreeMap<String, Vec<Json>>,
    /// The origins of dead letters.
    letters: Vec<String>,
}

impl Rows {
    fn add(&mut self, table: &str, row: Json) {
        self.of.entry(table.into()).or_default().push(row);
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
    /// Returns the outputs for the records up to `ends`. In a version with the bit 1, totals count
    /// windows; with 2, outer joins are left joins; with 4, there is one more table.
    pub(super) fn answer(&mut self, archive: &Path, ends: &Json, version: u8) -> Answer {
        let (mut rows, mut late) = (Rows::default(), Late::new());
        let views = self.visits(archive, "view", ends, &mut rows);
        let orders = self.visits(archive, "order", ends, &mut rows);
        let limits = self.limits(archive, ends, &mut rows);
        let both = Visits {
            all: views.all.iter().chain(&orders.all).cloned().collect(),
            watermark: views.watermark.zip(orders.watermark).map(|(one, other)| one.min(other)),
        };
        tumbling(&views, version & 1 > 0, &mut rows, &mut late);
        greatest(&orders, &mut rows, &mut late);
        hopping(&both, &mut rows, &mut late);
        for session in sessions(&both, "sessions", &mut late) {
            let different: BTreeSet<i64> = session.iter().map(|visit| visit.n).collect();
            rows.add("sessions", bounded(&session, "different", different.len() as i64));
        }
        for session in sessions(&orders, "closed_sessions", &mut late) {
            let close = session[session.len() - 1].at + GAP + SESSION_GRACE + 1;
            if orders.watermark.is_some_and(|watermark| close <= watermark) {
                let greatest = session.iter().map(|visit| visit.n).max().unwrap();
                rows.add("closed_sessions", bounded(&session, "amount", greatest));
            }
        }
        outer(&views, &limits, version & 2 > 0, &mut rows);
        if version & 4 > 0 {
            let mut digits: BTreeMap<i64, i64> = BTreeMap::new();
            limits.values().for_each(|limit| *digits.entry(limit % 10).or_default() += 1);
            for (digit, count) in digits {
                rows.add("digits", json!({"digit": digit, "limits": count}));
            }
        }
        within(&views, &orders, both.watermark, &mut rows, &mut late);
        Answer { tables: rows.tables(), late }
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

    /// Returns the limits of users.
    fn limits(&mut self, archive: &Path, ends: &Json, rows: &mut Rows) -> BTreeMap<i64, i64> {
        let mut last: BTreeMap<i64, (u64, u32, Option<i64>)> = BTreeMap::new();
        for (partition, records) in self.read(archive, "limit", ends) {
            for (offset, line) in records {
                let parsed: Json = serde_json::from_slice(&line).unwrap_or_default();
                let Some(user) = parsed["user"].as_i64() else {
                    rows.letters.push(format!("limit {partition} {offset}"));
                    continue;
                };
                let limit = (offset, partition, parsed["n"].as_i64());
                let before = last.entry(user).or_insert(limit);
                *before = limit.max(*before);
            }
        }
        last.into_iter().filter_map(|(user, (_, _, n))| Some((user, n?))).collect()
    }
}

/// Adds one to the late records of a step.
fn leave_out(late: &mut Late, step: &str) {
    *late.entry(step.into()).or_default() += 1;
}

/// Groups values by user and window.
type Windows = BTreeMap<(i64, i64), Vec<i64>>;

fn row(user: i64, start: i64, end: i64, name: &str, value: i64) -> Json {
    json!({"user": user, "start": start, "end": end, name: value})
}

fn tumbling(views: &Visits, counts_windows: bool, rows: &mut Rows, late: &mut Late) {
    let mut windows = Windows::new();
    for visit in &views.all {
        let start = visit.at.div_euclid(TUMBLING) * TUMBLING;
        let end = start + TUMBLING;
        if end + TUMBLING_GRACE <= visit.partition_time {
            rows.add("late", row(visit.user, start, end, "page", visit.n));
            leave_out(late, "counts");
            leave_out(late, "closed");
        } else {
            windows.entry((visit.user, start)).or_default().push(visit.n);
        }
    }
    let mut totals: BTreeMap<i64, i64> = BTreeMap::new();
    for ((user, start), values) in windows {
        let (end, count) = (start + TUMBLING, values.len() as i64);
        rows.add("counts", row(user, start, end, "count", count));
        if views.watermark.is_some_and(|watermark| end + TUMBLING_GRACE <= watermark) {
            rows.add("final", row(user, start, end, "count", count));
            rows.add("closed", row(user, start, end, "sum", values.iter().sum()));
            *totals.entry(user).or_default() += if counts_windows { 1 } else { count };
        }
    }
    for (user, views) in totals {
        rows.add("totals", json!({"user": user, "views": views}));
    }
}

fn greatest(orders: &Visits, rows: &mut Rows, late: &mut Late) {
    let mut windows = Windows::new();
    for visit in &orders.all {
        let start = visit.at.div_euclid(TUMBLING) * TUMBLING;
        if start + TUMBLING + TUMBLING_GRACE <= visit.partition_time {
            leave_out(late, "greatest");
        } else {
            windows.entry((visit.user, start)).or_default().push(visit.n);
        }
    }
    for ((user, start), values) in windows {
        let score = values.iter().map(|n| n % 10).max();
        let best: BTreeSet<i64> = values.into_iter().filter(|n| Some(n % 10) == score).collect();
        for n in best {
            rows.add("greatest", row(user, start, start + TUMBLING, "amount", n));
        }
    }
}

fn hopping(both: &Visits, rows: &mut Rows, late: &mut Late) {
    let mut windows = Windows::new();
    for visit in &both.all {
        let mut start = visit.at.div_euclid(HOP) * HOP;
        while start + HOPPING > visit.at {
            if start + HOPPING + HOPPING_GRACE <= visit.partition_time {
                leave_out(late, "medians");
            } else {
                windows.entry((visit.user, start)).or_default().push(visit.n);
            }
            start -= HOP;
        }
    }
    for ((user, start), mut values) in windows {
        let end = start + HOPPING;
        if both.watermark.is_none_or(|watermark| end + HOPPING_KEPT > watermark) {
            values.sort();
            let median = values[(values.len() - 1) / 2];
            rows.add("medians", row(user, start, end, "median", median));
        }
    }
}

/// Returns the sessions of each user, each in the order of time.
fn sessions(visits: &Visits, step: &str, late: &mut Late) -> Vec<Vec<Visit>> {
    let mut users: BTreeMap<i64, Vec<Visit>> = BTreeMap::new();
    for visit in &visits.all {
        // A record alone is a session, which includes its end.
        if visit.at + GAP + SESSION_GRACE < visit.partition_time {
            leave_out(late, step);
        } else {
            users.entry(visit.user).or_default().push(visit.clone());
        }
    }
    let mut sessions = Vec::new();
    for mut visits in users.into_values() {
        visits.sort_by_key(|visit| visit.at);
        sessions.extend(visits.chunk_by(|a, b| b.at - a.at <= GAP).map(<[Visit]>::to_vec));
    }
    sessions
}

fn bounded(session: &[Visit], name: &str, value: i64) -> Json {
    let (first, last) = (&session[0], &session[session.len() - 1]);
    row(first.user, first.at, last.at, name, value)
}

/// Joins the last view of each user with the limit.
fn outer(views: &Visits, limits: &BTreeMap<i64, i64>, is_left: bool, rows: &mut Rows) {
    let mut last: BTreeMap<i64, (u64, u32, i64)> = BTreeMap::new();
    for visit in &views.all {
        let view = (visit.offset, visit.partition, visit.n);
        let before = last.entry(visit.user).or_insert(view);
        *before = view.max(*before);
    }
    let users: BTreeSet<i64> = last.keys().chain(limits.keys()).copied().collect();
    for user in users {
        let page = last.get(&user).map(|(_, _, n)| *n);
        if page.is_some() || !is_left {
            rows.add("outer", json!({"user": user, "page": page, "limit": limits.get(&user)}));
        }
    }
}

/// Joins views and orders that are near to each other in time.
fn within(
    views: &Visits,
    orders: &Visits,
    watermark: Option<i64>,
    rows: &mut Rows,
    late: &mut Late,
) {
    let mut in_time = |visits: &Visits, ahead: i64| -> Vec<Visit> {
        let is_late = |it: &Visit| it.at + ahead + JOIN_GRACE < it.partition_time;
        let count = visits.all.iter().filter(|it| is_late(it)).count();
        (0..count).for_each(|_| leave_out(late, "within"));
        visits.all.iter().filter(|it| !is_late(it)).cloned().collect()
    };
    let (views, orders) = (in_time(views, AFTER), in_time(orders, BEFORE));
    let mut matched = BTreeSet::new();
    for view in &views {
        let mut is_alone = true;
        for (number, order) in orders.iter().enumerate() {
            let distance = order.at - view.at;
            if view.user == order.user && (-BEFORE..=AFTER).contains(&distance) {
                let (user, page, amount) = (view.user, view.n, order.n);
                rows.add("within", json!({"user": user, "page": page, "amount": amount}));
                matched.insert(number);
                is_alone = false;
            }
        }
        if is_alone && is_over(view, watermark) {
            rows.add("within", json!({"user": view.user, "page": view.n, "amount": null}));
        }
    }
    for (number, order) in orders.iter().enumerate() {
        if !matched.contains(&number) && is_over(order, watermark) {
            rows.add("within", json!({"user": order.user, "page": null, "amount": order.n}));
        }
    }
}

/// Returns true if no record that is in time can be a partner of a visit.
fn is_over(visit: &Visit, watermark: Option<i64>) -> bool {
    let end = visit.at + BEFORE + AFTER + JOIN_GRACE;
    watermark.is_some_and(|watermark| end < watermark)
}
