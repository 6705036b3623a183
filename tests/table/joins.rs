//! Joins of two tables: maintained on both sides.

use watershed::KTable;

use crate::support::{Trial, pair, table};

#[test]
fn a_join_has_the_keys_of_both_and_follows_both() {
    let mut trial = Trial::of(|builder| {
        table(builder, "left")
            .join(&table(builder, "right"), |l, r| l * 100 + r)
            .to("both", pair());
    });
    trial.pipe("left", "a=1 b=2");
    assert_eq!(trial.rows("both"), "");
    assert_eq!(trial.after("right", "b=7 c=8", "both"), "b=207");
    assert_eq!(trial.after("right", "a=9 b=6", "both"), "a=109 b=206");
    assert_eq!(trial.after("left", "a=3 c=4", "both"), "a=309 b=206 c=408");
    assert_eq!(trial.after("left", "b=", "both"), "a=309 c=408");
    assert_eq!(trial.after("right", "a=", "both"), "c=408");
    trial.pipe("left", "b=5");
    assert_eq!(trial.after("right", "a=1 c=", "both"), "a=301 b=506");
}

#[test]
fn both_sides_may_change_in_one_commit() {
    let mut trial = Trial::of(|builder| {
        let both: KTable<'_, String, i64> =
            table(builder, "left").join(&table(builder, "right"), |l, r| l * 100 + r);
        both.to("both", pair());
        both.group_by(|_, v| ("all".to_string(), *v)).sum(|v| *v).to("sum", pair());
    });
    trial.pipe("left", "a=1 b=1");
    trial.pipe("right", "a=1 b=1");
    assert_eq!(trial.changes("both"), "a=101 b=101");
    trial.pipe("left", "a=2 b=");
    trial.pipe("right", "a=2 b=");
    assert_eq!(trial.changes("both"), "a=202 b:gone");
    assert_eq!(trial.rows("sum"), "all=202");
    trial.pipe("left", "a=");
    trial.pipe("right", "a=3");
    trial.pipe("left", "a=2");
    trial.pipe("right", "a=2");
    assert_eq!(trial.changes("both"), "", "back to what it was");
}

#[test]
fn a_left_join_keeps_rows_without_a_partner() {
    let mut trial = Trial::of(|builder| {
        let optional = |l: &i64, r: Option<&i64>| l * 100 + r.copied().unwrap_or(-1);
        table(builder, "left")
            .left_join(&table(builder, "right"), optional)
            .to("left_join", pair());
    });
    trial.pipe("right", "b=7 c=8");
    assert_eq!(trial.after("left", "a=1 b=2", "left_join"), "a=99 b=207");
    assert_eq!(trial.after("right", "a=5 b=", "left_join"), "a=105 b=199");
    assert_eq!(trial.after("left", "a=", "left_join"), "b=199");
    assert_eq!(trial.after("left", "a=3", "left_join"), "a=305 b=199");
}

#[test]
fn an_outer_join_keeps_rows_of_either_side_without_a_partner() {
    let mut trial = Trial::of(|builder| {
        let any = |l: Option<&i64>, r: Option<&i64>| l.unwrap_or(&-1) * 100 + r.unwrap_or(&-1);
        table(builder, "left").outer_join(&table(builder, "right"), any).to("outer", pair());
    });
    trial.pipe("right", "b=7 c=8");
    assert_eq!(trial.after("left", "a=1 b=2", "outer"), "a=99 b=207 c=-92");
    assert_eq!(trial.after("right", "a=5 b=", "outer"), "a=105 b=199 c=-92");
    assert_eq!(trial.after("left", "a= b=", "outer"), "a=-95 c=-92");
    trial.pipe("left", "a=3 c=4");
    trial.changes("outer");
    trial.pipe("left", "a= d=1 d=");
    assert_eq!(trial.after("right", "a= d=1 d=", "outer"), "c=408");
    assert_eq!(trial.changes("outer"), "a:gone");
}

#[test]
fn an_outer_join_of_an_outer_join_shows_no_lone_half() {
    let mut trial = Trial::of(|builder| {
        let (left, right) = (table(builder, "left"), table(builder, "right"));
        let sum = |l: Option<&i64>, r: Option<&i64>| l.unwrap_or(&0) + r.unwrap_or(&0);
        let outer: KTable<'_, String, i64> = left.outer_join(&right, sum);
        // The sum less its parts is 0, whichever side has changed.
        let rest: KTable<'_, String, i64> =
            outer.outer_join(&right, |sum, r| sum.unwrap_or(&0) - r.unwrap_or(&0));
        let zero: KTable<'_, String, i64> =
            rest.outer_join(&left, |rest, l| rest.unwrap_or(&0) - l.unwrap_or(&0));
        zero.to("zero", pair());
    });
    trial.pipe("left", "a=1 b=2");
    trial.pipe("right", "a=7 c=9");
    assert_eq!(trial.changes("zero"), "a=0 b=0 c=0");
    trial.pipe("left", "a=4");
    trial.pipe("right", "a=5 b=6");
    assert_eq!(trial.changes("zero"), "");
    trial.pipe("left", "a= b=");
    trial.pipe("right", "a=");
    assert_eq!(trial.changes("zero"), "a:gone");
}

#[test]
fn a_join_that_gives_nothing_has_no_row() {
    let mut trial = Trial::of(|builder| {
        let (left, right) = (table(builder, "left"), table(builder, "right"));
        let ordered: KTable<'_, String, i64> = left.join(&right, |l, r| (l < r).then_some(r - l));
        ordered.to("ordered", pair());
        let missing: KTable<'_, String, i64> =
            left.left_join(&right, |l, r| r.is_none().then_some(*l));
        missing.to("missing", pair());
        let lone: KTable<'_, String, i64> = left.outer_join(&right, |l, r| l.xor(r).copied());
        lone.to("lone", pair());
    });
    trial.pipe("left", "a=1 b=2 c=3");
    trial.pipe("right", "a=5 b=1");
    assert_eq!(trial.rows("ordered"), "a=4");
    assert_eq!(trial.rows("missing"), "c=3");
    assert_eq!(trial.after("right", "d=6", "lone"), "c=3 d=6");
    assert_eq!(trial.after("right", "a=0 b=9 c=4", "ordered"), "b=7 c=1");
    assert_eq!(trial.after("left", "d=6", "lone"), "");
    assert_eq!(trial.rows("missing"), "");
    assert_eq!(trial.after("right", "c=", "missing"), "c=3");
}

#[test]
fn a_correction_that_arrives_late_by_position_moves_no_join() {
    let mut trial = Trial::of(|builder| {
        table(builder, "left")
            .join(&table(builder, "right"), |l, r| l * 100 + r)
            .to("both", pair());
    });
    trial.pipe("left", "a=1@0:5");
    trial.pipe("right", "a=2@0:5");
    assert_eq!(trial.changes("both"), "a=102");
    trial.pipe("left", "a=8@0:4 a=@0:3");
    trial.pipe("right", "a=@0:4 a=9@0:2");
    assert_eq!(trial.changes("both"), "");
}

#[test]
fn joins_and_groups_follow_one_another() {
    let mut trial = Trial::of(|builder| {
        let (left, right) = (table(builder, "left"), table(builder, "right"));
        let both: KTable<'_, String, i64> = left.join(&right, |l, r| l * 10 + r);
        let sizes = both.group_by(|_, v| ((v / 10).to_string(), *v)).count();
        // The aggregates are a table: it is joined on equal keys, and grouped by size.
        let named: KTable<'_, String, i64> =
            sizes.left_join(&table(builder, "names"), |n, name| n * 10 + name.unwrap_or(&0));
        named.to("named", pair());
        sizes.group_by(|_, n| (n.to_string(), 1)).count().to("sizes", pair());
    });
    trial.pipe("left", "a=1 b=1 c=2");
    trial.pipe("right", "a=5 b=6 c=7");
    trial.pipe("names", "1=3");
    assert_eq!(trial.rows("named"), "1=23 2=10");
    assert_eq!(trial.rows("sizes"), "1=1 2=1");
    trial.pipe("left", "b=2");
    assert_eq!(trial.rows("named"), "1=13 2=20");
    assert_eq!(trial.rows("sizes"), "1=1 2=1");
    trial.pipe("right", "a=");
    assert_eq!(trial.rows("named"), "2=20");
    assert_eq!(trial.rows("sizes"), "2=1");
}
