//! Cases: inputs and expected outputs of public tests of Kafka Streams, as data, run on the DSL.
//!
//! `WATERSHED_CASES=FOLDER cargo test cases` runs the cases of another folder. Two lists name the
//! cases that do not agree: those that lack a verb or have a known fault (`pending.txt`), and those
//! that can't agree by design, each with its reason (`differences.txt`). The reason begins with
//! `store: ` where only the queries of stores differ. A listed case that agrees is an error.

mod aggregates;
mod case;
mod check;
mod cogroups;
mod functions;
mod graph;
mod joins;
mod restarts;
mod run;
mod sources;
mod stores;
mod streams;
mod value;
mod windows;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use case::Case;

const PENDING: &str = include_str!("pending.txt");
const DIFFERENCES: &str = include_str!("differences.txt");

/// The folder of the cases.
fn folder() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases");
    std::env::var_os("WATERSHED_CASES").map_or_else(own, PathBuf::from)
}

/// Returns the paths of all cases below a folder, sorted.
fn paths(folder: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".json") && name != "functions.json" {
                paths.push(name);
            }
        }
    }
    paths.sort();
    paths
}

/// Reads a list: lines of a reason, `: `, and the path of a case. `#` begins a comment.
fn listed(list: &str) -> BTreeMap<&str, &str> {
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(": ").map(|(reason, path)| (path, reason)).unwrap()).collect()
}

/// Runs all cases, and returns the errors of those that do not agree.
fn run_all(folder: &Path) -> BTreeMap<String, String> {
    let (rest, errors) = (Mutex::new(paths(folder)), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(path) = { rest.lock().unwrap().pop() } {
                    if let Err(error) = run::agrees(Case::read(folder, &path)) {
                        errors.lock().unwrap().insert(path, error);
                    }
                }
            });
        }
    });
    errors.into_inner().unwrap()
}

#[test]
fn every_case_agrees_or_is_listed() {
    let folder = folder();
    let errors = run_all(&folder);
    let (pending, differences) = (listed(PENDING), listed(DIFFERENCES));
    let mut wrong = Vec::new();
    for (path, error) in &errors {
        let is_listed = match (pending.get(&**path), error.strip_prefix("missing verb: ")) {
            (Some(verb), Some(missing)) => *verb == missing,
            (None, _) => {
                // Of a store that differs, all else must agree.
                let reason = differences.get(&**path);
                reason.is_some_and(|it| it.starts_with("store: ") == error.starts_with("query "))
            }
            (Some(fault), None) => fault.starts_with("fault: "),
        };
        if !is_listed {
            wrong.push(format!("{error}: {path}"));
        }
    }
    for path in pending.keys().chain(differences.keys()) {
        if folder.join(path).exists() && !errors.contains_key(*path) {
            wrong.push(format!("agrees, so take it from the list: {path}"));
        }
    }
    let all = paths(&folder).len();
    println!("{} of {all} cases agree", all - errors.len());
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_case_with_an_unknown_function_or_op_fails() {
    let with = |node: &str| {
        let text = format!(
            r#"{{"topology": {{"nodes": [{{"id": "a", "op": "stream", "topic": "in"}}, {node}]}}, "inputs": []}}"#
        );
        let case: Case = serde_json::from_str(&text).unwrap();
        run::agrees(case).unwrap_err()
    };
    let error = with(r#"{"id": "b", "in": ["a"], "op": "fold"}"#);
    assert_eq!(error, "unknown op fold of 1 inputs");
    let error = with(r#"{"id": "b", "in": ["a"], "op": "map_values", "mapper": {"fn": "rot13"}}"#);
    assert_eq!(error, r#"unknown mapper {"fn":"rot13"}"#);
}

#[test]
fn a_case_with_other_outputs_fails() {
    let case = |value: &str, end: &str| {
        let text = format!(
            r#"{{
                "topology": {{"nodes": [
                    {{"id": "a", "op": "table", "topic": "in"}},
                    {{"id": "b", "op": "to_stream", "in": ["a"]}},
                    {{"id": "c", "op": "to", "in": ["b"], "topic": "out"}}
                ]}},
                "inputs": [{{"topic": "in", "key": 1, "value": "x", "ts": 1}}],
                "per_record": [[{{"topic": "out", "key": 1, "value": "{value}"}}]],
                "final": [{{"topic": "out", "key": 1, "value": "{end}"}}],
                "final_kind": {{"out": "table"}},
                "final_same_for_any_interleaving": true
            }}"#
        );
        run::agrees(serde_json::from_str(&text).unwrap())
    };
    assert_eq!(case("x", "x"), Ok(()));
    assert!(case("y", "x").unwrap_err().contains("topic out after input 1"));
    assert!(case("x", "y").unwrap_err().contains("the end of out"));
}

/// Runs a case of these nodes, and compares the outputs of each input in topic `out`.
fn agrees(nodes: &str, inputs: &str, per_record: &str, drops: &str) -> Result<(), String> {
    let text = format!(
        r#"{{
            "topology": {{"nodes": [{nodes}]}}, "inputs": [{inputs}], "per_record": [{per_record}],
            "final_kind": {{"out": "stream"}}, "drops": {drops}
        }}"#
    );
    run::agrees(serde_json::from_str(&text).unwrap())
}

#[test]
fn a_joiner_and_a_mapper_of_a_table_get_the_key() {
    let nodes = |joins: &str| {
        format!(
            r#"
            {{"id": "l", "op": "stream", "topic": "in"}}, {{"id": "r", "op": "{joins}", "topic": "right"}},
            {{"id": "j", "op": "left_join", "in": ["l", "r"], "joiner": {{"fn": "key_colon_sum_null_zero"}},
              "window": {{"before_ms": 0, "after_ms": 0, "grace_ms": 0}}, "key_extractor": {{"fn": "key"}}}},
            {{"id": "o", "op": "to", "in": ["j"], "topic": "out"}}"#
        )
    };
    let inputs = r#"
        {"topic": "right", "key": 7, "value": 2, "ts": 5},
        {"topic": "in", "key": 7, "value": 1, "ts": 5}, {"topic": "in", "key": null, "value": 3, "ts": 5}"#;
    for joins in ["stream", "table", "global_table"] {
        let outputs =
            r#"[], [{"topic": "out", "value": "7:3"}], [{"topic": "out", "value": "null:3"}]"#;
        assert_eq!(agrees(&nodes(joins), inputs, outputs, "0"), Ok(()), "{joins}");
    }
    let nodes = r#"
        {"id": "t", "op": "table", "topic": "in"},
        {"id": "m", "op": "map_values", "in": ["t"], "mapper": {"fn": "length_plus_key"}},
        {"id": "u", "op": "table", "topic": "right"},
        {"id": "j", "op": "left_join", "in": ["m", "u"], "joiner": {"fn": "key_colon_sum_null_zero"}},
        {"id": "s", "op": "to_stream", "in": ["j"]}, {"id": "o", "op": "to", "in": ["s"], "topic": "out"}"#;
    let inputs = r#"{"topic": "in", "key": 7, "value": "abc", "ts": 5}"#;
    let outputs = r#"[{"topic": "out", "key": 7, "value": "7:10"}]"#;
    assert_eq!(agrees(nodes, inputs, outputs, "0"), Ok(()));
}

#[test]
fn a_case_may_split_repartition_and_drop_nulls() {
    let nodes = r#"
        {"id": "a", "op": "stream", "topic": "in"},
        {"id": "s", "op": "split", "in": ["a"], "branches": [
            {"id": "two", "predicate": {"fn": "value_divisible_by", "n": 2}},
            {"id": "three", "predicate": {"fn": "value_divisible_by", "n": 3}}, {"id": "rest"}]},
        {"id": "p", "op": "repartition", "in": ["three"]},
        {"id": "three_text", "op": "map_values", "in": ["p"], "mapper": {"fn": "to_string"}},
        {"id": "o1", "op": "to", "in": ["three_text"], "topic": "out"},
        {"id": "g", "op": "group_by_key", "in": ["rest"]}, {"id": "n", "op": "count", "in": ["g"]},
        {"id": "c", "op": "to_stream", "in": ["n"]}, {"id": "o2", "op": "to", "in": ["c"], "topic": "out"}"#;
    let records = [("1", "6"), ("1", "9"), ("null", "9"), ("1", "5"), ("null", "5"), ("1", "7")];
    let inputs = records.map(|(key, value)| {
        format!(r#"{{"topic": "in", "key": {key}, "value": {value}, "ts": 0}}"#)
    });
    let outputs = r#"[], [{"topic": "out", "key": 1, "value": "9"}], [],
        [{"topic": "out", "key": 1, "value": 1}], [], [{"topic": "out", "key": 1, "value": 2}]"#;
    assert_eq!(agrees(nodes, &inputs.join(","), outputs, "1"), Ok(()));
    let error = agrees(nodes, &inputs.join(","), outputs, "2").unwrap_err();
    assert_eq!(error, "expected 2 dropped records, got 1");
}

#[test]
fn a_case_may_cogroup_four_streams() {
    let topics = ["in", "b", "c", "d"];
    let streams = topics.map(|topic| {
        format!(
            r#"{{"id": "{topic}", "op": "stream", "topic": "{topic}"}},
            {{"id": "{topic}g", "op": "group_by_key", "in": ["{topic}"]}}"#
        )
    });
    let add = |id: &str, inputs: &str, sep: &str| {
        format!(
            r#"{{"id": "{id}", "op": "cogroup", "in": [{inputs}],
                "aggregator": {{"fn": "append", "sep": "{sep}"}}}}"#
        )
    };
    let cogroups = [
        add("1", r#""ing""#, "+"),
        add("2", r#""1", "bg""#, "-"),
        add("3", r#""2", "cg""#, "*"),
        add("4", r#""3", "dg""#, "/"),
    ];
    let nodes = format!(
        r#"{}, {}, {{"id": "t", "op": "aggregate", "in": ["4"], "initializer": {{"fn": "const", "value": ""}}}},
        {{"id": "s", "op": "to_stream", "in": ["t"]}}, {{"id": "o", "op": "to", "in": ["s"], "topic": "out"}}"#,
        streams.join(","),
        cogroups.join(",")
    );
    let inputs = topics
        .map(|topic| format!(r#"{{"topic": "{topic}", "key": 1, "value": "{topic}", "ts": 0}}"#));
    let texts = ["+in", "+in-b", "+in-b*c", "+in-b*c/d"];
    let outputs = texts.map(|text| format!(r#"[{{"topic": "out", "key": 1, "value": "{text}"}}]"#));
    assert_eq!(agrees(&nodes, &inputs.join(","), &outputs.join(","), "null"), Ok(()));
}

#[test]
fn windows_of_cogroups_keep_null_values_and_have_late_records() {
    let nodes = r#"
        {"id": "a", "op": "stream", "topic": "in"}, {"id": "b", "op": "stream", "topic": "b"},
        {"id": "ag", "op": "group_by_key", "in": ["a"]}, {"id": "bg", "op": "group_by_key", "in": ["b"]},
        {"id": "1", "op": "cogroup", "in": ["ag"], "aggregator": {"fn": "increment"}},
        {"id": "2", "op": "cogroup", "in": ["1", "bg"], "aggregator": {"fn": "increment"}},
        {"id": "w", "op": "windowed_by", "in": ["2"],
         "window": {"kind": "time", "size_ms": 10, "advance_ms": 10, "grace_ms": 0}},
        {"id": "t", "op": "aggregate", "in": ["w"], "initializer": {"fn": "const", "value": 0}},
        {"id": "s", "op": "to_stream", "in": ["t"]}, {"id": "o", "op": "to", "in": ["s"], "topic": "out"}"#;
    let inputs = r#"{"topic": "in", "key": 1, "value": null, "ts": 0},
        {"topic": "b", "key": 1, "value": 7, "ts": 10}, {"topic": "b", "key": 1, "value": 7, "ts": 1}"#;
    let outputs = r#"[{"topic": "out", "key": 1, "window": [0, 10], "value": 1}],
        [{"topic": "out", "key": 1, "window": [10, 20], "value": 1}], []"#;
    let drops = |start: i64| {
        format!(r#"1, "drop_reasons": [{{"reason": "late", "ts": 1, "window": [{start}, 10]}}]"#)
    };
    assert_eq!(agrees(nodes, inputs, outputs, &drops(0)), Ok(()));
    let error = agrees(nodes, inputs, outputs, &drops(5)).unwrap_err();
    assert_eq!(error, "expected that a late record misses (1, [5, 10]), got [(1, [0, 10])]");
}
