//! An adoption reads only those topics again of which the snapshot lacks rows.

use std::collections::BTreeMap;

use watershed::connect::memory::MemoryTable;
use watershed::runtime::{Config, Consequence, Depth, Streams, Summary, TopologyChange, inspect};
use watershed::{DEAD_LETTERS, ErrorKind, Result, StreamsBuilder, Topology};

use super::snapshots::Retaining;
use super::{SOURCES, World};
use crate::support::broken::{Fuse, Table};
use crate::support::lossy::shaky;
use crate::support::{pair, shown, stream, table};

/// The numbers of the logs.
const ROWS: usize = 0;
const EVENTS: usize = 1;

/// A topology of both topics with changes.
#[derive(Clone, Copy, Default)]
struct Version {
    /// A count of the small rows, which needs a cut of its own.
    small: bool,
    /// The topic of a count of the events, which needs a cut of its own.
    counted: Option<&'static str>,
    without_events: bool,
    /// Events are only counted.
    without_join: bool,
    without_letters: bool,
}

impl Version {
    fn topology(self) -> Topology {
        Topology::new("program", move |builder: &StreamsBuilder<'_>| {
            let rows = table(builder, "rows");
            if self.small {
                // Behind the other readers it would share the cut of the whole table.
                let small = rows.filter(|_, v| *v < 8);
                small.group_by(|_, v| ((v % 2).to_string(), *v)).count().to("small", pair());
            }
            rows.to("kept", pair());
            rows.group_by(|_, v| ((v % 3).to_string(), *v)).count().to("counts", pair());
            if self.without_events {
                return;
            }
            let events = stream(builder, "events");
            if let Some(topic) = self.counted {
                events.group_by(|k, v| (k.clone(), *v)).count().to(topic, pair());
            }
            if self.without_join {
                return;
            }
            events.to("all", pair());
            let joined = events.join(&rows, |e, r| e * 100 + r);
            joined.group_by_key().sum(|v| *v).to("sums", pair());
        })
    }

    fn sinks(self) -> Vec<&'static str> {
        let mut sinks = vec!["kept", "counts"];
        sinks.extend((!self.without_letters).then_some(DEAD_LETTERS));
        sinks.extend(self.small.then_some("small"));
        let events = !self.without_events;
        sinks.extend(self.counted.filter(|_| events));
        if events && !self.without_join {
            sinks.extend(["all", "sums"]);
        }
        sinks
    }
}

/// The logs, and the tables of all versions.
struct Versions {
    log: Retaining,
    tables: BTreeMap<&'static str, MemoryTable>,
}

type Rows = BTreeMap<&'static str, Vec<String>>;

impl Versions {
    fn tables() -> BTreeMap<&'static str, MemoryTable> {
        let topics = ["kept", "counts", "small", "all", "sums", "events", "again", DEAD_LETTERS];
        topics.map(|topic| (topic, MemoryTable::default())).into()
    }

    /// A state of `version`, whose logs have deleted their first records.
    fn with_state(version: Version) -> Self {
        let versions = Versions { log: Retaining::busy(), tables: Self::tables() };
        for step in 0..30 {
            versions.run(version, 1 + step % 2).unwrap();
            if versions.log.first().iter().all(|first| *first > 0) {
                // Some records are behind the snapshot.
                return versions;
            }
            versions.log.world.more();
            versions.log.world.append("rows", 0, "broken=x a=");
            versions.log.world.append("events", 1, "e=y a=3");
        }
        panic!("no record is released")
    }

    fn streams(&self, version: Version, fuse: &Fuse) -> Streams {
        let sources = SOURCES.iter().zip(&self.log.logs);
        let sources = sources.filter(|(topic, _)| **topic == "rows" || !version.without_events);
        let streams = sources.fold(Streams::new(version.topology()), |streams, (topic, log)| {
            streams.source(topic, log.clone())
        });
        bound(streams, version, &self.tables, fuse)
    }

    fn run(&self, version: Version, workers: usize) -> Result<Summary> {
        self.streams(version, &Fuse::sound()).run(self.log.world.config(workers))
    }

    fn adopting(&self, workers: usize) -> Config {
        let change = TopologyChange::Adopt;
        Config { topology_change: change, ..self.log.world.config(workers) }
    }

    fn adopt(&self, version: Version, workers: usize) -> Result<Summary> {
        self.streams(version, &Fuse::sound()).run(self.adopting(workers))
    }

    fn read_again(&self, version: Version) -> Vec<String> {
        let state = self.log.world.state();
        let adoption = self.streams(version, &Fuse::sound()).adoption(&state);
        adoption.unwrap().unwrap().read_again
    }

    fn shown(&self, version: Version) -> Rows {
        rows(version, &self.tables)
    }

    /// Compares the tables with those of a run from nothing over the whole logs.
    #[track_caller]
    fn assert_right(&self, version: Version) {
        let fresh = World { logs: self.log.world.logs.clone(), ..World::new() };
        let logs = fresh.logs.iter();
        let logs = logs.filter(|(topic, _)| **topic == "rows" || !version.without_events);
        let streams = logs.fold(Streams::new(version.topology()), |streams, (topic, log)| {
            streams.source(topic, log.clone())
        });
        let tables = Self::tables();
        bound(streams, version, &tables, &Fuse::sound()).run(fresh.config(1)).unwrap();
        assert_eq!(self.shown(version), rows(version, &tables));
    }

    /// Later runs continue an adopted state from its snapshots.
    fn assert_continues(&self, version: Version) {
        for workers in [1, 3] {
            self.log.world.more();
            let summary = self.run(version, workers).unwrap();
            assert!(summary.topics.values().all(|topic| topic.balances()));
            self.assert_right(version);
        }
        let report = inspect(&self.log.world.state(), Depth::Checksums).unwrap();
        assert_eq!(report.consequence(), Consequence::Nothing);
    }
}

fn bound(
    streams: Streams,
    version: Version,
    tables: &BTreeMap<&'static str, MemoryTable>,
    fuse: &Fuse,
) -> Streams {
    version.sinks().into_iter().fold(streams, |streams, topic| {
        let (table, fuse) = (tables[topic].clone(), fuse.clone());
        streams.sink(topic, Table { name: format!("table {topic}"), table, fuse })
    })
}

fn rows(version: Version, tables: &BTreeMap<&'static str, MemoryTable>) -> Rows {
    let rows = |topic| tables[topic].rows().iter().map(|row| shown(row)).collect();
    version.sinks().into_iter().map(|topic| (topic, rows(topic))).collect()
}

#[test]
fn a_new_cut_of_one_topic_leaves_the_other_topic_alone() {
    let small = Version { small: true, ..Version::default() };
    let counted = Version { counted: Some("events"), ..Version::default() };
    for (version, topic, number) in [(small, "rows", ROWS), (counted, "events", EVENTS)] {
        for workers in [1, 2] {
            let versions = Versions::with_state(Version::default());
            versions.log.world.more();
            assert_eq!(versions.read_again(version), [topic]);
            // The other log has lost its first records.
            versions.log.restore_log(number);
            let before = versions.log.world.config(1).state.unwrap().list("manifest").unwrap();
            versions.adopt(version, workers).unwrap();
            versions.assert_right(version);
            assert!(versions.log.world.state().list("manifest").unwrap().len() > before.len());
            versions.assert_continues(version);
        }
    }
}

#[test]
fn a_topic_without_its_first_records_refuses_an_adoption() {
    let versions = Versions::with_state(Version::default());
    versions.log.restore_log(ROWS);
    let version = Version { counted: Some("events"), ..Version::default() };
    let before = (versions.shown(Version::default()), versions.log.world.recorded());
    let error = versions.adopt(version, 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    let text = error.to_string();
    let named = "can't read topic events again from its beginning: offset 0 is deleted";
    assert!(text.contains(named), "{text}");
    assert_eq!((versions.shown(Version::default()), versions.log.world.recorded()), before);
    versions.run(Version::default(), 1).unwrap();
    versions.assert_right(Version::default());
}

#[test]
fn a_topic_may_go_and_come_back_with_other_records_since() {
    let first = Version { counted: Some("events"), without_letters: true, ..Version::default() };
    let versions = Versions::with_state(first);
    let without = Version { without_events: true, counted: None, ..first };
    versions.adopt(without, 2).unwrap();
    versions.assert_right(without);
    versions.log.world.more();
    versions.run(without, 1).unwrap();
    // The layers still have the counted events of before, which are new records now.
    versions.log.restore_log(EVENTS);
    let again = Version { counted: Some("again"), without_join: true, ..first };
    assert_eq!(versions.read_again(again), [""; 0]);
    versions.adopt(again, 2).unwrap();
    versions.assert_right(again);
    versions.assert_continues(again);
}

#[test]
fn an_adoption_by_topic_that_dies_is_made_by_a_later_run() {
    let version = Version { counted: Some("events"), small: false, ..Version::default() };
    for late in [false, true] {
        let mut deaths = 0;
        for call in 1.. {
            let versions = Versions::with_state(Version::default());
            versions.log.world.more();
            versions.log.restore_log(EVENTS);
            let fuse = Fuse::at(1 + call / 2 * 3, late);
            // Either a sink or the state fails.
            let state = match call % 2 {
                0 => shaky(&versions.log.world.objects, fuse.clone()),
                _ => versions.log.world.state(),
            };
            let config = Config { state: Some(state), ..versions.adopting(2) };
            let sinks = if call % 2 == 0 { Fuse::sound() } else { fuse.clone() };
            let died = versions.streams(version, &sinks).run(config).is_err();
            versions.log.restore_log(EVENTS);
            versions.adopt(version, 1).unwrap();
            versions.assert_right(version);
            versions.assert_continues(version);
            deaths += u32::from(died);
            if !fuse.broken() && call % 2 == 0 {
                break;
            }
        }
        assert!(deaths > 8, "{deaths}");
    }
}
