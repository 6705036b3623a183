//! An attacker may post records, has this program's source, and crafts keys that collide under a
//! hash without a key.

use tempfile::TempDir;
use watershed::connect::memory::MemoryLog;
use watershed::connectors::delta::{Delta, Table};
use watershed::options::{Consumed, Produced};
use watershed::row::Value;
use watershed::runtime::{Config, Streams};
use watershed::serdes::Utf8;
use watershed::store::Store;
use watershed::testing::TopologyTestDriver;
use watershed::{StreamsBuilder, Topology};
use xxhash_rust::xxh3::xxh3_128;

use super::World;
use crate::support::twins::twins;

fn texts() -> Produced {
    Produced::columns(["key", "text"])
}

fn row(key: &str, text: &str) -> Vec<Value> {
    vec![Value::Text(key.into()), Value::Text(text.into())]
}

#[test]
fn a_correction_made_to_collide_is_no_duplicate() {
    let [first, second] = twins(0);
    assert_eq!(
        xxh3_128(first.as_bytes()),
        xxh3_128(second.as_bytes()),
        "they collide under the unkeyed hash"
    );
    for workers in [1, 2] {
        let topology = Topology::new("titles", |builder: &StreamsBuilder<'_>| {
            builder.table("table", Consumed::with(Utf8, Utf8)).to("kept", texts());
            builder.stream("stream", Consumed::with(Utf8, Utf8)).to_table().to("latest", texts());
        });
        let mut driver = TopologyTestDriver::with_workers(topology, workers).unwrap();
        for text in [&first, &second, &second, &first] {
            for topic in ["table", "stream"] {
                driver.pipe(topic, 0, Some(b"7"), Some(text.as_bytes()));
            }
            driver.commit().unwrap();
            assert!(
                ["kept", "latest"].iter().all(|topic| driver.rows(topic) == [row("7", text)]),
                "{workers} workers"
            );
        }
        let read = &driver.finish().unwrap().topics["table"];
        assert_eq!((read.applied, read.duplicates), (3, 1));
    }
}

#[test]
fn a_distinct_count_counts_texts_made_to_collide() {
    let topology = Topology::new("texts", |builder: &StreamsBuilder<'_>| {
        let secret = builder.secret();
        let all = builder.stream::<String, String>("all", Consumed::with(Utf8, Utf8));
        all.group_by(|key, text| (key.clone(), text.clone()))
            .count_distinct()
            .to("counts", texts());
        all.group_by(move |key, text| (key.clone(), secret.digest(text)))
            .count_distinct()
            .to("digests", texts());
    });
    let mut driver = TopologyTestDriver::new(topology).unwrap();
    for text in twins(0).iter().chain(&twins(0)) {
        driver.pipe("all", 0, Some(b"7"), Some(text.as_bytes()));
    }
    driver.commit().unwrap();
    let two = [vec![Value::Text("7".into()), Value::Long(2)]];
    assert_eq!((driver.rows("counts"), driver.rows("digests")), (two.to_vec(), two.to_vec()));
}

/// Runs a table of texts to the end of `log`, and returns its rows.
fn run(place: &TempDir, log: &MemoryLog, rewrite_below: u64) -> Vec<Vec<Value>> {
    let topology = Topology::new("kept", |builder: &StreamsBuilder<'_>| {
        builder.table("rows", Consumed::with(Utf8, Utf8)).to("kept", texts())
    });
    let at = |name: &str| place.path().join(name).display().to_string();
    let streams = Streams::new(topology)
        .source("rows", log.clone())
        .sink("kept", Delta::table(&at("kept")).unwrap().rewrite_below(rewrite_below));
    let config =
        Config { workers: 2, state: Some(Store::open(&at("state")).unwrap()), ..Config::default() };
    streams.run(config).unwrap();
    let mut rows = Vec::new();
    let mut each = |row: &[Value]| {
        rows.push(row.to_vec());
        Ok(())
    };
    Table::open(&at("kept")).unwrap().for_each(&mut each).unwrap();
    rows.sort();
    rows
}

#[test]
fn a_restart_finds_the_rows_of_keys_made_to_collide() {
    // The type and the length of a key are hashed before its bytes.
    let [one, other] = twins(9);
    let before = |key: &str| [&[3], &1000_u64.to_le_bytes()[..], key.as_bytes()].concat();
    assert_eq!(
        xxh3_128(&before(&one)),
        xxh3_128(&before(&other)),
        "they collide under the unkeyed hash"
    );
    for rewrite_below in [0, 1024] {
        let (place, log) = (tempfile::tempdir().unwrap(), MemoryLog::default());
        let append = |key: &str, text: Option<&str>| {
            log.append(0, Some(key.as_bytes()), text.map(str::as_bytes))
        };
        for key in [&one, &other, "third"] {
            append(key, Some("old"));
        }
        run(&place, &log, rewrite_below);
        append(&one, Some("new"));
        let kept = [row("third", "old"), row(&one, "new"), row(&other, "old")];
        assert_eq!(run(&place, &log, rewrite_below), kept);
        append(&other, None);
        assert_eq!(run(&place, &log, rewrite_below), [row("third", "old"), row(&one, "new")]);
        append(&other, Some("back"));
        assert_eq!(
            run(&place, &log, rewrite_below),
            [row("third", "old"), row(&one, "new"), row(&other, "back")]
        );
    }
}

#[test]
fn every_secret_makes_the_same_rows() {
    // Each world draws its own secret for its maps and its routing.
    let shown = |workers| {
        let world = World::busy();
        world.run(workers).unwrap();
        world.shown()
    };
    let first = shown(1);
    for workers in [1, 2, 3, 4, 1] {
        assert_eq!(shown(workers), first, "{workers} workers");
    }
}
