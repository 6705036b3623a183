//! The topology and the naive program have the same answers to generated events.

use std::collections::BTreeMap;

use watershed::connect::memory::{MemoryLog, MemoryTable};
use watershed::connect::{Poll, Source};
use watershed::connectors::archive::Archive;
use watershed::program::{Expected, Inputs};
use watershed::record::Batch;
use watershed::row::Value;
use watershed::runtime::{Config, Streams};
use watershed::testing::TopologyTestDriver;
use watershed::{DEAD_LETTERS, Topology};

use crate::generator::{self, Kind};
use crate::model::{Auction, Identified};
use crate::topology::topology;
use crate::{naive, program};

type Rows = Vec<Vec<Value>>;
type Sources = Vec<(&'static str, Vec<Box<dyn Source>>)>;

/// The answers.
const WRITTEN: [&str; 15] = [
    "q0", "q1", "q2", "q3", "q4", "q6", "q9", "q10", "q14", "q17", "q18", "q19", "q20", "q21",
    "q22",
];

fn sources(url: &str) -> Sources {
    let open = |kind: Kind| (kind.topic(), vec![generator::open(url, kind.topic()).unwrap()]);
    Kind::ALL.map(open).into()
}

/// Returns the answers of the naive program, sorted.
fn expected(sources: &Sources) -> BTreeMap<&'static str, Rows> {
    let mut expected = Expected::new(watershed::runtime::secret().unwrap());
    naive::rows(&Inputs::new(sources, &()), &mut expected).unwrap();
    let answer = |topic| {
        let mut rows: Rows = expected.held(topic).into_iter().map(<[Value]>::to_vec).collect();
        rows.sort();
        (topic, rows)
    };
    WRITTEN.map(answer).into()
}

/// Compares the rows of each topic, and shows the first that differ.
fn assert_same(expected: &BTreeMap<&'static str, Rows>, found: impl Fn(&str) -> Rows, what: &str) {
    for (topic, rows) in expected {
        let found = found(topic);
        let missing = rows.iter().filter(|row| found.binary_search(row).is_err()).take(2);
        let surplus = found.iter().filter(|row| rows.binary_search(row).is_err()).take(2);
        let (missing, surplus): (Vec<_>, Vec<_>) = (missing.collect(), surplus.collect());
        let counts = (rows.len(), found.len());
        assert!(
            *rows == found,
            "{topic} of {what} has {counts:?} rows: missing {missing:?}, surplus {surplus:?}"
        );
    }
}

/// The topology with its topics bound to sources, and to a table in memory each.
fn bound(sources: Sources) -> (Streams, BTreeMap<&'static str, MemoryTable>) {
    let mut streams = Streams::new(Topology::new("nexmark", topology));
    for (topic, sources) in sources {
        streams = sources.into_iter().fold(streams, |streams, log| streams.source(topic, log));
    }
    let mut tables = BTreeMap::new();
    for topic in WRITTEN.into_iter().chain([DEAD_LETTERS]) {
        let table = MemoryTable::default();
        streams = streams.sink(topic, table.clone());
        tables.insert(topic, table);
    }
    (streams, tables)
}

#[test]
fn every_answer_equals_that_of_the_naive_program() {
    for (seed, workers) in [(1, 1), (1, 2), (7, 2), (42, 1), (43, 2)] {
        // Twenty seconds between two events: all hours of a day, and several days.
        let url = format!("generated://?events=6000&seed={seed}&spacing_us=20000000");
        let expected = expected(&sources(&url));
        let empty: Vec<_> = expected.iter().filter(|(_, rows)| rows.is_empty()).collect();
        assert!(empty.is_empty(), "no rows to compare in {empty:?} with seed {seed}");
        let (streams, tables) = bound(sources(&url));
        streams.run(Config { workers, ..Config::default() }).unwrap();
        let what = format!("seed {seed}, {workers} workers");
        assert_same(&expected, |topic| tables[topic].rows(), &what);
        assert!(tables[DEAD_LETTERS].rows().is_empty());
    }
}

/// All records of a URL, batch by batch.
fn records(url: &str) -> Vec<(Kind, Batch)> {
    let mut records = Vec::new();
    for (kind, (_, sources)) in Kind::ALL.into_iter().zip(sources(url)) {
        for partition in sources[0].partitions().unwrap() {
            let mut reader = sources[0].open(partition, None, false).unwrap();
            while let Poll::Batch(batch) = reader.poll().unwrap() {
                records.push((kind, batch));
            }
        }
    }
    records
}

#[test]
fn answers_are_right_after_every_commit_and_correction() {
    let url = "generated://?events=1500&seed=3&partitions=1&spacing_us=60000000";
    let topology = Topology::new("nexmark", topology);
    let mut driver = TopologyTestDriver::with_workers(topology, 2).unwrap();
    let logs = Kind::ALL.map(|_| MemoryLog::default());
    let pipe = |driver: &mut TopologyTestDriver, kind: Kind, key: &[u8], value: &[u8]| {
        logs[kind as usize].append(0, Some(key), Some(value));
        driver.pipe(kind.topic(), 0, Some(key), Some(value));
    };
    let all = || -> Sources {
        let log = |kind: Kind| Box::new(logs[kind as usize].clone()) as Box<dyn Source>;
        Kind::ALL.map(|kind| (kind.topic(), vec![log(kind)])).into()
    };
    // Bids first: so each bid waits for its auction, and each auction for its seller.
    for (kind, batch) in records(url).iter().rev() {
        for (n, record) in batch.iter(0).enumerate() {
            pipe(&mut driver, *kind, record.key.unwrap(), record.value.unwrap());
            if n % 250 == 249 {
                driver.commit().unwrap();
                let what = format!("{n} records of {kind:?}");
                assert_same(&expected(&all()), |topic| driver.rows(topic), &what);
            }
        }
    }
    driver.commit().unwrap();
    assert_same(&expected(&all()), |topic| driver.rows(topic), "all records");

    // Every auction is announced again by another seller, in another category, and closes early.
    let before = driver.rows("q4");
    for (_, batch) in records(url).iter().filter(|(kind, _)| *kind == Kind::Auction) {
        for record in batch.iter(0) {
            let mut auction: Identified<Auction> =
                serde_json::from_slice(record.value.unwrap()).unwrap();
            auction.event.category = 10 + (auction.event.category - 9) % 5;
            auction.event.seller += 1;
            auction.event.expires.0 -= 3_600_000_000;
            let value = serde_json::to_vec(&auction).unwrap();
            pipe(&mut driver, Kind::Auction, record.key.unwrap(), &value);
        }
    }
    driver.commit().unwrap();
    assert_ne!(driver.rows("q4"), before);
    assert_same(&expected(&all()), |topic| driver.rows(topic), "corrected auctions");
}

#[test]
fn records_without_keys_are_keyed_by_the_id_in_them() {
    let url = "generated://?events=500&seed=9&partitions=1";
    let mut driver = TopologyTestDriver::new(Topology::new("nexmark", topology)).unwrap();
    for (kind, batch) in records(url) {
        batch.iter(0).for_each(|record| driver.pipe(kind.topic(), 0, None, record.value));
    }
    driver.pipe("bid", 0, None, Some(b"{\"auction\":1000}"));
    driver.commit().unwrap();
    assert_same(&expected(&sources(url)), |topic| driver.rows(topic), "no keys");
    assert_eq!(driver.dead_letters().len(), 1);
}

#[test]
fn bids_are_logged_to_an_archive_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().display().to_string();
    let url = "generated://?events=1000&seed=5";
    let run = ["nexmark", "run", "--from", url, "--lake", &lake, "--workers", "2"];
    program().perform(run, &mut Vec::new()).unwrap();
    let log = Archive::open(&format!("{lake}/archive")).unwrap().topic("q10");
    let mut found = Vec::new();
    for partition in Source::partitions(&log).unwrap() {
        let mut reader = Source::open(&log, partition, None, false).unwrap();
        while let Poll::Batch(batch) = reader.poll().unwrap() {
            for record in batch.iter(0) {
                let line: serde_json::Value =
                    serde_json::from_slice(record.value.unwrap()).unwrap();
                assert_eq!((&line["dt"], &line["hm"]), (&"2015-07-15".into(), &"00:00".into()));
                found.push((line["id"].as_i64().unwrap(), line["price"].as_i64().unwrap()));
            }
        }
    }
    found.sort_unstable();
    let rows = &expected(&sources(url))["q10"];
    let logged = rows.iter().map(|row| match (&row[0], &row[3]) {
        (Value::Long(id), Value::Long(price)) => (*id, *price),
        other => panic!("{other:?}"),
    });
    assert!(logged.eq(found));
}

#[test]
fn the_command_line_describes_every_topic() {
    let mut out = Vec::new();
    program().perform(["nexmark", "describe"], &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for topic in ["person", "auction", "bid"] {
        let bound = format!("{topic} <- generated {topic} of 100000 events with seed 7");
        assert!(text.contains(&bound), "{text}");
    }
    for topic in WRITTEN {
        let bound = match topic {
            "q10" => "q10 -> archive data/lake/archive topic q10\n".to_string(),
            _ => format!("{topic} -> delta data/lake/{topic}\n"),
        };
        assert!(text.contains(&bound), "{text}");
    }
}
