//! Windows of event time.

use std::time::Duration;

use watershed::prelude::{Value::Long, *};

const SECOND: i64 = 1_000_000;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Returns rows of the columns key, from, to and result, with times in seconds.
fn rows(driver: &TopologyTestDriver, topic: &str) -> Vec<[i64; 4]> {
    let number = |value: &Value| match value {
        Value::Long(n) => *n,
        Value::Timestamp(at) => at / SECOND,
        other => panic!("{other:?}"),
    };
    driver.rows(topic).iter().map(|row| [0, 1, 2, 3].map(|at| number(&row[at]))).collect()
}

fn driver(windows: impl Fn(KGrouped<'_, i64, i64>) + Send + Sync + 'static) -> TopologyTestDriver {
    let topology = Topology::new("windows", move |builder: &StreamsBuilder<'_>| {
        windows(builder.stream("in", Consumed::with(Int64, Int64)).group_by_key());
    });
    TopologyTestDriver::new(topology).unwrap()
}

fn out() -> Produced {
    Produced::columns(["key", "from", "to", "result"])
}

/// Pipes values of key 1 at these seconds.
fn pipe(driver: &mut TopologyTestDriver, records: &[(i64, i64)]) {
    let input = driver.input("in", Int64, Int64);
    for (second, value) in records {
        driver.set_time(Timestamp(second * SECOND));
        input.pipe(driver, &1, value);
    }
    driver.commit().unwrap();
}

#[test]
fn a_hopping_window_has_every_record_of_its_span() {
    let hopping = TimeWindows::of_size(seconds(10)).advance_by(seconds(5));
    let mut driver = driver(move |it| it.windowed_by(hopping).sum(|n| *n).to("out", out()));
    pipe(&mut driver, &[(0, 1), (7, 2), (12, 4), (-3, 8)]);
    assert_eq!(
        rows(&driver, "out"),
        [[1, -10, 0, 8], [1, -5, 5, 9], [1, 0, 10, 3], [1, 5, 15, 6], [1, 10, 20, 4]]
    );
}

#[test]
fn a_late_record_is_left_out_and_returned() {
    let windows = TimeWindows::of_size(seconds(10)).grace(seconds(5));
    let mut driver = driver(move |it| {
        let windowed = it.windowed_by(windows);
        windowed.count().to("out", out());
        windowed.late().to("late", out());
    });
    pipe(&mut driver, &[(1, 1), (14, 2), (2, 3), (15, 4), (3, 5)]);
    assert_eq!(rows(&driver, "out"), [[1, 0, 10, 2], [1, 10, 20, 2]]);
    assert_eq!(rows(&driver, "late"), [[1, 0, 10, 5]]);
}

#[test]
fn a_window_is_emitted_once_when_it_closes() {
    let windows = TimeWindows::of_size(seconds(10)).grace(seconds(5));
    let mut driver = driver(move |it| {
        let counts = it.windowed_by(windows).emit(Emit::OnClose).count();
        counts.to("out", out());
        counts.to_stream().to("closed", out());
    });
    pipe(&mut driver, &[(1, 1), (14, 2)]);
    assert!(rows(&driver, "out").is_empty());
    pipe(&mut driver, &[(2, 1), (15, 2), (100, 1)]);
    assert_eq!(rows(&driver, "out"), [[1, 0, 10, 2], [1, 10, 20, 2]]);
    assert_eq!(rows(&driver, "closed"), rows(&driver, "out"));
}

#[test]
fn a_row_is_deleted_after_its_retention() {
    let windows = TimeWindows::of_size(seconds(10)).grace(seconds(5)).retain(seconds(20));
    let mut driver = driver(move |it| it.windowed_by(windows).max().to("out", out()));
    pipe(&mut driver, &[(1, 7), (29, 8)]);
    assert_eq!(rows(&driver, "out"), [[1, 0, 10, 7], [1, 20, 30, 8]]);
    pipe(&mut driver, &[(30, 9)]);
    assert_eq!(rows(&driver, "out"), [[1, 20, 30, 8], [1, 30, 40, 9]]);
}

#[test]
fn the_row_of_a_session_is_deleted_after_its_retention() {
    let sessions = SessionWindows::of_inactivity_gap(seconds(10)).grace(seconds(5));
    let mut driver = driver(move |it| {
        it.windowed_by(sessions.retain(seconds(20))).count().to("out", out());
        it.windowed_by(sessions.retain(seconds(5))).count().to("short", out());
    });
    let count = |driver: &TopologyTestDriver, topic| rows(driver, topic).len();
    pipe(&mut driver, &[(0, 1), (15, 1)]);
    assert_eq!(["out", "short"].map(|topic| count(&driver, topic)), [2, 2]);
    // The shorter retention is over, but a row stays until its session closes.
    pipe(&mut driver, &[(16, 1)]);
    assert_eq!(["out", "short"].map(|topic| count(&driver, topic)), [2, 1]);
    pipe(&mut driver, &[(20, 1)]);
    assert_eq!(rows(&driver, "out"), [[1, 0, 0, 1], [1, 15, 20, 3]]);
    pipe(&mut driver, &[(21, 1)]);
    assert_eq!(rows(&driver, "out"), [[1, 15, 21, 4]]);
}

#[test]
fn the_row_of_a_sliding_window_goes_after_its_retention() {
    let sliding = SlidingWindows::of_time_difference(seconds(10)).grace(seconds(5));
    let mut driver = driver(move |it| {
        it.windowed_by(sliding.retain(seconds(20))).count().to("out", out());
    });
    pipe(&mut driver, &[(100, 1), (120, 2)]);
    assert_eq!(rows(&driver, "out"), [[1, 90, 100, 1], [1, 110, 120, 1]]);
    pipe(&mut driver, &[(121, 3)]);
    assert_eq!(rows(&driver, "out")[0], [1, 110, 120, 1]);
}

#[test]
fn a_bridging_record_merges_two_sessions() {
    let sessions = SessionWindows::of_inactivity_gap(seconds(10));
    let mut driver = driver(move |it| {
        it.windowed_by(sessions).reduce(|all, n| all * 10 + n).to("out", out());
    });
    pipe(&mut driver, &[(0, 1), (15, 2)]);
    assert_eq!(rows(&driver, "out"), [[1, 0, 0, 1], [1, 15, 15, 2]]);
    pipe(&mut driver, &[(7, 3)]);
    assert_eq!(rows(&driver, "out"), [[1, 0, 15, 123]]);
    pipe(&mut driver, &[(26, 4)]);
    assert_eq!(rows(&driver, "out"), [[1, 0, 15, 123], [1, 26, 26, 4]]);
}

#[test]
fn sliding_windows_have_each_different_set_of_records() {
    let sliding = SlidingWindows::of_time_difference(seconds(10));
    let mut driver = driver(move |it| it.windowed_by(sliding).sum(|n| *n).to("out", out()));
    pipe(&mut driver, &[(108, 1), (103, 2), (112, 4)]);
    // The bounds of windows behind a record are a millisecond later.
    assert_eq!(
        rows(&driver, "out"),
        [[1, 93, 103, 2], [1, 98, 108, 3], [1, 102, 112, 7], [1, 103, 113, 5], [1, 108, 118, 4]]
    );
}

/// Counts in sliding windows of 10 s without a grace.
fn sliding() -> Topology {
    Topology::new("sliding", |builder: &StreamsBuilder<'_>| {
        let records = builder.stream("in", Consumed::with(Int64, Int64)).group_by_key();
        let windows = SlidingWindows::of_time_difference(seconds(10)).grace(seconds(0));
        let windowed = records.windowed_by(windows);
        windowed.count().to("out", out());
        windowed.late().to("late", out());
    })
}

/// Returns the number of late records that the step of the count has.
fn late(driver: TopologyTestDriver) -> u64 {
    let steps = driver.finish().unwrap().steps;
    steps.iter().filter(|step| step.verb == "count").map(|step| step.total().late).sum()
}

#[test]
fn late_records_without_a_sliding_window_make_none() {
    for driver in [TopologyTestDriver::new(sliding()), TopologyTestDriver::per_record(sliding())] {
        let mut driver = driver.unwrap();
        let input = driver.input("in", Int64, Int64);
        for (key, second) in [(2, 108), (1, 105), (1, 100)] {
            input.pipe_at(&mut driver, &key, &0, Timestamp(second * SECOND));
        }
        driver.commit().unwrap();
        // As in Kafka: both records of key 1 are late for the windows that end at them.
        assert_eq!(rows(&driver, "out"), [[2, 98, 108, 1]]);
        assert_eq!(rows(&driver, "late"), [[1, 90, 100, 0], [1, 95, 105, 0]]);
        assert_eq!(late(driver), 2);
    }
}

#[test]
fn a_record_follows_the_one_of_another_partition() {
    for order in [[0, 1, 1], [1, 0, 1], [1, 1, 0]] {
        let mut driver = TopologyTestDriver::new(sliding()).unwrap();
        let mut records = [vec![(1, 100)], vec![(2, 108), (1, 105)]].map(Vec::into_iter);
        for partition in order {
            let (key, second) = records[partition as usize].next().unwrap();
            driver.set_time(Timestamp(second * SECOND));
            let (key, value) = (i64::to_be_bytes(key), [0; 8]);
            driver.pipe("in", partition, Some(&key), Some(&value));
            driver.commit().unwrap();
        }
        // The record at 105 is late for the window that ends there, and not for that behind 100.
        assert_eq!(rows(&driver, "out"), [[1, 90, 100, 1], [1, 100, 110, 1], [2, 98, 108, 1]]);
        assert_eq!(rows(&driver, "late"), [[1, 95, 105, 0]]);
        assert_eq!(late(driver), 1);
    }
}

#[test]
fn every_aggregate_of_groups_is_one_of_windows() {
    let minutes = TimeWindows::of_size(seconds(60));
    let mut driver = driver(move |it| {
        let windowed = it.windowed_by(minutes);
        windowed.count().to("count", out());
        windowed.min().to("min", out());
        windowed.median().to("median", out());
        windowed.quantile(1, 4).to("quantile", out());
        windowed.count_distinct().to("distinct", out());
        windowed.aggregate(|| 7, |all, n| all * 10 + n).to("aggregate", out());
        let best = windowed.top(2, Ties::Cut, |n| *n);
        best.to("top", out());
    });
    pipe(&mut driver, &[(3, 4), (1, 2), (2, 2), (59, 9)]);
    let result = |topic| rows(&driver, topic).iter().map(|row| row[3]).collect::<Vec<_>>();
    assert_eq!(["count", "min", "median", "quantile"].map(result), [[4], [2], [2], [2]]);
    assert_eq!(["distinct", "aggregate"].map(result), [[3], [74_229]]);
    assert_eq!(result("top"), [4, 9]);
    pipe(&mut driver, &[(4, 10)]);
    let result = |topic| rows(&driver, topic).iter().map(|row| row[3]).collect::<Vec<_>>();
    assert_eq!((result("top"), result("median")), (vec![9, 10], vec![4]));
}

#[test]
fn the_latest_value_of_a_group_is_its_reduction() {
    let mut driver = driver(|it| {
        it.reduce(|_, new| *new).to("out", Produced::columns(["key", "latest"]));
    });
    let input = driver.input("in", Int64, Int64);
    for values in [[5, 9], [3, 1]] {
        values.iter().for_each(|n| input.pipe(&mut driver, &1, n));
        driver.commit().unwrap();
        assert_eq!(driver.rows("out"), [[Long(1), Long(values[1])]]);
    }
}
