//! Joins of two streams without a window: maintained on both sides.

use watershed::options::Produced;
use watershed::{KStream, StreamsBuilder};

use crate::support::{Trial, pair, stream, table};

/// The sum, the number and the latest of the results of a key.
fn shown(results: &KStream<'_, String, i64>, name: &str) {
    results.group_by_key().sum(|v| *v).to(&format!("{name} sum"), pair());
    results.group_by_key().count().to(&format!("{name} count"), pair());
    results.to_table().to(&format!("{name} latest"), pair());
}

fn all_kinds(builder: &StreamsBuilder<'_>) {
    let (left, right) = (stream(builder, "left"), stream(builder, "right"));
    shown(&left.join_stream(&right, |v, w| v * 100 + w), "inner");
    shown(&left.left_join_stream(&right, |v, w| v * 100 + w.unwrap_or(&0)), "left");
    let outer = left.outer_join_stream(&right, |v, w| v.unwrap_or(&0) * 100 + w.unwrap_or(&0));
    shown(&outer, "outer");
}

#[test]
fn each_record_is_joined_with_every_record_of_its_key() {
    let mut trial = Trial::of(all_kinds);
    assert_eq!(trial.after("left", "a=1 a=2 b=3", "inner sum"), "");
    assert_eq!(trial.after("right", "a=7", "inner sum"), "a=314");
    assert_eq!(trial.after("right", "a=7 c=1", "inner sum"), "a=628");
    assert_eq!(trial.rows("inner count"), "a=4");
    assert_eq!(trial.after("left", "a=2", "inner count"), "a=6", "a duplicate makes results too");
}

#[test]
fn an_unmatched_record_is_taken_back_when_a_match_comes() {
    let mut trial = Trial::of(all_kinds);
    trial.pipe("left", "a=1 a=2 b=3");
    assert_eq!(trial.after("right", "c=4", "left sum"), "a=300 b=300");
    assert_eq!(trial.rows("outer sum"), "a=300 b=300 c=4");
    assert_eq!(trial.after("right", "a=5 a=6", "outer count"), "a=4 b=1 c=1");
    assert_eq!(trial.rows("left sum"), "a=622 b=300");
    assert_eq!(trial.after("left", "c=9", "outer sum"), "a=622 b=300 c=904");
    assert_eq!(trial.rows("left count"), "a=4 b=1 c=1");
}

#[test]
fn the_latest_result_is_that_of_the_latest_records() {
    let mut trial = Trial::of(all_kinds);
    trial.pipe("left", "a=9@0:9 a=3@0:3 a=5@1:5");
    assert_eq!(trial.after("right", "a=2@0:2 a=8@0:8 a=1@0:1", "inner latest"), "a=908");
    assert_eq!(trial.after("right", "a=7@1:7", "inner latest"), "a=908");
    assert_eq!(trial.after("right", "a=4@1:9", "inner latest"), "a=904");
}

#[test]
fn results_of_streams_that_only_add_are_written_as_they_are() {
    let mut trial = Trial::of(|builder| {
        let (left, right) = (stream(builder, "left"), stream(builder, "right"));
        left.join_stream(&right, |v, w| v * 100 + w).to("pairs", pair());
        let three = Produced::columns(["key", "left", "right", "third"]);
        left.join_stream(&right, |v, w| (*v, *w))
            .join_stream(&left, |(v, w), third| (*v, *w, *third))
            .to("triples", three);
    });
    trial.pipe("left", "a=1 a=2");
    trial.pipe("right", "a=3 b=4");
    assert_eq!(trial.rows("pairs"), "a=103 a=203");
    assert_eq!(trial.rows("triples"), "a=1=3=1 a=1=3=2 a=2=3=1 a=2=3=2");
    assert_eq!(trial.after("left", "b=5", "pairs"), "a=103 a=203 b=504");
}

#[test]
fn a_stream_may_be_joined_with_itself() {
    let mut trial = Trial::of(|builder| {
        let numbers = stream(builder, "numbers");
        shown(&numbers.join_stream(&numbers, |v, w| v * 100 + w), "self");
        let outer = numbers.outer_join_stream(&numbers, |v, w| v.xor(w).copied().unwrap_or(0));
        outer.group_by_key().sum(|v| *v).to("lone", pair());
    });
    assert_eq!(trial.after("numbers", "a=1 b=5", "self sum"), "a=101 b=505");
    assert_eq!(trial.after("numbers", "a=2", "self sum"), "a=606 b=505");
    assert_eq!(trial.rows("self count"), "a=4 b=1");
    assert_eq!(trial.rows("self latest"), "a=202 b=505");
    assert_eq!(trial.rows("lone"), "a=0 b=0", "every record has a match, itself");
}

#[test]
fn a_join_of_streams_follows_the_retractions_of_its_inputs() {
    let mut trial = Trial::of(|builder| {
        let rows = table(builder, "rows");
        let left = stream(builder, "left").join(&rows, |v, row| v * 10 + row);
        let right = stream(builder, "right");
        shown(&left.join_stream(&right, |v, w| v * 100 + w), "inner");
        shown(
            &left.outer_join_stream(&right, |v, w| v.unwrap_or(&0) * 100 + w.unwrap_or(&0)),
            "outer",
        );
    });
    trial.pipe("left", "a=1 a=2 b=1");
    assert_eq!(trial.after("right", "a=5", "outer sum"), "a=5");
    assert_eq!(trial.after("rows", "a=3 b=4", "outer sum"), "a=3610 b=1400");
    assert_eq!(trial.rows("inner sum"), "a=3610");
    assert_eq!(trial.after("rows", "a=4", "inner sum"), "a=3810");
    assert_eq!(trial.after("rows", "a= b=", "outer sum"), "a=5");
    assert_eq!(trial.rows("inner count"), "");
    assert_eq!(trial.rows("outer latest"), "a=5");
}
