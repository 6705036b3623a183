//! Suppression of changes.

use std::time::Duration;

use watershed::ErrorKind;
use watershed::prelude::{Value::Long, *};

const SECOND: i64 = 1_000_000;

/// Counts records by key, with suppressed changes.
fn driver(suppressed: Suppressed) -> TopologyTestDriver {
    let topology = Topology::new("counts", move |builder: &StreamsBuilder<'_>| {
        let records = builder.stream("in", Consumed::with(Int64, Int64)).group_by_key();
        let counts = records.count().suppress(suppressed);
        counts.to("out", Produced::columns(["key", "count"]));
        counts.to_stream().to("changes", Produced::columns(["key", "count"]));
    });
    TopologyTestDriver::new(topology).unwrap()
}

/// Pipes keys at seconds, each in an epoch of its own.
fn pipe(driver: &mut TopologyTestDriver, records: &[(i64, i64)]) -> Result<()> {
    let input = driver.input("in", Int64, Int64);
    for (second, key) in records {
        driver.set_time(Timestamp(second * SECOND));
        input.pipe(driver, key, &0);
        driver.commit()?;
    }
    Ok(())
}

#[test]
fn a_row_is_emitted_at_most_once_in_a_time_limit() {
    let mut driver = driver(Suppressed::until_time_limit(Duration::from_secs(10)));
    pipe(&mut driver, &[(0, 1), (3, 1), (9, 2)]).unwrap();
    assert!(driver.rows("out").is_empty());
    pipe(&mut driver, &[(10, 1)]).unwrap();
    assert_eq!(driver.rows("out"), [[Long(1), Long(3)]]);
    pipe(&mut driver, &[(19, 3), (25, 3)]).unwrap();
    assert_eq!(driver.rows("out"), [[Long(1), Long(3)], [Long(2), Long(1)]]);
    assert_eq!(driver.rows("changes").len(), 2);
}

#[test]
fn the_oldest_change_leaves_a_full_buffer() {
    let limit = Suppressed::until_time_limit(Duration::from_secs(100)).max_records(2).emit_early();
    let mut driver = driver(limit);
    pipe(&mut driver, &[(0, 1), (1, 2), (2, 1)]).unwrap();
    assert!(driver.rows("out").is_empty());
    pipe(&mut driver, &[(3, 3)]).unwrap();
    assert_eq!(driver.rows("out"), [[Long(1), Long(2)]]);
}

#[test]
fn a_full_buffer_ends_the_run_with_the_way_out() {
    let mut driver = driver(Suppressed::until_time_limit(Duration::from_secs(100)).max_records(1));
    let error = pipe(&mut driver, &[(0, 1), (1, 2)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("2 changes"), "{error}");
}

#[test]
fn a_table_without_times_can_not_be_suppressed() {
    let topology = Topology::new("counts", move |builder: &StreamsBuilder<'_>| {
        let rows = builder.table("in", Consumed::with(Int64, Int64));
        let limit = Suppressed::until_time_limit(Duration::ZERO);
        rows.suppress(limit).to("out", Produced::columns(["key", "n"]));
    });
    let error = TopologyTestDriver::new(topology).err().unwrap();
    assert!(error.to_string().contains("rows with times"), "{error}");
}

#[test]
fn a_session_that_is_bridged_after_its_close_is_deleted() {
    let topology = Topology::new("sessions", |builder: &StreamsBuilder<'_>| {
        let records = builder.stream("in", Consumed::with(Int64, Int64)).group_by_key();
        let sessions = SessionWindows::of_inactivity_gap(Duration::from_secs(10));
        let counts = records.windowed_by(sessions.grace(Duration::ZERO)).count();
        let last = counts.suppress(Suppressed::until_window_closes());
        last.to("out", Produced::columns(["key", "from", "to", "count"]));
    });
    let mut driver = TopologyTestDriver::new(topology).unwrap();
    pipe(&mut driver, &[(0, 1), (10, 1), (21, 1)]).unwrap();
    assert_eq!(driver.rows("out").len(), 1, "the first session is closed");
    pipe(&mut driver, &[(20, 1), (100, 1)]).unwrap();
    let [row] = &driver.rows("out")[..] else { panic!("{:?}", driver.rows("out")) };
    assert_eq!(row[1..], [Value::Timestamp(0), Value::Timestamp(21 * SECOND), Long(4)]);
}

#[test]
fn windows_of_changes_without_times_are_refused() {
    let topology = Topology::new("changes", |builder: &StreamsBuilder<'_>| {
        let changes = builder.table("in", Consumed::with(Int64, Int64)).to_stream();
        let minutes = TimeWindows::of_size(Duration::from_secs(60));
        let counts = changes.group_by_key().windowed_by(minutes).count();
        counts.to("out", Produced::columns(["key", "from", "to", "count"]));
    });
    let error = TopologyTestDriver::new(topology).err().unwrap();
    assert!(error.to_string().contains("needs records with times"), "{error}");
}
