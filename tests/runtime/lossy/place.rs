//! A world on a bucket: its logs, the state, and tables in memory or Delta tables.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::FutureExt;
use futures::stream::StreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use watershed::connectors::delta::{Delta, Table};
use watershed::runtime::{Config, Streams, Summary};
use watershed::store::Store;
use watershed::{Result, Topology};

use super::super::snapshots::changes;
use super::super::{SINKS, SOURCES, Shown, World, program};
use crate::support::broken::{Fuse, Log};
use crate::support::lossy::{Bucket, Lossy};
use crate::support::{Dice, shown};

/// The topology of a world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Program {
    /// A table, a group, an appended stream and a maintained join.
    Tables,
    /// The changes of a table, which depend on where epochs end.
    Changes,
}

/// Everything that outlives the runs of a world.
pub(super) struct Place {
    pub(super) bucket: Bucket,
    pub(super) program: Program,
    /// True if the tables are Delta tables on the bucket.
    pub(super) is_delta: bool,
    pub(super) world: World,
    /// The records as text, by topic and partition.
    records: BTreeMap<(&'static str, u32), Vec<String>>,
}

impl Place {
    pub(super) fn new(program: Program, is_delta: bool) -> Self {
        let (bucket, mut world) = (Bucket::default(), World::new());
        world.objects = bucket.objects.clone();
        Place { bucket, program, is_delta, world, records: BTreeMap::new() }
    }

    /// Appends some records: values, corrections, deletions, duplicates and garbage.
    pub(super) fn append(&mut self, dice: &mut Dice) {
        for _ in 0..1 + dice.below(16) {
            let (topic, partition) = (SOURCES[dice.below(2) as usize], dice.below(2) as u32);
            let key = ["a", "b", "c", "d", "e", "f", "g", "h", ""][dice.below(9) as usize];
            let value = match dice.below(12) {
                0 | 1 => String::new(),
                2 => "garbage".into(),
                _ => dice.below(8).to_string(),
            };
            self.world.append(topic, partition, &format!("{key}={value}"));
            self.records.entry((topic, partition)).or_default().push(format!("{key}={value}"));
        }
    }

    /// Returns the rows of a sound run over the first records: as many as `ends` names of each
    /// partition.
    pub(super) fn expected(&self, ends: &BTreeMap<(String, u32), u64>) -> Shown {
        let prefix = World::new();
        for ((topic, partition), records) in &self.records {
            let end = ends.get(&((*topic).to_string(), *partition)).copied().unwrap_or(0);
            assert!(end <= records.len() as u64, "a commit names records that do not exist");
            prefix.append(topic, *partition, &records[..end as usize].join(" "));
        }
        prefix.fresh_run()
    }

    pub(super) fn topics(&self) -> Vec<&'static str> {
        SINKS.into()
    }

    fn streams(&self, store: &Store) -> Streams {
        let topology: Topology = match self.program {
            Program::Tables => program(),
            Program::Changes => changes(),
        };
        if !self.is_delta {
            return self.world.bound(topology, &Fuse::sound());
        }
        let mut streams = Streams::new(topology);
        for (topic, log) in &self.world.logs {
            let (log, seen, fuse) = (log.clone(), self.world.seen[topic].clone(), Fuse::sound());
            let name = format!("log {topic}");
            streams = streams.source(topic, Log { name, log, batch: 4, seen, fuse });
        }
        for topic in self.topics() {
            streams = streams.sink(topic, Delta::on(store.below(&format!("lake/{topic}"))));
        }
        streams
    }

    /// Runs the program over this connection to the end of the logs.
    pub(super) fn run(
        &self,
        connection: Lossy,
        workers: usize,
    ) -> impl FnOnce() -> Result<Summary> + Send + use<> {
        let store = connection.store("");
        let streams = self.streams(&store);
        let config = Config {
            workers,
            state: Some(store.below("state")),
            commit_every: Duration::ZERO,
            ..Config::default()
        };
        move || streams.run(config)
    }

    pub(super) fn state(&self) -> Store {
        Store::objects(self.bucket.objects.clone(), "state").unwrap()
    }

    /// Returns the sorted rows of a table in memory.
    pub(super) fn memory_rows(&self, topic: &str) -> Vec<String> {
        sorted(self.world.tables[topic].rows().iter().map(|row| shown(row)).collect())
    }

    /// Returns the number of the last version of a Delta table.
    pub(super) fn last_version(&self, topic: &str) -> Option<u64> {
        let log = self.objects(&format!("lake/{topic}/_delta_log"));
        log.iter().filter_map(version).max()
    }

    /// Returns the paths of all objects below a prefix.
    pub(super) fn objects(&self, prefix: &str) -> Vec<Path> {
        let listed = self.bucket.objects.list(Some(&Path::from(prefix))).collect::<Vec<_>>();
        let listed = listed.now_or_never().unwrap();
        listed.into_iter().map(|object| object.unwrap().location).collect()
    }

    fn bytes(&self, path: &Path) -> bytes::Bytes {
        let get = async { self.bucket.objects.get(path).await?.bytes().await };
        get.now_or_never().unwrap().unwrap()
    }

    /// Returns the actions of a version of a Delta table.
    pub(super) fn actions(&self, topic: &str, version: u64) -> Vec<serde_json::Value> {
        let path = Path::from(format!("lake/{topic}/_delta_log/{version:020}.json"));
        let bytes = self.bytes(&path);
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    /// Returns the manifest that a version of a Delta table names, and its sorted rows.
    pub(super) fn version_rows(&self, topic: &str, last: u64) -> (Option<u64>, Vec<String>) {
        let copy = Arc::new(InMemory::new());
        for path in self.objects(&format!("lake/{topic}")) {
            let is_later = version(&path).is_some_and(|version| version > last);
            if !is_later && path.filename() != Some("_last_checkpoint") {
                let put = copy.put(&path, self.bytes(&path).into());
                put.now_or_never().unwrap().unwrap();
            }
        }
        let store = Store::objects(copy, &format!("lake/{topic}")).unwrap();
        let table = Table::on(store).unwrap();
        assert_eq!(table.version(), last);
        let mut rows = Vec::new();
        let each = table.for_each(&mut |row| {
            rows.push(shown(row));
            Ok(())
        });
        each.unwrap();
        (table.manifest(), sorted(rows))
    }

    /// Deletes all objects of the state that the last manifest does not need.
    pub(super) fn forget_unneeded(&self, needed: &[String]) {
        for folder in ["snap", "layer"] {
            for (name, _) in self.state().list(folder).unwrap() {
                let path = format!("{folder}/{name}");
                if !needed.contains(&path) {
                    self.state().delete(&path).unwrap();
                }
            }
        }
    }
}

pub(super) fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// Returns the version of a file of a table's log.
fn version(path: &Path) -> Option<u64> {
    let (folder, name) = path.as_ref().rsplit_once('/')?;
    folder.ends_with("_delta_log").then(|| name.split('.').next()?.parse().ok()).flatten()
}
