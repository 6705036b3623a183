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
