//! Each example prints the lines that its header shows.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

#[cfg(feature = "kafka")]
use crate::connectors::kafka::cluster;

/// The program of an example, which `cargo test` builds with the tests.
fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(program.exists(), "{name} is not built: run `cargo build --examples` first");
    program
}

/// Runs an example and returns its output.
pub(super) fn run(name: &str, args: &[&str]) -> String {
    let output = Command::new(program(name)).args(args).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} fails: {printed}{failed}");
    printed
}

/// Returns the lines of output that the header of an example shows. `...` stands for any text.
fn shown(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("dataflows/examples/{name}.rs"));
    let text = std::fs::read_to_string(path).unwrap();
    let header = text.lines().map_while(|line| line.strip_prefix("//!"));
    let mut lines = header.skip_while(|line| line.trim() != "```text").skip(1);
    let lines: Vec<String> = lines
        .by_ref()
        .take_while(|line| line.trim() != "```")
        .map(|line| line.trim().to_string())
        .collect();
    assert!(!lines.is_empty(), "the header of {name} shows no output");
    lines
}

/// Asserts that an example prints the lines of its header, in their order.
pub(super) fn assert_shown(name: &str, printed: &str) {
    let mut lines = printed.lines();
    for expected in shown(name) {
        let parts: Vec<&str> = expected.split("...").collect();
        let fits = |line: &str| {
            let mut rest = line;
            parts.iter().all(|part| match rest.find(part) {
                Some(at) => {
                    rest = &rest[at + part.len()..];
                    true
                }
                None => false,
            })
        };
        let exact = |line: &str| if parts.len() == 1 { line == expected } else { fits(line) };
        assert!(lines.any(exact), "{name} does not print {expected:?} in {printed}");
    }
}

#[test]
fn each_example_prints_the_lines_of_its_header() {
    let alone = [
        "cogroup",
        "correction",
        "dead_letters",
        "foreign_key_join",
        "interactive_query",
        "late_records",
        "median",
        "own_aggregate",
        "own_source",
        "sessions",
        "stream_join",
        "suppression",
        "temporal_join",
        "tested_topology",
        "top_ten",
        "windowed_count",
    ];
    for name in alone {
        assert_shown(name, &run(name, &[]));
    }
}

#[test]
fn no_example_is_longer_than_eighty_lines_of_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dataflows/examples");
    let files = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<PathBuf>>()
    };
    let (examples, modules): (Vec<_>, Vec<_>) =
        files(&folder).into_iter().partition(|path| path.is_file());
    assert!(examples.len() >= 8);
    for path in examples.into_iter().chain(modules.iter().flat_map(|folder| files(folder))) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.starts_with("//!")).count();
        assert!(code <= 80, "{} has {code} lines", path.display());
    }
}

#[cfg(feature = "kafka")]
#[test]
fn examples_with_kafka_continue_where_they_stopped() {
    let Some(cluster) = cluster() else { return };
    let folder = TempDir::new().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let url = cluster.url("");
    let brokers = url.trim_start_matches("kafka://").trim_end_matches('/');
    let topic = |name: &str| {
        let topic = format!("{}-{name}", cluster.unique());
        assert!(cluster.create(&topic, 1));
        topic
    };

    let (lines, counts, state) = (topic("lines"), topic("counts"), place("state"));
    cluster.append(&lines, 0, &[(None, Some(b"to be or".as_slice())), (None, Some(b"not to be"))]);
    let args = [brokers, &lines, &counts, &state];
    assert_shown("word_count", &run("word_count", &args));
    cluster.append(&lines, 0, &[(None, Some(b"that is".as_slice()))]);
    let again = run("word_count", &args);
    assert_eq!(again.trim(), "8 words in 1 new lines, 6 different; commit 2");
    let rows = cluster.read(&counts, 0);
    let keys: Vec<_> = rows.iter().filter_map(|(_, key, _)| key.as_deref()).collect();
    assert_eq!(keys.len(), 6, "each count is written once: {rows:?}");

    let (readings, lake) = (topic("readings"), place("lake"));
    let reading = |sensor: &str, celsius: i64| {
        format!(r#"{{"sensor": "{sensor}", "celsius": {celsius}}}"#).into_bytes()
    };
    let values = [reading("s1", 21), reading("s2", 18), reading("s1", 23)];
    let values: Vec<_> = values.iter().map(|value| (None, Some(value.as_slice()))).collect();
    cluster.append(&readings, 0, &values);
    let args = [brokers, &readings, &lake];
    assert_shown("kafka_to_delta", &run("kafka_to_delta", &args));
    assert!(run("kafka_to_delta", &args).starts_with("0 new records"), "it read a record twice");
}
