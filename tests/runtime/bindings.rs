//! The checks of a run before it starts.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{Partition, Source};
use watershed::options::{Materialized, Produced};
use watershed::runtime::{Config, Streams};
use watershed::store::Store;
use watershed::{Error, ErrorKind, Result, StreamsBuilder, Topology};

use super::{program, row};
use crate::support::broken::{Fuse, Log, Seen};
use crate::support::{pair, parsed, stream, table};

/// A log with its own name.
fn log(name: &str, records: &str) -> Log {
    let log = MemoryLog::default();
    parsed(records).for_each(|(key, value)| {
        log.append(0, key, value);
    });
    Log { name: name.into(), log, batch: 100, seen: Seen::default(), fuse: Fuse::sound() }
}

fn copy(builder: &StreamsBuilder<'_>) {
    table(builder, "rows").to("kept", pair());
}

fn on(workers: usize) -> Config {
    Config { workers, ..Config::default() }
}

#[test]
fn the_later_bound_of_300_sources_wins() {
    let records =
        |n: usize| format!("a={n} k{n}={n}{}", if n == 17 { " a=1700 a=1701" } else { "" });
    let (rows, kept) = (MemoryTable::default(), MemoryTable::default());
    let both = |builder: &StreamsBuilder<'_>| {
        table(builder, "rows").to("rows", pair());
        stream(builder, "events").to_table().to("kept", pair());
    };
    let mut streams = Streams::new(Topology::new("many", both))
        .sink("rows", rows.clone())
        .sink("kept", kept.clone());
    for n in 0..300 {
        let name = format!("log {n}");
        streams = streams
            .source("rows", log(&name, &records(n)))
            .source("events", log(&name, &records(n)));
    }
    let summary = streams.run(on(2)).unwrap();
    assert_eq!(summary.topics["rows"].read, 602);
    assert_eq!((rows.rows().len(), kept.rows().len()), (301, 301));
    assert_eq!((&rows.rows()[0], &kept.rows()[0]), (&row("a", 299), &row("a", 299)));
}

#[test]
fn more_sources_of_a_topic_than_have_ranks_are_refused() {
    let mut streams =
        Streams::new(Topology::new("many", copy)).sink("kept", MemoryTable::default());
    for n in 0..=u16::MAX {
        streams = streams.source("rows", log(&n.to_string(), "a=1"));
    }
    let error = streams.run(on(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.to_string(),
        "topology many can't run: topic rows is bound to 65536 sources, but may be bound to 65535"
    );
}

#[test]
fn all_that_is_wrong_is_one_error_before_anything_is_touched() {
    let wrong = |builder: &StreamsBuilder<'_>| {
        let rows = table(builder, "rows");
        table(builder, "rows").to("again", pair());
        rows.to("again", pair());
        rows.materialize(Materialized::named("kept")).materialize(Materialized::named("kept"));
        rows.to("narrow", Produced::columns(["key"]));
        rows.to("unbound", pair());
        stream(builder, "unread").join(&rows, |a, b| a + b).to("joined", pair());
    };
    let folder = tempfile::tempdir().unwrap();
    let state = Store::open(folder.path().join("state").to_str().unwrap()).unwrap();
    let tables: [MemoryTable; 5] = Default::default();
    let mut streams = Streams::new(Topology::new("wrong", wrong));
    for (topic, name) in [("rows", "one"), ("rows", "one"), ("mistyped", "two")] {
        streams = streams.source(topic, log(name, "a=1"));
    }
    for (topic, table) in
        ["again", "narrow", "joined", "joined", "unknown"].into_iter().zip(&tables)
    {
        streams = streams.sink(topic, table.clone());
    }
    let error = streams.run(Config { state: Some(state), ..Config::default() }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let message = error.to_string();
    for part in [
        "topology wrong can't run",
        "topic rows is read twice",
        "topic again is written twice",
        "store kept is materialized twice",
        "topic narrow is of another type: 1 columns are named, a row has 2",
        "topic joined can't take back records",
        "topic mistyped is bound to a source but never read",
        "topic rows is bound twice to one",
        "topic unknown is bound to a sink but never written",
        "topic joined is bound to two sinks",
        "topic unread is read but bound to no source",
        "topic unbound is written but bound to no sink",
    ] {
        assert_eq!(message.matches(part).count(), 1, "{part} in: {message}");
    }
    assert!(tables.iter().all(|table| table.commits().is_empty()));
    assert!(!folder.path().join("state").exists());
}

#[test]
fn dead_letters_need_no_sink() {
    let out = MemoryTable::default();
    let streams = Streams::new(Topology::new("copy", copy))
        .source("rows", log("one", "a=1 b=none"))
        .sink("kept", out.clone());
    let summary = streams.run(on(1)).unwrap();
    assert_eq!(out.rows(), [row("a", 1)]);
    assert_eq!(summary.topics["rows"].dead, 1);
}

#[test]
fn records_of_a_source_that_is_bound_later_are_later() {
    let out = MemoryTable::default();
    let (one, two) = (log("one", "a=1 b=1 a=2 c=1 d=1"), log("two", "a=7 c=9 d="));
    let streams = Streams::new(Topology::new("copy", copy))
        .source("rows", one)
        .source("rows", two)
        .sink("kept", out.clone());
    let summary = streams.run(on(2)).unwrap();
    assert_eq!(out.rows(), [row("a", 7), row("b", 1), row("c", 9)]);
    assert_eq!((summary.topics["rows"].read, summary.topics["rows"].rows), (8, 3));
    assert!(summary.topics["rows"].balances());
}

#[test]
fn a_topic_without_records_is_no_error_and_no_commit() {
    let out = MemoryTable::default();
    let streams = Streams::new(Topology::new("copy", copy))
        .source("rows", MemoryLog::default())
        .sink("kept", out.clone());
    let summary = streams.run(on(2)).unwrap();
    assert_eq!((summary.committed, out.commits().len()), (0, 0));
}

#[test]
fn describe_lists_the_steps_and_the_rows_of_the_sinks() {
    let described = program().describe();
    let steps = ["topology program", "table rows", "stream events", "group_by  <- ", "join  <- "];
    for part in
        steps.into_iter().chain(["sums (snapshot): key Text, value Long", "all (append): key Text"])
    {
        assert!(described.contains(part), "{part} in:\n{described}");
    }
    let named = Topology::new("named", |b: &StreamsBuilder<'_>| {
        table(b, "rows").named("the rows").to("kept", pair())
    })
    .describe();
    assert!(
        named.contains("table rows \"the rows\"") && named.contains("dead_letters (append)"),
        "{named}"
    );
}

/// A log whose partitions open only after `all` opens have begun. Those in `broken` then fail.
struct Together {
    log: MemoryLog,
    opening: Arc<(Mutex<usize>, Condvar)>,
    all: usize,
    broken: &'static [u32],
}

impl Together {
    fn new(all: u32, broken: &'static [u32]) -> Self {
        let log = MemoryLog::default();
        (0..all).for_each(|partition| {
            assert_eq!(
                log.append(partition, Some(format!("p{partition}").as_bytes()), Some(b"1")),
                0
            )
        });
        Together { log, opening: Arc::default(), all: all as usize, broken }
    }
}

impl Source for Together {
    fn describe(&self) -> String {
        "together".into()
    }

    fn partitions(&self) -> Result<Vec<u32>> {
        self.log.partitions()
    }

    fn open(&self, partition: u32, from: Option<u64>, follow: bool) -> Result<Box<dyn Partition>> {
        let (opening, changed) = &*self.opening;
        let mut begun = opening.lock().unwrap();
        *begun += 1;
        changed.notify_all();
        let alone = changed
            .wait_timeout_while(begun, Duration::from_secs(60), |begun| *begun < self.all)
            .unwrap()
            .1
            .timed_out();
        match alone || self.broken.contains(&partition) {
            true => Err(Error::connect(format!(
                "can't open partition {partition}{}",
                if alone { " alone" } else { "" }
            ))),
            false => self.log.open(partition, from, follow),
        }
    }
}

#[test]
fn partitions_open_in_parallel_and_the_first_error_is_reported() {
    let run = |source: Together| {
        let out = MemoryTable::default();
        let streams = Streams::new(Topology::new("copy", copy))
            .source("rows", source)
            .sink("kept", out.clone());
        streams.run(on(1)).map(|_| out.rows().len())
    };
    assert_eq!(run(Together::new(8, &[])).unwrap(), 8);
    for _ in 0..20 {
        let error = run(Together::new(5, &[2, 3, 4])).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().contains("can't open partition 2")),
            (ErrorKind::Connect, true),
            "{error}"
        );
    }
}
