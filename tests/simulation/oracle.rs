//! The expected rows of a world, by plain loops over its records.

use std::collections::BTreeMap;

use watershed::DEAD_LETTERS;

use super::programs::Program;

/// A record of a world.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) topic: &'static str,
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) key: &'static str,
    /// A number; none deletes. An error is no number.
    pub(super) value: Result<Option<i64>, ()>,
}

/// The rows of each topic as text, sorted.
pub(super) type Shown = BTreeMap<&'static str, Vec<String>>;

type Table = BTreeMap<&'static str, i64>;

/// Returns the usable records of a topic in their order.
fn log(records: &[Record], topic: &str) -> Vec<(&'static str, Option<i64>)> {
    let mut log: Vec<&Record> = records.iter().filter(|record| record.topic == topic).collect();
    log.sort_by_key(|record| (record.offset, record.partition));
    log.into_iter().filter_map(|record| Some((record.key, record.value.ok()?))).collect()
}

/// Returns the current rows of a topic that is read as a table.
pub(super) fn table(records: &[Record], topic: &str) -> Table {
    let mut table = Table::new();
    for (key, value) in log(records, topic) {
        match value {
            Some(value) => table.insert(key, value),
            None => table.remove(key),
        };
    }
    table
}

/// Returns the records of a topic that is read as a stream.
pub(super) fn stream(records: &[Record], topic: &str) -> Vec<(&'static str, i64)> {
    log(records, topic).into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn shown<K: std::fmt::Display>(rows: impl IntoIterator<Item = (K, i64)>) -> Vec<String> {
    let mut rows: Vec<String> =
        rows.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    rows.sort();
    rows
}

/// Returns topic, partition and offset of the unusable records.
fn dead(records: &[Record]) -> Vec<String> {
    let is_dead = |record: &&Record| match record.value {
        Ok(value) => value.is_none() && record.topic == "events",
        Err(()) => true,
    };
    let place = |record: &Record| {
        let Record { topic, partition, offset, .. } = record;
        format!("{topic}={partition}={offset}")
    };
    let mut dead: Vec<_> = records.iter().filter(is_dead).map(place).collect();
    dead.sort();
    dead
}

/// Returns the rows of each topic that the program writes. Its results must not depend on the ends
/// of epochs.
pub(super) fn rows(program: Program, records: &[Record]) -> Shown {
    let (left, right) = (table(records, "left"), table(records, "right"));
    let events = stream(records, "events");
    let mut rows = match program {
        Program::Tables => tables(&left, &events),
        Program::Joins => joins(&left, &right, &events),
        Program::Changes => Shown::new(),
    };
    let read = program.sources();
    let read: Vec<Record> =
        records.iter().filter(|record| read.contains(&record.topic)).cloned().collect();
    rows.insert(DEAD_LETTERS, dead(&read));
    rows
}

fn tables(left: &Table, events: &[(&'static str, i64)]) -> Shown {
    let (mut counts, mut sums) = (BTreeMap::new(), BTreeMap::new());
    for value in left.values() {
        *counts.entry(value % 3).or_insert(0) += 1;
    }
    for (key, event) in events {
        if let Some(row) = left.get(key) {
            *sums.entry(*key).or_insert(0) += event * 100 + row;
        }
    }
    Shown::from([
        ("kept", shown(left.clone())),
        ("counts", shown(counts)),
        ("all", shown(events.iter().copied())),
        ("sums", shown(sums)),
    ])
}

fn joins(left: &Table, right: &Table, events: &[(&'static str, i64)]) -> Shown {
    let joined: Table =
        left.iter().filter_map(|(key, l)| Some((*key, l * 100 + right.get(key)?))).collect();
    let optional = left.iter().map(|(key, l)| (*key, l * 100 + right.get(key).unwrap_or(&50)));
    let (mut greatest, mut groups) = (BTreeMap::new(), BTreeMap::<i64, Vec<i64>>::new());
    for value in joined.values() {
        let max = greatest.entry(value % 3).or_insert(*value);
        *max = *value.max(max);
    }
    for value in left.values() {
        groups.entry(value % 2).or_default().push(*value);
    }
    let median = |(group, mut values): (i64, Vec<i64>)| {
        values.sort_unstable();
        (group, values[(values.len() - 1) / 2])
    };
    Shown::from([
        ("joined", shown(joined)),
        ("optional", shown(optional)),
        ("greatest", shown(greatest)),
        ("median", shown(groups.into_iter().map(median))),
        ("latest", shown(events.iter().copied().collect::<Table>())),
    ])
}

/// Checks rows that depend on where epochs ended: `all` are the changes of a table, `kept` the last
/// change of each key, `counts` the numbers of changes, and `sums` those of changes and events.
///
/// # Errors
/// The difference.
pub(super) fn check_changes(found: &Shown, records: &[Record]) -> Result<(), String> {
    let pairs = |topic: &str| -> Vec<(String, i64)> {
        let pair = |row: &String| {
            let (key, value) = row.rsplit_once('=').unwrap();
            (key.to_string(), value.parse().unwrap())
        };
        found[topic].iter().map(pair).collect()
    };
    let current = table(records, "left");
    let (mut counts, mut sums, mut last) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (key, value) in pairs("all") {
        *counts.entry(key.clone()).or_insert(0) += 1;
        *sums.entry(key.clone()).or_insert(0) += value;
        last.insert(key.clone(), current.get(&*key).copied().unwrap_or(-1));
    }
    for (key, value) in stream(records, "events") {
        *sums.entry(key.to_string()).or_insert(0) += value;
    }
    let expected = [("counts", counts), ("sums", sums), ("kept", last)];
    for (topic, expected) in expected {
        let (found, expected) = (&found[topic], shown(expected));
        if *found != expected {
            return Err(format!("{topic} is {found:?}, not {expected:?}"));
        }
    }
    match current.keys().find(|key| !pairs("all").iter().any(|(found, _)| found == *key)) {
        Some(key) => Err(format!("all changes of {key} are lost")),
        None => Ok(()),
    }
}
