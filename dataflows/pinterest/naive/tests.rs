//! The batch program has the right answers for a few records.

use watershed::Secret;
use watershed::connect::Source;
use watershed::connect::memory::MemoryLog;
use watershed::row::Value;

use super::*;
use crate::questions::QUESTIONS;

type Sources = [(&'static str, Vec<Box<dyn Source>>); 3];

/// Returns a source of records in partition 0, or in the partitions given.
fn log(records: &[(u32, &str)]) -> Box<dyn Source> {
    let log = MemoryLog::default();
    for (partition, value) in records {
        log.append(*partition, None, Some(value.as_bytes()));
    }
    Box::new(log)
}

/// The rows of each view, sorted.
fn views(sources: &Sources, bounds: &Bounds) -> Vec<Vec<String>> {
    let mut expected = Expected::new(Secret::new([7; 16]));
    rows(&Inputs::new(sources, bounds), &mut expected).unwrap();
    let text = |value: &Value| match value {
        Value::Text(text) => text.clone(),
        Value::Long(number) => number.to_string(),
        other => panic!("no answer has {other:?}"),
    };
    let line = |row: &[Value]| row.iter().map(text).collect::<Vec<_>>().join(" | ");
    let view = |(view, _)| {
        let mut lines: Vec<String> = expected.held(view).into_iter().map(line).collect();
        lines.sort();
        lines
    };
    QUESTIONS.map(view).to_vec()
}

/// Five events; the first two come from one user, and the last has no place.
fn five() -> Sources {
    let pins = [
        r#"{"ind":1,"unique_id":null,"category":"art","poster_name":"A","follower_count":"5k"}"#,
        r#"{"ind":2,"unique_id":null,"category":"art","poster_name":"B","follower_count":"5k"}"#,
        r#"{"ind":3,"unique_id":null,"category":"quotes","poster_name":"A","follower_count":null}"#,
        r#"{"ind":4,"unique_id":null,"category":"quotes","poster_name":"C","follower_count":"7"}"#,
        r#"{"ind":5,"unique_id":null,"category":"art","poster_name":"D","follower_count":"9"}"#,
    ];
    let geos = [
        r#"{"ind":1,"timestamp":"2018-01-01 00:00:00","country":"France"}"#,
        r#"{"ind":2,"timestamp":"2018-12-31 23:59:59","country":"France"}"#,
        r#"{"ind":3,"timestamp":"2019-01-01 00:00:00","country":"France"}"#,
        r#"{"ind":4,"timestamp":"2019-01-01 00:00:00","country":"Gabon"}"#,
    ];
    let users = [
        r#"{"ind":1,"first_name":"X","age":20,"date_joined":"2015-01-01 00:00:00"}"#,
        r#"{"ind":2,"first_name":"X","age":20,"date_joined":"2015-01-01 00:00:00"}"#,
        r#"{"ind":3,"first_name":"X","age":30,"date_joined":"2016-01-01 00:00:00"}"#,
        r#"{"ind":4,"first_name":"X","age":null,"date_joined":"2016-01-01 00:00:00"}"#,
        r#"{"ind":5,"first_name":"X","age":20,"date_joined":"2016-01-01 00:00:00"}"#,
    ];
    let one = |records: &[&'static str]| {
        vec![log(&records.iter().map(|record| (0, *record)).collect::<Vec<_>>())]
    };
    [("pin", one(&pins)), ("geo", one(&geos)), ("user", one(&users))]
}

#[test]
fn naive_answers_equal_those_computed_by_hand() {
    let found = views(&five(), &Bounds::default());
    let expected: [&[&str]; 10] = [
        &["France | art | 2", "Gabon | quotes | 1"],
        &["2018 | art | 2", "2019 | quotes | 2"],
        &["2018 | art | 2", "2019 | quotes | 2"],
        &["France | A | 5000", "France | B | 5000", "Gabon | C | 7"],
        &["France | A | 5000", "France | B | 5000"],
        &["18-24 | art | 3", "25-35 | quotes | 1"],
        &["18-24 | 5000"],
        &["2015 | 1", "2016 | 3"],
        &["2015 | 5000", "2016 | 7"],
        &["2015 | 18-24 | 5000", "2016 | 18-24 | 9"],
    ];
    assert_eq!(found, expected);
}

#[test]
fn bounds_drop_years_before_anything_is_counted() {
    let bounds = Bounds { post_years: Some(2019..=2020), join_years: Some(2015..=2015) };
    let sources = five();
    let (found, all) = (views(&sources, &bounds), views(&sources, &Bounds::default()));
    assert_eq!(found[1..3], [["2019 | quotes | 2"], ["2019 | quotes | 2"]]);
    assert_eq!(found[7..], [vec!["2015 | 1"], vec!["2015 | 5000"], vec!["2015 | 18-24 | 5000"]]);
    assert_eq!((&found[0], &found[3..7]), (&all[0], &all[3..7]));
}

#[test]
fn records_are_ordered_by_source_then_offset_then_partition() {
    let user = |age: i64| format!(r#"{{"ind":1,"date_joined":"2015-01-01 00:00:00","age":{age}}}"#);
    let group = |sources: Vec<Box<dyn Source>>| {
        let pins = vec![log(&[(0, r#"{"ind":1,"unique_id":null,"category":"art"}"#)])];
        let sources = [("pin", pins), ("geo", vec![]), ("user", sources)];
        views(&sources, &Bounds::default())[5].clone()
    };
    let (young, old) = (user(20), user(60));
    assert_eq!(group(vec![log(&[(0, &old), (1, &young)])]), ["18-24 | art | 1"]);
    assert_eq!(group(vec![log(&[(0, &young), (0, &old), (1, &young)])]), ["50+ | art | 1"]);
    assert_eq!(group(vec![log(&[(0, &old), (0, &old)]), log(&[(0, &young)])]), ["18-24 | art | 1"]);
    assert_eq!(group(vec![log(&[(0, &young), (0, "{}")])]), ["18-24 | art | 1"]);
}
