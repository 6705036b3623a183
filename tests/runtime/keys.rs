//! Keys that come and go: their state goes too, where nothing needs it; and each has one owner.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{self, AtomicU64};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use watershed::connect::Source;
use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::options::{Consumed, Materialized};
use watershed::runtime::{Config, Milestone, Stop, Streams};
use watershed::serdes::Json;
use watershed::store::Store;
use watershed::testing::TopologyTestDriver;
use watershed::{ErrorKind, StreamsBuilder, Topology};

use super::{Following, row};
use crate::support::{pair, table};

/// Follows `source`, of which the rows of even value are kept, joined with themselves.
fn follow(source: impl Source + 'static, out: &MemoryTable, state: Option<Store>) -> Following {
    let (tell, milestones) = channel();
    let stop = Stop::default();
    let config = Config {
        workers: 2,
        follow: true,
        state,
        commit_every: Duration::ZERO,
        stop: stop.clone(),
        // A test that waits no longer needs no message.
        milestone: Some(Box::new(move |milestone| {
            let _ = tell.send(milestone);
        })),
        ..Config::default()
    };
    let topology = |builder: &StreamsBuilder<'_>| {
        let rows = table(builder, "rows");
        let even = rows.filter(|_, n| n % 2 == 0);
        even.join(&rows.map_values(|n| n * 10), |n, tens| n + tens).to("kept", pair());
    };
    let streams = Streams::new(Topology::new("keys", topology))
        .source("rows", source)
        .sink("kept", out.clone());
    Following { stop, milestones, thread: std::thread::spawn(move || streams.run(config)) }
}

/// Writes rows of ever new keys into a log and deletes those of before; returns of how many keys a
/// run keeps anything in the end.
fn come_and_go<S: Source + 'static>(bind: impl FnOnce(MemoryLog) -> S) -> u64 {
    let (log, out) = (MemoryLog::default(), MemoryTable::default());
    let mut records = 0;
    let mut append = |partition: u32, key: usize, value: Option<&[u8]>| {
        log.append(partition, Some(format!("key {key:03}").as_bytes()), value);
        records += 1;
        records
    };
    append(0, 0, Some(b"0"));
    append(1, 0, Some(b"0"));
    let run = follow(bind(log.clone()), &out, None);
    run.until(2);
    for key in 1..=100 {
        append(0, key, Some(key.to_string().as_bytes()));
        let records = append(1, key - 1, None);
        run.wait(|milestone| milestone == Milestone::Committed(records));
        let value = key as i64 * 11;
        let rows = if key % 2 == 0 { vec![row(&format!("key {key:03}"), value)] } else { vec![] };
        assert_eq!(out.rows(), rows);
    }
    run.stop.stop();
    let summary = run.end().unwrap().topics["rows"].clone();
    assert_eq!((summary.rows, summary.read), (1, 202));
    assert!(summary.balances());
    summary.keys
}

#[test]
fn deleted_keys_are_forgotten_where_partitions_are_fixed() {
    assert!(come_and_go(Source::with_fixed_partitions) < 10);
    assert_eq!(come_and_go(|log| log), 101, "a new partition could have earlier records");
}

#[test]
fn a_new_partition_breaks_the_promise_of_fixed_ones() {
    let (log, out) = (MemoryLog::default(), MemoryTable::default());
    log.append(0, Some(b"a"), Some(b"2"));
    let folder = tempfile::tempdir().unwrap();
    let state = || Some(Store::open(folder.path().to_str().unwrap()).unwrap());
    let run = follow(log.clone().with_fixed_partitions(), &out, state());
    run.until(1);
    log.append(0, Some(b"a"), None);
    log.append(0, Some(b"b"), Some(b"4"));
    run.until(3);
    // An earlier record of the deleted key, and a later one of another key.
    log.append(7, Some(b"a"), Some(b"6"));
    log.append(7, Some(b"c"), Some(b"8"));
    let error = run.end().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("memory has a new partition, 7"), "{error}");
    assert_eq!(out.rows(), [row("b", 44)]);
    let run = follow(log.with_fixed_partitions(), &out, state());
    run.until(5);
    run.stop.stop();
    run.end().unwrap();
    assert_eq!(out.rows(), [row("b", 44), row("c", 88)], "the earlier record changes nothing");
}

/// A key whose hash is another one at each call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Fickle(i64);

impl Hash for Fickle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        CALLS.fetch_add(1, atomic::Ordering::Relaxed).hash(state);
    }
}

#[test]
fn a_key_without_one_owner_ends_the_run() {
    type Verb = fn(&StreamsBuilder<'_>);
    let verbs: [(&str, Verb); 4] = [
        ("table rows", |builder| {
            let rows = builder.table::<Fickle, i64>("rows", Consumed::with(Json, Json));
            rows.gauge("rows", |_, _| true);
        }),
        ("count", |builder| {
            let rows = builder.stream::<i64, i64>("rows", Consumed::with(Json, Json));
            rows.group_by(|key, n| (Fickle(*key), *n)).count().gauge("groups", |_, _| true);
        }),
        ("join", |builder| {
            let rows = builder.stream::<Fickle, i64>("rows", Consumed::with(Json, Json));
            let users = builder.table::<Fickle, i64>("users", Consumed::with(Json, Json));
            rows.join(&users, |n, user| n + user).for_each(|_, _| ());
        }),
        ("left_join", |builder| {
            let rows = builder.stream::<Fickle, i64>("rows", Consumed::with(Json, Json));
            let users = builder.table::<Fickle, i64>("users", Consumed::with(Json, Json));
            rows.left_join(&users, |n, user| n + user.unwrap_or(&0)).for_each(|_, _| ());
        }),
    ];
    for (step, verb) in verbs {
        let mut driver =
            TopologyTestDriver::with_workers(Topology::new("fickle", verb), 2).unwrap();
        // Each batch is at the wrong worker once in two times.
        let batch = |key: i64| {
            let key = key.to_string();
            driver.pipe("rows", 0, Some(key.as_bytes()), Some(key.as_bytes()));
            driver.commit().err()
        };
        let error = (0..100).find_map(batch).unwrap();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(
            error.to_string().contains(&format!("rows of step {step} came to worker")),
            "{error}"
        );
    }
}

/// A key whose hash is another one once it has come from another process twice.
#[derive(Clone, Debug)]
struct Worn {
    number: i64,
    moves: u64,
}

impl Hash for Worn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.number, self.moves.max(1)).hash(state);
    }
}

impl PartialEq for Worn {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Worn {}

impl PartialOrd for Worn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Worn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number.cmp(&other.number)
    }
}

impl Serialize for Worn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.number, self.moves + 1).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Worn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (number, moves) = Deserialize::deserialize(deserializer)?;
        Ok(Worn { number, moves })
    }
}

/// A row moves to the process that owns its key, and from there to the store in process 0.
#[test]
fn a_key_without_one_owner_is_in_no_store() {
    let topology = Topology::new("worn", |builder: &StreamsBuilder<'_>| {
        let rows = builder.table::<Worn, i64>("rows", Consumed::with(Json, Json));
        rows.materialize(Materialized::named("rows"));
    });
    let mut driver = TopologyTestDriver::with_processes(topology, 2, 2).unwrap();
    let batch = |number: i64| {
        let key = format!("[{number},0]");
        driver.pipe("rows", 0, Some(key.as_bytes()), Some(b"1"));
        driver.commit().err()
    };
    let error = (0..100).find_map(batch).unwrap();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("rows of step store rows came to worker"), "{error}");
}
