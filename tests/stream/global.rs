//! Maintained joins of a stream with a global table.

use watershed::options::Consumed;
use watershed::serdes::{Json, Utf8};
use watershed::{GlobalKTable, KStream, StreamsBuilder};

use crate::support::{Trial, pair, stream};

fn global<'s>(builder: &StreamsBuilder<'s>, topic: &str) -> GlobalKTable<'s, String, i64> {
    builder.global_table(topic, Consumed::with(Utf8, Json))
}

/// A value refers to the row of its tens, or to none below 10.
fn row_key(_: &String, value: &i64) -> Option<String> {
    (*value >= 10).then(|| format!("g{}", value / 10))
}

fn shown(results: &KStream<'_, String, i64>, name: &str) {
    results.group_by_key().sum(|v| *v).to(&format!("{name} sum"), pair());
    results.to_table().to(&format!("{name} latest"), pair());
}

fn both_kinds(builder: &StreamsBuilder<'_>) {
    let (numbers, rows) = (stream(builder, "numbers"), global(builder, "rows"));
    shown(&numbers.join_global(&rows, row_key, |v, w| v * 100 + w), "inner");
    let left = numbers.left_join_global(&rows, row_key, |v, w| v * 100 + w.unwrap_or(&0));
    shown(&left, "left");
}

#[test]
fn a_global_row_moves_the_results_of_all_its_records() {
    let mut trial = Trial::of(both_kinds);
    trial.pipe("numbers", "a=11@0:1 b=12@1:1 c=21@2:1 d=13@3:1 a=5@0:2");
    assert_eq!(trial.rows("inner sum"), "");
    assert_eq!(trial.rows("left sum"), "a=1600 b=1200 c=2100 d=1300");
    assert_eq!(trial.after("rows", "g1=7", "inner sum"), "a=1107 b=1207 d=1307");
    assert_eq!(trial.rows("left sum"), "a=1607 b=1207 c=2100 d=1307");
    assert_eq!(trial.rows("left latest"), "a=500 b=1207 c=2100 d=1307");
    assert_eq!(trial.after("rows", "g1=8 g2=9", "inner sum"), "a=1108 b=1208 c=2109 d=1308");
    assert_eq!(trial.after("rows", "g1=", "inner sum"), "c=2109");
    assert_eq!(trial.rows("left sum"), "a=1600 b=1200 c=2109 d=1300");
}

#[test]
fn records_find_a_global_row_on_any_worker() {
    let mut trial = Trial::of(both_kinds);
    trial.pipe("rows", "g1=1 g2=2");
    for n in 0..20 {
        trial.pipe("numbers", &format!("k={}@{n}:{n}", 10 + n % 20));
    }
    // Ten records of 10 to 19 with 1, ten of 20 to 29 with 2.
    assert_eq!(trial.rows("inner sum"), format!("k={}", (145 + 245) * 100 + 30));
}

#[test]
fn a_global_join_follows_the_retractions_of_its_stream() {
    let mut trial = Trial::of(|builder| {
        let rows = global(builder, "rows");
        let first = stream(builder, "numbers").join_global(&rows, row_key, |v, w| v % 10 + w * 10);
        // The result refers to the next row.
        shown(&first.left_join_global(&rows, row_key, |v, w| v * 100 + w.unwrap_or(&0)), "next");
    });
    trial.pipe("rows", "g1=2 g2=3");
    assert_eq!(trial.after("numbers", "a=11", "next sum"), "a=2103");
    assert_eq!(trial.after("rows", "g1=1", "next sum"), "a=1101");
    assert_eq!(trial.after("rows", "g1=", "next sum"), "");
}
