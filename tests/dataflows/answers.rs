//! A replay gives what the oracle gives, for any number of workers, and other readers see it too.

use std::path::Path;
use std::process::Command;

use super::{Place, assert_same};

#[test]
fn a_replay_equals_the_oracle_on_1_2_and_4_workers() {
    let place = Place::new();
    place.run(&["generate", "--to", "archive", "--events", "3000", "--dirt", "0.2", "--records-per-object", "97"]);
    let expected = place.oracle("archive", &[]);
    for workers in ["1", "2", "4"] {
        let lake = format!("lake{workers}");
        place.run(&["run", "--from", "archive", "--lake", &lake, "--workers", workers]);
        assert_same(&format!("{workers} workers"), &expected, &place.lake(&lake, None));
    }
}

#[test]
fn bounds_on_years_drop_rows_before_they_are_counted() {
    let place = Place::new();
    place.run(&["generate", "--to", "archive", "--events", "1000"]);
    let bounds = ["--post-years", "2018..2020", "--join-years", "2016..2016"];
    let expected = place.oracle("archive", &bounds);
    place.run(&[&["run", "--from", "archive", "--lake", "lake"], &bounds[..]].concat());
    assert_same("bounded years", &expected, &place.lake("lake", None));
    // Other bounds are another topology: its state is not continued.
    let error = place.fail(&["run", "--from", "archive", "--lake", "lake"], 65);
    assert!(error.contains("topology"), "{error}");
}

#[test]
fn the_first_command_generates_replays_and_answers() {
    let place = Place::new();
    let screen = place.run(&[]);
    assert!(screen.contains("generated 11,154 events"), "{screen}");
    assert!(screen.contains("category_by_country"), "{screen}");
    assert_same("the first command", &place.oracle("data/archive", &[]), &place.lake("data/lake", None));
    let again = place.run(&[]);
    assert!(again.contains("0 new records"), "{again}");
    assert!(place.run(&["check"]).contains("equal"));
}

/// DuckDB reads deletion vectors with code that is not ours; where it can't be had, this says so.
#[test]
fn independent_readers_see_the_same_rows_at_every_version() {
    let support = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support");
    let venv = Command::new("bash").arg(support.join("venv.sh")).output().unwrap();
    let python = String::from_utf8(venv.stdout).unwrap();
    if python.trim().is_empty() {
        eprintln!("skipped: no Python environment with duckdb and deltalake could be made");
        return;
    }
    let place = Place::new();
    place.run(&["generate", "--to", "all", "--events", "1500", "--dirt", "0.3", "--records-per-object", "10"]);
    // Runs of a growing archive: each is a commit or two.
    for share in [2, 3, 5, 8, 10] {
        super::follow::copy_share(&place.path("all"), &place.path("archive"), share, 10);
        place.run(&["run", "--from", "archive", "--lake", "lake"]);
    }
    let readers =
        Command::new(python.trim()).arg(support.join("readers.py")).arg(place.path("lake")).arg("--versions").output().unwrap();
    let error = String::from_utf8_lossy(&readers.stderr).to_string();
    assert!(readers.status.success(), "the readers disagree: {error}");
    let seen: serde_json::Value = serde_json::from_slice(&readers.stdout).unwrap();
    let ours = place.lake("lake", None);
    for (table, versions) in seen.as_object().unwrap() {
        let last = versions.as_object().unwrap().iter().max_by_key(|(v, _)| v.parse::<u64>().unwrap()).unwrap().1;
        let name = table.strip_prefix("demo_").unwrap_or(table);
        if name != "dead_letters" {
            assert!(super::lines(last.as_array().unwrap()) == ours[name], "DuckDB reads other rows in {table}");
        }
    }
}
