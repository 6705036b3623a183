//! The latest row of a key, when one record makes several rows and when there are many topics.

use std::array;

use watershed::{KStream, StreamsBuilder};

use crate::support::{Trial, pair, stream, table};

#[test]
fn the_last_of_several_rows_of_a_record_wins() {
    let mut trial = Trial::of(|builder| {
        let numbers = stream(builder, "numbers");
        numbers.flat_map_values(|v| [v, v + 5, v + 1]).to_table().to("values", pair());
        numbers
            .flat_map(|k, v| [(k.clone(), v + 3), ("all".into(), v), (k, v)])
            .to_table()
            .to("both", pair());
    });
    assert_eq!(trial.after("numbers", "a=1 b=9 a=7@0:5", "values"), "a=8 b=10");
    assert_eq!(trial.rows("both"), "a=7 all=7 b=9");
    assert_eq!(trial.after("numbers", "a=20@0:4 b=30@0:6", "values"), "a=8 b=31");
    assert_eq!(trial.rows("both"), "a=7 all=30 b=30");
}

#[test]
fn a_join_keeps_the_last_row_not_the_greatest() {
    let mut trial = Trial::of(|builder| {
        let (rows, several) = (
            table(builder, "rows"),
            stream(builder, "numbers").flat_map_values(|v| [v, v + 5, v + 1]),
        );
        several.left_join(&rows, |v, w| v * 100 + w.unwrap_or(&0)).to_table().to("left", pair());
        let joined = several.join(&rows, |v, w| v * 100 + w);
        joined.flat_map_values(|v| [v + 7000, v + 1000]).to_table().to("inner", pair());
    });
    assert_eq!(trial.after("numbers", "a=1", "left"), "a=200");
    assert_eq!(trial.after("rows", "a=5", "left"), "a=205");
    assert_eq!(trial.rows("inner"), "a=1205");
    assert_eq!(trial.after("numbers", "a=3@0:7 a=2@0:6", "inner"), "a=1405");
    assert_eq!(trial.after("rows", "a=", "left"), "a=400");
}

#[test]
fn rows_of_rows_keep_the_order_in_which_they_were_made() {
    let mut trial = Trial::of(|builder| {
        let one = stream(builder, "numbers").flat_map_values(|v| [v, 0, v * 10]);
        let two = one.flat_map_values(|v| (0..3).map(move |n| v + (n * 7) % 5));
        let three = two.flat_map(|k, v| [(k.clone(), v * 2), (k, v)]);
        three.filter(|_, v| v % 2 == 0).to_table().to("even", pair());
        three.to_table().to("latest", pair());
    });
    // The record makes 10, 12 and 14; the last row of each is the number itself, after its double.
    assert_eq!(trial.after("numbers", "a=1", "latest"), "a=14");
    assert_eq!(trial.after("numbers", "b=3", "even"), "a=14 b=34");
}

#[test]
fn the_later_merged_row_wins() {
    let mut trial = Trial::of(|builder| {
        let numbers = stream(builder, "numbers");
        let (few, many) =
            (numbers.map_values(|v| v - 1), numbers.flat_map_values(|v| [v + 1, v, v + 3]));
        few.merge(&many).to_table().to("many", pair());
        many.merge(&few).to_table().to("few", pair());
        let all = few.merge(&numbers).merge(&many.merge(&few));
        all.flat_map_values(|v| [v * 10, v])
            .left_join(&table(builder, "rows"), |v, _| *v)
            .to_table()
            .to("all", pair());
    });
    assert_eq!(trial.after("numbers", "a=5 b=6 a=7", "many"), "a=10 b=9");
    assert_eq!(trial.rows("few"), "a=6 b=5");
    assert_eq!(trial.rows("all"), "a=6 b=5");
}

#[test]
fn changes_that_meet_at_a_key_leave_one_row_on_any_workers() {
    let mut trial = Trial::of(|builder| {
        let changes = table(builder, "rows").to_stream().map_values(|v| v.unwrap_or(0));
        changes.select_key(|k, _| k[..1].to_string()).to_table().to("latest", pair());
    });
    trial.pipe("rows", "a1=1 a2=2 a3=3 a4=4 a5=5 b1=1 b2=2 b3=3 b4=4 b5=5");
    // A trial compares one worker with three.
    assert_eq!(trial.rows("latest").split(' ').count(), 2);
}

#[test]
fn the_later_named_of_300_merged_topics_wins() {
    const TOPICS: usize = 300;
    let name = |n: usize| format!("topic{n}");
    let mut trial = Trial::of(move |builder: &StreamsBuilder<'_>| {
        let streams: [KStream<'_, String, i64>; TOPICS] =
            array::from_fn(|n| stream(builder, &name(n)));
        let merged = streams.iter().skip(1).fold(streams[0].clone(), |all, next| all.merge(next));
        merged.to_table().to("latest", pair());
    });
    for n in [255, 256, 299, 257, 1, 43] {
        trial.pipe(&name(n), &format!("a={n} k{n}={n} b={n}@0:9"));
    }
    for n in [255, 256] {
        trial.pipe(&name(n), &format!("c={n}"));
    }
    assert_eq!(
        trial.rows("latest"),
        "a=299 b=299 c=256 k1=1 k255=255 k256=256 k257=257 k299=299 k43=43"
    );
}
