//! What `check` promises: it is right about few records, it agrees with a lake that is right, and
//! it shows where one is wrong.

use watershed::connect::memory::MemoryLog;

use super::*;
use crate::answers::tests::Sample;

#[path = "../../../tests/support/twins.rs"]
mod twins;

const SECRET: Secret = Secret::new([7; 16]);

type Sources = [Vec<Box<dyn Source>>; 3];

fn checked(sources: &Sources, sample: &Sample) -> (bool, String) {
    let mut out = Vec::new();
    let same = check(sources, &sample.lake, &Bounds::default(), &mut out).unwrap();
    (same, String::from_utf8(out).unwrap())
}

/// A source of records in partition 0, or in those given.
fn log(records: &[(u32, &str)]) -> Box<dyn Source> {
    let log = MemoryLog::default();
    for (partition, value) in records {
        log.append(*partition, None, Some(value.as_bytes()));
    }
    Box::new(log)
}

fn views(naive: &Naive, bounds: &Bounds) -> Vec<Vec<String>> {
    let sorted = |mut rows: Vec<Vec<Value>>| {
        rows.sort();
        rows.iter().map(|row| line(row)).collect()
    };
    naive.views(bounds).map(sorted).to_vec()
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
    [one(&pins), one(&geos), one(&users)]
}

#[test]
fn naive_answers_are_those_worked_out_by_hand() {
    let found = views(&Naive::read(&five(), SECRET).unwrap(), &Bounds::default());
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
    let naive = Naive::read(&five(), SECRET).unwrap();
    let (found, all) = (views(&naive, &bounds), views(&naive, &Bounds::default()));
    assert_eq!(found[1..3], [["2019 | quotes | 2"], ["2019 | quotes | 2"]]);
    assert_eq!(found[7..], [vec!["2015 | 1"], vec!["2015 | 5000"], vec!["2015 | 18-24 | 5000"]]);
    assert_eq!((&found[0], &found[3..7]), (&all[0], &all[3..7]));
}

#[test]
fn the_later_source_then_the_greater_offset_then_the_greater_partition_wins() {
    let user = |age: i64| format!(r#"{{"ind":1,"date_joined":"2015-01-01 00:00:00","age":{age}}}"#);
    let group = |sources: Vec<Box<dyn Source>>| {
        let pins = vec![log(&[(0, r#"{"ind":1,"unique_id":null,"category":"art"}"#)])];
        views(&Naive::read(&[pins, vec![], sources], SECRET).unwrap(), &Bounds::default())[5]
            .clone()
    };
    let (young, old) = (user(20), user(60));
    assert_eq!(group(vec![log(&[(0, &old), (1, &young)])]), ["18-24 | art | 1"]);
    assert_eq!(group(vec![log(&[(0, &young), (0, &old), (1, &young)])]), ["50+ | art | 1"]);
    assert_eq!(group(vec![log(&[(0, &old), (0, &old)]), log(&[(0, &young)])]), ["18-24 | art | 1"]);
    assert_eq!(group(vec![log(&[(0, &young), (0, "{}")])]), ["18-24 | art | 1"]);
}

#[test]
fn digests_differ_where_rows_do() {
    let text = |text: &str| Value::Text(text.into());
    let rows = [
        vec![],
        vec![Value::Null],
        vec![Value::Null, Value::Null],
        vec![Value::Long(0)],
        vec![Value::Timestamp(0)],
        vec![Value::Double(0.0)],
        vec![Value::Double(-0.0)],
        vec![Value::Doubles(vec![])],
        vec![Value::Doubles(vec![0.0])],
        vec![text("")],
        vec![Value::Binary(vec![])],
        vec![text("a"), text("b")],
        vec![text("ab"), text("")],
    ];
    let digests: std::collections::HashSet<Digest> =
        rows.iter().map(|row| row_digest(SECRET, row)).collect();
    assert_eq!(digests.len(), rows.len());
}

#[test]
fn a_lake_is_equal_until_its_archive_says_something_else() {
    let sample = Sample::new(300);
    let (same, said) = checked(&sample.sources(), &sample);
    assert!(
        same && said.lines().count() == 15 && said.ends_with("rows of 14 tables: all are equal\n"),
        "{said}"
    );

    // One record moves an answer, one can't be cleaned.
    let at =
        sample.append("pin", 1, "{\"ind\":7,\"unique_id\":null,\"category\":\"new\"}\nnonsense\n");
    let (same, said) = checked(&sample.sources(), &sample);
    assert!(!same);
    let moved =
        format!("  + missing in the lake: ind 7, the record at offset {at} of partition 1\n");
    let letter =
        format!("  + missing in the lake: the pin record at offset {} of partition 1\n", at + 1);
    for part in [
        "  - in the lake only: 7 | ",
        &moved,
        &letter,
        " | new | 1\n",
        "DIFFERENT: 0 in the lake only, 1 missing in the lake",
    ] {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
    assert!(
        said.contains("user_table                                           297 rows  equal\n"),
        "{said}"
    );

    sample.run();
    let (same, said) = checked(&sample.sources(), &sample);
    assert!(same, "{said}");
}

#[test]
fn a_row_that_no_record_stands_for_is_a_difference() {
    let sample = Sample::new(60);
    let mut sources = sample.sources();
    sources[2].clear();
    let (same, said) = checked(&sources, &sample);
    assert!(
        !same
            && said.contains("59 in the lake only, 0 missing in the lake\n  - in the lake only: "),
        "{said}"
    );
}

#[test]
fn rows_of_texts_made_to_collide_are_told_apart() {
    // Before its text, a row has its number of values and the kind of the first.
    let rows = twins::twins(12).map(|text| vec![Value::Text(text), Value::Long(7)]);
    assert_ne!(row_digest(SECRET, &rows[0]), row_digest(SECRET, &rows[1]));
}
