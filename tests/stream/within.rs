//! Joins of two streams within windows of event time.

use std::time::Duration;

use watershed::prelude::*;
use watershed::serdes::Nullable;

use crate::support::shown;

const SECOND: i64 = 1_000_000;

/// Pipes records of the topics `l` and `r`: topic, second, key, value.
fn pipe(driver: &mut TopologyTestDriver, records: &[(&str, i64, i64, i64)]) {
    for (topic, second, key, value) in records {
        driver.set_time(Timestamp(second * SECOND));
        driver.input(topic, Int64, Int64).pipe(driver, key, value);
    }
    driver.commit().unwrap();
}

fn pairs(driver: &TopologyTestDriver) -> Vec<[i64; 3]> {
    let number = |value: &Value| match value {
        Value::Long(n) => *n,
        Value::Null => 0,
        other => panic!("{other:?}"),
    };
    driver.rows("out").iter().map(|row| [0, 1, 2].map(|at| number(&row[at]))).collect()
}

fn driver(
    join: impl for<'s> Fn(&KStream<'s, i64, i64>, &KStream<'s, i64, i64>) -> KStream<'s, i64, Pair>
    + Send
    + Sync
    + 'static,
) -> TopologyTestDriver {
    let topology = Topology::new("pairs", move |builder: &StreamsBuilder<'_>| {
        let stream = |topic| builder.stream(topic, Consumed::with(Int64, Int64));
        join(&stream("l"), &stream("r")).to("out", Produced::columns(["key", "left", "right"]));
    });
    TopologyTestDriver::with_workers(topology, 2).unwrap()
}

type Pair = (Option<i64>, Option<i64>);

fn windows() -> JoinWindows {
    JoinWindows::of(Duration::from_secs(10)).before(Duration::from_secs(2))
}

#[test]
fn a_record_at_the_end_of_time_ends_a_run_by_record() {
    let topology = Topology::new("end", |builder: &StreamsBuilder<'_>| {
        let stream = |topic| builder.stream(topic, Consumed::with(Int64, Int64));
        let windows = windows().grace(Duration::ZERO);
        let pairs = stream("l").join_within(&stream("r"), windows, |l, r| (Some(*l), Some(*r)));
        pairs.to("out", Produced::columns(["key", "left", "right"]));
    });
    let mut driver = TopologyTestDriver::per_record(topology).unwrap();
    pipe(&mut driver, &[("r", 0, 1, 1)]);
    // The stream on the right stands still, so its record stays while time goes on.
    (1..100).for_each(|at| pipe(&mut driver, &[("l", at, 1, at)]));
    driver.set_time(Timestamp::MAX);
    driver.input("l", Int64, Int64).pipe(&mut driver, &1, &100);
    pipe(&mut driver, &[("r", 101, 1, 2)]);
    assert_eq!(pairs(&driver), [[1, 1, 1], [1, 2, 1]]);
}

#[test]
fn a_pair_is_near_in_time_on_the_right_side() {
    let mut driver = driver(|l, r| l.join_within(r, windows(), |l, r| (Some(*l), Some(*r))));
    pipe(&mut driver, &[("l", 100, 1, 5), ("r", 98, 1, 1), ("r", 97, 1, 2), ("r", 110, 1, 3)]);
    pipe(&mut driver, &[("r", 111, 1, 4), ("r", 100, 2, 6), ("l", 99, 1, 7)]);
    assert_eq!(pairs(&driver), [[1, 5, 1], [1, 5, 3], [1, 7, 1], [1, 7, 2]]);
}

#[test]
fn duplicates_make_pairs_of_their_own() {
    let mut driver = driver(|l, _| l.join_within(l, windows(), |l, r| (Some(*l), Some(*r))));
    pipe(&mut driver, &[("l", 100, 1, 5), ("l", 100, 1, 5)]);
    assert_eq!(pairs(&driver), [[1, 5, 5]; 4]);
}

#[test]
fn a_record_without_a_partner_is_emitted_once_none_can_come() {
    let grace = Duration::from_secs(5);
    let mut driver = driver(move |l, r| {
        l.outer_join_within(r, windows().grace(grace), |l, r| (l.copied(), r.copied()))
    });
    pipe(&mut driver, &[("l", 100, 1, 5), ("r", 99, 2, 6), ("l", 200, 9, 0), ("r", 117, 9, 0)]);
    // A right record at 110 may still come, and be the partner of the left one.
    assert_eq!(pairs(&driver), [[2, 0, 6]]);
    pipe(&mut driver, &[("r", 110, 1, 7), ("r", 118, 9, 0), ("l", 201, 8, 8)]);
    assert_eq!(pairs(&driver), [[1, 5, 7], [2, 0, 6]]);
}

#[test]
fn a_late_record_has_no_partner() {
    let mut driver = driver(|l, r| {
        l.left_join_within(r, windows().grace(Duration::ZERO), |l, r| (Some(*l), r.copied()))
    });
    // The window of the left record ends at 110, which its partition has passed.
    pipe(&mut driver, &[("r", 100, 1, 1), ("l", 111, 2, 2), ("l", 100, 1, 3)]);
    pipe(&mut driver, &[("r", 300, 9, 0), ("l", 300, 9, 0)]);
    assert_eq!(pairs(&driver), [[2, 2, 0], [9, 0, 0]]);
    assert_eq!(driver.finish().unwrap().topics["l"].applied, 3);
}

#[test]
fn a_null_key_has_no_partner() {
    let topology = Topology::new("nulls", |builder: &StreamsBuilder<'_>| {
        let stream = |topic| builder.stream(topic, Consumed::with(Nullable(Int64), Int64));
        let (l, r) = (stream("l"), stream("r"));
        let columns = || Produced::columns(["key", "left", "right"]);
        let windows = || windows().grace(Duration::ZERO);
        l.join_within(&r, windows(), |l, r| (Some(*l), Some(*r))).to("inner", columns());
        l.left_join_within(&r, windows(), |l, r| (Some(*l), r.copied())).to("left", columns());
        let outer = l.outer_join_within(&r, windows(), |l, r| (l.copied(), r.copied()));
        outer.to("outer", columns());
    });
    let mut driver = TopologyTestDriver::with_workers(topology, 2).unwrap();
    for (topic, n) in [("l", 1), ("r", 2), ("l", 3)] {
        let input = driver.input(topic, Nullable(Int64), Int64);
        input.pipe_at(&mut driver, &None, &n, Timestamp(SECOND));
    }
    driver.commit().unwrap();
    let rows = |topic: &str| driver.rows(topic).iter().map(|row| shown(row)).collect::<Vec<_>>();
    assert!(rows("inner").is_empty());
    assert_eq!(rows("left"), ["=1=", "=3="], "at once");
    assert_eq!(rows("outer"), ["==2", "=1=", "=3="]);
}
