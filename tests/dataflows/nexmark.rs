//! The executable of the benchmark: run, continue, check, answers.

use std::process::Command;

/// Runs the program in a folder, and returns its exit code and all its output.
fn nexmark(folder: &std::path::Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexmark"));
    let output = command.current_dir(folder).args(args).output().unwrap();
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
    let summary = run(&["run", "--from", many, "--workers", "1"], 0);
    assert!(summary.contains("5,000 new records, after 5,000"), "{summary}");
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
