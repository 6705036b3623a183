//! Look-ups of the rows that stand at the close of a record's epoch.

use watershed::options::Consumed;
use watershed::serdes::{Json, Utf8};
use watershed::testing::TopologyTestDriver;
use watershed::{GlobalKTable, StreamsBuilder, Topology};

use crate::support::{Trial, pair, stream, table};

fn row_key(_: &String, value: &i64) -> Option<String> {
    (*value >= 10).then(|| format!("g{}", value / 10))
}

fn program(builder: &StreamsBuilder<'_>) {
    let (numbers, rows) = (stream(builder, "numbers"), table(builder, "rows"));
    numbers.lookup_join(&rows, |v, w| v * 100 + w).to("inner", pair());
    numbers.left_lookup_join(&rows, |v, w| v * 100 + w.unwrap_or(&0)).to("left", pair());
    let global: GlobalKTable<'_, String, i64> =
        builder.global_table("global", Consumed::with(Utf8, Json));
    numbers.lookup_join_global(&global, row_key, |v, w| v * 100 + w).to("global inner", pair());
    numbers
        .left_lookup_join_global(&global, row_key, |v, w| v * 100 + w.unwrap_or(&0))
        .to("global left", pair());
    // A table that is made by an aggregate is looked up as well.
    let counts = rows.group_by(|_, v| (format!("n{}", v % 2), ())).count();
    numbers.lookup_join(&counts, |v, n| v * 100 + n).to("counted", pair());
}

#[test]
fn a_later_change_of_the_row_moves_no_result() {
    let mut trial = Trial::of(program);
    assert_eq!(trial.after("numbers", "a=1", "inner"), "");
    assert_eq!(trial.rows("left"), "a=100");
    assert_eq!(trial.after("rows", "a=5 b=6", "inner"), "");
    assert_eq!(trial.after("numbers", "a=2 a=2 c=3", "inner"), "a=205 a=205");
    assert_eq!(trial.after("rows", "a=7", "inner"), "a=205 a=205");
    assert_eq!(trial.after("numbers", "a=3", "inner"), "a=205 a=205 a=307");
    trial.pipe("rows", "a=");
    assert_eq!(trial.after("numbers", "a=4", "inner"), "a=205 a=205 a=307");
    assert_eq!(trial.rows("left"), "a=100 a=205 a=205 a=307 a=400 c=300");
}

#[test]
fn a_row_of_the_same_epoch_counts_whichever_comes_first() {
    let mut trial = Trial::of(program);
    trial.pipe("numbers", "a=1 b=2 n1=9");
    trial.pipe("rows", "a=4 a=5");
    assert_eq!(trial.rows("inner"), "a=105");
    assert_eq!(trial.rows("counted"), "n1=901");
    trial.pipe("rows", "a= b=6");
    trial.pipe("numbers", "a=3 b=7");
    assert_eq!(trial.rows("inner"), "a=105 b=706");
}

#[test]
fn a_key_that_is_deleted_and_used_again_has_its_own_row() {
    let mut trial = Trial::of(program);
    for n in 1..20 {
        trial.pipe("rows", &format!("k{n}={n} k{}=", n - 1));
        trial.pipe("numbers", &format!("k{n}=1 k{}=1", n - 1));
        trial.rows("inner");
    }
    let expected: Vec<String> = (1..20).map(|n| format!("k{n}={}", 100 + n)).collect();
    let mut found: Vec<String> = trial.rows("inner").split(' ').map(str::to_string).collect();
    found.sort_by_key(|row| row[1..].split('=').next().unwrap().parse::<u32>().unwrap());
    assert_eq!(found, expected);
}

#[test]
fn a_global_row_is_looked_up_by_a_mapped_key() {
    let mut trial = Trial::of(program);
    trial.pipe("global", "g1=3");
    assert_eq!(trial.after("numbers", "a=11 b=12 c=21 d=4", "global inner"), "a=1103 b=1203");
    assert_eq!(trial.rows("global left"), "a=1103 b=1203 c=2100 d=400");
    trial.pipe("global", "g1= g2=5");
    assert_eq!(trial.after("numbers", "a=11 c=21", "global inner"), "a=1103 b=1203 c=2105");
}

#[test]
fn a_stream_that_retracts_records_can_not_look_up_rows() {
    let topology = Topology::new("retracting", |builder: &StreamsBuilder<'_>| {
        let (numbers, rows) = (stream(builder, "numbers"), table(builder, "rows"));
        let joined = numbers.join(&rows, |v, w| v + w);
        joined.lookup_join(&rows, |v, w| v + w).to("out", pair());
    });
    let error = TopologyTestDriver::new(topology).err().unwrap().to_string();
    assert!(error.contains("can't look up rows for a stream that retracts"), "{error}");
}
