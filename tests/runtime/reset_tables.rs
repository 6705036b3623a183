//! Delta tables of a state that is reset: each is emptied by one version, and earlier versions stay
//! readable.

use std::collections::BTreeMap;

use watershed::connectors::delta::{Delta, Table};
use watershed::options::Produced;
use watershed::runtime::{Config, Streams, Summary, TopologyChange};
use watershed::store::Store;
use watershed::{DEAD_LETTERS, Result, StreamsBuilder, Topology};

use super::World;
use crate::support::{pair, shown, table};

/// The tables of a world.
struct Lake {
    world: World,
    folder: tempfile::TempDir,
    rewrite_below: u64,
}

impl Lake {
    fn url(&self, topic: &str) -> String {
        self.folder.path().join(topic).to_str().unwrap().to_string()
    }

    /// Runs a program whose rows have a factor, and whose second column has this name.
    fn run(&self, column: &'static str, factor: i64, change: TopologyChange) -> Result<Summary> {
        let topology = Topology::new("program", move |builder: &StreamsBuilder<'_>| {
            let rows = table(builder, "rows");
            rows.map_values(move |v| v * factor).to("kept", Produced::columns(["key", column]));
            rows.group_by(|_, v| ((v % 3).to_string(), *v)).count().to("counts", pair());
        });
        let streams = Streams::new(topology).source("rows", self.world.logs["rows"].clone());
        let streams = ["kept", "counts", DEAD_LETTERS].iter().fold(streams, |streams, topic| {
            let table = Delta::table(&self.url(topic)).unwrap();
            streams.sink(topic, table.rewrite_below(self.rewrite_below).checkpoint_every(3))
        });
        streams.run(Config { topology_change: change, ..self.world.config(2) })
    }

    fn version(&self, topic: &str) -> u64 {
        Table::open(&self.url(topic)).unwrap().version()
    }

    /// The rows of all versions of a table.
    fn versions(&self, topic: &str) -> BTreeMap<u64, Vec<String>> {
        let at = |version| rows(&Table::at_version(&self.url(topic), version).unwrap());
        (0..=self.version(topic)).map(|version| (version, at(version))).collect()
    }
}

fn rows(table: &Table) -> Vec<String> {
    let mut rows = Vec::new();
    let mut each = |row: &[watershed::row::Value]| {
        rows.push(shown(row));
        Ok(())
    };
    table.for_each(&mut each).unwrap();
    rows.sort();
    rows
}

#[test]
fn a_table_is_emptied_by_one_version_and_keeps_the_earlier_ones() {
    for rewrite_below in [0, 1000] {
        let lake =
            Lake { world: World::busy(), folder: tempfile::tempdir().unwrap(), rewrite_below };
        for _ in 0..4 {
            lake.run("value", 1, TopologyChange::Refuse).unwrap();
            lake.world.append("rows", 0, "a=9 b=8 broken=x");
            lake.world.append("rows", 1, "n=1 c=");
        }
        let last = lake.run("value", 1, TopologyChange::Refuse).unwrap().committed;
        let topics = ["kept", "counts", DEAD_LETTERS];
        let before = topics.map(|topic| lake.versions(topic));
        lake.run("times_ten", 10, TopologyChange::Reset).unwrap();
        for (topic, before) in topics.iter().zip(&before) {
            let after = lake.versions(topic);
            let url = lake.url(topic);
            assert!(before.iter().all(|(version, rows)| after[version] == *rows), "{topic}");
            let (emptying, old) = before.last_key_value().unwrap();
            assert!(!old.is_empty() && after[&(emptying + 1)].is_empty(), "{topic}");
            let as_of = |n| rows(&Table::as_of(&url, n).unwrap().unwrap());
            assert_eq!((&as_of(last), as_of(last + 1)), (old, Vec::new()), "{topic}");
            let log = Store::open(&url).unwrap();
            let id = |version: u64| {
                let path = format!("_delta_log/{version:020}.json");
                let text = String::from_utf8(log.get(&path).unwrap().unwrap()).unwrap();
                let actions = text.lines().map(|line| serde_json::from_str(line).unwrap());
                actions.map(|action: serde_json::Value| action["metaData"]["id"].clone()).collect()
            };
            let (first, now): (Vec<_>, Vec<_>) = (id(0), id(emptying + 1));
            assert!(now.iter().any(|id| id.is_string()) && now != first, "{topic}");
        }
        let kept = Table::open(&lake.url("kept")).unwrap();
        assert_eq!(kept.columns()[1].name, "times_ten");
        // Later runs continue the table, with the rows of a run from nothing.
        lake.world.append("rows", 0, "a=2 new=3");
        lake.run("times_ten", 10, TopologyChange::Refuse).unwrap();
        let fresh = Lake {
            world: World { logs: lake.world.logs.clone(), ..World::new() },
            folder: tempfile::tempdir().unwrap(),
            rewrite_below,
        };
        fresh.run("times_ten", 10, TopologyChange::Refuse).unwrap();
        for topic in topics {
            let [now, fresh] =
                [&lake, &fresh].map(|it| rows(&Table::open(&it.url(topic)).unwrap()));
            assert_eq!(now, fresh, "{topic}");
        }
    }
}

#[test]
fn a_reset_keeps_the_rows_that_others_have_appended() {
    let lake =
        Lake { world: World::busy(), folder: tempfile::tempdir().unwrap(), rewrite_below: 0 };
    lake.run("value", 1, TopologyChange::Refuse).unwrap();
    let letters = lake.url(DEAD_LETTERS);
    let (store, version) = (Store::open(&letters).unwrap(), lake.version(DEAD_LETTERS));
    let actions = (0..=version).map(|version| {
        let path = format!("_delta_log/{version:020}.json");
        String::from_utf8(store.get(&path).unwrap().unwrap()).unwrap()
    });
    let actions: Vec<String> = actions.collect();
    let lines = actions.iter().flat_map(|text| text.lines());
    let mut added = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut added = added.rfind(|action| !action["add"].is_null()).unwrap();
    let own = added["add"]["path"].as_str().unwrap().to_string();
    store.put("other.parquet", &store.get(&own).unwrap().unwrap()).unwrap();
    added["add"]["path"] = "other.parquet".into();
    store
        .put(&format!("_delta_log/{:020}.json", version + 1), added.to_string().as_bytes())
        .unwrap();
    lake.run("value", 1, TopologyChange::Reset).unwrap();
    let text = |version| {
        let path = format!("_delta_log/{version:020}.json");
        String::from_utf8(store.get(&path).unwrap().unwrap()).unwrap()
    };
    let emptying = text(version + 2);
    assert!(emptying.contains("REPLACE TABLE") && emptying.contains(&own), "{emptying}");
    assert!(!emptying.contains("other.parquet"), "{emptying}");
}
