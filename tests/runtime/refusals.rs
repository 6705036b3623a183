//! A run refuses a state that it can't continue, and changes nothing.

use watershed::connect::memory::MemoryLog;
use watershed::runtime::Streams;
use watershed::{Error, ErrorKind, StreamsBuilder, Topology};

use super::{World, program};
use crate::support::broken::{Fuse, Log, Seen, Table};
use crate::support::lossy::careless;
use crate::support::{pair, parsed, stream, table};

/// Runs `streams` on the world's state. The run must fail, and leave every table and manifest as
/// before.
fn refused(world: &World, streams: Streams) -> Error {
    let before = (world.shown(), world.commits(), manifests(world));
    let error = streams.run(world.config(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert_eq!((world.shown(), world.commits(), manifests(world)), before, "{error}");
    error
}

fn manifests(world: &World) -> Vec<(String, Vec<u8>)> {
    world.recorded().into_iter().filter(|(path, _)| path.starts_with("manifest")).collect()
}

/// Creates a world with a state and calls `check`. Afterwards a correct run must still continue.
fn with_state(check: impl FnOnce(&World)) {
    let world = World::busy();
    world.run(2).unwrap();
    check(&world);
    world.more();
    world.run(2).unwrap();
    assert_eq!(world.shown(), world.fresh_run());
}

/// Binds the program to the world's logs and tables under names with these prefixes.
fn named(world: &World, log: &str, table: &str) -> Streams {
    let mut streams = Streams::new(program());
    for (topic, held) in &world.logs {
        let (name, log, fuse) = (format!("{log} {topic}"), held.clone(), Fuse::sound());
        streams = streams.source(topic, Log { name, log, batch: 3, seen: Seen::default(), fuse });
    }
    for (topic, held) in &world.tables {
        let (name, table, fuse) = (format!("{table} {topic}"), held.clone(), Fuse::sound());
        streams = streams.sink(topic, Table { name, table, fuse });
    }
    streams
}

#[test]
fn another_topology_is_refused() {
    with_state(|world| {
        let other = Topology::new("program", |builder: &StreamsBuilder<'_>| {
            let kept = table(builder, "rows").filter(|_, v| *v > 0);
            ["kept", "counts", "sums"].iter().for_each(|topic| kept.to(topic, pair()));
            stream(builder, "events").to("all", pair());
        });
        let before = world.recorded();
        let error = refused(world, world.bound(other, &Fuse::sound()));
        assert!(
            error.to_string().contains("the topology of program is not the one that made"),
            "{error}"
        );
        assert_eq!(world.recorded(), before);
    });
}

#[test]
fn another_setting_is_refused() {
    let world = World::busy();
    let limited = |limit: i64| {
        let topology = Topology::new("limited", move |builder: &StreamsBuilder<'_>| {
            builder.setting("limit", limit);
            table(builder, "rows").filter(move |_, v| *v < limit).to("kept", pair());
        });
        Streams::new(topology)
            .source("rows", world.logs["rows"].clone())
            .sink("kept", world.tables["kept"].clone())
    };
    limited(5).run(world.config(1)).unwrap();
    refused(&world, limited(6));
    limited(5).run(world.config(1)).unwrap();
}

/// A program with the same steps and other closures. Its rows have the same keys and the same
/// number.
#[test]
fn a_program_with_other_values_for_its_records_is_refused() {
    for sink in ["kept", "counts"] {
        let world = World::busy();
        let adding = |what: i64| {
            let topology = Topology::new("adding", move |builder: &StreamsBuilder<'_>| {
                let rows = table(builder, "rows");
                match sink {
                    "kept" => rows.map_values(move |v| v + what).to("kept", pair()),
                    _ => rows
                        .group_by(move |k, v| (k.clone(), v + what))
                        .sum(|v| *v)
                        .to("counts", pair()),
                }
            });
            Streams::new(topology)
                .source("rows", world.logs["rows"].clone())
                .sink(sink, world.tables[sink].clone())
        };
        adding(5).run(world.config(1)).unwrap();
        world.forget_snapshots();
        let error = refused(&world, adding(6));
        assert!(error.to_string().contains(&format!("different rows of {sink}")), "{error}");
        adding(5).run(world.config(2)).unwrap();
    }
}

#[test]
fn the_state_of_another_program_is_refused() {
    with_state(|world| {
        let before = world.recorded();
        let other = Topology::new("other", |builder: &StreamsBuilder<'_>| {
            table(builder, "rows").to("kept", pair())
        });
        let streams = Streams::new(other)
            .source("rows", MemoryLog::default())
            .sink("kept", world.tables["kept"].clone());
        let error = refused(world, streams);
        assert!(error.to_string().contains("is the state of program, not of other"), "{error}");
        assert_eq!(world.recorded(), before);
    });
}

/// Runs with other records in the topic `rows`, and returns the error.
fn with_rows(world: &World, partitions: &[(u32, &str)]) -> String {
    let rows = MemoryLog::default();
    for (partition, records) in partitions {
        for (key, value) in parsed(records) {
            rows.append(*partition, key, value);
        }
    }
    let mut other = world.clone();
    other.logs.insert("rows", rows);
    refused(world, other.bound(program(), &Fuse::sound())).to_string()
}

#[test]
fn a_log_with_other_records_than_before_is_refused() {
    with_state(|world| {
        world.forget_snapshots();
        let (zero, one) =
            ("a=1 b=2 c=3 a=4 d=5 b= e=6 a=4 f=seven", "g=7 a=2 c= h=9 b=1 c=8 i=3 d=");
        let truncated = with_rows(world, &[(0, zero), (1, "g=7 a=2 c= h=9")]);
        assert!(
            truncated.contains("log rows, partition 1 ends at 4, but was read up to 8 before"),
            "{truncated}"
        );
        let lost = with_rows(world, &[(0, zero)]);
        assert!(lost.contains("log rows, partition 1 ends at 0"), "{lost}");
        for (from, to) in
            [("a=1", "a=2"), ("a=1", "e=1"), ("b=2", "b="), ("f=s", "f=S"), ("c=3 a=4", "a=4 c=3")]
        {
            let altered = with_rows(world, &[(0, &zero.replacen(from, to, 1)), (1, one)]);
            assert!(
                altered.contains(
                    "records 0..9 of log rows, partition 0 are not those that were read before"
                ),
                "{altered}"
            );
        }
        with_rows(world, &[(0, &zero.replacen("e=6", "k=6", 1)), (1, one)]);
        with_rows(world, &[(0, &zero.replacen("e=6", "e=", 1)), (1, one)]);
        with_rows(world, &[(1, zero), (0, one)]);
    });
}

#[test]
fn an_empty_value_is_not_a_null_one() {
    let world = World::new();
    world.logs["rows"].append(0, Some(b"a"), None);
    world.run(1).unwrap();
    world.forget_snapshots();
    let mut other = world.clone();
    other.logs.insert("rows", MemoryLog::default());
    other.logs["rows"].append(0, Some(b"a"), Some(b""));
    refused(&world, other.bound(program(), &Fuse::sound()));
}

#[test]
fn sources_and_sinks_of_other_names_are_refused() {
    with_state(|world| {
        let before = world.recorded();
        let source = refused(world, named(world, "another", "table")).to_string();
        assert!(
            source.contains("was read from log ") && source.contains("not from another "),
            "{source}"
        );
        let sink = refused(world, named(world, "log", "another")).to_string();
        assert!(
            sink.contains("was written to table ") && sink.contains("not to another "),
            "{sink}"
        );
        assert_eq!(world.recorded(), before);
    });
}

#[test]
fn a_source_less_is_refused_and_a_source_more_is_read() {
    let world = World::new();
    world.append("rows", 0, "a=1 b=2");
    world.append("events", 0, "a=3");
    let copy = |builder: &StreamsBuilder<'_>| table(builder, "rows").to("kept", pair());
    let bound = |names: &[&'static str]| {
        let streams =
            Streams::new(Topology::new("copy", copy)).sink("kept", world.tables["kept"].clone());
        names.iter().fold(streams, |streams, name| {
            let (log, seen, fuse) =
                (world.logs[name].clone(), world.seen[name].clone(), Fuse::sound());
            streams.source("rows", Log { name: name.to_string(), log, batch: 3, seen, fuse })
        })
    };
    bound(&["rows"]).run(world.config(1)).unwrap();
    assert_eq!(world.shown()["kept"], ["a=1", "b=2"]);
    bound(&["rows", "events"]).run(world.config(1)).unwrap();
    assert_eq!(world.shown()["kept"], ["a=3", "b=2"]);
    let before = world.recorded();
    refused(&world, bound(&["rows"]));
    refused(&world, bound(&["events", "rows"]));
    assert_eq!(world.recorded(), before);
}

#[test]
fn a_table_that_has_lost_its_rows_is_refused() {
    with_state(|world| {
        let mut other = world.clone();
        other.tables.insert("kept", Default::default());
        refused(world, other.bound(program(), &Fuse::sound()));
    });
}

#[test]
fn a_manifest_that_was_changed_is_refused() {
    let world = World::busy();
    world.run(1).unwrap();
    world.more();
    world.run(1).unwrap();
    let state = world.state();
    let (last, bytes) = manifests(&world).pop().unwrap();
    let renumbered = String::from_utf8_lossy(&bytes).replacen("\"n\":", "\"n\":1", 1).into_bytes();
    for torn in [&b""[..], b"{}", &bytes[..bytes.len() / 2], &renumbered] {
        state.put(&last, torn).unwrap();
        let error = refused(&world, world.bound(program(), &Fuse::sound()));
        assert!(error.to_string().contains("is not as a run of program wrote it"), "{error}");
    }
    state.put(&last, &bytes).unwrap();
    let (before, earlier) = manifests(&world).into_iter().rev().nth(1).unwrap();
    state.put(&before, &[&earlier[..], b" "].concat()).unwrap();
    refused(&world, world.bound(program(), &Fuse::sound()));
    state.delete(&before).unwrap();
    refused(&world, world.bound(program(), &Fuse::sound()));
    state.put(&before, &earlier).unwrap();
    world.run(1).unwrap();
    assert_eq!(world.shown(), world.fresh_run());
}

#[test]
fn a_store_without_conditional_create_is_refused_at_once() {
    let world = World::busy();
    let mut config = world.config(2);
    config.state = Some(careless(&world.objects));
    let error = world.bound(program(), &Fuse::sound()).run(config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("If-None-Match"), "{error}");
    assert!(world.commits().values().all(Vec::is_empty));
}
