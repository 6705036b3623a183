//! The row of a key is its latest record by position, until it is deleted. Also the verbs of one
//! table.

use watershed::KGrouped;
use watershed::options::Produced;

use crate::support::{Trial, pair, table};

#[test]
fn a_later_record_replaces_and_a_tombstone_deletes() {
    let mut trial = Trial::of(|builder| table(builder, "rows").to("kept", pair()));
    trial.pipe("rows", "a=1 b=2 a=3");
    assert_eq!(trial.changes("kept"), "a=3 b=2");
    trial.pipe("rows", "b= c=4");
    assert_eq!(trial.changes("kept"), "b:gone c=4");
    assert_eq!(trial.after("rows", "b=5 c=", "kept"), "a=3 b=5");
    let counters = trial.counters("rows");
    assert_eq!((counters.read, counters.applied, counters.replaced, counters.rows), (7, 7, 1, 2));
}

#[test]
fn a_duplicate_of_the_latest_record_changes_nothing() {
    let mut trial = Trial::of(|builder| table(builder, "rows").to("kept", pair()));
    trial.pipe("rows", "a=1 a=1");
    assert_eq!(trial.changes("kept"), "a=1");
    trial.pipe("rows", "a=1");
    assert_eq!(trial.changes("kept"), "");
    trial.pipe("rows", "a=2 a=1");
    assert_eq!(trial.changes("kept"), "", "the last record restores the row");
    let counters = trial.counters("rows");
    assert_eq!((counters.applied, counters.duplicates), (3, 2));
}

#[test]
fn a_gauge_counts_the_rows_that_stand() {
    let mut trial = Trial::of(|builder| {
        let rows = table(builder, "rows");
        rows.gauge("small", |_, v| *v < 10);
        rows.map_values(|v| v * 100).gauge("large", |_, v| *v > 5000);
        rows.to("kept", pair());
    });
    trial.pipe("rows", "a=1 b=2 c=70 d=3");
    trial.pipe("rows", "a=60 b= e=4 c=70 d=5@0:1");
    assert_eq!(trial.rows("kept"), "a=60 c=70 d=3 e=4");
    assert_eq!(trial.gauges(), [("large".to_string(), 2), ("small".to_string(), 2)].into());
}

#[test]
fn position_decides_and_arrival_does_not() {
    let mut trial = Trial::of(|builder| table(builder, "rows").to("kept", pair()));
    assert_eq!(trial.after("rows", "a=9@0:9 a=5@0:5 a=7@0:7", "kept"), "a=9");
    assert_eq!(trial.after("rows", "a=6@0:6", "kept"), "a=9");
    assert_eq!(trial.changes("kept"), "a=9");
    assert_eq!(trial.after("rows", "a=10@0:10", "kept"), "a=10");
    assert_eq!(trial.counters("rows").superseded, 3);
}

#[test]
fn records_are_ordered_by_offset_then_by_partition() {
    let mut trial = Trial::of(|builder| table(builder, "rows").to("kept", pair()));
    assert_eq!(trial.after("rows", "a=1@1:4 a=2@0:4 b=1@7:3 b=2@0:4", "kept"), "a=1 b=2");
    assert_eq!(trial.after("rows", "a=3@2:4 b=3@7:2", "kept"), "a=3 b=2");
}

#[test]
fn a_late_record_does_not_restore_a_deleted_row() {
    let mut trial = Trial::of(|builder| table(builder, "rows").to("kept", pair()));
    assert_eq!(trial.after("rows", "a=1@0:1 a=@0:5", "kept"), "");
    assert_eq!(trial.after("rows", "a=3@0:3", "kept"), "");
    assert_eq!(
        trial.after("rows", "b=@0:7 b=6@0:6", "kept"),
        "",
        "the tombstone came before what it deletes"
    );
    assert_eq!(trial.after("rows", "a=8@0:8 b=9@0:9", "kept"), "a=8 b=9");
}

#[test]
fn a_late_tombstone_deletes_nothing_newer() {
    let mut trial = Trial::of(|builder| table(builder, "rows").to("kept", pair()));
    assert_eq!(trial.after("rows", "a=5@0:5 a=@0:4", "kept"), "a=5");
    assert_eq!(trial.after("rows", "z=", "kept"), "a=5", "what is not there can be deleted");
}

#[test]
fn a_row_enters_and_leaves_a_filter_as_it_changes() {
    let mut trial = Trial::of(|builder| {
        let even = table(builder, "rows").filter(|_, v| v % 2 == 0);
        even.to("even", pair());
        even.group_by(|_, v| ("all".to_string(), *v)).count().to("count", pair());
    });
    assert_eq!(trial.after("rows", "a=1 b=2 c=4", "even"), "b=2 c=4");
    assert_eq!(trial.rows("count"), "all=2");
    assert_eq!(trial.after("rows", "a=6 b=3 c=", "even"), "a=6");
    assert_eq!(trial.rows("count"), "all=1");
    assert_eq!(trial.after("rows", "a=7", "even"), "");
    assert_eq!(trial.rows("count"), "");
}

#[test]
fn a_change_that_a_map_hides_is_no_change() {
    let mut trial = Trial::of(|builder| {
        let tens = table(builder, "rows").map_values(|v| v / 10);
        tens.to("tens", pair());
        tens.to_stream().to("changes", Produced::columns(["key", "tens"]));
    });
    trial.pipe("rows", "a=10 b=20");
    assert_eq!(trial.changes("tens"), "a=1 b=2");
    trial.pipe("rows", "a=19 b=31");
    assert_eq!(trial.changes("tens"), "b=3");
    assert_eq!(trial.rows("changes"), "a=1 b=2 b=3");
}

#[test]
fn a_stream_of_changes_has_one_record_a_key_and_commit() {
    let mut trial = Trial::of(|builder| {
        let rows = table(builder, "rows");
        rows.to_stream().to("changes", Produced::columns(["key", "value"]));
        let sums: KGrouped<'_, String, i64> = rows.group_by(|k, v| (k[..1].to_string(), *v));
        sums.sum(|v| *v).to_stream().to("sums", Produced::columns(["key", "sum"]));
    });
    trial.pipe("rows", "a=1 a=2 b=1 b= c=3");
    assert_eq!(trial.changes("changes"), "a=2 c=3");
    assert_eq!(trial.changes("sums"), "a=2 c=3");
    trial.pipe("rows", "a= c=4 c=3");
    assert_eq!(trial.changes("changes"), "a=");
    assert_eq!(trial.changes("sums"), "a=");
    trial.pipe("rows", "ab=1 ac=2");
    assert_eq!(trial.changes("sums"), "a=3");
}

#[test]
fn a_row_that_changes_leaves_its_group_and_enters_another() {
    let mut trial = Trial::of(|builder| {
        let parity: KGrouped<'_, String, i64> =
            table(builder, "rows").group_by(|_, v| (*v >= 0).then(|| ((v % 2).to_string(), *v)));
        parity.count().to("count", pair());
        parity.sum(|v| *v).to("sum", pair());
    });
    assert_eq!(trial.after("rows", "a=1 b=3 c=2", "count"), "0=1 1=2");
    assert_eq!(trial.after("rows", "a=4", "count"), "0=2 1=1");
    assert_eq!(trial.rows("sum"), "0=6 1=3");
    assert_eq!(trial.after("rows", "b=-3 c=", "count"), "0=1");
    assert_eq!(trial.rows("sum"), "0=4");
}

#[test]
fn a_table_may_be_read_by_many() {
    let mut trial = Trial::of(|builder| {
        let rows = table(builder, "rows");
        rows.to("one", pair());
        rows.clone().named("again").to("two", pair());
        rows.join(&rows.filter(|_, v| v % 2 == 0), |a, b| a * 100 + b).to("squares", pair());
    });
    assert_eq!(trial.after("rows", "a=1 b=2", "one"), "a=1 b=2");
    assert_eq!(trial.rows("two"), "a=1 b=2");
    assert_eq!(trial.rows("squares"), "b=202");
    assert_eq!(trial.after("rows", "a=4 b=3", "squares"), "a=404");
}

#[test]
fn a_tombstone_for_an_unknown_key_supersedes_earlier_records() {
    let mut trial = Trial::of(|builder| table(builder, "rows").to("kept", pair()));
    assert_eq!(trial.after("rows", "a=@0:5", "kept"), "");
    assert_eq!(
        trial.after("rows", "a=@0:6 a=1@0:4", "kept"),
        "",
        "neither changes anything, and the earlier value comes too late"
    );
    let counters = trial.counters("rows");
    assert_eq!(
        (
            counters.read,
            counters.applied,
            counters.replaced,
            counters.duplicates,
            counters.superseded,
            counters.rows
        ),
        (3, 0, 0, 2, 1, 0)
    );
}
