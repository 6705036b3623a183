//! Joins continue after a restart and after a crash, with any number of workers and processes.

use watershed::{KTable, OuterKey, StreamsBuilder, Topology};

use super::{Shown, World};
use crate::support::broken::Fuse;
use crate::support::processes::run_in;
use crate::support::{pair, stream, table};

/// Refers to the row of another key.
fn next_key(_: &String, value: &i64) -> Option<String> {
    (value % 4 != 3).then(|| ["a", "c", "g"][(value % 4) as usize].to_string())
}

/// Joins of tables, and of two streams that only add.
fn of_tables() -> Topology {
    Topology::new("joins of tables", |builder: &StreamsBuilder<'_>| {
        let (rows, events) = (table(builder, "rows"), stream(builder, "events"));
        let counts = events.group_by_key().count();
        let outer: KTable<'_, String, i64> =
            rows.outer_join(&counts, |r, n| r.unwrap_or(&0) * 100 + n.unwrap_or(&0));
        outer.to("kept", pair());
        let referring: KTable<'_, OuterKey<String, String>, i64> =
            rows.outer_join_on(&counts, next_key, |r, n| r.unwrap_or(&0) * 100 + n.unwrap_or(&0));
        referring
            .group_by(|key, v| match key {
                OuterKey::Left(key) => (format!("left {key}"), *v),
                OuterKey::Right(key) => (format!("right {key}"), *v),
            })
            .sum(|v| *v)
            .to("sums", pair());
        let near: KTable<'_, (String, String), i64> = rows.join_between(
            &counts,
            |_, row| Some(*row),
            |_, n| Some(*n..=n + 4),
            |row, n| row * 100 + n,
        );
        near.group_by(|(left, _), v| (left.clone(), *v)).sum(|v| *v).to("counts", pair());
        events.join_stream(&events, |v, w| v * 100 + w).to("all", pair());
    })
}

/// Joins of streams, with streams and with global tables.
fn of_streams() -> Topology {
    Topology::new("joins of streams", |builder: &StreamsBuilder<'_>| {
        let (rows, events) = (table(builder, "rows"), stream(builder, "events"));
        let even = events.filter(|_, v| v % 2 == 0);
        let odd = events.filter(|_, v| v % 2 == 1);
        let outer = even.outer_join_stream(&odd, |v, w| v.unwrap_or(&0) * 100 + w.unwrap_or(&0));
        outer.group_by_key().sum(|v| *v).to("sums", pair());
        outer.to_table().to("kept", pair());
        let global = rows.to_global();
        events
            .left_join_global(&global, next_key, |v, row| v * 100 + row.unwrap_or(&0))
            .left_join_stream(&odd, |v, w| v * 10 + w.unwrap_or(&0))
            .group_by_key()
            .sum(|v| *v)
            .to("counts", pair());
        events.to("all", pair());
    })
}

/// The rows of a new run over the same logs without a failure.
fn fresh_run(world: &World, topology: fn() -> Topology) -> Shown {
    let fresh = World { logs: world.logs.clone(), ..World::new() };
    fresh.bound(topology(), &Fuse::sound()).run(fresh.config(1)).unwrap();
    fresh.shown()
}

#[test]
fn joins_continue_with_any_number_of_workers() {
    for topology in [of_tables, of_streams] {
        let world = World::busy();
        for workers in [2, 1, 3, 4, 1] {
            let streams = world.bound(topology(), &Fuse::sound());
            streams.run(world.one_commit(workers)).unwrap();
            assert_eq!(world.shown(), fresh_run(&world, topology), "{workers} workers");
            world.more();
        }
    }
}

#[test]
fn joins_continue_with_any_number_of_processes() {
    for topology in [of_tables, of_streams] {
        let world = World::busy();
        for (processes, workers) in [(2, 1), (1, 2), (3, 1), (2, 2)] {
            let streams = || world.bound(topology(), &Fuse::sound());
            for result in run_in(processes, streams, |_| world.one_commit(workers)) {
                result.unwrap();
            }
            assert_eq!(world.shown(), fresh_run(&world, topology), "{processes} processes");
            world.more();
        }
    }
}

/// Crashes a continued run at some of its calls, and lets another one recover.
fn crash(topology: fn() -> Topology, check: impl Fn(&World, &str)) {
    for (crashes, call) in (1..1000).step_by(5).enumerate() {
        let (world, fuse) = (World::busy(), Fuse::at(call, call % 2 == 0));
        world.bound(topology(), &Fuse::sound()).run(world.config(2)).unwrap();
        world.more();
        let result = world.bound(topology(), &fuse).run(world.config(1 + call as usize % 3));
        if !fuse.broken() {
            result.unwrap();
            assert!(crashes > 3, "{crashes} crashes");
            return;
        }
        world.more();
        world.bound(topology(), &Fuse::sound()).run(world.config(2)).unwrap();
        check(&world, &format!("after a crash at call {call}"));
    }
    panic!("the run is never through");
}

#[test]
fn joins_recover_from_a_crash_at_any_call() {
    for topology in [of_tables, of_streams] {
        crash(topology, |world, when| {
            assert_eq!(world.shown(), fresh_run(world, topology), "{when}");
        });
    }
}

/// Look-ups of rows, by key and in a global table.
fn lookups() -> Topology {
    Topology::new("look-ups", |builder: &StreamsBuilder<'_>| {
        let (rows, events) = (table(builder, "rows"), stream(builder, "events"));
        let looked_up = events.left_lookup_join(&rows, |v, row| v * 100 + row.unwrap_or(&0));
        looked_up.to("all", pair());
        looked_up.group_by_key().sum(|v| *v).to("sums", pair());
        rows.to("kept", pair());
        // The pairs are made again after a restart, and are not looked up again.
        events
            .join_stream(&events, |v, w| v + w)
            .lookup_join_global(&rows.to_global(), next_key, |v, row| v * 100 + row)
            .group_by_key()
            .sum(|v| *v)
            .to("counts", pair());
    })
}

#[test]
fn a_look_up_finds_the_rows_of_earlier_runs() {
    let world = World::new();
    let run = |workers: usize| {
        let streams = world.bound(lookups(), &Fuse::sound());
        streams.run(world.one_commit(workers)).unwrap();
        world.shown()
    };
    world.append("rows", 0, "a=1 b=2 c=3");
    run(2);
    world.append("events", 0, "a=4 b=5 z=6");
    let shown = run(1);
    assert_eq!(shown["all"], ["a=401", "b=502", "z=600"]);
    assert_eq!(shown["counts"], ["a=801", "z=1201"]);
    world.append("rows", 1, "a=7 b=");
    world.append("rows", 0, "d=1 e=2 f=3");
    let unchanged = run(3);
    assert_eq!((&unchanged["all"], &unchanged["counts"]), (&shown["all"], &shown["counts"]));
    world.append("events", 1, "a=4 b=4");
    let shown = run(2);
    assert_eq!(shown["all"], ["a=401", "a=407", "b=400", "b=502", "z=600"]);
    assert_eq!(shown["sums"], ["a=808", "b=902", "z=600"]);
    assert_eq!(shown["counts"], ["a=3222", "b=2613", "z=1201"]);
}

#[test]
fn each_record_is_looked_up_once_in_spite_of_a_crash() {
    let values = |rows: &[String], divisor: i64| {
        let value = |row: &String| {
            let (key, value) = row.split_once('=').unwrap();
            format!("{key}={}", value.parse::<i64>().unwrap() / divisor)
        };
        let mut values: Vec<String> = rows.iter().map(value).collect();
        values.sort();
        values
    };
    crash(lookups, |world, when| {
        let expected = fresh_run(world, || {
            Topology::new("copy", |builder: &StreamsBuilder<'_>| {
                let rows = table(builder, "rows");
                rows.to("kept", pair());
                rows.filter(|_, _| true).to("counts", pair());
                rows.filter(|_, _| true).to("sums", pair());
                stream(builder, "events").to("all", pair());
            })
        });
        let shown = world.shown();
        assert_eq!(values(&shown["all"], 100), values(&expected["all"], 1), "{when}");
        assert_eq!(shown["kept"], expected["kept"], "{when}");
        let sum = |rows: &[String]| -> i64 {
            rows.iter().map(|row| row.split_once('=').unwrap().1.parse::<i64>().unwrap()).sum()
        };
        assert_eq!(sum(&shown["sums"]), sum(&shown["all"]), "{when}");
    });
}
