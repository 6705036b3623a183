//! Folds take values epoch by epoch. A run continues what they have made in the epochs of another.

use watershed::{StreamsBuilder, Topology};

use super::World;
use crate::support::broken::Fuse;
use crate::support::{pair, stream, table};

/// Folds that show the order of their values.
fn folds() -> Topology {
    Topology::new("folds", |builder: &StreamsBuilder<'_>| {
        let (rows, events) = (table(builder, "rows"), stream(builder, "events"));
        let grouped = events.group_by_key();
        grouped.reduce(|all, v| all * 10 + v).to("sums", pair());
        let all = grouped.cogroup(|all: i64, v| all * 10 + v).aggregate(|| 9);
        all.to("counts", pair());
        rows.to("kept", pair());
        events.to("all", pair());
    })
}

#[test]
fn a_fold_keeps_the_order_of_earlier_runs() {
    let world = World::new();
    let run = |workers: usize| {
        world.bound(folds(), &Fuse::sound()).run(world.config(workers)).unwrap();
        let shown = world.shown();
        (shown["sums"].clone(), shown["counts"].clone())
    };
    let folded = |sums: &str, counts: &str| (vec![sums.to_string()], vec![counts.to_string()]);
    world.append("events", 1, "a=1");
    assert_eq!(run(2), folded("a=1", "a=91"));
    // Its partition is before that of the first record: in one epoch it would be the first value.
    world.append("events", 0, "a=2");
    assert_eq!(run(1), folded("a=12", "a=912"));
    assert_eq!(run(3), folded("a=12", "a=912"));
    world.append("events", 1, "a=3");
    world.append("events", 0, "a=4");
    assert_eq!(run(2), folded("a=1243", "a=91243"));
}

#[test]
fn a_fold_recovers_from_a_crash_at_any_call() {
    for (crashes, call) in (1..1000).step_by(9).enumerate() {
        let (world, fuse) = (World::new(), Fuse::at(call, call % 2 == 0));
        world.append("events", 1, "a=1 b=2");
        world.bound(folds(), &Fuse::sound()).run(world.config(2)).unwrap();
        world.append("events", 0, "a=3 b=4");
        let result = world.bound(folds(), &fuse).run(world.config(1));
        if !fuse.broken() {
            result.unwrap();
            assert!(crashes > 2, "{crashes} crashes");
            return;
        }
        world.append("events", 1, "a=5");
        world.bound(folds(), &Fuse::sound()).run(world.config(2)).unwrap();
        let shown = world.shown();
        assert_eq!(shown["all"].len(), 5, "after a crash at call {call}");
        let mut digits = shown["sums"][0].trim_start_matches("a=").as_bytes().to_vec();
        digits.sort_unstable();
        assert_eq!(digits, b"135", "after a crash at call {call}");
    }
    panic!("the run is never through");
}
