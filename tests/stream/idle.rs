//! Idle partitions: they hold no window open, and their late records are late for closed windows.

use std::time::Duration;

use watershed::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Returns a driver that counts by minutes, at their close. Topic `in` has two partitions.
fn driver(workers: usize) -> TopologyTestDriver {
    let topology = Topology::new("idle", |builder: &StreamsBuilder<'_>| {
        let consumed = Consumed::<i64, i64>::with(Int64, Int64).idle_after(MINUTE);
        let minutes = TimeWindows::of_size(MINUTE).grace(Duration::ZERO);
        let windows = builder.stream("in", consumed).group_by_key().windowed_by(minutes);
        let columns = || Produced::columns(["key", "from", "to", "n"]);
        windows.late().to("late", columns());
        windows.emit(Emit::OnClose).count().to("out", columns());
    });
    let mut driver = TopologyTestDriver::with_workers(topology, workers).unwrap();
    driver.add_partitions("in", 0..2);
    driver
}

/// Pipes a record of a partition at a second, and commits.
fn pipe(driver: &mut TopologyTestDriver, partition: u32, second: i64) {
    driver.set_time(Timestamp::from_millis(second * 1_000));
    driver.pipe("in", partition, Some(&[0; 8]), Some(&[0; 8]));
    driver.commit().unwrap();
}

/// Returns the number of rows of a topic.
fn rows(driver: &TopologyTestDriver, topic: &str) -> usize {
    driver.rows(topic).len()
}

#[test]
fn an_idle_partition_holds_no_window_open() {
    for workers in [1, 2] {
        let mut driver = driver(workers);
        pipe(&mut driver, 0, 30);
        pipe(&mut driver, 1, 40);
        driver.advance_wall_clock_time(MINUTE / 2);
        pipe(&mut driver, 1, 130);
        assert_eq!(rows(&driver, "out"), 0, "partition 0 may have earlier records");
        driver.advance_wall_clock_time(MINUTE / 2);
        pipe(&mut driver, 1, 131);
        assert_eq!(rows(&driver, "out"), 1, "partition 0 has been silent for a minute");
        assert_eq!(rows(&driver, "late"), 0);
    }
}

#[test]
fn a_record_of_an_idle_partition_is_late_for_closed_windows() {
    for workers in [1, 2] {
        let mut driver = driver(workers);
        pipe(&mut driver, 0, 30);
        pipe(&mut driver, 1, 40);
        driver.advance_wall_clock_time(MINUTE);
        pipe(&mut driver, 1, 130);
        assert_eq!(rows(&driver, "out"), 1);
        // The first minute is closed, and the third is not.
        pipe(&mut driver, 0, 50);
        assert_eq!(rows(&driver, "late"), 1);
        pipe(&mut driver, 0, 125);
        assert_eq!((rows(&driver, "late"), rows(&driver, "out")), (1, 1));
        // It counts again, and holds the third minute open.
        pipe(&mut driver, 1, 200);
        assert_eq!(rows(&driver, "out"), 1);
        pipe(&mut driver, 0, 190);
        assert_eq!(rows(&driver, "out"), 2);
        // By its own partition it is late for the third minute, and by the idle time for the first.
        pipe(&mut driver, 0, 55);
        assert_eq!(rows(&driver, "late"), 2);
        let steps = driver.finish().unwrap().steps;
        let count = steps.iter().find(|step| step.verb == "count").unwrap().total();
        assert_eq!((count.late, count.closed), (2, 1));
    }
}

#[test]
fn no_partition_is_idle_while_the_wall_clock_stands() {
    let mut driver = driver(1);
    pipe(&mut driver, 0, 30);
    (1..20).for_each(|n| pipe(&mut driver, 1, 60 * n));
    assert_eq!(rows(&driver, "out"), 0);
}
