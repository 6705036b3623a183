//! Verbs that combine records: groups, tables, joins with a table.

use watershed::{KGrouped, KStream, KTable};

use crate::support::{Trial, pair, stream, table};

#[test]
fn a_group_counts_every_record_and_a_duplicate_is_one_more() {
    let mut trial = Trial::of(|builder| {
        let numbers = stream(builder, "numbers");
        numbers.group_by_key().count().to("keys", pair());
        let parity: KGrouped<'_, String, i64> = numbers.group_by(|_, v| {
            (*v >= 0).then(|| (if v % 2 == 0 { "even" } else { "odd" }.to_string(), *v))
        });
        parity.sum(|v| *v).to("parity", pair());
    });
    trial.pipe("numbers", "a=1 a=1 b=2 b=-7");
    assert_eq!(trial.rows("keys"), "a=2 b=2");
    assert_eq!(trial.rows("parity"), "even=2 odd=2");
    assert_eq!(trial.after("numbers", "a=1 c=4", "keys"), "a=3 b=2 c=1");
    assert_eq!(trial.rows("parity"), "even=6 odd=3");
}

#[test]
fn a_table_of_a_stream_keeps_the_latest_record_by_position() {
    let mut trial = Trial::of(|builder| stream(builder, "numbers").to_table().to("latest", pair()));
    assert_eq!(trial.after("numbers", "a=5@0:5 b=1@0:1", "latest"), "a=5 b=1");
    assert_eq!(trial.after("numbers", "a=4@0:4 b=7@1:0 a=6@1:5", "latest"), "a=6 b=1");
    assert_eq!(trial.after("numbers", "a=0@0:6", "latest"), "a=0 b=1");
}

/// The value of each record times 100 plus the row: the sum and the latest of each key.
fn enriched(joined: KStream<'_, String, i64>) {
    joined.group_by_key().sum(|v| *v).to("sum", pair());
    joined.to_table().to("latest", pair());
}

#[test]
fn a_row_that_comes_later_is_joined_with_the_records_before_it() {
    let mut trial = Trial::of(|builder| {
        enriched(stream(builder, "numbers").join(&table(builder, "rows"), |v, w| v * 100 + w));
    });
    assert_eq!(trial.after("numbers", "a=1 a=2 b=3", "sum"), "");
    assert_eq!(trial.after("rows", "a=5", "sum"), "a=310");
    assert_eq!(trial.rows("latest"), "a=205");
    assert_eq!(trial.after("numbers", "a=1 a=1", "sum"), "a=520");
    assert_eq!(trial.rows("latest"), "a=105");
}

#[test]
fn a_changed_row_moves_the_results_of_all_its_records() {
    let mut trial = Trial::of(|builder| {
        enriched(stream(builder, "numbers").join(&table(builder, "rows"), |v, w| v * 100 + w));
    });
    trial.pipe("rows", "a=5 b=6");
    assert_eq!(trial.after("numbers", "a=1 a=2 b=3", "sum"), "a=310 b=306");
    assert_eq!(trial.after("rows", "a=7", "sum"), "a=314 b=306");
    assert_eq!(trial.rows("latest"), "a=207 b=306");
    assert_eq!(trial.after("rows", "a=", "sum"), "b=306");
    assert_eq!(trial.rows("latest"), "b=306");
    assert_eq!(trial.after("rows", "a=9 b=", "sum"), "a=318");
}

#[test]
fn a_late_correction_of_a_row_changes_no_join() {
    let mut trial = Trial::of(|builder| {
        enriched(stream(builder, "numbers").join(&table(builder, "rows"), |v, w| v * 100 + w));
    });
    trial.pipe("rows", "a=5@0:9");
    assert_eq!(trial.after("numbers", "a=1", "sum"), "a=105");
    assert_eq!(trial.after("rows", "a=6@0:3 a=@0:8", "sum"), "a=105");
    assert_eq!(trial.changes("sum"), "a=105");
}

#[test]
fn a_join_keeps_the_latest_record_by_position() {
    let mut trial = Trial::of(|builder| {
        enriched(stream(builder, "numbers").join(&table(builder, "rows"), |v, w| v * 100 + w));
    });
    trial.pipe("rows", "a=5");
    assert_eq!(trial.after("numbers", "a=9@0:9", "latest"), "a=905");
    assert_eq!(trial.after("numbers", "a=3@0:3 a=8@0:8", "latest"), "a=905");
    assert_eq!(trial.after("numbers", "a=1@1:9", "latest"), "a=105");
}

#[test]
fn a_left_join_keeps_records_without_a_row_until_there_is_one() {
    let mut trial = Trial::of(|builder| {
        enriched(
            stream(builder, "numbers")
                .left_join(&table(builder, "rows"), |v, w| v * 100 + w.copied().unwrap_or(-1)),
        );
    });
    assert_eq!(trial.after("numbers", "a=1 a=2 b=3", "sum"), "a=298 b=299");
    assert_eq!(trial.after("rows", "a=5", "sum"), "a=310 b=299");
    assert_eq!(trial.after("rows", "a=6 b=6", "sum"), "a=312 b=306");
    assert_eq!(trial.after("rows", "a=", "sum"), "a=298 b=306");
    assert_eq!(trial.rows("latest"), "a=199 b=306");
}

#[test]
fn verbs_after_a_join_retract_their_results() {
    let mut trial = Trial::of(|builder| {
        let joined = stream(builder, "numbers").join(&table(builder, "rows"), |v, w| v * 100 + w);
        let odd = joined.filter(|_, v| v % 2 == 1).select_key(|k, v| format!("{k}{}", v % 10));
        odd.flat_map_values(|v| [v, -v])
            .merge(&odd.map(|k, _| (k, 1)))
            .group_by_key()
            .count()
            .to("counts", pair());
        odd.join(&table(builder, "second"), |v, w| v + w).to_table().to("twice", pair());
    });
    trial.pipe("rows", "a=1 b=2");
    assert_eq!(trial.after("numbers", "a=1 a=1 b=1", "counts"), "a1=6");
    assert_eq!(trial.after("second", "a1=1000 b3=2000", "twice"), "a1=1101");
    assert_eq!(trial.after("rows", "a=2 b=3", "counts"), "b3=3");
    assert_eq!(trial.rows("twice"), "b3=2103");
}

#[test]
fn a_stream_may_be_joined_with_a_table_made_of_itself() {
    let mut trial = Trial::of(|builder| {
        let numbers = stream(builder, "numbers");
        let counts: KTable<'_, String, i64> = numbers.group_by_key().count();
        numbers.join(&counts, |v, n| v * 100 + n).group_by_key().sum(|v| *v).to("sum", pair());
    });
    assert_eq!(trial.after("numbers", "a=1 b=1 a=2", "sum"), "a=304 b=101");
    assert_eq!(trial.after("numbers", "b=1", "sum"), "a=304 b=204");
}
