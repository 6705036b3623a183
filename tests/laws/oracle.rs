//! The expected tables of a set of records, by plain loops over all of them.

use std::collections::{BTreeMap, BTreeSet};

use watershed::row::Value;

use super::feed::{Entry, Payload};
use super::program::reference;

/// The rows of a topic, sorted.
pub(crate) type Rows = Vec<(String, i64)>;
type Table = BTreeMap<String, i64>;

/// The topics that the oracle computes, sorted.
pub(crate) const TOPICS: [&str; 39] = [
    "aggregate",
    "all",
    "all_pairs",
    "both",
    "both_count",
    "count",
    "counts",
    "cut",
    "distinct",
    "enriched_latest",
    "enriched_sum",
    "fifths",
    "filtered",
    "flat",
    "global_sum",
    "imported",
    "joined",
    "last",
    "last_joined",
    "latest",
    "left",
    "left_joined",
    "max",
    "median",
    "min",
    "near",
    "optional_distinct",
    "optional_latest",
    "outer_joined",
    "outer_pairs",
    "outer_referring",
    "pairs",
    "quantile",
    "reduce",
    "referring",
    "rejoined",
    "right",
    "sum",
    "top",
];

/// Rows of a text and an integer.
pub(crate) fn rows_of(rows: &[Vec<Value>]) -> Rows {
    let pair = |row: &Vec<Value>| match &row[..] {
        [Value::Text(key), Value::Long(value)] => (key.clone(), *value),
        other => panic!("{other:?} is no text and integer"),
    };
    rows.iter().map(pair).collect()
}

/// Returns the rows of every topic.
pub(crate) fn tables(entries: &[Entry]) -> BTreeMap<&'static str, Rows> {
    let (left, right) = (latest(entries, "left"), latest(entries, "right"));
    let mut out = BTreeMap::new();
    of_tables(&left, &right, &mut out);
    of_references(&left, &right, &mut out);
    of_groups(&left, &mut out);
    of_streams(entries, &left, &mut out);
    of_pairs(entries, &left, &mut out);
    out.values_mut().for_each(|rows: &mut Rows| rows.sort());
    out
}

/// Returns topic, partition and position of the unusable records, sorted.
pub(crate) fn dead(entries: &[Entry]) -> Vec<(Value, Value, Value)> {
    let dead = |e: &&Entry| {
        e.payload == Payload::Garbage || (e.payload == Payload::Null && e.topic == "events")
    };
    let place = |e: &Entry| {
        (
            Value::Text(e.topic.into()),
            Value::Long(e.partition.into()),
            Value::Text(e.offset.to_string()),
        )
    };
    let mut dead: Vec<_> = entries.iter().filter(dead).map(place).collect();
    dead.sort();
    dead
}

/// Returns the usable records of a topic by position.
fn log<'e>(entries: &'e [Entry], topic: &str) -> Vec<(&'e String, Option<i64>)> {
    let mut log: Vec<&Entry> =
        entries.iter().filter(|e| e.topic == topic && e.payload != Payload::Garbage).collect();
    log.sort_by_key(|e| (e.offset, e.partition));
    log.iter()
        .map(|e| (&e.key, if let Payload::Number(n) = e.payload { Some(n) } else { None }))
        .collect()
}

fn latest(entries: &[Entry], topic: &str) -> Table {
    let mut table = Table::new();
    for (key, value) in log(entries, topic) {
        match value {
            Some(value) => table.insert(key.clone(), value),
            None => table.remove(key),
        };
    }
    table
}

fn of_tables(left: &Table, right: &Table, out: &mut BTreeMap<&'static str, Rows>) {
    let rows = |table: &Table| table.clone().into_iter().collect::<Rows>();
    let filtered: Rows =
        left.iter().filter(|(_, v)| *v % 3 != 0).map(|(k, v)| (k.clone(), v / 2)).collect();
    let mut joined = Table::new();
    let (mut left_joined, mut rejoined) = (Rows::new(), Rows::new());
    for (key, l) in left {
        let r = right.get(key);
        left_joined.push((key.clone(), l * 100 + r.copied().unwrap_or(50)));
        if let Some(r) = r.filter(|r| (l + *r) % 5 != 0) {
            joined.insert(key.clone(), l * 100 + r);
            if l % 2 == 0 {
                rejoined.push((key.clone(), l * 10 + (l * 100 + r) % 7));
            }
        }
    }
    out.extend([
        ("left", rows(left)),
        ("right", rows(right)),
        ("filtered", filtered),
        ("joined", rows(&joined)),
    ]);
    let mut imported = Table::new();
    joined.values().for_each(|v| *imported.entry(format!("v{}", v % 7)).or_default() += 1);
    out.extend([
        ("left_joined", left_joined),
        ("rejoined", rejoined),
        ("imported", rows(&imported)),
    ]);
}

fn of_references(left: &Table, right: &Table, out: &mut BTreeMap<&'static str, Rows>) {
    let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let value = |l: Option<&i64>, r: Option<&i64>| l.unwrap_or(&50) * 100 + r.unwrap_or(&60);
    let outer = keys.into_iter().map(|key| (key.clone(), value(left.get(key), right.get(key))));
    out.insert("outer_joined", outer.collect());
    let (mut referring, mut outer, mut near) = (Rows::new(), Rows::new(), Table::new());
    let mut unmatched = right.clone();
    for (key, l) in left {
        let name = reference(*l);
        let r = name.as_ref().and_then(|name| right.get(name));
        referring.push((key.clone(), l * 100 + r.unwrap_or(&50)));
        outer.push((format!("left {key}"), value(Some(l), r)));
        if let Some(name) = name {
            unmatched.remove(&name);
        }
        for w in right.values() {
            if l % 4 != 1 && w % 3 != 1 && (w - 3..*w).contains(l) {
                *near.entry(key.clone()).or_default() += l * 100 + w;
            }
        }
    }
    outer.extend(unmatched.iter().map(|(key, r)| (format!("right {key}"), value(None, Some(r)))));
    let near = near.into_iter().collect();
    out.extend([("referring", referring), ("outer_referring", outer), ("near", near)]);
}

fn of_groups(left: &Table, out: &mut BTreeMap<&'static str, Rows>) {
    let mut groups: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for v in left.values().filter(|v| *v % 4 != 3) {
        groups.entry(format!("g{}", v % 4)).or_default().push(v / 4);
    }
    let mut put =
        |topic, group: &str, value| out.entry(topic).or_default().push((group.to_string(), value));
    let mut sizes: BTreeMap<usize, i64> = BTreeMap::new();
    for (group, values) in &mut groups {
        values.sort();
        let (n, last) = (values.len(), values.len() - 1);
        let distinct: BTreeSet<i64> = values.iter().copied().collect();
        *sizes.entry(n).or_default() += 1;
        put("count", group, n as i64);
        put("sum", group, values.iter().sum());
        put("min", group, values[0]);
        put("max", group, values[last]);
        put("median", group, values[last / 2]);
        put("quantile", group, values[last * 9 / 10]);
        put("distinct", group, distinct.len() as i64);
        put("reduce", group, values[1..].iter().fold(values[0], |all, v| all * 3 + v));
        put("aggregate", group, values.iter().fold(1, |all, v| all * 3 + v));
        put("pairs", group, values[last / 2] * 100 + n as i64);
        let mut ranked: Vec<i64> = distinct.into_iter().collect();
        ranked.sort_by_key(|v| (-(v % 3), *v));
        let limit = ranked.iter().map(|v| v % 3).nth(1).unwrap_or(i64::MIN);
        ranked.iter().take(2).for_each(|v| put("cut", group, *v));
        ranked.iter().filter(|v| **v % 3 >= limit).for_each(|v| put("top", group, *v));
    }
    sizes.iter().for_each(|(n, count)| put("counts", &format!("n{n}"), *count));
    for topic in TOPICS {
        out.entry(topic).or_default();
    }
}

fn of_streams(entries: &[Entry], left: &Table, out: &mut BTreeMap<&'static str, Rows>) {
    let events: Vec<(&String, i64)> =
        log(entries, "events").into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
    let (mut all, mut flat, mut both) = (Rows::new(), Rows::new(), Rows::new());
    let (mut latest, mut enriched_latest, mut optional_latest) =
        (Table::new(), Table::new(), Table::new());
    let (mut last, mut last_joined) = (Table::new(), Table::new());
    let (mut both_count, mut fifths, mut enriched_sum) = (Table::new(), Table::new(), Table::new());
    let mut optional: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for (key, v) in events {
        all.push((key.clone(), v));
        both.push((v.to_string(), v));
        latest.insert(key.clone(), v);
        last.insert(key.clone(), if v % 2 == 0 { v } else { v + v % 3 });
        last_joined.insert(key.clone(), (v + v % 3) * 100 + left.get(key).copied().unwrap_or(50));
        if v >= 0 {
            flat.extend((0..v % 4).map(|i| (format!("{key}{i}"), i)));
        }
        if v % 5 != 0 {
            *fifths.entry((v % 5).to_string()).or_default() += v;
        }
        if let Some(l) = left.get(key) {
            *enriched_sum.entry(key.clone()).or_default() += v * 100 + l;
            if (v * 100 + l) % 2 == 0 {
                enriched_latest.insert(key.clone(), v * 100 + l);
            }
        }
        let o = v * 100 + left.get(key).copied().unwrap_or(50);
        optional_latest.insert(key.clone(), o);
        optional.entry((o % 100).to_string()).or_default().insert(o);
    }
    both.extend(flat.iter().cloned());
    for (key, _) in &both {
        *both_count.entry(key.clone()).or_default() += 1;
    }
    let distinct =
        optional.into_iter().map(|(group, values)| (group, values.len() as i64)).collect();
    out.extend([("all", all), ("flat", flat), ("both", both), ("optional_distinct", distinct)]);
    let tables = [
        ("last", last),
        ("last_joined", last_joined),
        ("latest", latest),
        ("both_count", both_count),
        ("fifths", fifths),
        ("enriched_sum", enriched_sum),
        ("enriched_latest", enriched_latest),
        ("optional_latest", optional_latest),
    ];
    out.extend(tables.map(|(topic, table)| (topic, table.into_iter().collect())));
}

fn of_pairs(entries: &[Entry], left: &Table, out: &mut BTreeMap<&'static str, Rows>) {
    let mut by_key: BTreeMap<&String, Vec<i64>> = BTreeMap::new();
    for (key, v) in log(entries, "events").into_iter().filter_map(|(k, v)| Some((k, v?))) {
        by_key.entry(key).or_default().push(v);
    }
    let mut pairs = Rows::new();
    let (mut outer, mut global) = (Table::new(), Table::new());
    let add = |table: &mut Table, key: &String, value: i64| {
        *table.entry(key.clone()).or_default() += value;
    };
    for (key, values) in by_key {
        let even: Vec<i64> = values.iter().copied().filter(|v| v % 2 == 0).collect();
        for v in &values {
            pairs.extend(even.iter().map(|w| (key.clone(), v * 100 + w)));
        }
        let enriched: Vec<i64> =
            left.get(key).map_or(vec![], |l| values.iter().map(|v| v * 100 + l).collect());
        match (&even[..], &enriched[..]) {
            ([], enriched) => enriched.iter().for_each(|w| add(&mut outer, key, 5_000 + w)),
            (even, []) => even.iter().for_each(|v| add(&mut outer, key, v * 100 + 60)),
            (even, enriched) => {
                for v in even {
                    enriched.iter().for_each(|w| add(&mut outer, key, v * 100 + w));
                }
            }
        }
        for v in enriched {
            let l = reference(v).and_then(|name| left.get(&name).copied());
            add(&mut global, key, v * 100 + l.unwrap_or(50));
        }
    }
    let sums = [("outer_pairs", outer), ("global_sum", global)];
    out.extend(sums.map(|(topic, table)| (topic, table.into_iter().collect())));
    out.insert("all_pairs", pairs);
}
