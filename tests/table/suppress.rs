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

/// The bytes of a change of a small key to a small count.
const CHANGE_BYTES: usize = 28 + 3;

#[test]
fn the_oldest_change_leaves_a_buffer_with_too_many_bytes() {
    let limit = Suppressed::until_time_limit(Duration::from_secs(100));
    let mut driver = driver(limit.max_bytes(2 * CHANGE_BYTES).emit_early());
    pipe(&mut driver, &[(0, 1), (1, 2), (2, 1)]).unwrap();
    assert!(driver.rows("out").is_empty());
    pipe(&mut driver, &[(3, 3)]).unwrap();
    assert_eq!(driver.rows("out"), [[Long(1), Long(2)]]);
    // The key of this change alone takes more bytes.
    pipe(&mut driver, &[(4, 1 << 40)]).unwrap();
    assert_eq!(driver.rows("out").len(), 3);
}

#[test]
fn a_buffer_with_too_many_bytes_ends_the_run() {
    let limit = Suppressed::until_time_limit(Duration::from_secs(100));
    for limit in [limit, limit.emit_early().shut_down()] {
        let mut driver = driver(limit.max_bytes(2 * CHANGE_BYTES));
        pipe(&mut driver, &[(0, 1), (1, 2), (2, 2)]).unwrap();
        let error = pipe(&mut driver, &[(3, 3)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains("3 changes of 93 bytes") && text.contains("emit_early"), "{text}");
    }
}

#[test]
fn a_change_that_is_due_leaves_a_full_buffer_first() {
    let limit = Suppressed::until_time_limit(Duration::from_secs(10)).max_records(2).shut_down();
    let mut driver = driver(limit);
    pipe(&mut driver, &[(0, 1), (5, 2), (10, 2), (12, 3)]).unwrap();
    assert_eq!(driver.rows("out"), [[Long(1), Long(1)]]);
    let error = pipe(&mut driver, &[(13, 4)]).unwrap_err();
    assert!(error.to_string().contains("3 changes"), "{error}");
}

#[test]
fn windows_that_wait_for_their_close_may_fill_a_buffer() {
    let topology = |suppressed: Suppressed| {
        Topology::new("windows", move |builder: &StreamsBuilder<'_>| {
            let records = builder.stream("in", Consumed::with(Int64, Int64)).group_by_key();
            let windows = TimeWindows::of_size(Duration::from_secs(10)).grace(Duration::ZERO);
            let counts = records.windowed_by(windows).count().suppress(suppressed);
            counts.to("out", Produced::columns(["key", "from", "to", "count"]));
        })
    };
    let two = Suppressed::until_window_closes().max_records(2);
    let mut driver = TopologyTestDriver::new(topology(two.emit_early())).unwrap();
    pipe(&mut driver, &[(1, 1), (2, 2), (3, 3)]).unwrap();
    assert_eq!(driver.rows("out").len(), 1, "the oldest window");
    pipe(&mut driver, &[(10, 3)]).unwrap();
    assert_eq!(driver.rows("out").len(), 3);
    let mut driver = TopologyTestDriver::new(topology(two.shut_down())).unwrap();
    let error = pipe(&mut driver, &[(1, 1), (2, 2), (3, 3)]).unwrap_err();
    assert!(error.to_string().contains("until windows close"), "{error}");
}

#[test]
fn rows_of_topics_joins_and_groups_are_suppressed() {
    let topology = Topology::new("rows", move |builder: &StreamsBuilder<'_>| {
        let table = |topic| builder.table(topic, Consumed::with(Int64, Int64));
        let (l, r) = (table("in"), table("r"));
        let limit = || Suppressed::until_time_limit(Duration::from_secs(10));
        let columns = || Produced::columns(["key", "n"]);
        l.filter(|_, n| *n != 3).suppress(limit()).to("rows", columns());
        l.join(&r, |l, r| l * 100 + r).suppress(limit()).to("joined", columns());
        l.group_by(|id, _| (id % 2, *id)).count().suppress(limit()).to("counts", columns());
    });
    let mut driver = TopologyTestDriver::with_workers(topology, 2).unwrap();
    let (input, other) = (driver.input("in", Int64, Int64), driver.input("r", Int64, Int64));
    let pipe = |driver: &mut TopologyTestDriver, second: i64, key: i64, n: i64| {
        let at = Timestamp(second * SECOND);
        input.pipe_at(driver, &key, &n, at);
        other.pipe_at(driver, &key, &n, at);
        driver.commit().unwrap();
        ["rows", "joined", "counts"].map(|topic| driver.rows(topic).len())
    };
    assert_eq!(pipe(&mut driver, 0, 1, 1), [0, 0, 0]);
    assert_eq!(pipe(&mut driver, 9, 1, 2), [0, 0, 0]);
    assert_eq!(pipe(&mut driver, 10, 3, 3), [1, 1, 1]);
    assert_eq!(driver.rows("rows"), [[Long(1), Long(2)]], "the last row of the span");
    assert_eq!(driver.rows("joined"), [[Long(1), Long(202)]]);
    assert_eq!(driver.rows("counts"), [[Long(1), Long(2)]], "with the change at its end");
    input.delete_at(&mut driver, &3, Timestamp(20 * SECOND));
    other.pipe_at(&mut driver, &9, &9, Timestamp(40 * SECOND));
    input.pipe_at(&mut driver, &8, &9, Timestamp(40 * SECOND));
    driver.commit().unwrap();
    assert_eq!(driver.rows("joined"), [[Long(1), Long(202)]], "it has come and gone");
    assert_eq!(driver.rows("counts"), [[Long(1), Long(1)]]);
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
fn a_row_leaves_its_group_before_it_fills_another_one() {
    let topology = Topology::new("moves", |builder: &StreamsBuilder<'_>| {
        let rows = builder.table("in", Consumed::with(Int64, Int64));
        let one = Suppressed::until_time_limit(Duration::MAX).max_records(1).emit_early();
        let counts = rows.group_by(|key, n| (*n, *key)).count().suppress(one);
        let changes = counts.to_stream().map_values(|n| n.unwrap_or(0)).with_timestamps();
        changes.to("out", Produced::columns(["group", "count", "at"]));
    });
    // Kafka's test of a limit of records, with these inputs and outputs.
    let mut driver = TopologyTestDriver::per_record(topology).unwrap();
    pipe_pairs(&mut driver, &[(0, 1, 10), (1, 1, 20), (2, 2, 10), (3, 9, 30)]);
    let rows = driver.changes("out").into_iter().filter_map(|(_, row)| row);
    let at = |second: i64| Value::Timestamp(second * SECOND);
    let expected =
        [[Long(10), Long(0), at(1)], [Long(20), Long(1), at(1)], [Long(10), Long(1), at(2)]];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}

/// Pipes keys and values at seconds.
fn pipe_pairs(driver: &mut TopologyTestDriver, records: &[(i64, i64, i64)]) {
    let input = driver.input("in", Int64, Int64);
    for (second, key, value) in records {
        input.pipe_at(driver, key, value, Timestamp(second * SECOND));
    }
    driver.commit().unwrap();
}
