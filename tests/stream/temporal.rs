//! Joins with the row that was valid at the time of a record.

use std::time::Duration;

use watershed::prelude::*;
use watershed::runtime::ProcessingMode;

const SECOND: i64 = 1_000_000;

fn topology(grace: Option<u64>) -> Topology {
    Topology::new("prices", move |builder: &StreamsBuilder<'_>| {
        let orders = builder.stream("orders", Consumed::with(Int64, Int64));
        let prices = builder.table("prices", Consumed::with(Int64, Int64));
        let mut versions = prices.versioned(Duration::from_secs(100));
        if let Some(grace) = grace {
            versions = versions.grace(Duration::from_secs(grace));
        }
        let at = |order: &i64, price: Option<&i64>| (*order, price.copied());
        let priced = orders.left_temporal_join(&versions, at);
        priced
            .map(|item, (order, price)| (order, (item, price)))
            .to_table()
            .to("out", Produced::columns(["order", "item", "price"]));
    })
}

/// Pipes records: topic, second, value; prices of 0 delete. All are of one item.
fn pipe(driver: &mut TopologyTestDriver, records: &[(&str, i64, i64)]) {
    for (topic, second, value) in records {
        driver.set_time(Timestamp(second * SECOND));
        let input = driver.input(topic, Int64, Int64);
        match (*topic, *value) {
            ("prices", 0) => input.delete(driver, &7),
            _ => input.pipe(driver, &7, value),
        }
    }
    driver.commit().unwrap();
}

/// Returns the price of each order; 0 without one.
fn prices(driver: &TopologyTestDriver) -> Vec<(i64, i64)> {
    let number = |value: &Value| match value {
        Value::Long(n) => *n,
        Value::Null => 0,
        other => panic!("{other:?}"),
    };
    driver.rows("out").iter().map(|row| (number(&row[0]), number(&row[2]))).collect()
}

#[test]
fn a_record_has_the_row_of_its_time() {
    let mut driver = TopologyTestDriver::new(topology(None)).unwrap();
    pipe(&mut driver, &[("prices", 10, 5), ("prices", 20, 0), ("prices", 30, 6)]);
    pipe(&mut driver, &[("orders", 9, 1), ("orders", 10, 2), ("orders", 19, 3)]);
    pipe(&mut driver, &[("orders", 20, 4), ("orders", 35, 5)]);
    assert_eq!(prices(&driver), [(1, 0), (2, 5), (3, 5), (4, 0), (5, 6)]);
}

#[test]
fn a_version_that_comes_late_corrects_results() {
    let mut driver = TopologyTestDriver::new(topology(None)).unwrap();
    pipe(&mut driver, &[("prices", 10, 5), ("orders", 15, 1), ("orders", 25, 2)]);
    assert_eq!(prices(&driver), [(1, 5), (2, 5)]);
    pipe(&mut driver, &[("prices", 40, 9), ("prices", 20, 6)]);
    assert_eq!(prices(&driver), [(1, 5), (2, 6)]);
    // Beyond the history it is too late.
    pipe(&mut driver, &[("prices", 121, 9), ("prices", 20, 7), ("prices", 21, 8)]);
    assert_eq!(prices(&driver), [(1, 5), (2, 8)]);
}

#[test]
fn a_record_waits_for_versions_within_the_grace() {
    let mut driver = TopologyTestDriver::new(topology(Some(10))).unwrap();
    pipe(&mut driver, &[("prices", 10, 5), ("orders", 15, 1), ("orders", 26, 2)]);
    assert!(prices(&driver).is_empty());
    pipe(&mut driver, &[("prices", 24, 6), ("prices", 14, 7), ("prices", 25, 8)]);
    assert_eq!(prices(&driver), [(1, 7)]);
    pipe(
        &mut driver,
        &[("prices", 13, 4), ("prices", 14, 3), ("prices", 40, 1), ("orders", 40, 9)],
    );
    assert_eq!(prices(&driver), [(1, 7), (2, 8)], "it is final");
}

/// The second price came too late for the order, although the order comes even later.
#[test]
fn a_version_stays_while_the_next_one_does_not_count() {
    let records = [
        ("prices", 10, 5),
        ("prices", 109, 9),
        ("prices", 20, 6),
        ("prices", 125, 8),
        ("orders", 125, 9),
        ("orders", 25, 1),
    ];
    for each in [1, records.len()] {
        let mut driver = TopologyTestDriver::new(topology(Some(10))).unwrap();
        records.chunks(each).for_each(|some| pipe(&mut driver, some));
        assert_eq!(prices(&driver), [(1, 5)], "{each} records at a time");
    }
}

#[test]
fn in_order_of_arrival_the_row_of_that_moment_counts() {
    assert!(ProcessingMode::PerRecord != ProcessingMode::Consistent);
    let mut driver = TopologyTestDriver::per_record(topology(None)).unwrap();
    pipe(&mut driver, &[("orders", 15, 1), ("prices", 10, 5), ("orders", 15, 2)]);
    assert_eq!(prices(&driver), [(1, 0), (2, 5)]);
}
