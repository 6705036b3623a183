//! A replay gives the oracle's tables, for any number of workers.

use std::collections::BTreeSet;

use super::{Place, assert_same};

#[test]
fn a_replay_equals_the_oracle_on_1_2_and_4_workers() {
    let place = Place::new();
    place.run(&[
        "generate",
        "--to",
        "archive",
        "--events",
        "3000",
        "--dirt",
        "0.2",
        "--records-per-object",
        "97",
    ]);
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
    // Other bounds are another topology, so the state is refused.
    let error = place.fail(&["run", "--from", "archive", "--lake", "lake"], 65);
    assert!(error.contains("topology"), "{error}");
}

/// Checks the counts of each topic in the summary against the archive and the tables; the counts
/// must also balance.
fn assert_accounted(place: &Place, screen: &str) {
    let tables = place.lake("data/lake", None);
    for topic in ["geo", "pin", "user"] {
        let line = screen
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(topic)?.strip_prefix(' '));
        let numbers = line
            .unwrap_or_else(|| panic!("nothing is printed of {topic}: {screen}"))
            .split_whitespace();
        let numbers: Vec<usize> =
            numbers.map(|number| number.replace(',', "").parse().unwrap()).collect();
        let [read, applied, duplicates, superseded, dead, rows, _] = numbers[..] else {
            panic!("{screen}")
        };
        let topic_name = format!("demo.{topic}");
        let lines: usize =
            (0..3).map(|partition| place.lines("data/archive", &topic_name, partition).len()).sum();
        let letters = tables["dead_letters"]
            .iter()
            .filter(|letter| letter.starts_with(&format!("{topic} ")))
            .count();
        assert_eq!(
            (read, dead, rows),
            (lines, letters, tables[&format!("{topic}_table")].len()),
            "{topic}: {screen}"
        );
        assert_eq!(read, applied + duplicates + superseded + dead, "{topic}: {screen}");
    }
}

#[test]
fn the_first_command_generates_replays_and_answers() {
    let place = Place::new();
    let screen = place.run(&[]);
    assert!(screen.contains("generated 11,154 events"), "{screen}");
    assert!(screen.contains("category_by_country"), "{screen}");
    assert_same(
        "the first command",
        &place.oracle("data/archive", &[]),
        &place.lake("data/lake", None),
    );
    let tables = place.lake("data/lake", None);
    let ind =
        |row: &String| serde_json::from_str::<serde_json::Value>(row).unwrap()["ind"].as_i64();
    let pins: BTreeSet<_> = tables["pin_table"].iter().map(ind).collect();
    let ageless = tables["user_table"]
        .iter()
        .filter(|row| row.contains(r#""age":null"#) && pins.contains(&ind(row)))
        .count();
    assert!(
        ageless > 0 && screen.contains(&format!("\n{ageless} posters of no age group\n")),
        "{ageless}: {screen}"
    );
    assert_accounted(&place, &screen);
    let again = place.run(&[]);
    assert_accounted(&place, &again);
    assert!(
        again.contains("0 new records")
            && again.contains(&format!("\n{ageless} posters of no age group\n")),
        "{again}"
    );
    assert!(place.run(&["check"]).contains("equal"));
}

/// A run that crashed between two tables of a commit. The answers must not include the published
/// half, wherever the state is.
#[test]
fn answers_are_of_one_commit_also_with_the_state_elsewhere() {
    let place = Place::new();
    place.run(&["generate", "--to", "all", "--events", "400", "--records-per-object", "10"]);
    let lake = ["--lake", "lake", "--state", "elsewhere"];
    let run = [&["run", "--from", "archive"], &lake[..]].concat();
    let answers = [&["answers", "--format", "json"], &lake[..]].concat();
    super::follow::copy_share(&place.path("all"), &place.path("archive"), 1, 2);
    place.run(&run);
    let before = place.run(&answers);
    super::follow::copy_share(&place.path("all"), &place.path("archive"), 2, 2);
    place.run(&run);
    let after = place.run(&answers);
    assert_ne!(before, after);
    assert!(!place.path("lake/_watershed").exists());

    let log = place.path("lake/category_by_country/_delta_log");
    let versions = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
    let last = versions.filter(|path| path.extension().is_some_and(|e| e == "json")).max().unwrap();
    std::fs::rename(&last, place.path("aside")).unwrap();
    assert_eq!(place.run(&answers), before);
    let check = [&["check", "--from", "archive"], &lake[..]].concat();
    place.fail(&check, 1);
    let unknown = place.output(&["answers", "--lake", "lake"]);
    assert!(
        String::from_utf8_lossy(&unknown.stderr).contains("--state"),
        "without the state it refuses to answer"
    );
    place.run(&run);
    assert_eq!(place.run(&answers), after);
    assert!(place.run(&check).contains("equal"));
}

/// Names with special characters of URLs, globs and shells.
#[test]
fn a_lake_may_have_any_name_that_every_reader_finds() {
    let place = Place::new();
    place.run(&["generate", "--to", "archive", "--events", "50"]);
    let expected = place.oracle("archive", &[]);
    for name in ["100% a b", "a#b?c*[d]", "ü:+~"] {
        let lake = format!("{name}/lake");
        place.run(&["run", "--from", "archive", "--lake", &lake]);
        assert!(place.run(&["check", "--from", "archive", "--lake", &lake]).contains("equal"));
        assert_same(name, &expected, &place.lake(&lake, None));
    }
    for name in ["a%20b", "a\\b", "a\nb"] {
        let printed =
            place.fail(&["run", "--from", "archive", "--lake", &format!("{name}/lake")], 78);
        assert!(
            printed.contains("reads as another one") && !place.path(name).exists(),
            "{printed}"
        );
    }
}
