//! A run of another topology adopts the unchanged part of a state.

use std::collections::BTreeMap;

use watershed::connect::memory::MemoryTable;
use watershed::connectors::delta::{Delta, Table as DeltaTable};
use watershed::runtime::{Config, Streams, Summary, TopologyChange};
use watershed::{Error, ErrorKind, Result, StreamsBuilder, Topology};

use super::snapshots::Retaining;
use super::{SOURCES, World, program};
use crate::support::broken::{Fuse, Table};
use crate::support::{pair, shown, stream, table};

/// The topology of [`program`] with changes.
#[derive(Clone, Copy, Default)]
pub(super) struct Version {
    /// One more question, in front of the others.
    pub(super) parity: bool,
    /// The table as it is, once more.
    pub(super) copy: bool,
    /// One more aggregate of the events, which needs a cut of its own.
    pub(super) events: bool,
    /// An amount that is added below the cuts.
    pub(super) added: i64,
    pub(super) without_sums: bool,
    pub(super) setting: bool,
    /// Another aggregate of the same groups.
    pub(super) greatest: bool,
    /// Only some rows of the appended topic.
    pub(super) positive: bool,
}

impl Version {
    fn topology(self) -> Topology {
        Topology::new("program", move |builder: &StreamsBuilder<'_>| {
            let (rows, events) = (table(builder, "rows"), stream(builder, "events"));
            if self.setting {
                builder.setting("size", 1);
            }
            if self.parity {
                let parity = rows.group_by(|_, v| ((v % 2).to_string(), *v));
                parity.count().to("parity", pair());
            }
            rows.to("kept", pair());
            if self.copy {
                rows.to("copy", pair());
            }
            let added = self.added;
            let counts = rows.group_by(move |_, v| (((v + added) % 3).to_string(), *v));
            let counts = if self.greatest { counts.max() } else { counts.count() };
            counts.to("counts", pair());
            if self.events {
                events.group_by(|k, v| (k.clone(), *v)).count().to("events", pair());
            }
            let all = if self.positive { events.filter(|_, v| *v > 1) } else { events.clone() };
            all.to("all", pair());
            if !self.without_sums {
                let joined = events.join(&rows, |e, r| e * 100 + r);
                joined.group_by_key().sum(|v| *v).to("sums", pair());
            }
        })
    }

    fn sinks(self) -> Vec<&'static str> {
        let all = [
            (true, "kept"),
            (true, "counts"),
            (true, "all"),
            (!self.without_sums, "sums"),
            (self.parity, "parity"),
            (self.copy, "copy"),
            (self.events, "events"),
        ];
        all.into_iter().filter_map(|(is_there, topic)| is_there.then_some(topic)).collect()
    }
}

/// The tables of all versions.
pub(super) struct Tables(pub(super) BTreeMap<&'static str, MemoryTable>);

impl Tables {
    fn of(world: &World) -> Self {
        let mut tables = world.tables.clone();
        let new = ["parity", "copy", "events"].map(|topic| (topic, MemoryTable::default()));
        tables.extend(new);
        Tables(tables)
    }

    fn bound(&self, version: Version, streams: Streams, fuse: &Fuse) -> Streams {
        version.sinks().into_iter().fold(streams, |streams, topic| {
            let (table, fuse) = (self.0[topic].clone(), fuse.clone());
            streams.sink(topic, Table { name: format!("table {topic}"), table, fuse })
        })
    }

    fn shown(&self, version: Version) -> BTreeMap<&'static str, Vec<String>> {
        let rows = |topic| self.0[topic].rows().iter().map(|row| shown(row)).collect();
        version.sinks().into_iter().map(|topic| (topic, rows(topic))).collect()
    }
}

/// The world's logs with all versions of the program.
pub(super) struct Versions {
    pub(super) log: Retaining,
    pub(super) tables: Tables,
}

impl Versions {
    fn new() -> Self {
        let log = Retaining::busy();
        Versions { tables: Tables::of(&log.world), log }
    }

    /// Versions with a state whose logs have deleted their first records.
    pub(super) fn with_state() -> Self {
        let versions = Versions::new();
        // The end of a run may come before the release of records.
        for step in 0..20 {
            versions.run(Version::default(), 1 + step % 2, TopologyChange::Refuse).unwrap();
            if versions.log.first()[0] > 0 {
                return versions;
            }
            versions.log.world.more();
        }
        panic!("no record is released")
    }

    pub(super) fn streams(&self, version: Version, fuse: &Fuse) -> Streams {
        let streams = SOURCES.iter().zip(&self.log.logs);
        let streams = streams.fold(Streams::new(version.topology()), |streams, (topic, log)| {
            streams.source(topic, log.clone())
        });
        self.tables.bound(version, streams, fuse)
    }

    pub(super) fn run(
        &self,
        version: Version,
        workers: usize,
        change: TopologyChange,
    ) -> Result<Summary> {
        let config = Config { topology_change: change, ..self.log.world.config(workers) };
        self.streams(version, &Fuse::sound()).run(config)
    }

    pub(super) fn adopt(&self, version: Version, workers: usize) -> Result<Summary> {
        self.run(version, workers, TopologyChange::Adopt)
    }

    /// The rows of a new run over the whole logs.
    fn fresh_run(&self, version: Version) -> BTreeMap<&'static str, Vec<String>> {
        let fresh = World { logs: self.log.world.logs.clone(), ..World::new() };
        let tables = Tables::of(&fresh);
        let streams = SOURCES.iter().fold(Streams::new(version.topology()), |streams, topic| {
            streams.source(topic, fresh.logs[topic].clone())
        });
        tables.bound(version, streams, &Fuse::sound()).run(fresh.config(1)).unwrap();
        tables.shown(version)
    }

    pub(super) fn assert_right(&self, version: Version) {
        assert_eq!(self.tables.shown(version), self.fresh_run(version));
    }
}

pub(super) fn refused(result: Result<Summary>, part: &str) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains(part), "{part:?} is not in {error}");
    error
}

#[test]
fn another_topology_is_refused_by_its_new_and_missing_steps() {
    let versions = Versions::with_state();
    let version = Version { parity: true, without_sums: true, ..Version::default() };
    let error = refused(versions.run(version, 1, TopologyChange::Refuse), "is not the one that");
    let text = error.to_string();
    for part in [
        "it has \"count <- group_by\"",
        "\"to parity <- count\"",
        "it lacks \"",
        "\"sums (snapshot)",
        "adopt",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert!(!text.contains("kept"), "{text}");
}

#[test]
fn a_new_question_behind_the_same_cuts_reads_nothing_again() {
    for version in [
        Version { parity: true, ..Version::default() },
        Version { copy: true, ..Version::default() },
        Version { parity: true, without_sums: true, ..Version::default() },
        Version { parity: true, copy: true, setting: true, ..Version::default() },
    ] {
        let versions = Versions::with_state();
        let state = versions.log.world.state();
        let before = versions.tables.0["kept"].commits();
        let adoption = versions.streams(version, &Fuse::sound()).adoption(&state);
        let adoption = adoption.unwrap().unwrap();
        assert!(adoption.read_again.is_empty() && adoption.lacking.is_empty(), "{adoption:?}");
        assert_eq!(adoption.gone.is_empty(), !version.without_sums);
        // The logs have deleted their first records, so they can't be read again.
        let summary = versions.adopt(version, 3).unwrap();
        assert!(summary.topics.values().all(|topic| topic.balances()), "{summary:?}");
        versions.assert_right(version);
        assert_eq!(versions.tables.0["kept"].commits(), before);
        // From now on it is an ordinary state.
        assert_eq!(versions.streams(version, &Fuse::sound()).adoption(&state).unwrap(), None);
        for workers in [1, 2] {
            versions.log.world.more();
            versions.run(version, workers, TopologyChange::Refuse).unwrap();
            versions.assert_right(version);
        }
    }
}

#[test]
fn a_question_with_a_cut_of_its_own_reads_its_topic_again() {
    let version = Version { events: true, ..Version::default() };
    let versions = Versions::with_state();
    let adoption = versions.streams(version, &Fuse::sound());
    let adoption = adoption.adoption(&versions.log.world.state()).unwrap().unwrap();
    assert_eq!(adoption.read_again, ["events"]);
    refused(versions.adopt(version, 2), "is deleted");
    versions.run(Version::default(), 2, TopologyChange::Refuse).unwrap();
    // With their first records back, the logs are read again.
    versions.log.restore();
    versions.adopt(version, 2).unwrap();
    versions.assert_right(version);
    versions.log.world.more();
    versions.run(version, 1, TopologyChange::Refuse).unwrap();
    versions.assert_right(version);
}

#[test]
fn a_closure_below_a_cut_may_not_change_with_an_adoption() {
    let versions = Versions::with_state();
    let version = Version { parity: true, added: 1, ..Version::default() };
    // The table lacks a row of the changed program, or has it with another number.
    refused(versions.adopt(version, 2), "row");
    assert_eq!(versions.tables.0["parity"].rows().len(), 0);
    // The refused run has changed nothing.
    versions.run(Version::default(), 1, TopologyChange::Refuse).unwrap();
    let version = Version { parity: true, ..Version::default() };
    versions.adopt(version, 1).unwrap();
    versions.assert_right(version);
}

#[test]
fn changed_steps_and_settings_are_not_adopted() {
    let versions = Versions::with_state();
    let set = Version { setting: true, ..Version::default() };
    versions.adopt(set, 1).unwrap();
    refused(versions.adopt(Version::default(), 1), "its setting size = 1 has changed");
}

#[test]
fn an_adoption_that_dies_at_any_call_is_made_by_a_later_run() {
    let version = Version { parity: true, copy: true, greatest: true, ..Version::default() };
    let (mut deaths, mut before) = (0, 0);
    for call in 1.. {
        let versions = Versions::new();
        versions.run(Version::default(), 1, TopologyChange::Refuse).unwrap();
        versions.log.world.more();
        let fuse = Fuse::at(call, call % 3 == 0);
        let config =
            Config { topology_change: TopologyChange::Adopt, ..versions.log.world.config(2) };
        let died = versions.streams(version, &fuse).run(config).is_err();
        let state = versions.log.world.state();
        let pending = versions.streams(version, &Fuse::sound()).adoption(&state).unwrap();
        if pending.is_some() && call % 2 == 0 {
            // Until the adoption is decided, the earlier topology continues too.
            versions.run(Version::default(), 1, TopologyChange::Refuse).unwrap();
            versions.assert_right(Version::default());
        }
        before += u32::from(pending.is_some());
        versions.adopt(version, 1).unwrap();
        versions.assert_right(version);
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 10 && before > 0 && before < deaths, "{before} of {deaths}");
}

#[test]
fn a_run_that_adopts_the_same_topology_is_an_ordinary_run() {
    let world = World::busy();
    let first = world.run(2).unwrap();
    let before = world.recorded().len();
    let config = Config { topology_change: TopologyChange::Adopt, ..world.config(1) };
    let summary = world.bound(program(), &Fuse::sound()).run(config).unwrap();
    assert_eq!((summary.committed, world.recorded().len()), (first.committed, before + 1));
}

#[test]
fn a_new_delta_table_gets_all_rows_and_is_found_by_keys() {
    let (log, folder) = (Retaining::busy(), tempfile::tempdir().unwrap());
    let url = |topic: &str| folder.path().join(topic).to_str().unwrap().to_string();
    let run = |topics: &'static [&'static str], workers, change| {
        let topology = Topology::new("copies", move |builder: &StreamsBuilder<'_>| {
            let rows = table(builder, "rows");
            rows.group_by(|_, v| ((v % 3).to_string(), *v)).count().to("counts", pair());
            topics.iter().for_each(|topic| rows.to(topic, pair()));
        });
        let streams = Streams::new(topology).source("rows", log.logs[0].clone());
        let streams = ["counts"].iter().chain(topics).fold(streams, |streams, topic| {
            streams.sink(topic, Delta::table(&url(topic)).unwrap())
        });
        streams.run(Config { topology_change: change, ..log.world.config(workers) })
    };
    let rows = |topic: &str| {
        let (mut rows, table) = (Vec::new(), DeltaTable::as_of(&url(topic), u64::MAX).unwrap());
        let mut each = |row: &[watershed::row::Value]| {
            rows.push(shown(row));
            Ok(())
        };
        table.unwrap().for_each(&mut each).unwrap();
        rows.sort();
        rows
    };
    for step in 0..20 {
        run(&["kept"], 1 + step % 2, TopologyChange::Refuse).unwrap();
        log.world.more();
        if log.first()[0] > 0 {
            break;
        }
    }
    assert!(log.first()[0] > 0, "no record is released");
    run(&["kept", "copy"], 2, TopologyChange::Adopt).unwrap();
    for workers in [1, 2, 3] {
        assert_eq!(rows("copy"), rows("kept"));
        log.world.append("rows", 0, &format!("new{workers}=1 c= b={workers}"));
        run(&["kept", "copy"], workers, TopologyChange::Refuse).unwrap();
    }
    assert!(rows("copy").len() > 5 && rows("copy") == rows("kept"));
    // A table that is left out and comes back holds rows of an earlier time.
    run(&["kept"], 1, TopologyChange::Adopt).unwrap();
    refused(run(&["kept", "copy"], 1, TopologyChange::Adopt), "copy");
}
