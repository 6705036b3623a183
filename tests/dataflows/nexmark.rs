//! The executable of the benchmark: run, continue, check, answers.

use std::path::Path;
use std::process::{Command, Stdio};

use super::crash::killed_again_and_again;

/// A command of the program in a folder.
fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexmark"));
    command.current_dir(folder).args(args);
    command
}

/// Runs the program in a folder, and returns its exit code and all its output.
fn nexmark(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = command(folder, args).output().unwrap();
    let both = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(both).unwrap())
}

#[test]
fn generated_events_are_answered_and_more_events_continue_fewer() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str], code: i32| {
        let (ended, printed) = nexmark(folder.path(), args);
        assert_eq!(ended, Some(code), "{args:?}: {printed}");
        printed
    };
    let (few, many) = ("generated://?events=5000&seed=7", "generated://?events=10000&seed=7");
    run(&["run", "--from", few, "--workers", "2"], 0);
    assert!(run(&["check", "--from", few], 0).contains("all are equal"));
    assert!(run(&["check", "--from", many], 1).contains("DIFFERENT"));
    // The side input has 10,000 records more, which do not come again.
    let summary = run(&["run", "--from", many, "--workers", "1"], 0);
    assert!(summary.contains("5,000 new records, after 15,000"), "{summary}");
    assert!(run(&["check", "--from", many], 0).contains("all are equal"));

    let prices = run(&["answers", "q4", "--format", "csv"], 0);
    let rows: Vec<&str> = prices.lines().collect();
    assert_eq!(rows[0], "category,avg_price");
    assert_eq!(rows.len(), 6, "five categories: {prices}");
    for (category, row) in (10..).zip(&rows[1..]) {
        let price = row.strip_prefix(&format!("{category},")).unwrap();
        assert!(price.parse::<f64>().unwrap() > 100.0, "{row}");
    }
    let refused = run(&["run", "--from", "generated://?events=9&sed=7", "--lake", "other"], 78);
    assert!(refused.contains("there is no parameter \"sed\""), "{refused}");
}

/// The ids of the bids in the archive of the lake, sorted.
fn logged(folder: &Path) -> Vec<i64> {
    let topic = folder.join("data/lake/archive/topics/q10");
    let entries = |folder: &Path| {
        let found = std::fs::read_dir(folder).into_iter().flatten();
        found.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let partitions = entries(&topic).into_iter().filter(|path| !path.ends_with("_staged"));
    let objects = partitions.flat_map(|folder| entries(&folder));
    // Temporary files of a killed run have other extensions.
    let objects = objects.filter(|object| object.extension().is_some_and(|e| e == "json"));
    let mut ids = Vec::new();
    for object in objects {
        for line in std::fs::read_to_string(object).unwrap().lines() {
            let bid: serde_json::Value = serde_json::from_str(line).unwrap();
            ids.push(bid["id"].as_i64().unwrap());
        }
    }
    ids.sort_unstable();
    ids
}

#[test]
fn a_killed_run_answers_all_and_logs_each_bid_once() {
    let folder = tempfile::tempdir().unwrap();
    let (rounds, events) = (10, 500);
    let from = |round: usize| format!("generated://?events={}&seed=7", round * events);
    killed_again_and_again(
        rounds,
        || logged(folder.path()).len(),
        |round| {
            let (from, workers) = (from(round), (round % 3 + 1).to_string());
            let run = ["run", "--from", &from, "--workers", &workers];
            let run = [&run[..], &["--follow", "--commit-every", "1ms"]].concat();
            let mut run = command(folder.path(), &run);
            // Every other run saves the state of windows, joins and groups after each commit, and
            // the next one continues from it.
            if round % 2 == 0 {
                run.env("WATERSHED_LIMITS", "snapshot_bytes=1");
            }
            run.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap()
        },
    );
    let all = from(rounds);
    let (ended, printed) = nexmark(folder.path(), &["run", "--from", &all]);
    assert_eq!(ended, Some(0), "{printed}");
    let ids = logged(folder.path());
    assert_eq!(ids.len(), rounds * events * 46 / 50, "46 of 50 events are bids");
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "a bid is logged twice");
    let (ended, printed) = nexmark(folder.path(), &["check", "--from", &all]);
    assert_eq!(ended, Some(0), "{printed}");
}
