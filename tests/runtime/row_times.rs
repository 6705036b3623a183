//! The times of rows, and the stream time of each step in `per_record`, continue after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::prelude::*;
use watershed::store::Store;

/// Everything that outlives a run.
struct World {
    topology: Topology,
    mode: ProcessingMode,
    logs: BTreeMap<&'static str, MemoryLog>,
    tables: BTreeMap<&'static str, (MemoryTable, usize)>,
    objects: Arc<InMemory>,
}

impl World {
    fn new(
        mode: ProcessingMode,
        topics: &[&'static str],
        sinks: &[&'static str],
        build: impl for<'a, 's> Fn(&'a StreamsBuilder<'s>) + Send + Sync + 'static,
    ) -> Self {
        World {
            topology: Topology::new("times", build),
            mode,
            logs: topics.iter().map(|topic| (*topic, MemoryLog::default())).collect(),
            tables: sinks.iter().map(|topic| (*topic, <_>::default())).collect(),
            objects: Arc::default(),
        }
    }

    /// Appends records such as `l a=1@20`, whose timestamps are microseconds, and runs to their end
    /// in one commit. Returns the new rows by topic.
    fn run(&mut self, workers: usize, records: &str) -> String {
        for record in records.split(", ") {
            let (topic, record) = record.split_once(' ').unwrap();
            let (key, rest) = record.split_once('=').unwrap();
            let (value, at) = rest.split_once('@').unwrap();
            let value = (!value.is_empty()).then_some(value.as_bytes());
            let at = Timestamp(at.parse().unwrap());
            self.logs[topic].append_at(0, at, Some(key.as_bytes()), value);
        }
        let mut streams = Streams::new(self.topology.clone());
        for (topic, log) in &self.logs {
            streams = streams.source(topic, log.clone());
        }
        for (topic, (table, _)) in &self.tables {
            streams = streams.sink(topic, table.clone());
        }
        let state = Some(Store::objects(self.objects.clone(), "state").unwrap());
        let commit_every = Duration::from_secs(3_600);
        let mode = self.mode;
        streams.run(Config { workers, mode, state, commit_every, ..Config::default() }).unwrap();
        let mut shown = Vec::new();
        for (topic, (table, seen)) in &mut self.tables {
            let commits = table.commits();
            let new = commits.iter().skip(std::mem::replace(seen, commits.len()));
            let rows = new.flat_map(|(_, changes)| changes).filter_map(|(_, row)| row.as_ref());
            shown.extend(rows.map(|row| format!("{topic} {}", crate::support::shown(row))));
        }
        for row in &mut shown {
            *row = row.replace("Timestamp(", "").replace(')', "");
        }
        shown.sort();
        shown.join(", ")
    }
}

#[test]
fn the_times_of_rows_continue_after_a_restart() {
    let consistent = ProcessingMode::Consistent;
    let mut world =
        World::new(consistent, &["l", "r"], &["counts", "joined", "newest"], |builder| {
            let table = |topic| builder.table::<String, i64>(topic, Consumed::with(Utf8, Json));
            let (l, r) = (table("l"), table("r"));
            let newest = r.versioned(Duration::from_micros(100)).to_table();
            let joined = l.left_join(&newest, |l, r| l * 100 + r.unwrap_or(&0));
            let counts = joined.group_by(|_, n| (n / 1_000, ())).count();
            let columns = || Produced::columns(["key", "n", "at"]);
            newest.to("newest", Produced::columns(["key", "n"]));
            joined.to_stream().with_timestamps().to("joined", columns());
            counts.to_stream().with_timestamps().to("counts", columns());
        });
    assert_eq!(world.run(1, "l a=7@20, l b=8@5"), "counts 0=2=20, joined a=700=20, joined b=800=5");
    assert_eq!(world.run(2, "r a=3@10"), "joined a=703=20, newest a=3");
    assert_eq!(world.run(1, "r a=4@9, r b=1@15"), "joined b=801=15, newest b=1");
    assert_eq!(world.run(3, "l c=1@1"), "counts 0=3=20, joined c=100=1");
    assert_eq!(world.run(1, "r a=@30"), "joined a=700=30");
    assert_eq!(world.run(2, "r a=5@29, l a=@2"), "counts 0=2=30, joined a==2");
}

#[test]
fn a_late_record_is_late_after_a_restart_per_record() {
    let per_record = ProcessingMode::PerRecord;
    let mut world = World::new(per_record, &["in"], &["counts", "late"], |builder| {
        let events = builder.stream::<String, i64>("in", Consumed::with(Utf8, Json));
        let windows = TimeWindows::of_size(Duration::from_micros(10)).grace(Duration::ZERO);
        let windowed = events.group_by_key().windowed_by(windows);
        let columns = || Produced::columns(["key", "from", "to", "n"]);
        windowed.late().to("late", columns());
        windowed.count().to_stream().to("counts", columns());
    });
    assert_eq!(world.run(1, "in a=1@25"), "counts a=20=30=1");
    for workers in [1, 2, 3, 1] {
        assert_eq!(world.run(workers, "in a=2@3"), "late a=0=10=2", "{workers} workers");
    }
    assert_eq!(world.run(2, "in a=3@21"), "counts a=20=30=2");
}
