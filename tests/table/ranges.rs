//! Joins of tables on a range: maintained on both sides.

use std::ops::Bound;

use watershed::options::Produced;
use watershed::{KTable, StreamsBuilder};

use crate::support::{Dice, Trial, table};

/// The bounds of a right value, such as 1204 for 12 to 4.
fn bounds(value: i64) -> (i64, i64) {
    (value / 100, value % 100)
}

fn three() -> Produced {
    Produced::columns(["left", "right", "value"])
}

fn program(builder: &StreamsBuilder<'_>) {
    let (left, right) = (table(builder, "left"), table(builder, "right"));
    let value = |_: &String, v: &i64| (*v >= 0).then_some(*v);
    left.join_between(
        &right,
        value,
        |_, w| {
            let (from, to) = bounds(*w);
            Some(from..to)
        },
        |v, w| v * 10_000 + w,
    )
    .to("half_open", three());
    let inclusive = |_: &String, w: &i64| {
        let (from, to) = bounds(*w);
        (*w >= 0).then_some((Bound::Included(from), Bound::Included(to)))
    };
    let even: KTable<'_, (String, String), i64> =
        left.join_between(&right, value, inclusive, |v, w| (v % 2 == 0).then_some(v * 10_000 + w));
    even.to("inclusive", three());
    left.join_between(&right, value, |_, w| (w % 2 == 0).then_some(bounds(*w).0..), |v, w| v + w)
        .to("open", three());
}

#[test]
fn a_row_is_joined_with_the_ranges_that_include_its_value() {
    let mut trial = Trial::of(program);
    trial.pipe("left", "a=5 b=10 c=20 n=-1");
    assert_eq!(trial.rows("half_open"), "");
    assert_eq!(
        trial.after("right", "low=10 mid=520", "half_open"),
        "a=low=50010 a=mid=50520 b=mid=100520"
    );
    assert_eq!(trial.rows("inclusive"), "b=low=100010 b=mid=100520 c=mid=200520");
    assert_eq!(trial.after("left", "a=0 b= d=19", "half_open"), "a=low=10 d=mid=190520");
    assert_eq!(trial.after("right", "low=2030 mid=", "half_open"), "c=low=202030");
    assert_eq!(trial.rows("open"), "c=low=2050");
}

#[test]
fn a_range_that_is_empty_or_turned_around_includes_nothing() {
    let mut trial = Trial::of(program);
    trial.pipe("left", "a=5 b=10 c=20");
    assert_eq!(trial.after("right", "turned=2005 none=1010 negative=-1", "half_open"), "");
    assert_eq!(trial.rows("inclusive"), "b=none=101010");
    assert_eq!(trial.after("right", "turned= none=", "inclusive"), "");
}

#[test]
fn both_tables_may_change_in_one_commit() {
    let mut trial = Trial::of(program);
    trial.pipe("left", "a=5 b=10");
    trial.pipe("right", "low=10 mid=520");
    trial.changes("half_open");
    trial.pipe("left", "a=7 b=5 b=10 e=9");
    trial.pipe("right", "low=9 mid=520 new=811");
    assert_eq!(
        trial.changes("half_open"),
        "a=low=70009 a=mid=70520 b=new=100811 e=mid=90520 e=new=90811"
    );
}

#[test]
fn random_changes_lead_to_the_rows_of_a_plain_loop() {
    let mut dice = Dice::new(5);
    let mut trial = Trial::of(program);
    let (mut left, mut right) = ([None::<i64>; 9], [None::<i64>; 7]);
    for _ in 0..30 {
        for _ in 0..1 + dice.below(8) {
            let gone = dice.below(4) == 0;
            if dice.below(2) == 0 {
                let (at, value) = (dice.below(9) as usize, dice.below(40) as i64);
                left[at] = (!gone).then_some(value);
                let value = left[at].map_or(String::new(), |v| v.to_string());
                trial.pipe("left", &format!("l{at}={value}"));
            } else {
                let (at, from) = (dice.below(7) as usize, dice.below(40) as i64);
                right[at] = (!gone).then_some(from * 100 + dice.below(50) as i64);
                let value = right[at].map_or(String::new(), |v| v.to_string());
                trial.pipe("right", &format!("r{at}={value}"));
            }
        }
        let mut expected = Vec::new();
        for (l, v) in left.iter().enumerate().filter_map(|(at, v)| Some((at, (*v)?))) {
            for (r, w) in right.iter().enumerate().filter_map(|(at, w)| Some((at, (*w)?))) {
                let (from, to) = bounds(w);
                if (from..to).contains(&v) {
                    expected.push(format!("l{l}=r{r}={}", v * 10_000 + w));
                }
            }
        }
        assert_eq!(trial.rows("half_open"), expected.join(" "));
    }
}
