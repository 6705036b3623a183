//! A run of another topology replaces all rows of a sink that other steps make now.

use std::collections::BTreeMap;

use watershed::connect::{Committer, Recovering, Schema, Sink, SinkContext};
use watershed::connectors::delta::{Delta, Table as DeltaTable};
use watershed::row::Value;
use watershed::runtime::{Config, Streams, TopologyChange};
use watershed::{Result, StreamsBuilder, Topology};

use super::adoption::{Version, Versions, refused};
use super::{SOURCES, World};
use crate::support::broken::{Fuse, Table};
use crate::support::{pair, stream, table};

#[test]
fn a_table_of_other_steps_is_replaced_in_one_commit() {
    let (first, version) = (Version::default(), Version { greatest: true, ..Version::default() });
    let versions = Versions::with_state();
    let adoption = versions.streams(version, &Fuse::sound());
    let adoption = adoption.adoption(&versions.log.world.state()).unwrap().unwrap();
    assert_eq!(adoption.replaced, ["counts"]);
    assert_eq!(adoption.kept, ["kept", "all", "sums"]);
    // The logs have deleted their first records, so they can't be read again.
    assert!(adoption.read_again.is_empty() && adoption.lacking.is_empty(), "{adoption:?}");
    let commits = |topic| versions.tables.0[topic].commits().len();
    let before = ["counts", "kept"].map(commits);
    versions.adopt(version, 3).unwrap();
    versions.assert_right(version);
    assert_eq!(["counts", "kept"].map(commits), [before[0] + 1, before[1]]);
    for workers in [1, 2] {
        versions.log.world.more();
        versions.run(version, workers, TopologyChange::Refuse).unwrap();
        versions.assert_right(version);
    }
    versions.adopt(first, 2).unwrap();
    versions.assert_right(first);
}

#[test]
fn an_appended_topic_of_other_steps_is_written_anew() {
    let version = Version { positive: true, ..Version::default() };
    let versions = Versions::with_state();
    refused(versions.adopt(version, 2), "is deleted");
    versions.assert_right(Version::default());
    versions.log.restore();
    versions.adopt(version, 2).unwrap();
    versions.assert_right(version);
    versions.log.world.more();
    versions.run(version, 1, TopologyChange::Refuse).unwrap();
    versions.assert_right(version);
}

/// A table that can't replace its rows.
struct Fixed(Table);

impl Sink for Fixed {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn open(&self, schema: &Schema, context: &SinkContext) -> Result<Box<dyn Committer>> {
        self.0.open(schema, context)
    }

    fn writers(
        &self,
        schema: &Schema,
        context: &SinkContext,
        brief: &serde_json::Value,
        workers: std::ops::Range<usize>,
    ) -> Result<Vec<Box<dyn Recovering>>> {
        self.0.writers(schema, context, brief, workers)
    }
}

#[test]
fn a_sink_that_can_not_replace_its_rows_refuses_other_steps() {
    let versions = Versions::with_state();
    let filtered = Topology::new("program", |builder: &StreamsBuilder<'_>| {
        let rows = table(builder, "rows");
        rows.filter(|_, v| *v > 3).to("kept", pair());
        stream(builder, "events").to("all", pair());
    });
    let mut streams = Streams::new(filtered);
    for (topic, log) in SOURCES.iter().zip(&versions.log.logs) {
        streams = streams.source(topic, log.clone());
    }
    for topic in ["kept", "all"] {
        let (table, fuse) = (versions.tables.0[topic].clone(), Fuse::sound());
        let table = Table { name: format!("table {topic}"), table, fuse };
        streams = streams.sink(topic, Fixed(table));
    }
    let world = &versions.log.world;
    let config = Config { topology_change: TopologyChange::Adopt, ..world.config(1) };
    let error = refused(streams.run(config), "other steps make the rows of kept now");
    assert!(error.to_string().contains("table kept can't replace those"), "{error}");
    versions.run(Version::default(), 1, TopologyChange::Refuse).unwrap();
    versions.assert_right(Version::default());
}

#[test]
fn a_delta_table_is_replaced_by_one_version() {
    let (world, folder) = (World::busy(), tempfile::tempdir().unwrap());
    let url = folder.path().join("rows").to_str().unwrap().to_string();
    // Each filter is one more step.
    let run = |least: &'static [i64], workers, change| {
        let topology = Topology::new("least", move |builder: &StreamsBuilder<'_>| {
            let all = table(builder, "rows");
            let rows = least.iter().fold(all, |rows, least| rows.filter(move |_, v| v >= least));
            rows.to("rows", pair());
        });
        let streams = Streams::new(topology).source("rows", world.logs["rows"].clone());
        let sink = Delta::table(&url).unwrap().rewrite_below(0);
        let config = Config { topology_change: change, ..world.one_commit(workers) };
        streams.sink("rows", sink).run(config).map(|_| ())
    };
    let rows = || {
        let (mut rows, table) = (BTreeMap::new(), DeltaTable::open(&url).unwrap());
        let mut each = |row: &[Value]| {
            let [Value::Text(key), Value::Long(value)] = row else { panic!("{row:?}") };
            assert_eq!(rows.insert(key.clone(), *value), None);
            Ok(())
        };
        table.for_each(&mut each).unwrap();
        rows
    };
    let versions = || std::fs::read_dir(folder.path().join("rows/_delta_log")).unwrap().count();
    run(&[], 2, TopologyChange::Refuse).unwrap();
    let (before, count) = (rows(), versions());
    run(&[5], 3, TopologyChange::Adopt).unwrap();
    let mut expected = before.clone();
    expected.retain(|_, value| *value >= 5);
    assert!(expected.len() < before.len() && !expected.is_empty());
    // Each run takes over the table by a version without rows.
    assert_eq!((rows(), versions()), (expected, count + 2));
    // No row is left, and none comes.
    run(&[5, 1_000], 1, TopologyChange::Adopt).unwrap();
    assert_eq!((rows().len(), versions()), (0, count + 4));
    world.append("rows", 0, "new=2000 a=1");
    run(&[5, 1_000], 2, TopologyChange::Refuse).unwrap();
    assert_eq!(rows(), BTreeMap::from([("new".to_string(), 2_000)]));
    run(&[], 1, TopologyChange::Adopt).unwrap();
    assert!(rows().len() == before.len() + 1 && rows()["a"] == 1);
}
