//! Joins of tables by a foreign key: maintained on both sides.

use watershed::options::Produced;
use watershed::{KTable, OuterKey, StreamsBuilder};

use crate::support::{Dice, Trial, pair, table};

/// A left value refers to the right row of its tens, or to none below 10.
fn foreign_key(_: &String, value: &i64) -> Option<String> {
    (*value >= 10).then(|| format!("r{}", value / 10))
}

/// The value of the left row and that of the right one, 0 without.
fn value(left: &i64, right: Option<&i64>) -> i64 {
    left * 100 + right.unwrap_or(&0)
}

fn all_kinds(builder: &StreamsBuilder<'_>) {
    let (left, right) = (table(builder, "left"), table(builder, "right"));
    left.join_on(&right, foreign_key, |l, r| value(l, Some(r))).to("inner", pair());
    left.left_join_on(&right, foreign_key, value).to("left_joined", pair());
    left.outer_join_on(&right, foreign_key, |l, r| value(l.unwrap_or(&0), r))
        .to("outer", Produced::columns(["left", "right", "value"]));
}

#[test]
fn a_row_is_joined_with_the_row_that_it_refers_to() {
    let mut trial = Trial::of(all_kinds);
    trial.pipe("left", "a=11 b=12 c=21 d=5");
    assert_eq!(trial.rows("inner"), "");
    assert_eq!(trial.rows("left_joined"), "a=1100 b=1200 c=2100 d=500");
    assert_eq!(trial.after("right", "r1=7 r3=9", "inner"), "a=1107 b=1207");
    assert_eq!(trial.rows("left_joined"), "a=1107 b=1207 c=2100 d=500");
    assert_eq!(trial.after("right", "r1=8", "inner"), "a=1108 b=1208");
    assert_eq!(trial.after("right", "r1=", "inner"), "");
    assert_eq!(trial.rows("left_joined"), "a=1100 b=1200 c=2100 d=500");
}

#[test]
fn a_row_with_another_foreign_key_leaves_its_old_match() {
    let mut trial = Trial::of(all_kinds);
    trial.pipe("right", "r1=1 r2=2 r3=3");
    assert_eq!(trial.after("left", "a=11", "inner"), "a=1101");
    trial.changes("inner");
    trial.pipe("left", "a=21");
    assert_eq!(trial.changes("inner"), "a=2102");
    trial.pipe("right", "r1=9");
    assert_eq!(trial.changes("inner"), "", "its old match is nothing to it");
    // To a match that is not there, to no foreign key, and back within one epoch.
    assert_eq!(trial.after("left", "a=41", "inner"), "");
    assert_eq!(trial.after("left", "a=5", "left_joined"), "a=500");
    trial.pipe("left", "a=11 a=5 a=31 a=21");
    trial.pipe("right", "r2=4");
    assert_eq!(trial.rows("inner"), "a=2104");
    trial.pipe("left", "a=");
    assert_eq!(trial.rows("left_joined"), "");
}

#[test]
fn a_right_row_without_left_rows_has_a_row_of_its_own() {
    let mut trial = Trial::of(all_kinds);
    assert_eq!(trial.after("right", "r1=7 r2=8", "outer"), "=r1=7 =r2=8");
    assert_eq!(trial.after("left", "a=11 b=12", "outer"), "=r2=8 a==1107 b==1207");
    assert_eq!(trial.after("left", "a=", "outer"), "=r2=8 b==1207");
    assert_eq!(trial.after("left", "b=31 c=", "outer"), "=r1=7 =r2=8 b==3100");
    trial.pipe("left", "b=4");
    assert_eq!(trial.after("right", "r1= r2=9", "outer"), "=r2=9 b==400");
    trial.changes("outer");
    trial.pipe("left", "x=21");
    trial.pipe("right", "r2=");
    assert_eq!(trial.changes("outer"), "=r2:gone x==2100");
}

#[test]
fn a_join_by_foreign_key_may_follow_another() {
    let mut trial = Trial::of(|builder| {
        let (left, right) = (table(builder, "left"), table(builder, "right"));
        let joined: KTable<'_, String, i64> =
            left.left_join_on(&right, foreign_key, |l, r| l % 10 + r.unwrap_or(&0) * 10);
        // The right value is the foreign key of the second join; the left row is joined again.
        joined.join_on(&right, foreign_key, |l, r| l * 100 + r).to("twice", pair());
        let again: KTable<'_, String, i64> = joined.join(&left, |joined, l| joined * 1000 + l);
        again.to("again", pair());
        let outer: KTable<'_, OuterKey<String, String>, i64> =
            joined.outer_join_on(&right, foreign_key, |l, r| value(l.unwrap_or(&0), r));
        outer
            .group_by(|key, v| {
                let side = if matches!(key, OuterKey::Left(_)) { "left" } else { "right" };
                (side.to_string(), *v)
            })
            .count()
            .to("sides", pair());
    });
    trial.pipe("right", "r1=2 r2=1");
    assert_eq!(trial.after("left", "a=13 b=24 c=35", "twice"), "a=2301 b=1402");
    assert_eq!(trial.rows("again"), "a=23013 b=14024 c=5035");
    assert_eq!(trial.rows("sides"), "left=3");
    assert_eq!(trial.after("right", "r2=2 r3=3", "twice"), "a=2302 b=2402 c=3503");
    assert_eq!(trial.rows("sides"), "left=3 right=1");
}

#[test]
fn a_late_correction_by_position_moves_no_join_on() {
    let mut trial = Trial::of(all_kinds);
    trial.pipe("right", "r1=7@0:5 r2=8@0:6");
    assert_eq!(trial.after("left", "a=11@0:5", "inner"), "a=1107");
    trial.changes("inner");
    trial.pipe("left", "a=21@0:4 a=@0:3");
    trial.pipe("right", "r1=9@0:4 r1=@0:2");
    assert_eq!(trial.changes("inner"), "");
}

#[test]
fn a_table_may_refer_to_itself() {
    let mut trial = Trial::of(|builder| {
        let rows = table(builder, "rows");
        let parent = |_: &String, v: &i64| (*v > 0).then(|| format!("n{v}"));
        let joined: KTable<'_, String, i64> =
            rows.left_join_on(&rows, parent, |v, p| v * 10 + p.unwrap_or(&0));
        joined.to("grandparents", pair());
    });
    assert_eq!(trial.after("rows", "n1=0 n2=1 n3=2", "grandparents"), "n1=0 n2=10 n3=21");
    assert_eq!(trial.after("rows", "n2=3 n1=", "grandparents"), "n2=32 n3=23");
}

#[test]
fn many_left_rows_follow_their_right_row_once() {
    let mut trial = Trial::of(all_kinds);
    let mut dice = Dice::new(9);
    let records: Vec<String> = (0..300).map(|n| format!("k{n}={}", 10 + dice.below(20))).collect();
    trial.pipe("left", &records.join(" "));
    trial.pipe("right", "r1=1 r2=2");
    let joined = trial.rows("inner").split(' ').count();
    assert_eq!(joined, 300);
    trial.changes("inner");
    trial.pipe("right", "r1=3");
    let moved = trial.changes("inner").split(' ').count();
    assert!((100..200).contains(&moved), "{moved} rows");
    trial.pipe("left", "k0=11");
    assert_eq!(trial.changes("inner"), "k0=1103");
}
