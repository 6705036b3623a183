//! The times of rows, for the verbs that need them.

use std::time::Duration;

use watershed::prelude::{Value::Long, *};

const SECOND: i64 = 1_000_000;

/// A change of a topic: its key, its value or -1 without one, and its second.
type Shown = (i64, i64, i64);

/// Runs a topology over the tables `l` and `r`. It writes the changes of a table with their
/// timestamps.
fn driver(
    build: impl for<'s> Fn(KTable<'s, i64, i64>, KTable<'s, i64, i64>) -> KTable<'s, i64, i64>
    + Send
    + Sync
    + 'static,
) -> TopologyTestDriver {
    let topology = Topology::new("times", move |builder: &StreamsBuilder<'_>| {
        let table = |topic| builder.table(topic, Consumed::with(Int64, Int64));
        let changes = build(table("l"), table("r")).to_stream();
        let timed = changes.map_values(|row| row.unwrap_or(-1)).with_timestamps();
        timed.to("out", Produced::columns(["key", "n", "at"]));
    });
    TopologyTestDriver::with_workers(topology, 2).unwrap()
}

/// Pipes records, each a topic, a second, a key and a value, all in one epoch. A value of -1
/// deletes.
fn pipe(driver: &mut TopologyTestDriver, records: &[(&str, i64, i64, i64)]) -> Vec<Shown> {
    for (topic, second, key, value) in records {
        let (input, at) = (driver.input(topic, Int64, Int64), Timestamp(second * SECOND));
        match value {
            -1 => input.delete_at(driver, key, at),
            value => input.pipe_at(driver, key, value, at),
        }
    }
    driver.commit().unwrap();
    let changes = driver.changes("out").into_iter().filter_map(|(_, row)| row);
    let mut shown: Vec<Shown> = changes
        .map(|row| match row[..] {
            [Long(key), Long(n), Value::Timestamp(at)] => (key, n, at / SECOND),
            _ => panic!("{row:?}"),
        })
        .collect();
    shown.sort_unstable();
    shown
}

#[test]
fn a_row_of_a_topic_has_the_time_of_its_record() {
    let mut driver = driver(|l, _| l.filter(|_, n| n % 2 == 0).map_values(|n| n / 10));
    assert_eq!(pipe(&mut driver, &[("l", 20, 1, 12), ("l", 10, 2, 13)]), [(1, 1, 20)]);
    assert_eq!(pipe(&mut driver, &[("l", 30, 1, 14)]), [], "the row has not changed");
    // The last record of the epoch by position decides, whatever its timestamp.
    let changes = pipe(&mut driver, &[("l", 50, 1, 22), ("l", 40, 1, 32), ("l", 60, 2, 20)]);
    assert_eq!(changes, [(1, 3, 40), (2, 2, 60)]);
    assert_eq!(
        pipe(&mut driver, &[("l", 35, 1, -1), ("l", 70, 2, 21)]),
        [(1, -1, 35), (2, -1, 70)]
    );
}

#[test]
fn a_joined_row_has_the_greater_time_of_both() {
    let mut driver = driver(|l, r| l.left_join(&r, |l, r| l * 100 + r.unwrap_or(&0)));
    assert_eq!(pipe(&mut driver, &[("l", 20, 1, 7)]), [(1, 700, 20)]);
    assert_eq!(pipe(&mut driver, &[("r", 10, 1, 3)]), [(1, 703, 20)]);
    assert_eq!(pipe(&mut driver, &[("r", 30, 1, 4)]), [(1, 704, 30)]);
    assert_eq!(pipe(&mut driver, &[("r", 40, 1, -1)]), [(1, 700, 40)]);
    assert_eq!(pipe(&mut driver, &[("l", 15, 1, 8)]), [(1, 800, 15)], "the deleted row is gone");
    assert_eq!(pipe(&mut driver, &[("l", 50, 1, -1), ("r", 60, 1, 5)]), [(1, -1, 60)]);
    assert_eq!(pipe(&mut driver, &[("l", 1, 1, 9)]), [(1, 905, 60)]);
}

#[test]
fn an_aggregate_has_the_greatest_time_of_its_group() {
    let mut driver = driver(|l, _| l.group_by(|id, n| (n / 10, *id)).count());
    assert_eq!(pipe(&mut driver, &[("l", 10, 1, 11), ("l", 5, 2, 12)]), [(1, 2, 10)]);
    // A row leaves one group and enters another.
    assert_eq!(pipe(&mut driver, &[("l", 7, 1, 21)]), [(1, 1, 10), (2, 1, 7)]);
    assert_eq!(pipe(&mut driver, &[("l", 12, 2, 22)]), [(1, -1, 12), (2, 2, 12)]);
    assert_eq!(pipe(&mut driver, &[("l", 3, 3, 13)]), [(1, 1, 3)], "the group is new");
}

#[test]
fn a_join_of_aggregates_has_times() {
    let mut driver = driver(|l, r| {
        let highest = l.group_by(|_, n| (n / 10, *n)).max();
        let counts = r.group_by(|id, n| (n / 10, *id)).count();
        highest.join(&counts, |n, count| n * 100 + count).filter(|_, n| *n > 0)
    });
    let records = [("l", 30, 1, 11), ("l", 10, 2, 12), ("r", 20, 1, 15)];
    assert_eq!(pipe(&mut driver, &records), [(1, 1201, 30)]);
    assert_eq!(pipe(&mut driver, &[("r", 40, 2, 16)]), [(1, 1202, 40)]);
    assert_eq!(pipe(&mut driver, &[("l", 45, 2, 22)]), [(1, 1102, 45)]);
}

#[test]
fn the_newest_version_stands() {
    let history = Duration::from_secs(100);
    let mut driver = driver(move |l, r| {
        let newest = l.versioned(history).to_table();
        newest.outer_join(&r, |l, r| l.unwrap_or(&0) * 100 + r.unwrap_or(&0))
    });
    assert_eq!(pipe(&mut driver, &[("l", 20, 1, 7), ("l", 10, 1, 8)]), [(1, 700, 20)]);
    assert_eq!(pipe(&mut driver, &[("l", 15, 1, -1), ("r", 5, 1, 3)]), [(1, 703, 20)]);
    assert_eq!(pipe(&mut driver, &[("l", 20, 1, 9)]), [(1, 903, 20)], "the later position");
    assert_eq!(pipe(&mut driver, &[("l", 30, 1, -1), ("l", 25, 1, 5)]), [(1, 3, 30)]);
    // The deletion is forgotten after the history, and everything before it is too late.
    assert_eq!(pipe(&mut driver, &[("l", 131, 2, 1), ("r", 131, 2, 1)]), [(2, 101, 131)]);
    assert_eq!(pipe(&mut driver, &[("l", 29, 1, 6)]), []);
    assert_eq!(pipe(&mut driver, &[("l", 31, 1, 6)]), [(1, 603, 31)]);
}

#[test]
fn windows_count_the_changes_of_a_table() {
    let topology = Topology::new("changes", |builder: &StreamsBuilder<'_>| {
        let changes = builder.table("in", Consumed::with(Int64, Int64)).to_stream();
        let minutes = TimeWindows::of_size(Duration::from_secs(60)).grace(Duration::ZERO);
        let counts = changes.group_by_key().windowed_by(minutes).emit(Emit::OnClose).count();
        counts.to("out", Produced::columns(["key", "from", "to", "count"]));
    });
    let mut driver = TopologyTestDriver::with_workers(topology, 2).unwrap();
    let input = driver.input("in", Int64, Int64);
    for (second, n) in [(10, 1), (10, 1), (50, 2), (65, 3), (55, 4), (125, 5)] {
        input.pipe_at(&mut driver, &7, &n, Timestamp(second * SECOND));
        driver.commit().unwrap();
    }
    let minute = |n: i64| Value::Timestamp(n * 60 * SECOND);
    let expected =
        [[Long(7), minute(0), minute(1), Long(2)], [Long(7), minute(1), minute(2), Long(1)]];
    assert_eq!(driver.rows("out"), expected, "a duplicate is no change, and one is late");
}

#[test]
fn a_row_by_a_foreign_key_has_the_greater_time_of_both() {
    let mut driver = driver(|l, r| {
        let refers = |_: &i64, n: &i64| (*n != 9).then_some(n / 10);
        l.left_join_on(&r, refers, |l, r| l * 100 + r.unwrap_or(&0))
    });
    assert_eq!(
        pipe(&mut driver, &[("l", 20, 1, 51), ("l", 10, 2, 52)]),
        [(1, 5100, 20), (2, 5200, 10)]
    );
    assert_eq!(pipe(&mut driver, &[("r", 15, 5, 7)]), [(1, 5107, 20), (2, 5207, 15)]);
    assert_eq!(
        pipe(&mut driver, &[("r", 30, 5, 8), ("l", 12, 2, 53)]),
        [(1, 5108, 30), (2, 5308, 30)]
    );
    // A row that refers to another one has its time, and that of its own change.
    assert_eq!(pipe(&mut driver, &[("l", 13, 1, 61)]), [(1, 6100, 13)]);
    assert_eq!(
        pipe(&mut driver, &[("r", 40, 5, -1), ("r", 50, 6, 1)]),
        [(1, 6101, 50), (2, 5300, 40)]
    );
    assert_eq!(
        pipe(&mut driver, &[("l", 14, 1, 9), ("l", 60, 2, -1)]),
        [(1, 900, 14), (2, -1, 60)]
    );
    assert_eq!(pipe(&mut driver, &[("l", 16, 1, -1)]), [(1, -1, 16)]);
}

#[test]
fn a_row_of_a_top_has_the_time_of_the_change_of_its_group() {
    let mut driver = driver(|l, _| {
        let top = l.group_by(|_, n| (0, *n)).top(2, Ties::Cut, |n| *n);
        top.group_by(|(_, n), ()| (*n, ())).count()
    });
    assert_eq!(pipe(&mut driver, &[("l", 10, 1, 5)]), [(5, 1, 10)]);
    assert_eq!(pipe(&mut driver, &[("l", 20, 2, 7)]), [(7, 1, 20)]);
    assert_eq!(pipe(&mut driver, &[("l", 30, 3, 6)]), [(5, -1, 30), (6, 1, 30)]);
    let changes = pipe(&mut driver, &[("l", 15, 3, -1)]);
    assert_eq!(changes, [(5, 1, 15), (6, -1, 30)], "another row takes the place of one");
}

#[test]
fn an_outer_row_by_a_foreign_key_has_the_greater_time_of_both() {
    let mut driver = driver(|l, r| {
        let rows =
            l.outer_join_on(&r, |_, n| n % 10, |l, r| l.unwrap_or(&0) * 100 + r.unwrap_or(&0));
        let key = |key: &OuterKey<i64, i64>| match key {
            OuterKey::Left(left) => *left,
            OuterKey::Right(right) => 100 + right,
        };
        rows.group_by(move |it, n| (key(it), *n)).sum(|n| *n)
    });
    assert_eq!(pipe(&mut driver, &[("r", 10, 7, 3)]), [(107, 3, 10)]);
    let changes = pipe(&mut driver, &[("l", 20, 1, 17)]);
    assert_eq!(changes, [(1, 1703, 20), (107, -1, 20)], "the right row is matched");
    let changes = pipe(&mut driver, &[("l", 15, 1, -1)]);
    assert_eq!(changes, [(1, -1, 20), (107, 3, 15)], "and alone again");
}

#[test]
fn a_table_by_ranges_has_no_times() {
    let error = |ends: fn(KTable<'_, (i64, i64), i64>)| {
        let topology = Topology::new("none", move |builder: &StreamsBuilder<'_>| {
            let rows = builder.table("in", Consumed::with(Int64, Int64));
            let from = |_: &i64, n: &i64| Some(*n..=n + 4);
            ends(rows.join_between(&rows, |_, n| Some(*n), from, |one, other| one + other));
        });
        TopologyTestDriver::new(topology).err().unwrap().to_string()
    };
    let suppressed = error(|rows| {
        let limit = Suppressed::until_time_limit(Duration::ZERO);
        rows.suppress(limit).to("out", Produced::columns(["left", "right", "n"]));
    });
    assert!(suppressed.contains("rows with times"), "{suppressed}");
    let windowed = error(|rows| {
        let minutes = TimeWindows::of_size(Duration::from_secs(60));
        let counts = rows.to_stream().group_by_key().windowed_by(minutes).count();
        counts.to("out", Produced::columns(["left", "right", "from", "to", "count"]));
    });
    assert!(windowed.contains("needs records with times"), "{windowed}");
}
