//! Stores of a run: requested before it starts, complete once it has recovered, readable from any
//! thread.

use std::sync::mpsc::channel;

use watershed::options::Materialized;
use watershed::runtime::{Config, Milestone, Stop, Streams};
use watershed::{ErrorKind, KTable, ReadOnlyStore, StreamsBuilder, Topology};

use super::World;
use crate::support::broken::Fuse;
use crate::support::{pair, stream, table};

fn counted<'s>(rows: &KTable<'s, String, i64>) -> KTable<'s, String, i64> {
    rows.group_by(|_, v| ((v % 3).to_string(), *v)).count()
}

/// The program of this folder, with two of its tables materialized.
fn program() -> Topology {
    Topology::new("program", |builder: &StreamsBuilder<'_>| {
        let (rows, events) = (table(builder, "rows"), stream(builder, "events"));
        rows.materialize(Materialized::named("rows")).to("kept", pair());
        counted(&rows).materialize(Materialized::named("counts")).to("counts", pair());
        events.to("all", pair());
        events.join(&rows, |e, r| e * 100 + r).group_by_key().sum(|v| *v).to("sums", pair());
    })
}

/// Binds the program to the world, and requests its two stores.
fn bound(world: &World) -> (Streams, [ReadOnlyStore<String, i64>; 2]) {
    let mut streams = world.bound(program(), &Fuse::sound());
    let stores = ["rows", "counts"].map(|name| streams.store(name).unwrap());
    (streams, stores)
}

fn all(store: &ReadOnlyStore<String, i64>) -> Vec<String> {
    store.view().all().map(|(key, value)| format!("{key}={value}")).collect()
}

#[test]
fn a_store_shows_the_last_commit_once_its_state_is_rebuilt() {
    let world = World::busy();
    for (round, workers) in [1, 2, 4, 1].into_iter().enumerate() {
        let (streams, [rows, counts]) = bound(&world);
        assert_eq!((rows.view().epoch(), all(&counts)), (None, Vec::<String>::new()));
        streams.run(world.config(workers)).unwrap();
        let shown = world.shown();
        assert_eq!(
            (all(&rows), all(&counts)),
            (shown["kept"].clone(), shown["counts"].clone()),
            "round {round}"
        );
        // Only the first run reads new records; the others recover.
        assert_eq!(rows.view().epoch() == Some(0), round > 0, "round {round}");
    }
}

#[test]
fn a_store_has_the_answers_before_they_are_reported() {
    let world = World::busy();
    world.run(2).unwrap();
    let before = world.shown();
    let (streams, [rows, counts]) = bound(&world);
    let ((sender, milestones), stop, seen) = (channel(), Stop::default(), rows.clone());
    // The receiver may be gone.
    let on_milestone = Box::new(move |milestone| drop(sender.send((milestone, seen.view()))));
    let config = Config {
        follow: true,
        stop: stop.clone(),
        milestone: Some(on_milestone),
        ..world.config(2)
    };
    let run = std::thread::spawn(move || streams.run(config));
    world.append("rows", 0, "new=41");
    let reached = |value: i64| loop {
        let (milestone, view) = milestones.recv().unwrap();
        match view.epoch() {
            Some(0) => assert_eq!(
                view.len(),
                before["kept"].len(),
                "at first the store shows the last commit"
            ),
            epoch => assert!(epoch.is_none() || view.get("new").is_some()),
        }
        if view.get("new") == Some(&value) && matches!(milestone, Milestone::Answered(_)) {
            return;
        }
    };
    reached(41);
    world.append("rows", 0, "new=42");
    reached(42);
    assert_eq!(rows.get("new"), Some(42));
    stop.stop();
    run.join().unwrap().unwrap();
    assert_eq!(all(&counts), world.shown()["counts"], "it can be read after the end too");
}

#[test]
fn a_state_that_is_refused_is_never_shown() {
    let (world, mut other) = (World::new(), World::new());
    world.append("rows", 0, "a=1 b=2 c=3 a=4");
    world.run(1).unwrap();
    world.forget_snapshots();
    // Other records with the same rows are detected only once everything is rebuilt.
    other.append("rows", 0, "a=1 b=2 a=4 c=3");
    other = World { logs: other.logs, ..world };
    let (streams, [rows, _]) = bound(&other);
    assert_eq!(streams.run(other.config(1)).unwrap_err().kind(), ErrorKind::Data);
    assert_eq!((rows.view().epoch(), rows.view().len()), (None, 0));
}

#[test]
fn a_store_may_be_added_to_a_state() {
    let world = World::busy();
    // The program of the other modules has no stores.
    world.run(2).unwrap();
    let (streams, [rows, _]) = bound(&world);
    assert_eq!(streams.run(world.config(1)).unwrap().recovered, 30);
    assert_eq!(all(&rows), world.shown()["kept"]);
    world.more();
    world.run(1).unwrap();
    assert_eq!(world.shown(), world.fresh_run());
}

#[test]
fn handles_of_one_name_read_one_store() {
    let world = World::busy();
    let mut streams = world.bound(program(), &Fuse::sound());
    let (one, two): (ReadOnlyStore<String, i64>, _) =
        (streams.store("rows").unwrap(), streams.store("rows").unwrap());
    streams.run(world.config(3)).unwrap();
    assert_eq!(all(&one), world.shown()["kept"]);
    assert_eq!(all(&two), all(&one));
}

#[test]
fn an_error_for_a_missing_store_lists_the_stores() {
    let mut streams = Streams::new(program());
    let unknown = streams.store::<String, i64>("count").err().unwrap();
    let mistyped = streams.store::<String, String>("counts").err().unwrap();
    for (error, bound) in [
        (unknown, "no store count of String, i64"),
        (mistyped, "no store counts of String, String"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config);
        let message = error.to_string();
        for part in
            ["topology program has", bound, "it has rows of String, i64, counts of String, i64"]
        {
            assert!(message.contains(part), "{part} in: {message}");
        }
    }
    let none = Streams::new(super::program()).store::<String, i64>("counts").err().unwrap();
    assert!(none.to_string().contains("no store counts of String, i64: it has none"), "{none}");
}

#[test]
fn a_topology_is_described_with_its_stores() {
    let described = program().describe();
    for part in ["  rows (store of 0): String, i64\n", "  counts (store of 4): String, i64\n"] {
        assert!(described.contains(part), "{part} in:\n{described}");
    }
}
